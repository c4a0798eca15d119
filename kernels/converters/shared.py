"""Digital-to-analog and analog-to-digital conversion around a matrix product, each fused into one pass.

Both converters are uniform and symmetric about zero: b bits give the 2**b - 1 levels k * step, |k| <= 2**(b-1) - 1, with
step = bound / (2**(b-1) - 1), as in aihwkit (Rasch et al. 2021, arXiv 2104.02184). ``step = 0`` means infinite resolution and
``bound = inf`` means no saturation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.gpu.cuda_kernel import CudaKernel
from analogpc.kernels.lines import line_squares
from analogpc.kernels.random.streams import Key, row_normals, split, step_there
from analogpc.kernels.sharing import over_slices
from analogpc.kernels.threads import distribute

_LARGEST = CudaKernel("converters/shared", "largest")
_DAC = CudaKernel("converters/shared", "dac")
_ADC = CudaKernel("converters/shared", "adc")
QUICK, SLOW = 2**15, 2**13
"""Least amounts of numbers that another thread is called for, without and with noise: some 20 microseconds of work."""
STRIP = 8192
"""Numbers whose squares are summed together."""
_BLOCK = 4
"""Number of values that one block of random words serves."""
_EACH = 3
"""Binary logarithm of the least number of values per GPU thread before it compares its maximum with those of others."""
INFINITY: dict[int, np.int32 | np.int64] = {4: np.int32(0x7F800000), 8: np.int64(0x7FF0000000000000)}
"""Bits of infinity, by the size of the type in bytes."""


def quantisation_step(bits: float, bound: float) -> float:
    """Return the distance between two levels of a converter of ``bits`` bits and range +-``bound``; 0 for ``bits = inf``."""
    return 0.0 if math.isinf(bits) else bound / (2.0 ** (bits - 1) - 1.0)


@lru_cache(maxsize=256)
def uniform(dtype: np.dtype, bits: float, bound: float) -> tuple[np.floating, np.floating]:
    """Return range and step of a converter as numbers of that type."""
    return dtype.type(bound), dtype.type(quantisation_step(bits, bound))


def over_vectors(convert: Callable[[int, int], Any], shape: tuple[int, int], least: int) -> None:
    """Call ``convert(first, stop)`` for parts of a batch of vectors (n, lines), each of at least ``least`` numbers, in threads."""
    distribute(convert, shape[0], 1 + least // max(1, shape[1]))


@lru_cache(maxsize=64)
def row_numbers(n: int) -> np.ndarray:
    """Return the numbers of n rows, (n,) uint32, which a slice of rows takes along."""
    numbers = np.arange(n, dtype=np.uint32)
    numbers.flags.writeable = False
    return numbers


def neighbours(lines: int, noisy: bool) -> tuple[int, int]:
    """Return the number of parts of a row for the threads of the GPU, and the number of lines of a part."""
    width = _BLOCK if noisy else 1
    return -(-lines // width), width


# Rows are converted in plain loops that the compiler vectorises: no branches, and each loop writes one array. The random numbers of a row
# are drawn in a separate loop before; the intermediate result is one row, which stays in the first-level cache.
@compiled(forceinline=True, error_model="numpy")
def quantised(value, bound, step):
    """Clip to +-bound, then round to the nearest level, ties to even; with ``step = 0`` only clip."""
    value = bound if value > bound else value
    value = -bound if value < -bound else value
    return np.rint(value / step) * step if step > 0 else value


@compiled
def _largest(words, infinity):
    """Return the bits of the largest magnitude of numbers with bits ``words``: as integers, magnitudes have the same order."""
    kind = words.dtype.type
    largest = kind(0)
    for j in range(words.size):
        magnitude = kind(words[j] & ~(kind(1) << kind(8 * words.itemsize - 1)))
        # NaN bit patterns sort above infinity; skip them.
        magnitude = magnitude if magnitude <= infinity else kind(0)
        largest = magnitude if magnitude > largest else largest
    return largest


@compiled(error_model="numpy")
def _dac_row(x, out, factor, bound, step):
    clipped = np.int32(0)
    for j in range(x.size):
        value = x[j] / factor
        clipped = np.int32(clipped + np.int32(abs(value) > bound))
        out[j] = quantised(value, bound, step)
    return clipped


@compiled(error_model="numpy")
def _codes_row(x, out, factor, bound, step):
    """Perform `_dac_row` without the last step from a code to its level."""
    clipped = np.int32(0)
    for j in range(x.size):
        value = x[j] / factor
        clipped = np.int32(clipped + np.int32(abs(value) > bound))
        value = bound if value > bound else value
        value = -bound if value < -bound else value
        out[j] = np.rint(value / step)
    return clipped


@compiled
def _levels(out, squares, step):
    """Convert codes to levels, and sum the squares of codes: integers, exact in the type of the values while they are small."""
    for j in range(out.size):
        code = out[j]
        squares[j] += code * code
        out[j] = code * step


@compiled
def _add_squares(out, squares):
    for j in range(out.size):
        squares[j] += np.float64(out[j]) * np.float64(out[j])


@compiled
def _scaled(out, step):
    for j in range(out.size):
        out[j] *= step


@compiled
def _settle(some, squares):
    for j in range(some.size):
        squares[j] += some[j]
    some[:] = 0


@compiled
def _dac_row_counted(x, out, factor, bound, step, few, some, squares):
    """Convert a row and count its squares, in ``some`` if they are ``few`` enough to be exact there."""
    if step == 0:
        clipped = _dac_row(x, out, factor, bound, step)
        _add_squares(out, squares)
        return clipped
    clipped = _codes_row(x, out, factor, bound, step)
    if few > 1:
        _levels(out, some, step)
    else:
        _add_squares(out, squares)
        _scaled(out, step)
    return clipped


@compiled(allocates=True, error_model="numpy")
def dac_rows(x, words, infinity, out, scale, scale_words, managed, given, bound, step, reduction, few, squares):
    """Convert rows. ``scale_words`` are the bits of ``scale``, ``words`` those of ``x``; squares of ``few`` rows are exact in its type."""
    clipped, counted = 0, squares.size > 0
    some = np.zeros(squares.size, x.dtype)
    for b in range(x.shape[0]):
        factor = reduction
        if managed:
            if not given:
                scale_words[b] = _largest(words[b], infinity)
            if scale[b] != 0:
                factor = scale[b] / bound * reduction
        scale[b] = factor
        if counted:
            clipped += _dac_row_counted(x[b], out[b], factor, bound, step, few, some, squares)
            if few > 1 and (b + 1) % few == 0:
                _settle(some, squares)
        else:
            clipped += _dac_row(x[b], out[b], factor, bound, step)
    _settle(some, squares)
    return clipped


@compiled
def _dac_strips(x, words, out, scale, scale_words, squares, rows, infinity, managed, given, bound, step, reduction, few):
    """Convert strips of ``rows`` rows, with a row of ``squares`` for each."""
    clipped = 0
    for strip in range(len(squares)):
        part = slice(strip * rows, (strip + 1) * rows)
        clipped += dac_rows(
            x[part], words[part], infinity, out[part], scale[part], scale_words[part], managed, given, bound, step, reduction, few,
            squares[strip],
        )  # fmt: skip
    return clipped


def dac(
    x: np.ndarray,
    bits: float,
    bound: float,
    managed: bool,
    reduction: float = 1.0,
    magnitudes: np.ndarray | None = None,
    squares: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, Any]:
    """Drive the lines of an array with digital vectors.

    Parameters
    ----------
    x : (n, lines) array, float32 or float64
        Digital values.
    bits, bound : float
        Resolution and range of the converter; ``inf`` for ideal.
    managed : bool
        Noise management: every vector is scaled so that its largest magnitude is mapped to ``bound``, unless that is infinite.
        Otherwise values beyond ``bound`` saturate.
    reduction : float
        Factor by which the lines are driven more weakly; ``scale`` compensates for it.
    magnitudes : (n,) array
        Magnitudes that are mapped to ``bound`` if managed, instead of the largest ones; zero leaves a vector unchanged.
    squares : (lines,) float64 array
        Accumulator for a batch in main memory: the sum over all vectors of the squares of the values on each line, in units of the
        squared step if there are steps (integers, whose sum does not depend on the order).

    Returns
    -------
    driven : (n, lines) array
        Values on the lines.
    scale : (n,) array
        ``x`` is approximately ``scale[:, None] * driven``; ``reduction`` if not managed, and for zero vectors.
    saturated : int
        Number of clipped values; on the GPU a 0-d int64 device array (no synchronisation).
    """
    managed = managed and math.isfinite(bound)
    scale = np.empty(len(x), x.dtype, like=x)
    if math.isinf(bits) and math.isinf(bound) and reduction == 1:
        # Scaling by the maximum and back would only add rounding errors.
        scale[:] = 1
        if squares is not None:
            squares += line_squares(x)
        return x, scale, np.zeros((), np.int64, like=x) if on_gpu(x) else 0
    x = np.ascontiguousarray(x, like=x)
    if on_gpu(x):
        return _dac_there(x, scale, managed, magnitudes, *uniform(x.dtype, bits, bound), x.dtype.type(reduction))
    if magnitudes is not None:
        scale[:] = magnitudes
    out, infinity = np.empty_like(x), INFINITY[x.itemsize]
    arrays = x, x.view(infinity.dtype), out, scale, scale.view(infinity.dtype)
    settings = infinity, managed, magnitudes is not None, *uniform(x.dtype, bits, bound), x.dtype.type(reduction)
    # Squares are summed strip by strip, so that sums that are not exact do not depend on the number of threads either.
    n, rows = len(x), len(x) if x.size <= QUICK else max(1, STRIP // x.shape[1])
    own = np.zeros((-(-n // max(1, rows)), 0 if squares is None else len(squares)))
    clipped: list[int] = []

    def convert(first: int, stop: int) -> None:
        parts = (array[first * rows : stop * rows] for array in arrays)
        clipped.append(int(_dac_strips(*parts, own[first:stop], rows, *settings, few_squares(x.dtype, bits))))

    distribute(convert, len(own), max(1, QUICK // STRIP))
    if squares is not None:
        squares += own.sum(axis=0)
    return out, scale, sum(clipped)


@lru_cache(maxsize=256)
def few_squares(dtype: np.dtype, bits: float) -> int:
    """Return the number of squares of codes that add up exactly in a type; 0 if a single one may be too large."""
    exact = 2 ** (np.finfo(dtype).nmant + 1)
    return 0 if math.isinf(bits) else int(min(exact // max(1, int(2.0 ** (bits - 1) - 1)) ** 2, 2**20))


def _dac_there(
    x: np.ndarray,
    scale: np.ndarray,
    managed: bool,
    magnitudes: np.ndarray | None,
    bound: np.floating,
    step: np.floating,
    reduction: np.floating,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Perform `dac` on the GPU."""
    (n, lines), given = x.shape, magnitudes is not None
    # For every vector: the bits of its largest magnitude, and the number of its clipped values.
    counts = np.zeros((2, n), np.uint64, like=x)
    if managed and not given:
        shift = max(0, max(0, lines - 1).bit_length() - _EACH)
        _LARGEST(n << shift, x, counts[0], n, lines, shift)
    met = scale if magnitudes is None else np.ascontiguousarray(magnitudes, x.dtype, like=x)
    out = np.empty(x.shape, x.dtype, like=x)
    _DAC.along_rows(n, lines, x, counts[0], met, out, scale, counts[1], managed, given, bound, step, reduction)
    return out, scale, counts[1].view(np.int64).sum()


