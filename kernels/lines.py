"""Line-by-line quantities for meters: conductance sums, squared drives, and pulses.

Every sum is formed in float64 and in a fixed order, so that it does not depend on the number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.gpu.cuda_kernel import CudaKernel
from analogpc.kernels.sharing import over_ranges
from analogpc.kernels.words import SLOTS, count_bits

_LINE_PULSES, _LINE_AMOUNTS = CudaKernel("lines", "line_pulses"), CudaKernel("lines", "line_amounts")
_PART = 256
"""Vectors per thread of a GPU."""
_LEAST_WORDS = 2**14
"""Least number of pulse trains for one thread."""


@compiled
def _total(values):
    """Return the sum, computed in four interleaved parts: a single sum would wait for every addition."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    whole = values.size // 4 * 4
    for i in range(0, whole, 4):
        a += values[i]
        b += values[i + 1]
        c += values[i + 2]
        d += values[i + 3]
    for i in range(whole, values.size):
        a += values[i]
    return (a + b) + (c + d)


# Branch-free loops that write every element once are vectorised; sums into a single number are not, since their order is fixed. Eight
# numbers at a time are summed in their own type, whose rounding they already have, and everything else in float64.
@compiled
def _fold(values, out):
    """Add the eight parts of a row (a multiple of eight numbers) to each other."""
    n = out.size
    a, b, c, d = values[:n], values[n : 2 * n], values[2 * n : 3 * n], values[3 * n : 4 * n]
    e, f, g, h = values[4 * n : 5 * n], values[5 * n : 6 * n], values[6 * n : 7 * n], values[7 * n :]
    for i in range(n):
        out[i] = ((a[i] + b[i]) + (c[i] + d[i])) + ((e[i] + f[i]) + (g[i] + h[i]))


@compiled
def row_total(values, folded):
    """Return the sum of a row; ``folded`` has room for an eighth of it."""
    part = values.size // 8
    _fold(values[: 8 * part], folded[:part])
    return _total(folded[:part]) + _total(values[8 * part :])


@compiled
def _add_eight(rows, out):
    a, b, c, d, e, f, g, h = rows[0], rows[1], rows[2], rows[3], rows[4], rows[5], rows[6], rows[7]
    for i in range(out.size):
        out[i] += np.float64(((a[i] + b[i]) + (c[i] + d[i])) + ((e[i] + f[i]) + (g[i] + h[i])))


@compiled
def _add(values, out):
    for i in range(values.size):
        out[i] += values[i]


@compiled
def _sums(grid, rows, columns, unit, rest, folded, along, across):
    """Compute both sums of eight rows at a time, while they are in the cache; ``folded`` has room for an eighth of a row of a tile."""
    height, width = grid.shape
    across[:] = 0.0
    for tile in range(across.shape[0]):
        j, stop = tile * rows, min((tile + 1) * rows, height)
        while j < stop:
            end = j + 8 if j + 8 <= stop else j + 1
            for row in range(j, end):
                for beside in range(along.shape[1]):
                    along[row, beside] = row_total(grid[row, beside * columns : (beside + 1) * columns], folded)
            if end == j + 8:
                _add_eight(grid[j:end], across[tile])
            else:
                _add(grid[j], across[tile])
            j = end
        share = min(rows, height - tile * rows) * rest
        for i in range(width):
            across[tile, i] = across[tile, i] * unit + share
    for beside in range(along.shape[1]):
        share = min(columns, width - beside * columns) * rest
        for j in range(height):
            along[j, beside] = along[j, beside] * unit + share


@compiled
def _squares(values, out):
    for b in range(values.shape[0]):
        for j in range(values.shape[1]):
            out[j] += np.float64(values[b, j]) * np.float64(values[b, j])


@compiled
def _magnitudes(values, out):
    for b in range(values.shape[0]):
        for j in range(values.shape[1]):
            out[j] += abs(np.float64(values[b, j]))


@compiled
def _pulses(begin, end, room, words, out):
    for b in range(words.shape[0]):
        for j in range(begin, end):
            out[j] += np.int64(count_bits(np.uint32(words[b, j] & SLOTS)))


@compiled
def _multiply(counts, values, out):
    kind = out.dtype.type
    for i in range(out.size):
        out[i] = kind(counts[i]) * values[i]


