"""A logical matrix on crossbars: reads, products, writes, tiles, netlists, and the matrix for users (`crossbar`).

Enters: what combines arrays, converters, mappings and schemes into one matrix.
A new way of mapping weights goes to `mappings`, a new way of writing them to `schemes`.
"""
