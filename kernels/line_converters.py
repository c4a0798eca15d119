"""Conversion where every line has a converter of its own: its own gain and offset, and tables of its uneven levels.

A table holds 2**b - 1 numbers: 2 kilobytes for each of the 9-bit converters in float32.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from analogpc.kernels.converters import _convert, quantisation_step
from analogpc.kernels.streams import Key, normal, philox, split


@nb.njit(cache=True, parallel=True)
def _imprint(driven, out, step, affine, levels, resting, pulsed, k0, k1, when):
    c2, c3 = split(when)
    noisy, middle = pulsed > 0, levels.shape[1] // 2
    for b in nb.prange(driven.shape[0]):
        c1 = np.uint32(b)
        for block in range((driven.shape[1] + 3) // 4):
            first = 4 * block
            words = (np.uint32(0), np.uint32(0), np.uint32(0), np.uint32(0))
            if noisy:
                words = philox(np.uint32(block), c1, c2, c3, k0, k1)
            for lane in range(min(4, driven.shape[1] - first)):
                j = first + lane
                value = driven[b, j]
                spread = resting if value == 0 else pulsed
                # A value that is no number has no code; it passes on as it is.
                if levels.shape[0] > 0 and value == value:
                    value = levels[j, int(np.rint(value / step)) + middle]
                value = affine[0, j] * value + affine[1, j]
                if noisy:
                    value += spread * normal(words[lane])
                out[b, j] = value


def imprint(
    driven: np.ndarray,
    lsb: float,
    affine: np.ndarray,
    levels: np.ndarray,
    resting: float,
    pulsed: float,
    key: Key,
    step: int,
) -> np.ndarray:
    """What lines carry whose converters are each a little different: ``gain * level(code) + offset + noise``.

    Parameters
    ----------
    driven : (n, lines) array
        What `dac` gave, -bound to bound.
    lsb : float
        Distance of two of its levels; not used without ``levels``.
    affine : (2, lines) array
        Gain and offset of every line.
    levels : (lines, 2**bits - 1) or (0, 0) array
        Values on the line for every code from -bound to bound; empty: as driven.
    resting, pulsed : float
        Standard deviation of the noise on a line that is driven at zero, and otherwise; ``resting <= pulsed``.
    key, step
        Noise stream; the draw of line j of vector i is a function of (key, step, i, j).

    Returns
    -------
    (n, lines) array
    """
    kind, out = driven.dtype.type, np.empty_like(driven)
    _imprint(driven, out, kind(lsb), affine, levels, kind(resting), kind(pulsed), *key.words, np.uint64(step))
    return out


@nb.njit(cache=True, parallel=True)
def _plane(driven, out, step, place, bound):
    for b in nb.prange(driven.shape[0]):
        for j in range(driven.shape[1]):
            value = driven[b, j]
            if value == value:
                code = int(np.rint(value / step))
                value = np.sign(value) * bound if abs(code) >> place & 1 else driven.dtype.type(0)
            out[b, j] = value


def bit_plane(driven: np.ndarray, lsb: float, place: int, bound: float) -> np.ndarray:
    """Bit number ``place`` (0 the least) of the magnitudes of codes ``driven / lsb`` (n, lines), as -bound, 0 or bound."""
    out = np.empty_like(driven)
    _plane(driven, out, driven.dtype.type(lsb), place, driven.dtype.type(bound))
    return out


@nb.njit(cache=True)
def _code(value, step, transitions):
    """The code of ``value``: that of evenly spaced levels, then along the table to where the value really lies."""
    most = (transitions.shape[0] - 1) // 2
    position = value / step
    code = most if position > most else -most if position < -most else int(np.rint(position))
    while transitions[code + most] > value:
        code -= 1
    while code < most and transitions[code + most + 1] <= value:
        code += 1
    return code


@nb.njit(cache=True, parallel=True)
def _convert_lines(y, total, scale, noise, variance, bound, step, entry, transitions, row, leave, k0, k1, when, saturated):
    c2, c3 = split(when)
    varied, tabled = variance.shape[0] > 0, transitions.shape[0] > 0
    half = step * y.dtype.type(0.5)
    for b in nb.prange(y.shape[0]):
        c1 = np.uint32(b)
        clipped = 0
        for block in range((y.shape[1] + 3) // 4):
            first = 4 * block
            words = (np.uint32(0), np.uint32(0), np.uint32(0), np.uint32(0))
            if noise > 0 or varied:
                words = philox(np.uint32(block), c1, c2, c3, k0, k1)
            for lane in range(min(4, y.shape[1] - first)):
                j = first + lane
                value = y[b, j]
                if varied:
                    value += np.sqrt(noise * noise + variance[b, j]) * normal(words[lane])
                elif noise > 0:
                    value += noise * normal(words[lane])
                value = entry[0, j] * value + entry[1, j]
                if tabled and value == value:
                    own = transitions[row[j]]
                    if value > own[-1] + half or value < own[1] - half:
                        clipped += 1
                    value = y.dtype.type(_code(value, step, own)) * step
                else:
                    if abs(value) > bound:
                        clipped += 1
                    value = _convert(value, bound, step)
                total[b, j] += scale[b] * (leave[0, j] * value + leave[1, j])
        saturated[b] = clipped


def convert(
    y: np.ndarray,
    total: np.ndarray,
    scale: np.ndarray,
    noise: float,
    variance: np.ndarray,
    bits: float,
    bound: float,
    entry: np.ndarray,
    transitions: np.ndarray,
    row: np.ndarray,
    leave: np.ndarray,
    key: Key,
    step: int,
) -> np.ndarray:
    """As `adc`, every line through a converter of its own.

    ``total += scale * (leave[0] * Q(entry[0] * (y + s * xi) + entry[1]) + leave[1])`` with ``s**2 = noise**2 + variance``; the
    bits of xi are those of `adc`. Without ``transitions`` Q is uniform.

    Parameters
    ----------
    y, total, scale, noise, bits, bound, key, step
        As in `adc`.
    variance : (n, lines) or (0, 0) array
        Further variance of every sum; empty: none.
    entry, leave : (2, lines) array
        Gain and offset before and after the conversion.
    transitions : (tables, 2**bits - 1) or (0, 0) array
        Ascending: the first is -inf, the others the inputs from which a code is reached, from the second lowest on. Inputs
        beyond the outer ones by more than half a step count as clipped.
    row : (lines,) int64 array
        The table of each line.

    Returns
    -------
    (n,) int64 array
        Values of each vector that were clipped.
    """
    kind, saturated = y.dtype.type, np.zeros(len(y), np.int64)
    uniform = kind(bound), kind(quantisation_step(bits, bound))
    own = entry, transitions, row, leave
    _convert_lines(y, total, scale, kind(noise), variance, *uniform, *own, *key.words, np.uint64(step), saturated)
    return saturated
