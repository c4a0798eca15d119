"""Elementwise operations as compiled kernels, which a recording can repeat; elsewhere NumPy performs them, with the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.memory import empty
from analogpc.kernels.sharing import over_slices

_PART = 2**16
"""Least number of elements for one thread."""


@compiled
def _fill(out, value):
    for i in range(out.size):
        out[i] = value


@compiled
def _sum(a, b, out, factor):
    for i in range(out.size):
        out[i] = a[i] + factor * b[i]


@compiled
def _scale(a, out, factor):
    for i in range(out.size):
        out[i] = factor * a[i]


@compiled
def _add_row(y, row):
    for i in range(len(y)):
        for j in range(len(row)):
            y[i, j] += row[j]


def fill(array: np.ndarray, value: Any) -> None:
    """Set all elements of a contiguous array."""
    over_slices(_fill, _PART, [array.reshape(-1)], array.dtype.type(value))


def total(a: np.ndarray, b: np.ndarray, factor: float) -> np.ndarray:
    """Return a + factor b of contiguous arrays of one shape and type, for a ``factor`` of 1 or -1, so that nothing is rounded twice."""
    out = empty(a.shape, a.dtype, a)
    over_slices(_sum, _PART, [array.reshape(-1) for array in (a, b, out)], a.dtype.type(factor))
    return out


def multiple(a: np.ndarray, factor: float) -> np.ndarray:
    """Return factor a of a contiguous array."""
    out = empty(a.shape, a.dtype, a)
    over_slices(_scale, _PART, [array.reshape(-1) for array in (a, out)], a.dtype.type(factor))
    return out


def add_row(y: np.ndarray, row: np.ndarray) -> None:
    """Add a row (1, values) to every row of a contiguous array (n, values) of the same type, in place."""
    over_slices(_add_row, _PART, [y], row[0])
