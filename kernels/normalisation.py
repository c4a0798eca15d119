"""Moments of the columns of a table, normalisation by them, and its transpose. Columns are the channels of channels-last arrays."""

from __future__ import annotations

import numba as nb
import numpy as np

_ROWS = 256
"""Rows of one part: few enough to stay in a cache, and the same for any number of threads, so that sums do not depend on it."""


@nb.njit(cache=True, parallel=True)
def _moments(x, sums, squares):
    for part in nb.prange(len(sums)):
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


@nb.njit(cache=True, parallel=True)
def _pair_sums(g, h, sums, products):
    for part in nb.prange(len(sums)):
        first, last = part * _ROWS, min((part + 1) * _ROWS, len(g))
        total, product = sums[part], products[part]
        for r in range(first, last):
            one, other = g[r], h[r]
            for c in range(len(total)):
                value = np.float64(one[c])
                total[c] += value
                product[c] += value * np.float64(other[c])


@nb.njit(cache=True, parallel=True)
def _normalise(x, mean, factor, scale, bias, y, normal):
    for r in nb.prange(len(x)):
        row, out, keep = x[r], y[r], normal[r]
        for c in range(len(mean)):
            value = (row[c] - mean[c]) * factor[c]
            keep[c] = value
            out[c] = value * scale[c] + bias[c]


@nb.njit(cache=True, parallel=True)
def _pull_back(g, normal, factor, mean, slope, out):
    for r in nb.prange(len(g)):
        row, place, back = g[r], normal[r], out[r]
        for c in range(len(mean)):
            back[c] = factor[c] * (row[c] - mean[c] - slope[c] * place[c])


def column_moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance of every column, in float64 whatever the type of ``x``.

    The parts of a table are summed up on their own and put together by the formula of Chan, Golub and LeVeque (1979), so that a
    large common offset costs no digits.

    Parameters
    ----------
    x : (rows, columns) array
        At least one row.

    Returns
    -------
    mean, variance : (columns,) float64 arrays
    """
    count = len(x)
    parts = (-(-count // _ROWS), x.shape[1])
    sums, squares = np.zeros(parts), np.zeros(parts)
    _moments(np.ascontiguousarray(x), sums, squares)
    sizes = np.minimum(_ROWS, count - _ROWS * np.arange(parts[0]))[:, None]
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
    y, normal = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)
    _normalise(np.ascontiguousarray(x), mean, factor, scale, bias, y, normal)
    return y, normal


def normalisation_transposed(g: np.ndarray, normal: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The transpose of the derivative of normalising the columns of a table by their own mean and variance.

    Parameters
    ----------
    g : (rows, columns) array
    normal : (rows, columns) array
        The normalised table, (x - mean(x)) / sqrt(var(x) + eps).
    factor : (columns,) array
        What multiplies the result, 1 / sqrt(var(x) + eps) above all.

    Returns
    -------
    (rows, columns) array
        factor * (g - mean(g) - normal * mean(g * normal)), in the type of ``g``; means are over the rows, and accumulated in float64.
    """
    out = np.empty(g.shape, g.dtype)
    g = np.ascontiguousarray(g)
    parts = (-(-len(g) // _ROWS), g.shape[1])
    sums, products = np.zeros(parts), np.zeros(parts)
    _pair_sums(g, normal, sums, products)
    mean, slope = ((parts.sum(axis=0) / max(1, len(g))).astype(g.dtype) for parts in (sums, products))
    _pull_back(g, normal, factor, mean, slope, out)
    return out
