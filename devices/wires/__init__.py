"""Wires of an array: their specification and arrays behind wires.

Contains: code that applies ``analogpc.kernels.wires`` to arrays that read and learn.
A new wire model is a field of `Wires` and a solver in the kernels.
"""
