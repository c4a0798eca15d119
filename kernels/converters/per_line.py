"""Conversion with an individual converter for every line: its own gain and offset, and tables of its uneven levels.

A table holds 2**b - 1 numbers: 2 kilobytes for each of the 9-bit converters in float32.
"""

from __future__ import annotations

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.converters.shared import QUICK, SLOW, neighbours, over_vectors, quantised, row_numbers, uniform
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.gpu.cuda_kernel import CudaKernel
from analogpc.kernels.random.streams import Key, row_normals, split, step_there
from analogpc.kernels.sharing import over_slices

_IMPRINT = CudaKernel("converters/per_line", "imprint")
_BIT_PLANE = CudaKernel("converters/per_line", "bit_plane")
_CONVERT = CudaKernel("converters/per_line", "convert")


@compiled
def _levels_row(driven, out, step, levels):
    middle = levels.shape[1] // 2
    for j in range(driven.size):
        value = driven[j]
        # A NaN has no code and is passed on unchanged.
        out[j] = levels[j, int(np.rint(value / step)) + middle] if value == value else value


@compiled(error_model="numpy")
def _affine_row(driven, draws, out, gain, offset, resting, pulsed):
    """Apply gain, offset and noise; ``out`` holds the values, and ``driven`` tells which lines are driven."""
    if pulsed > 0:
        for j in range(out.size):
            spread = resting if driven[j] == 0 else pulsed
            out[j] = (gain[j] * out[j] + offset[j]) + spread * draws[j]
    else:
        for j in range(out.size):
            out[j] = gain[j] * out[j] + offset[j]


