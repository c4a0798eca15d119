"""Digital-to-analog and analog-to-digital converters: specifications, banks of converters of a matrix, uneven levels.

Contains: what a converter is and holds. The arithmetic is in ``analogpc.kernels.converters``.
A new imperfection of a converter is a field of its specification, drawn in `banks`.
"""
