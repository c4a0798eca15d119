"""Digital-to-analog and analog-to-digital conversion around a product.

`shared` quantises with one converter setting for all lines, `per_line` with an individual converter for each line.
A new conversion is one new module here with its CUDA twin; converter specifications belong in ``analogpc.devices.converters``.
"""
