"""Logical matrices on crossbars: reads, products, writes, tiles, netlists, and the user's matrix (`crossbar`).

Contains: code that combines arrays, converters, mappings and schemes into one matrix.
A new way of mapping weights belongs in `mappings`, a new way of writing them in `schemes`.
"""
