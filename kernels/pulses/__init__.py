"""Pulsed updates of arrays of states: pulse trains, coincidences and steps.

`updates` defines the operation pulse by pulse; `batches` selects among faster methods, which are one module each and agree with it.
A new step law belongs in `updates`; a new fast method is a new module that `batches` calls.
"""
