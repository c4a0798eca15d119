"""Digital-to-analog and analog-to-digital converters: specifications, banks of converters of a matrix, uneven levels.

Enters: what a converter is and holds; the arithmetic itself is in ``analogpc.kernels.converters``.
A new imperfection of a converter is a field of its specification, drawn in `banks`.
"""