@compiled(error_model="numpy")
def adc_row(y, draws, total, scale, noise, bound, step, fresh):
    """Convert a row of sums with given ``draws`` of their noise, and add it to ``total``; return the number of saturated sums."""
    clipped, zero = np.int32(0), y.dtype.type(0)
    beyond = bound + y.dtype.type(0.5) * step
    if noise > 0:
        for j in range(y.size):
            value = y[j] + noise * draws[j]
            clipped = np.int32(clipped + np.int32(abs(value) > beyond))
            total[j] = (zero if fresh else total[j]) + scale * quantised(value, bound, step)
    else:
        for j in range(y.size):
            clipped = np.int32(clipped + np.int32(abs(y[j]) > beyond))
            total[j] = (zero if fresh else total[j]) + scale * quantised(y[j], bound, step)
    return clipped


@compiled(allocates=True)
def _adc_rows(y, total, scale, numbers, saturated, deviation, bound, step, fresh, k0, k1, when):
    """Convert rows with given ``numbers``, and noise of their own ``deviation``."""
    c2, c3 = split(when)
    draws = np.empty((y.shape[1] + 3) // 4 * 4, np.float32)
    for b in range(y.shape[0]):
        if deviation[b] > 0:
            row_normals(draws, numbers[b], c2, c3, k0, k1, 0)
        saturated[b] = adc_row(y[b], draws, total[b], scale[b], deviation[b], bound, step, fresh)


def adc(
    y: np.ndarray,
    total: np.ndarray,
    scale: np.ndarray,
    noise: float,
    bits: float,
    bound: float,
    key: Key,
    step: int,
    fresh: bool = False,
    variance: np.ndarray | None = None,
) -> np.ndarray:
    """Add read noise to analog sums, convert them and accumulate them digitally: ``total += scale * ADC(y + noise * xi)``.

    Parameters
    ----------
    y : (n, lines) array
        Analog sums of one array.
    total : (n, lines) array
        Digital accumulator, updated in place; on the GPU contiguous.
    scale : (n,) array
        Factor of every vector.
    noise : float
        Standard deviation of the output noise, in the units of ``y``.
    bits, bound : float
        Resolution and range; ``inf`` for ideal.
    key, step
        Noise stream; the draw for line j of vector i is a function of (key, step, i, j).
    fresh : bool
        Whether to overwrite ``total`` instead of adding to it.
    variance : (n,) array in the type of ``y``
        Further variance of all sums of a vector, added to ``noise**2``.

    Returns
    -------
    (n,) int64 array
        Number of saturated values of each vector: those beyond ``bound`` by more than half a step, which rounding does not return to
        the outermost level.
    """
    y = np.ascontiguousarray(y, like=y)
    settings = y.dtype.type(noise), *uniform(y.dtype, bits, bound)
    varied = variance is not None
    if on_gpu(y):
        own = np.empty(0, y.dtype, like=y) if variance is None else np.ascontiguousarray(variance, like=y)
        counts, (parts, width) = np.zeros(len(y), np.uint64, like=y), neighbours(y.shape[1], noise > 0 or varied)
        given = y, total, scale, own, varied, counts, *settings, fresh, *key.words, *step_there(step)
        _ADC.along_rows(len(y), parts, *given, y.shape[1], width)
        return counts.view(np.int64)
    saturated = np.empty(len(y), np.int64)
    deviation = np.full(len(y), settings[0]) if variance is None else np.sqrt(settings[0] * settings[0] + variance)
    arrays = y, total, scale, row_numbers(len(y)), saturated, deviation
    over_slices(_adc_rows, SLOW if noise > 0 or varied else QUICK, arrays, *settings[1:], fresh, *key.words, np.uint64(step))
    return saturated
