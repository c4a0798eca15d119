"""Digital-to-analog and analog-to-digital conversion around a product.

`shared` quantises with one converter setting for all lines, `per_line` with a converter of its own for each line.
A new conversion is a new module here with its CUDA twin; what a converter is belongs to ``analogpc.devices.converters``.
"""
