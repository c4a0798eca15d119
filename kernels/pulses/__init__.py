"""Pulsed updates of arrays of states: pulse trains, coincidences and steps.

`updates` defines the operation pulse by pulse; `batches` chooses among the faster ways, which are one module each and agree with it.
A new step law goes into `updates`; a new fast way is a new module that `batches` calls.
"""
