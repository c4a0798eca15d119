"""Rows of a table to mean 0 and variance 1, and the transpose of that. Statistics are accumulated in float64."""

from __future__ import annotations

import numba as nb
import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.memory import empty

_ROWS = 64
_ALONE = 16
"""Parts of so many rows; up to so many parts, one thread is done before others are awake."""


@compiled(fastmath={"reassoc", "nsz", "contract"}, error_model="numpy")
def _some_normal(x, scale, bias, eps, y, normal, factor):
    columns = x.shape[1]
    for r in range(len(x)):
        row, keep, out = x[r], normal[r], y[r]
        total = 0.0
        for c in range(columns):
            total += np.float64(row[c])
        mean = x.dtype.type(total / columns)
        spread = 0.0
        for c in range(columns):
            keep[c] = row[c] - mean
            spread += np.float64(keep[c]) * np.float64(keep[c])
        root = x.dtype.type(1 / np.sqrt(spread / columns + eps))
        factor[r, 0] = root
        for c in range(columns):
            keep[c] *= root
            out[c] = keep[c] * scale[c] + bias[c]


@compiled(fastmath={"reassoc", "nsz", "contract"}, error_model="numpy")
def _some_back(g, normal, factor, scale, out):
    columns = g.shape[1]
    for r in range(len(g)):
        row, place, back, root = g[r], normal[r], out[r], factor[r, 0]
        total, along = 0.0, 0.0
        for c in range(columns):
            back[c] = row[c] * scale[c]
            total += np.float64(back[c])
            along += np.float64(back[c]) * np.float64(place[c])
        mean, slope = g.dtype.type(total / columns), g.dtype.type(along / columns)
        for c in range(columns):
            back[c] = root * (back[c] - mean - slope * place[c])


@compiled(parallel=True)
def _all_normal(x, scale, bias, eps, y, normal, factor):
    for part in nb.prange((len(x) + _ROWS - 1) // _ROWS):
        own = slice(part * _ROWS, (part + 1) * _ROWS)
        _some_normal(x[own], scale, bias, eps, y[own], normal[own], factor[own])


@compiled(parallel=True)
def _all_back(g, normal, factor, scale, out):
    for part in nb.prange((len(g) + _ROWS - 1) // _ROWS):
        own = slice(part * _ROWS, (part + 1) * _ROWS)
        _some_back(g[own], normal[own], factor[own], scale, out[own])


def normalise_rows(x: np.ndarray, scale: np.ndarray, bias: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every row to mean 0 and variance 1, then scaled and shifted column by column.

    Parameters
    ----------
    x : (rows, columns) array
    scale, bias : (columns,) arrays in the type of ``x``
    eps : float
        Added to the (biased) variance.

    Returns
    -------
    y : (rows, columns) array
        normal * scale + bias.
    normal : (rows, columns) array
        (x - mean) * factor.
    factor : (rows, 1) array
        1 / sqrt(variance + eps).
    """
    if on_gpu(x):
        normal = x - row_means(x).astype(x.dtype)
        factor = (1 / np.sqrt(row_means(normal * normal) + eps)).astype(x.dtype)
        normal *= factor
        y = normal * scale
        y += bias
        return y, normal, factor
    y, normal, factor = (empty(shape, x.dtype, x) for shape in (x.shape, x.shape, (len(x), 1)))
    kernel = _some_normal if len(x) <= _ALONE * _ROWS else _all_normal
    kernel(x, np.ascontiguousarray(scale), np.ascontiguousarray(bias), float(eps), y, normal, factor)
    return y, normal, factor


def normalised_rows_transposed(g: np.ndarray, normal: np.ndarray, factor: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The transpose of `normalise_rows` at the x that gave ``normal`` and ``factor``, times ``g`` (rows, columns)."""
    if on_gpu(g):
        scaled = g * scale
        slope = row_means(scaled * normal).astype(g.dtype)
        scaled -= row_means(scaled).astype(g.dtype)
        scaled -= slope * normal
        scaled *= factor
        return scaled
    out = empty(g.shape, g.dtype, g)
    kernel = _some_back if len(g) <= _ALONE * _ROWS else _all_back
    kernel(g, normal, factor, np.ascontiguousarray(scale), out)
    return out


def row_means(x: np.ndarray) -> np.ndarray:
    """The mean of every row, (rows, 1) float64."""
    return x.mean(axis=1, keepdims=True, dtype=np.float64)
