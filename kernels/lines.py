"""What meters count line by line: conductance sums, how strongly lines are driven, and pulses.

Every sum is formed in float64 and in one order, so that it does not depend on the number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.gpu.arrays import launch, on_gpu

_SLOTS = np.uint32(0x7FFFFFFF)


@compiled
def _total(values):
    """Their sum, in four interleaved parts: a single one would wait for every addition."""
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


@compiled
def _add(values, out):
    for i in range(values.size):
        out[i] += values[i]


@compiled
def _sums(grid, rows, columns, along, across):
    for j in range(grid.shape[0]):
        for tile in range(along.shape[1]):
            along[j, tile] = _total(grid[j, tile * columns : (tile + 1) * columns])
        _add(grid[j], across[j // rows])


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
def _product(counts, values):
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    whole = values.size // 4 * 4
    for i in range(0, whole, 4):
        a += counts[i] * np.float64(values[i])
        b += counts[i + 1] * np.float64(values[i + 1])
        c += counts[i + 2] * np.float64(values[i + 2])
        d += counts[i + 3] * np.float64(values[i + 3])
    for i in range(whole, values.size):
        a += counts[i] * np.float64(values[i])
    return (a + b) + (c + d)


@compiled
def _weighted(counts, values):
    total = 0.0
    for j in range(counts.shape[0]):
        total += _product(counts[j], values[j])
    return total


def line_sums(grid: np.ndarray, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums along both kinds of lines of a grid that is cut into tiles.

    Parameters
    ----------
    grid : (lines, columns of the grid) array
    rows, columns : int
        Lines of one tile; those at the far edges may have fewer.

    Returns
    -------
    along : (rows of the grid, tiles beside each other) float64 array
        Sum of every row in every tile.
    across : (tiles below each other, columns of the grid) float64 array
        Sum of every column in every tile.
    """
    height, width = grid.shape
    tops, lefts = range(0, height, rows), range(0, width, columns)
    if on_gpu(grid):
        along, across = (np.empty(shape, np.float64, like=grid) for shape in ((height, len(lefts)), (len(tops), width)))
        for tile, left in enumerate(lefts):
            along[:, tile] = grid[:, left : left + columns].sum(axis=1, dtype=np.float64)
        for tile, top in enumerate(tops):
            across[tile] = grid[top : top + rows].sum(axis=0, dtype=np.float64)
        return along, across
    along, across = np.empty((height, len(lefts))), np.zeros((len(tops), width))
    _sums(grid, rows, columns, along, across)
    return along, across


def line_squares(values: np.ndarray) -> np.ndarray:
    """The sum of the squares of every column of ``values`` (n, lines): (lines,) float64."""
    if on_gpu(values):
        return np.square(values.astype(np.float64)).sum(axis=0)
    out = np.zeros(values.shape[1])
    _squares(values, out)
    return out


def line_magnitudes(values: np.ndarray) -> np.ndarray:
    """The sum of the absolute values of every column of ``values`` (n, lines): (lines,) float64."""
    if on_gpu(values):
        return np.abs(values).sum(axis=0, dtype=np.float64)
    out = np.zeros(values.shape[1])
    _magnitudes(values, out)
    return out


def line_pulses(words: np.ndarray) -> np.ndarray:
    """The pulses of every line: slots set in all its trains, the columns of ``words`` (n, lines) uint32; (lines,) int64.

    See `pulses.updates.trains` for the words, whose top bit is a sign.
    """
    if on_gpu(words):
        out = np.zeros(words.shape[1], np.int64, like=words)
        words = np.ascontiguousarray(words, like=words)
        launch("lines", "line_pulses", np.float32, words.shape[1], words, out, *map(np.int64, words.shape))
        return out
    return np.bitwise_count(words & _SLOTS).sum(axis=0, dtype=np.int64)


def line_total(amounts: np.ndarray, values: np.ndarray) -> Any:
    """The sum of amounts times values over all lines, both (lines,): a float64 number, on the GPU an array without axes."""
    return (amounts * values).sum(dtype=np.float64)


def weighted_count(counts: np.ndarray, values: np.ndarray) -> Any:
    """The sum of counts times values over a grid, both (rows, columns): a number, or on the GPU a float64 array without axes."""
    if on_gpu(counts):
        return (counts * values.astype(np.float64)).sum()
    return float(_weighted(counts, values))
