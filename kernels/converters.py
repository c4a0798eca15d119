"""Digital-to-analog and analog-to-digital conversion around a matrix product, each fused into one pass.

Both converters are uniform and symmetric about zero: b bits give the 2**b - 1 levels k * step, |k| <= 2**(b-1) - 1, with
step = bound / (2**(b-1) - 1), as in aihwkit (Rasch et al. 2021, arXiv 2104.02184). ``step = 0`` means infinite resolution and
``bound = inf`` means no saturation.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from analogpc.kernels.streams import Key, normal, philox, split


def quantisation_step(bits: float, bound: float) -> float:
    """The distance between two levels of a converter of ``bits`` bits and range +-``bound``; 0 for ``bits = inf``."""
    return 0.0 if math.isinf(bits) else bound / (2.0 ** (bits - 1) - 1.0)


@nb.njit(cache=True)
def _convert(value, bound, step):
    """Clip to +-bound, then round to the nearest level, ties to even."""
    if value > bound:
        value = bound
    elif value < -bound:
        value = -bound
    if step > 0:
        value = np.rint(value / step) * step
    return value


@nb.njit(cache=True, parallel=True)
def _dac(x, out, scale, managed, given, bound, step, reduction):
    saturated = 0
    for b in nb.prange(x.shape[0]):
        factor = reduction
        if managed:
            largest = x.dtype.type(0)
            if given:
                largest = scale[b]
            else:
                for j in range(x.shape[1]):
                    magnitude = abs(x[b, j])
                    if magnitude > largest:
                        largest = magnitude
            if largest != 0:
                factor = largest / bound * reduction
        scale[b] = factor
        clipped = 0
        for j in range(x.shape[1]):
            value = x[b, j] / factor
            if abs(value) > bound:
                clipped += 1
            out[b, j] = _convert(value, bound, step)
        saturated += clipped
    return saturated


def dac(
    x: np.ndarray, bits: float, bound: float, managed: bool, reduction: float = 1.0, magnitudes: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Drive the lines of an array with digital vectors.

    Parameters
    ----------
    x : (n, lines) array, float32 or float64
        Digital values.
    bits, bound : float
        Resolution and range of the converter; ``inf`` for ideal.
    managed : bool
        Noise management: every vector is scaled so that its largest magnitude meets ``bound`` unless that is infinite.
        Otherwise values beyond ``bound`` saturate.
    reduction : float
        Drive the lines so many times weaker than that; ``scale`` makes up for it.
    magnitudes : (n,) array
        If managed, let these meet ``bound`` instead of the largest magnitudes; zero leaves a vector as it is.

    Returns
    -------
    driven : (n, lines) array
        What the lines carry.
    scale : (n,) array
        ``x`` is about ``scale[:, None] * driven``; ``reduction`` when not managed, and for a vector of zeros.
    saturated : int
        Values that were clipped.
    """
    out, scale = np.empty_like(x), np.empty(len(x), x.dtype)
    kind = x.dtype.type
    managed = managed and math.isfinite(bound)
    if math.isinf(bits) and math.isinf(bound) and reduction == 1:
        # Scaling by the maximum and back only rounds when nothing is lost by leaving it out.
        scale[:] = 1
        return x, scale, 0
    if magnitudes is not None:
        scale[:] = magnitudes
    range_ = kind(bound), kind(quantisation_step(bits, bound))
    saturated = _dac(x, out, scale, managed, magnitudes is not None, *range_, kind(reduction))
    return out, scale, int(saturated)


@nb.njit(cache=True, parallel=True)
def _adc(y, total, scale, noise, bound, step, k0, k1, when, saturated):
    c2, c3 = split(when)
    for b in nb.prange(y.shape[0]):
        c1 = np.uint32(b)
        clipped = 0
        for block in range((y.shape[1] + 3) // 4):
            first = 4 * block
            words = (np.uint32(0), np.uint32(0), np.uint32(0), np.uint32(0))
            if noise > 0:
                words = philox(np.uint32(block), c1, c2, c3, k0, k1)
            for lane in range(min(4, y.shape[1] - first)):
                value = y[b, first + lane]
                if noise > 0:
                    value += noise * normal(words[lane])
                if abs(value) > bound:
                    clipped += 1
                total[b, first + lane] += scale[b] * _convert(value, bound, step)
        saturated[b] = clipped


def adc(
    y: np.ndarray,
    total: np.ndarray,
    scale: np.ndarray,
    noise: float,
    bits: float,
    bound: float,
    key: Key,
    step: int,
) -> np.ndarray:
    """Add read noise to analog sums, convert them and accumulate them digitally: ``total += scale * ADC(y + noise * xi)``.

    Parameters
    ----------
    y : (n, lines) array
        Analog sums of one array.
    total : (n, lines) array
        Digital accumulator, changed in place.
    scale : (n,) array
        Factor of every vector.
    noise : float
        Standard deviation of the output noise, in the units of ``y``.
    bits, bound : float
        Resolution and range; ``inf`` for ideal.
    key, step
        Noise stream; the draw of line j of vector i is a function of (key, step, i, j).

    Returns
    -------
    (n,) int64 array
        Values of each vector that were clipped.
    """
    kind = y.dtype.type
    saturated = np.zeros(len(y), np.int64)
    if noise == 0 and math.isinf(bits) and math.isinf(bound):
        total += scale[:, None] * y
        return saturated
    where = (kind(noise), kind(bound), kind(quantisation_step(bits, bound)), *key.words, np.uint64(step))
    _adc(y, total, scale, *where, saturated)
    return saturated