@compiled
def row_weighted(counts, values, products):
    """Return the sum of counts times values over a row; ``products`` holds a row and an eighth of one, in the type of the values."""
    width = counts.size
    _multiply(counts, values, products[:width])
    return row_total(products[:width], products[width : width + width // 8])


@compiled
def _weighted_total(amounts, values):
    """Return the sum of amounts times values in the order of `_total`."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    whole = values.size // 4 * 4
    for i in range(0, whole, 4):
        a += amounts[i] * values[i]
        b += amounts[i + 1] * values[i + 1]
        c += amounts[i + 2] * values[i + 2]
        d += amounts[i + 3] * values[i + 3]
    for i in range(whole, values.size):
        a += amounts[i] * values[i]
    return (a + b) + (c + d)


def line_sums(grid: np.ndarray, rows: int, columns: int, unit: float = 1.0, rest: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of ``grid * unit + rest`` along both kinds of lines of a grid that is cut into tiles.

    Parameters
    ----------
    grid : (lines, columns of the grid) array
    rows, columns : int
        Numbers of lines of one tile; tiles at the far edges may have fewer.
    unit, rest : float

    Returns
    -------
    along : (rows of the grid, tiles side by side) float64 array
        Sum of every row in every tile.
    across : (tiles below each other, columns of the grid) float64 array
        Sum of every column in every tile.
    """
    height, width = grid.shape
    tops, lefts = range(0, height, rows), range(0, width, columns)
    if on_gpu(grid):
        along, across = (np.empty(shape, np.float64, like=grid) for shape in ((height, len(lefts)), (len(tops), width)))
        for tile, left in enumerate(lefts):
            along[:, tile] = (
                grid[:, left : left + columns].sum(axis=1, dtype=np.float64) * unit + min(columns, width - left) * rest
            )
        for tile, top in enumerate(tops):
            across[tile] = grid[top : top + rows].sum(axis=0, dtype=np.float64) * unit + min(rows, height - top) * rest
        return along, across
    along, across = np.empty((height, len(lefts))), np.empty((len(tops), width))
    _sums(grid, rows, columns, unit, rest, np.empty(min(columns, width) // 8, grid.dtype), along, across)
    return along, across


def _by_parts(kernel: CudaKernel, values: np.ndarray, dtype: type, *options: Any) -> np.ndarray:
    """Sum what ``kernel`` counts on every line, in parts of `_PART` vectors and then over the parts; on the GPU."""
    parts = -(-len(values) // _PART)
    sums: np.ndarray = np.empty((parts, values.shape[1]), dtype, like=values)
    kernel(sums.size, np.ascontiguousarray(values, like=values), sums, *values.shape, parts, _PART, *options)
    return sums.sum(axis=0)


def line_squares(values: np.ndarray) -> np.ndarray:
    """Return the sum of the squares of every column of ``values`` (n, lines): (lines,) float64."""
    if on_gpu(values):
        return _by_parts(_LINE_AMOUNTS, values, np.float64, True)
    out = np.zeros(values.shape[1])
    _squares(values, out)
    return out


def line_magnitudes(values: np.ndarray) -> np.ndarray:
    """Return the sum of the absolute values of every column of ``values`` (n, lines): (lines,) float64."""
    if on_gpu(values):
        return _by_parts(_LINE_AMOUNTS, values, np.float64, False)
    out = np.zeros(values.shape[1])
    _magnitudes(values, out)
    return out


def line_pulses(words: np.ndarray) -> np.ndarray:
    """Return the number of pulses of every line, the slots set in its column of ``words`` (n, lines) uint32; (lines,) int64.

    See `pulses.trains.trains` for the words, whose top bit is a sign.
    """
    if on_gpu(words):
        return _by_parts(_LINE_PULSES, words, np.int64)
    out = np.zeros(words.shape[1], np.int64)
    over_ranges(_pulses, words.shape[1], 1 + _LEAST_WORDS // max(1, len(words)), tuple, (words, out))
    return out


def line_total(amounts: np.ndarray, values: np.ndarray) -> Any:
    """Return the sum of amounts times values over all lines, both (lines,): a float64 number, or a 0-d device array."""
    if on_gpu(values):
        return (amounts * values).sum(dtype=np.float64)
    return _weighted_total(np.ascontiguousarray(amounts, np.float64), np.ascontiguousarray(values, np.float64))


def half_selected(along: np.ndarray, across: np.ndarray, on_rows: np.ndarray, on_columns: np.ndarray) -> Any:
    """Return the sum of line conductances times the pulses on the lines: a number, or a 0-d float64 device array.

    Parameters
    ----------
    along, across : arrays
        From `line_sums`.
    on_rows, on_columns : (lines,) int64 arrays
        From `line_pulses`.
    """
    if on_gpu(along):
        return line_total(on_rows, along.sum(axis=1)) + line_total(on_columns, across.sum(axis=0))
    on_rows, on_columns = on_rows.astype(np.float64), on_columns.astype(np.float64)
    return sum([*(line_total(on_rows, sums) for sums in along.T), *(line_total(on_columns, sums) for sums in across)])


@compiled
def _weighted(counts, values, few, sums):
    """Add counts times values column by column: eight rows at a time in the type of the values, then in float64."""
    kind = values.dtype.type
    for top in range(0, values.shape[0], 8):
        few[:] = 0
        for j in range(top, min(top + 8, values.shape[0])):
            for i in range(few.size):
                few[i] += kind(counts[j, i]) * values[j, i]
        for i in range(few.size):
            sums[i] += np.float64(few[i])


def weighted_count(counts: np.ndarray, values: np.ndarray) -> Any:
    """Return the sum of counts times values over a grid, both (rows, columns): a number, or a 0-d float64 device array."""
    if on_gpu(counts):
        return (counts * values.astype(np.float64)).sum()
    sums = np.zeros(values.shape[1])
    _weighted(counts.astype(np.int32, copy=False), values, np.empty(values.shape[1], values.dtype), sums)
    return _total(sums)
