"""Moments of the columns of a table, normalisation by them, and its transpose. Columns are the channels of channels-last arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.gpu.cuda_kernel import CudaKernel
from analogpc.kernels.memory import empty
from analogpc.kernels.sharing import over_slices
from analogpc.kernels.threads import distribute

_NORMALISE = CudaKernel("normalisation", "normalise")
_PULL_BACK = CudaKernel("normalisation", "pull_back")
_MOMENTS = CudaKernel("normalisation", "moments")
_PAIR_SUMS = CudaKernel("normalisation", "pair_sums")
_ROWS = 256
"""Rows of one part: few enough to stay in a cache, and independent of the number of threads, so that sums are too."""
_PART = 2**15
"""Least number of elements for one thread."""


@compiled(allocates=True)
def _moments(x, sums, squares):
    for part in range(len(sums)):
        own, total, spread = x[part * _ROWS : (part + 1) * _ROWS], sums[part], squares[part]
        for r in range(len(own)):
            row = own[r]
            for c in range(len(total)):
                total[c] += np.float64(row[c])
        mean = total / len(own)
        for r in range(len(own)):
            row = own[r]
            for c in range(len(total)):
                off = np.float64(row[c]) - mean[c]
                spread[c] += off * off


@compiled
def _pair_sums(g, h, sums, products):
    for part in range(len(sums)):
        first, last = part * _ROWS, min((part + 1) * _ROWS, len(g))
        total, product = sums[part], products[part]
        for r in range(first, last):
            one, other = g[r], h[r]
            for c in range(len(total)):
                value = np.float64(one[c])
                total[c] += value
                product[c] += value * np.float64(other[c])


@compiled
def _normalise(x, y, normal, mean, factor, scale, bias):
    for r in range(len(x)):
        row, out, keep = x[r], y[r], normal[r]
        for c in range(len(mean)):
            value = (row[c] - mean[c]) * factor[c]
            keep[c] = value
            out[c] = value * scale[c] + bias[c]


@compiled
def _pull_back(g, normal, out, factor, mean, slope):
    for r in range(len(g)):
        row, place, back = g[r], normal[r], out[r]
        for c in range(len(mean)):
            back[c] = factor[c] * (row[c] - mean[c] - slope[c] * place[c])


def column_moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and biased variance of every column, in float64 whatever the type of ``x``.

    Parts of the table are summed separately and combined by the formula of Chan, Golub and LeVeque (1979), so that a large common offset
    loses no digits.

    Parameters
    ----------
    x : (rows, columns) array
        At least one row.

    Returns
    -------
    mean, variance : (columns,) float64 arrays
    """
    count = len(x)
    sums, squares = _partial(_MOMENTS, _moments, x)
    sizes = np.minimum(_ROWS, count - _ROWS * np.arange(len(sums), like=sums))[:, None]
    mean = sums.sum(axis=0) / count
    apart = sums / sizes - mean
    return mean, (squares + sizes * apart * apart).sum(axis=0) / count


def normalise_columns(
    x: np.ndarray, mean: np.ndarray, factor: np.ndarray, scale: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Shift and scale every column.

    Parameters
    ----------
    x : (rows, columns) array
    mean, factor, scale, bias : (columns,) arrays in the type of ``x``

    Returns
    -------
    y : (rows, columns) array
        normal * scale + bias.
    normal : (rows, columns) array
        (x - mean) * factor.
    """
    y, normal = empty(x.shape, x.dtype, x), empty(x.shape, x.dtype, x)
    x, mean, factor, scale, bias = (np.ascontiguousarray(array, like=array) for array in (x, mean, factor, scale, bias))
    if on_gpu(x):
        _NORMALISE.along_rows(*x.shape, x, mean, factor, scale, bias, y, normal)
    else:
        over_slices(_normalise, _PART, (x, y, normal), mean, factor, scale, bias)
    return y, normal


def normalisation_transposed(g: np.ndarray, normal: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Apply the transpose of the derivative of normalising the columns of a table by their own mean and variance.

    Parameters
    ----------
    g : (rows, columns) array
    normal : (rows, columns) array
        The normalised table, (x - mean(x)) / sqrt(var(x) + eps).
    factor : (columns,) array
        Factor of the result, such as 1 / sqrt(var(x) + eps).

    Returns
    -------
    (rows, columns) array
        factor * (g - mean(g) - normal * mean(g * normal)), in the type of ``g``; means are over the rows, accumulated in float64.
    """
    out = empty(g.shape, g.dtype, g)
    g, normal, factor = (np.ascontiguousarray(array, like=array) for array in (g, normal, factor))
    mean, slope = (value.astype(g.dtype) for value in column_pair_means(g, normal))
    if on_gpu(g):
        _PULL_BACK.along_rows(*g.shape, g, normal, factor, mean, slope, out)
    else:
        over_slices(_pull_back, _PART, (g, normal, out), factor, mean, slope)
    return out


def column_pair_means(g: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over the rows of ``g``, and of ``g`` times ``h``: (rows, columns) -> two (columns,) float64 arrays."""
    one, other = (parts.sum(axis=0) / max(1, len(g)) for parts in _partial(_PAIR_SUMS, _pair_sums, g, h))
    return one, other


def _partial(twin: CudaKernel, kernel: Callable[..., None], *tables: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two sums for each part of tables (rows, columns) and each column: (parts, columns) float64 arrays."""
    tables = tuple(np.ascontiguousarray(table, like=table) for table in tables)
    first = tables[0]
    rows, columns = first.shape
    parts = -(-rows // _ROWS)
    one, other = np.zeros((parts, columns), np.float64, like=first), np.zeros((parts, columns), np.float64, like=first)
    if on_gpu(first):
        twin(parts * columns, *tables, one, other, rows, columns, _ROWS, parts)
    else:

        def sum_parts(begin: int, end: int) -> None:
            kernel(*(table[begin * _ROWS : end * _ROWS] for table in tables), one[begin:end], other[begin:end])

        distribute(sum_parts, parts, 1 + _PART // (_ROWS * max(1, columns)))
    return one, other
