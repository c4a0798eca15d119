"""Pulse trains of the lines: one 32-bit word for a line and a rank-one product.

A word holds 31 time slots and, in the top bit, the sign of the value (a negative value drives the line with the opposite polarity).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.gpu.cuda_kernel import CudaKernel
from analogpc.kernels.memory import empty
from analogpc.kernels.random.streams import Key, philox, split, step_there, steps_of
from analogpc.kernels.sharing import over_ranges, over_slices
from analogpc.kernels.words import SIGN

_LEAST_DRAWS = 2**13
"""Least number of trains for one thread."""
_LEAST_MAGNITUDES = 2**17
"""Least number of values for one thread."""
_SUMS = 1024
"""Number of partial counters of the threads of a GPU."""
_TRAINS = CudaKernel("pulses/updates", "trains")


@compiled
def _fire(thresholds, length, c2, c3, k0, k1, words):
    """Set the slots in which lines fire: those whose random word is below the line's threshold."""
    words[:] = 0
    for block in range((length + 3) // 4):
        used = np.uint32(((1 << min(4, length - 4 * block)) - 1) << (4 * block))
        for j in range(words.size):
            w0, w1, w2, w3 = philox(np.uint32(j), np.uint32(block), c2, c3, k0, k1)
            t = thresholds[j]
            slots = np.uint32(w0 < t) | np.uint32(w1 < t) << 1 | np.uint32(w2 < t) << 2 | np.uint32(w3 < t) << 3
            words[j] |= np.uint32(np.uint32(slots << np.uint32(4 * block)) & used)


# Loops without branches, so that the compiler vectorises them.
@compiled(error_model="numpy")
def _set_thresholds(values, gain, probabilities, shifted, bits, thresholds):
    """Set the probabilities of lines, and 2**32 times them rounded down, or 0 from 1 on; return how many exceed 1.

    ``bits`` is the memory of ``shifted`` as integers: 2**52 plus a whole number holds it in its lowest bits.
    """
    over = 0
    for j in range(values.size):
        probabilities[j] = gain * abs(np.float64(values[j]))
    for j in range(values.size):
        over += probabilities[j] > 1.0
    for j in range(values.size):
        shifted[j] = np.floor((probabilities[j] if probabilities[j] < 1.0 else 0.0) * 4294967296.0) + 4503599627370496.0
    for j in range(values.size):
        thresholds[j] = np.uint32(bits[j] & np.uint64(0xFFFFFFFF))
    return over


@compiled
def _sign_words(values, probabilities, full, words):
    """Set all slots of lines that fire with certainty, and the signs."""
    for j in range(values.size):
        word = full if probabilities[j] >= 1.0 else words[j]
        words[j] = word | (SIGN if values[j] < 0 else np.uint32(0))


@compiled
def _trains(begin, end, room, values, gain, length, words, over, k0, k1, steps):
    """Draw the trains of the products from ``begin`` to ``end``, and set ``over`` (n,) to their numbers of clipped probabilities.

    ``room`` is working space: three times one number of every line.
    """
    probabilities, shifted, thresholds = room
    for b in range(begin, end):
        c2, c3 = split(steps[b])
        over[b] = _set_thresholds(values[b], gain[b], probabilities, shifted, shifted.view(np.uint64), thresholds)
        _fire(thresholds, length[b], c2, c3, k0, k1, words[b])
        full = np.uint32((np.uint32(1) << np.uint32(length[b])) - np.uint32(1))
        _sign_words(values[b], probabilities, full, words[b])


def trains(values: np.ndarray, gain: np.ndarray, length: np.ndarray, key: Key, first_step: Any) -> tuple[np.ndarray, np.ndarray]:
    """Draw stochastic pulse trains: in every slot a line fires with probability min(1, gain * |value|).

    Parameters
    ----------
    values : (n, lines) array
        Values of the lines for n rank-one products, applied one after the other.
    gain : (n,) float64 array
        Probability per unit of value. This and ``length`` may be in main memory while ``values`` are on the GPU.
    length : (n,) int64 array
        Number of slots used, 0 to 31.
    key, first_step
        Random stream; product i draws at step ``first_step + i``, or, in main memory, at step i of an array (n,) uint64.

    Returns
    -------
    words : (n, lines) uint32 array
        Bit k is slot k; the top bit is set for a negative value.
    clipped : integer array
        Its sum is the number of lines whose requested probability exceeded 1.
    """
    words = empty(values.shape, np.uint32, values)
    if on_gpu(values):
        settings = np.asarray(gain, np.float64, like=values), np.asarray(length, np.int64, like=values)
        arrays = [np.ascontiguousarray(array, like=values) for array in (values, *settings)]
        over = np.zeros(_SUMS, np.uint64, like=values)
        _TRAINS(values.size, *arrays, words, over, _SUMS, *values.shape, *key.words, *step_there(first_step))
        return words, over
    n, lines = values.shape
    over = empty((n,), np.int64, values)
    given = values, gain, length, words, over, *key.words, steps_of(first_step, n)
    over_ranges(_trains, n, 1 + _LEAST_DRAWS // max(1, lines), partial(_room, lines), given)
    return words, over


def _room(lines: int) -> tuple[np.ndarray, ...]:
    return np.empty(lines), np.empty(lines), np.empty(lines, np.uint32)


@compiled
def _largest(bits, out, mask):
    for b in range(bits.shape[0]):
        most = bits.dtype.type(0)
        for j in range(bits.shape[1]):
            most = max(most, bits[b, j] & mask)
        out[b] = most


def largest_magnitudes(values: np.ndarray) -> np.ndarray:
    """Return the largest absolute value of each row of ``values`` (n, lines), (n,); NaN if one is NaN, 0 without lines."""
    if on_gpu(values):
        # Without an array of absolute values.
        return np.abs(np.maximum(values.max(axis=1), -values.min(axis=1)))
    # Without the sign, bits of floating-point numbers have the order of their magnitudes, and those of NaN come last.
    word = np.dtype(f"u{values.itemsize}")
    out = np.empty(len(values), word)
    over_slices(
        _largest, _LEAST_MAGNITUDES, (np.ascontiguousarray(values).view(word), out), word.type(2 ** (8 * word.itemsize - 1) - 1)
    )
    return out.view(values.dtype)
