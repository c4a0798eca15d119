"""Exact writes within the bounds of every device."""

from __future__ import annotations

from typing import Any

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.gpu.cuda_kernel import CudaKernel
from analogpc.kernels.random.streams import Key, normal, philox, split
from analogpc.kernels.sharing import over_slices
from analogpc.kernels.threads import distribute

_PART, _CHUNK = 2**15, 64
_MOVE_WITHIN = CudaKernel("pulses/writes", "move_within")


@compiled(error_model="numpy")
def _move_within(state, change, low, high, touched, unit, share):
    for i in range(state.size):
        part = change[i] / unit * share
        value = state[i] + part
        value = low[i] if value < low[i] else value
        state[i] = high[i] if value > high[i] else value
        touched[i] = part != 0


def move_within(
    state: np.ndarray, change: np.ndarray, low: np.ndarray, high: np.ndarray, unit: Any = 1.0, share: float = 1.0
) -> np.ndarray:
    """Add ``change / unit * share`` to ``state`` in place and clip it to its bounds; NaNs are kept.

    Parameters
    ----------
    state, change, low, high : (rows, columns) arrays of one type, the first contiguous in C order
    unit, share : float

    Returns
    -------
    (rows, columns) bool array
        True where the added change is not 0.
    """
    touched = np.empty(state.shape, bool, like=state)
    if on_gpu(state):
        change = part_of(change, unit, share)
        change, low, high = (np.ascontiguousarray(array, like=array) for array in (change, low, high))
        _MOVE_WITHIN(state.size, state, change, low, high, touched, state.size)
        return touched
    kind = state.dtype.type
    arrays = [np.ascontiguousarray(array).reshape(-1) for array in (state, change, low, high, touched)]
    over_slices(_move_within, _PART, arrays, kind(unit), kind(share))
    return touched


def part_of(change: np.ndarray, unit: Any, share: float) -> np.ndarray:
    """Return ``change / unit * share`` in the type of ``change``, or ``change`` itself if both numbers are 1."""
    change = change if isinstance(unit, float) and unit == 1 else change / unit
    return change if share == 1 else change * change.dtype.type(share)


@compiled(error_model="numpy")
def _rewrite(written, state, touched, first, low, high, deviation, k0, k1, step):
    """Rewrite touched devices, of which the first one has the number ``first``."""
    c2, c3 = split(step)
    for begin in range(0, state.size, _CHUNK):
        stop, some = min(begin + _CHUNK, state.size), np.uint8(0)
        for i in range(begin, stop):
            some |= np.uint8(touched[i])
        for i in range(begin, stop if some != 0 else begin):
            if touched[i]:
                c0, c1 = split(first + i // 4)
                value = type(deviation)(normal(philox(c0, c1, c2, c3, k0, k1)[i % 4])) * deviation + state[i]
                value = low if value < low else value
                written[i] = high if value > high else value


def rewrite_some(
    written: np.ndarray, state: np.ndarray, touched: np.ndarray, ends: tuple[float, float], deviation: float, key: Key, step: int
) -> None:
    """Set ``written`` at the touched devices to their states with fresh normal noise, clipped to ``ends``; in main memory.

    A device gets the number that `streams.normals` draws for its place with this key and step; the numbers of others are not drawn.

    Parameters
    ----------
    written, state : (rows, columns) arrays of one type, contiguous in C order
    touched : (rows, columns) bool array
    ends : (low, high)
    deviation : float
    key, step
        Random stream.
    """
    kind, when = state.dtype.type, np.uint64(step)
    out, given, marks = written.reshape(-1), state.reshape(-1), np.ascontiguousarray(touched).reshape(-1)
    numbers = kind(ends[0]), kind(ends[1]), kind(deviation), *key.words, when

    def rewrite(first: int, stop: int) -> None:
        _rewrite(out[first:stop], given[first:stop], marks[first:stop], first // 4, *numbers)

    distribute(rewrite, out.size, _PART)
