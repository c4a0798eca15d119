"""Normalisation of the rows of a table to mean 0 and variance 1, and its transpose. Statistics are accumulated in float64.

On the CPU, float32 is processed in one pass over memory; its float64 sums are formed in another order than NumPy's, which changes the
rounded mean in about one of ten million cases.
"""

from __future__ import annotations

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.exponentials import total_of, total_of_products
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.memory import empty
from analogpc.kernels.sharing import over_slices

_PART = 2**15
"""Least number of elements for one thread."""


@compiled(error_model="numpy")
def _normal_rows(x, y, normal, factor, scale, bias, eps):
    columns = x.shape[1]
    for r in range(len(x)):
        row, keep, out = x[r], normal[r], y[r]
        mean = np.float32(total_of(row) / columns)
        for c in range(columns):
            keep[c] = row[c] - mean
        root = np.float32(1 / np.sqrt(total_of_products(keep, keep) / columns + eps))
        factor[r, 0] = root
        for c in range(columns):
            value = keep[c] * root
            keep[c] = value
            out[c] = value * scale[c] + bias[c]


@compiled(error_model="numpy")
def _back_rows(g, normal, factor, out, scale):
    columns = g.shape[1]
    for r in range(len(g)):
        row, place, back, root = g[r], normal[r], out[r], factor[r, 0]
        for c in range(columns):
            back[c] = row[c] * scale[c]
        slope = np.float32(total_of_products(back, place) / columns)
        mean = np.float32(total_of(back) / columns)
        for c in range(columns):
            back[c] = ((back[c] - mean) - slope * place[c]) * root


def normalise_rows(x: np.ndarray, scale: np.ndarray, bias: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normalise every row to mean 0 and variance 1, then scale and shift column by column.

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
    if _by_formula(x):
        normal = x - row_means(x).astype(x.dtype)
        factor = (1 / np.sqrt(row_means(normal * normal) + eps)).astype(x.dtype)
        normal *= factor
        y = normal * scale
        y += bias
        return y, normal, factor
    y, normal, factor = (empty(shape, x.dtype, x) for shape in (x.shape, x.shape, (len(x), 1)))
    x, scale, bias = (np.ascontiguousarray(array) for array in (x, scale, bias))
    over_slices(_normal_rows, _PART, (x, y, normal, factor), scale, bias, float(eps))
    return y, normal, factor


def normalised_rows_transposed(g: np.ndarray, normal: np.ndarray, factor: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Apply the transpose of `normalise_rows` at the x that gave ``normal`` and ``factor`` to ``g`` (rows, columns)."""
    if _by_formula(g):
        scaled = g * scale
        slope = row_means(scaled * normal).astype(g.dtype)
        scaled -= row_means(scaled).astype(g.dtype)
        scaled -= slope * normal
        scaled *= factor
        return scaled
    out = empty(g.shape, g.dtype, g)
    g, normal, factor, scale = (np.ascontiguousarray(array) for array in (g, normal, factor, scale))
    over_slices(_back_rows, _PART, (g, normal, factor, out), scale)
    return out


def row_means(x: np.ndarray) -> np.ndarray:
    """Return the mean of every row, (rows, 1) float64."""
    return x.mean(axis=1, keepdims=True, dtype=np.float64)


def _by_formula(x: np.ndarray) -> bool:
    return on_gpu(x) or x.dtype != np.float32