@compiled(allocates=True)
def _imprint_rows(driven, out, step, affine, levels, resting, pulsed, first, k0, k1, when):
    """``first`` is the number of the first row."""
    c2, c3 = split(when)
    draws = np.empty((driven.shape[1] + 3) // 4 * 4, np.float32)
    for b in range(driven.shape[0]):
        if pulsed > 0:
            row_normals(draws, np.uint32(first + b), c2, c3, k0, k1, 0)
        if levels.shape[0] > 0:
            _levels_row(driven[b], out[b], step, levels)
        else:
            out[b] = driven[b]
        _affine_row(driven[b], draws, out[b], affine[0], affine[1], resting, pulsed)


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
    """Return the values on lines with individual converters: ``gain * level(code) + offset + noise``.

    Parameters
    ----------
    driven : (n, lines) array
        Result of `dac`, from -bound to bound.
    lsb : float
        Distance between two of its levels; not used without ``levels``.
    affine : (2, lines) array
        Gain and offset of every line.
    levels : (lines, 2**bits - 1) or (0, 0) array
        Values on the line for every code from -bound to bound; if empty, the driven values.
    resting, pulsed : float
        Standard deviation of the noise on a line driven at zero, and on others; ``resting <= pulsed``.
    key, step
        Noise stream; the draw for line j of vector i is a function of (key, step, i, j).

    Returns
    -------
    (n, lines) array
    """
    driven = np.ascontiguousarray(driven, like=driven)
    kind, out = driven.dtype.type, np.empty(driven.shape, driven.dtype, like=driven)
    if on_gpu(driven):
        n, lines = driven.shape
        parts, width = neighbours(lines, pulsed > 0)
        given = driven, out, affine, levels, levels.shape[1], lsb, resting, pulsed, *key.words, *step_there(step)
        _IMPRINT.along_rows(n, parts, *given, lines, width)
        return out
    settings = kind(lsb), affine, levels, kind(resting), kind(pulsed)
    stream = *key.words, np.uint64(step)

    def convert_part(first: int, stop: int) -> None:
        _imprint_rows(driven[first:stop], out[first:stop], *settings, first, *stream)

    over_vectors(convert_part, driven.shape, SLOW if pulsed > 0 else QUICK)
    return out


@compiled
def _plane(driven, out, step, place, bound, most):
    for b in range(driven.shape[0]):
        for j in range(driven.shape[1]):
            value = driven[b, j]
            if value == value:
                code = min(abs(int(np.rint(value / step))), most)
                value = np.sign(value) * bound if code >> place & 1 else driven.dtype.type(0)
            out[b, j] = value


def bit_plane(driven: np.ndarray, lsb: float, place: int, bound: float, most: int) -> np.ndarray:
    """Return bit ``place`` (0 is the least significant) of the magnitudes of codes ``driven / lsb`` (n, lines), as -bound, 0 or bound.

    Magnitudes are limited to ``most``, the largest code, also where the type of ``driven`` rounds them up.
    """
    driven = np.ascontiguousarray(driven, like=driven)
    kind, out = driven.dtype.type, np.empty(driven.shape, driven.dtype, like=driven)
    if on_gpu(driven):
        _BIT_PLANE(driven.size, driven, out, driven.size, lsb, place, bound, most)
    else:
        over_slices(_plane, QUICK, (driven, out), kind(lsb), place, kind(bound), most)
    return out


@compiled
def _code(value, step, transitions):
    """Return the code of ``value``: that of evenly spaced levels, corrected along the table."""
    most = (transitions.shape[0] - 1) // 2
    position = value / step
    code = most if position > most else -most if position < -most else int(np.rint(position))
    while transitions[code + most] > value:
        code -= 1
    while code < most and transitions[code + most + 1] <= value:
        code += 1
    return code


@compiled(error_model="numpy")
def _entered_row(y, draws, variance, entered, noise, gain, offset):
    """Compute the inputs of the converters: the sums with noise, gain and offset; ``variance`` is empty without further noise."""
    if variance.size > 0:
        for j in range(y.size):
            value = y[j] + np.sqrt(noise * noise + variance[j]) * draws[j]
            entered[j] = gain[j] * value + offset[j]
    elif noise > 0:
        for j in range(y.size):
            entered[j] = gain[j] * (y[j] + noise * draws[j]) + offset[j]
    else:
        for j in range(y.size):
            entered[j] = gain[j] * y[j] + offset[j]


@compiled
def _tabled_row(entered, step, transitions, row):
    """Replace values by their levels; return the number of clipped values."""
    kind, clipped = entered.dtype.type, 0
    for j in range(entered.size):
        value, own = entered[j], transitions[row[j]]
        if value == value:
            clipped += value > own[-1] + step or value < own[1] - step
            entered[j] = kind(_code(value, step, own)) * step
    return clipped


@compiled(error_model="numpy")
def _even_row(entered, step, bound):
    """Replace values by evenly spaced levels; return the number of clipped values."""
    clipped, beyond = np.int32(0), bound + entered.dtype.type(0.5) * step
    for j in range(entered.size):
        value = entered[j]
        clipped = np.int32(clipped + np.int32(abs(value) > beyond))
        entered[j] = quantised(value, bound, step)
    return clipped


@compiled
def _added_row(converted, total, scale, gain, offset, fresh):
    zero = total.dtype.type(0)
    for j in range(total.size):
        total[j] = (zero if fresh else total[j]) + scale * (gain[j] * converted[j] + offset[j])


@compiled(allocates=True)
def _convert_rows(
    y, total, scale, numbers, saturated, variance, noise, bound, step, entry, transitions, row, leave, fresh, k0, k1, when
):
    """Convert rows with given ``numbers``; ``variance`` has one entry per row, or none."""
    c2, c3 = split(when)
    draws, entered = np.empty((y.shape[1] + 3) // 4 * 4, np.float32), np.empty(y.shape[1], y.dtype)
    varied = variance.shape[0] > 0
    for b in range(y.shape[0]):
        if noise > 0 or varied:
            row_normals(draws, numbers[b], c2, c3, k0, k1, 0)
        _entered_row(y[b], draws, variance[b] if varied else entered[:0], entered, noise, entry[0], entry[1])
        if transitions.shape[0] > 0:
            saturated[b] = _tabled_row(entered, step, transitions, row)
        else:
            saturated[b] = _even_row(entered, step, bound)
        _added_row(entered, total[b], scale[b], leave[0], leave[1], fresh)


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
    fresh: bool = False,
) -> np.ndarray:
    """Convert like `adc`, with an individual converter for every line.

    ``total += scale * (leave[0] * Q(entry[0] * (y + s * xi) + entry[1]) + leave[1])`` with ``s**2 = noise**2 + variance``; xi is
    bit-identical to that of `adc`. Without ``transitions``, Q is uniform.

    Parameters
    ----------
    y, total, scale, noise, bits, bound, key, step, fresh
        As in `adc`.
    variance : (n, lines) or (0, 0) array
        Further variance of every sum; empty for none.
    entry, leave : (2, lines) array
        Gain and offset before and after the conversion.
    transitions : (tables, 2**bits - 1) or (0, 0) array
        Ascending: the first is -inf, the others are the inputs at which a code is reached, from the second lowest on. Inputs beyond
        the outer ones by more than a step count as clipped, like inputs more than half a step beyond the outermost of evenly spaced
        levels.
    row : (lines,) int64 array
        Index of the table of each line.

    Returns
    -------
    (n,) int64 array
        Number of clipped values of each vector.
    """
    y, variance = np.ascontiguousarray(y, like=y), np.ascontiguousarray(variance, like=y)
    noise = y.dtype.type(noise)
    if on_gpu(y):
        varied, (n, lines) = variance.size > 0, y.shape
        counts, (parts, width) = np.zeros(n, np.uint64, like=y), neighbours(lines, varied or noise > 0)
        given = y, total, scale, variance, counts, noise, varied, *uniform(y.dtype, bits, bound), entry
        tables = transitions, transitions.shape[1], row, leave, fresh
        _CONVERT.along_rows(n, parts, *given, *tables, *key.words, *step_there(step), lines, width)
        return counts.view(np.int64)
    saturated = np.empty(len(y), np.int64)
    varied = variance.size > 0
    arrays = [y, total, scale, row_numbers(len(y)), saturated] + [variance] * varied
    least = SLOW if noise > 0 or varied or transitions.size > 0 else QUICK
    settings = noise, *uniform(y.dtype, bits, bound), entry, transitions, row, leave, fresh, *key.words, np.uint64(step)
    over_slices(_convert_rows, least, arrays, *[variance] * (not varied), *settings)
    return saturated
