"""From measurements to a device specification.

Enters: readers of measured data, statistical models of it, and fits.
A new kind of measurement is a new module here.
"""
