"""Keyed random numbers.

Enters: every generator and distribution that is a pure function of (key, step, index), with its CUDA twin.
A new distribution is a function in `streams`; what a device does with it stays outside.
"""
