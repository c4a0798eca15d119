"""Kalman filter of conductances that are moved by pulses and read with white and coloured noise.

The state is the conductance G and the slow part e of the read noise, a first-order autoregressive process:

    G' = G + d s f(G) (1 + σ_c ξ),    e' = φ e + sqrt(1 - φ²) σ_e ζ,    y = G + e + σ_r η

with independent standard normal ξ, ζ, η. The step f is linearised at the mean (extended Kalman filter; Jazwinski, Stochastic
Processes and Filtering Theory, 1970, ch. 8). A conductance pushed beyond a hard bound gets the moments of the normal number censored
there.
"""

from __future__ import annotations

import math

import numpy as np

from analogpc.kernels.compiled import compiled


@compiled
def _table(values, first, density, z):
    """Interpolate equally spaced values, ``density`` per unit of z, linearly, constant beyond the ends; also return the slope."""
    place = (z - first) * density
    if place <= 0.0:
        return values[0], 0.0
    if place >= values.size - 1:
        return values[-1], 0.0
    left = int(place)
    rise = values[left + 1] - values[left]
    return values[left] + (place - left) * rise, rise * density


@compiled
def _censored(mean, variance, bound, sign):
    """Return mean and variance of min(X, bound) (sign 1) or max(X, bound) (sign -1) for a normal X, and the uncensored probability."""
    deviation = math.sqrt(max(variance, 1e-300))
    a = sign * (bound - mean) / deviation
    if a > 6.0:
        return mean, variance, 1.0
    if a < -6.0:
        return bound, 1e-6 * variance, 0.0
    free, density = 0.5 * math.erfc(-a / math.sqrt(2.0)), math.exp(-a * a / 2) / math.sqrt(2 * math.pi)
    first = -density + a * (1 - free)
    second = free - a * density + a * a * (1 - free)
    return mean + sign * deviation * first, variance * max(second - first * first, 1e-6), free


@compiled
def _pulsed(m, p, c, offset, width, scale, steps, first, density, sign, cycle, low, high):
    """Return mean, variance and covariance with the slow noise after one pulse."""
    value, slope = _table(steps, first, density, (m - offset) / width)
    step, gain = sign * scale * width * value, 1.0 + sign * scale * slope
    m, p, c = m + step, gain * gain * p + (cycle * step) ** 2, gain * c
    if sign > 0 and high < math.inf:
        m, p, free = _censored(m, p, offset + width * high, 1.0)
        c *= free
    elif sign < 0 and low > -math.inf:
        m, p, free = _censored(m, p, offset + width * low, -1.0)
        c *= free
    return m, p, c


@compiled
def _filter(y, sign, pulses, device, up, down, first, spacing, affine, bounds, noise, surprise, variance, mean, spread):
    cycle, white, slow, memory = noise[0], noise[1], noise[2], noise[3]
    m, p, c, e, q = 0.0, 0.0, 0.0, 0.0, 0.0
    low, high, density = bounds[0], bounds[1], 1.0 / spacing
    fresh = (1.0 - memory * memory) * slow * slow
    for n in range(y.size):
        d = device[n]
        offset, width = affine[d, 0], affine[d, 1]
        if pulses[n] < 0:
            # A new series: only its first reading informs about the conductance, G = y - e - σ_r η.
            m, p, c, e, q = y[n], slow * slow + white * white, -slow * slow, 0.0, slow * slow
            surprise[n], variance[n], mean[n], spread[n] = 0.0, 1.0, m, p
            continue
        for _ in range(pulses[n]):
            if sign[n] > 0:
                m, p, c = _pulsed(m, p, c, offset, width, affine[d, 2], up, first, density, 1.0, cycle, low, high)
            else:
                m, p, c = _pulsed(m, p, c, offset, width, affine[d, 3], down, first, density, -1.0, cycle, low, high)
            c, e, q = memory * c, memory * e, memory * memory * q + fresh
        total = p + 2 * c + q + white * white
        v = y[n] - m - e
        surprise[n], variance[n] = v, total
        rate = 1.0 / total
        to_m, to_e = (p + c) * rate, (c + q) * rate
        m, e = m + to_m * v, e + to_e * v
        p, c, q = max(p - to_m * (p + c), 0.0), c - to_m * (c + q), max(q - to_e * (c + q), 0.0)
        mean[n], spread[n] = m, p


def filter_readings(
    readings: np.ndarray,
    sign: np.ndarray,
    pulses: np.ndarray,
    device: np.ndarray,
    tables: tuple[np.ndarray, np.ndarray],
    grid: tuple[float, float],
    affine: np.ndarray,
    bounds: tuple[float, float],
    noise: tuple[float, float, float, float],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return innovations and filtered conductances.

    Parameters
    ----------
    readings : (n,) float64
    sign : (n,) int64
        Direction of the pulses before each reading, 1 or -1.
    pulses : (n,) int64
        Number of these pulses; -1 starts a new series.
    device : (n,) int64
        Index of the device that was read.
    tables : two (m,) arrays
        Magnitudes of the steps up and down on a grid of places z, for a device of width and scale 1.
    grid : (first place, spacing)
        First place and spacing of the grid; beyond its ends the steps are constant.
    affine : (devices, 4)
        Offset and width, conductance = offset + width z, and factors on the steps up and down.
    bounds : (low, high)
        Hard bounds as places; -inf and inf for none.
    noise : (σ_c, σ_r, σ_e, φ)

    Returns
    -------
    surprise, variance : (n,)
        Innovations and their variances; 0 and 1 for the first reading of a series.
    mean, spread : (n,)
        Conductance given all readings so far, and its variance.
    """
    out = np.empty((4, readings.size))
    numbers = np.array(bounds, np.float64), np.array(noise, np.float64)
    _filter(readings, sign, pulses, device, *tables, *grid, affine, *numbers, *out)
    return out[0], out[1], out[2], out[3]


@compiled(allocates=True)
def _variants(y, sign, pulses, device, steps, which, first, spacing, affine, bounds, noise, surprise, variance):
    mean, spread = np.empty(y.size), np.empty(y.size)
    for k in range(which.size):
        up, down = steps[which[k], 0], steps[which[k], 1]
        _filter(
            y, sign, pulses, device, up, down, first, spacing, affine[k], bounds[k], noise[k],
            surprise[k], variance[k], mean, spread,
        )  # fmt: skip


def filter_variants(
    readings: np.ndarray,
    sign: np.ndarray,
    pulses: np.ndarray,
    device: np.ndarray,
    steps: np.ndarray,
    which: np.ndarray,
    grid: tuple[float, float],
    affine: np.ndarray,
    bounds: np.ndarray,
    noise: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return innovations and their variances for several models of the same readings.

    Parameters
    ----------
    readings, sign, pulses, device, grid
        As in `filter_readings`.
    steps : (tables, 2, m)
        Steps up and down on the grid.
    which : (models,) int64
        Index of the table of each model.
    affine : (models, devices, 4)
    bounds : (models, 2)
    noise : (models, 4)

    Returns
    -------
    surprise, variance : (models, n)
    """
    out = np.empty((2, which.size, readings.size))
    _variants(readings, sign, pulses, device, steps, which, *grid, affine, bounds, noise, *out)
    return out[0], out[1]


@compiled
def _scores(surprise, variance, inner, device, difference, scores, slopes):
    n = inner.size
    for k in range(1, surprise.shape[0]):
        for i in range(n):
            at = inner[i]
            v, s = surprise[0, at], variance[0, at]
            root = math.sqrt(s)
            by_v = (surprise[k, at] - v) / (difference * root)
            by_s = (variance[k, at] - s) / (difference * math.sqrt(2.0) * s)
            slopes[k - 1, i], slopes[k - 1, n + i] = by_v, by_s
            scores[k - 1, device[at]] += by_v * (v / root) + by_s * ((1 - v * v / s) / math.sqrt(2.0))


@compiled
def _blocks(slopes, device, own, cross):
    n, few = device.size, cross.shape[1]
    for i in range(n):
        d = device[i]
        for half in range(2):
            at = half * n + i
            for a in range(own.shape[1]):
                first = slopes[few + a, at]
                for b in range(own.shape[2]):
                    own[d, a, b] += first * slopes[few + b, at]
                for b in range(few):
                    cross[d, b, a] += slopes[b, at] * first


def filter_scores(
    surprise: np.ndarray,
    variance: np.ndarray,
    inner: np.ndarray,
    device: np.ndarray,
    devices: int,
    difference: float,
    shared: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradient of the negative log-likelihood and its information matrix, from models that differ in one parameter each.

    Parameters
    ----------
    surprise, variance : (1 + parameters, n)
        Result of `filter_variants`: the model itself, then the model with each parameter raised by ``difference``.
    inner : (m,) int64
        Indices of the readings that count.
    device : (n,) int64
    devices : int
    difference : float
    shared : int
        Number of parameters, the first ones, that all devices share; the others were raised for all devices together.

    Returns
    -------
    scores : (parameters, devices)
        Contribution of each device to the gradient, sum of v ∇v / S + ∇S (1 - v² / S) / (2 S).
    information : (shared, shared)
        Sum of ∇v ∇vᵀ / S + ∇S ∇Sᵀ / (2 S²).
    own : (devices, others, others)
        The same for the other parameters, device by device.
    cross : (devices, shared, others)
        The same between both.
    """
    count = len(surprise) - 1
    scores, slopes = np.zeros((count, devices)), np.empty((count, 2 * inner.size))
    _scores(surprise, variance, inner, device, float(difference), scores, slopes)
    others = count - shared
    own, cross = np.zeros((devices, others, others)), np.zeros((devices, shared, others))
    if others:
        _blocks(slopes, device[inner], own, cross)
    return scores, slopes[:shared] @ slopes[:shared].T, own, cross


@compiled
def _roll(start, sign, pulses, device, up, down, first, spacing, affine, bounds, cycle, mean, spread):
    m, p, density = 0.0, 0.0, 1.0 / spacing
    for n in range(sign.size):
        d = device[n]
        if pulses[n] < 0:
            m, p = start[n], 0.0
        for _ in range(pulses[n]):
            steps, scale, way = (up, affine[d, 2], 1.0) if sign[n] > 0 else (down, affine[d, 3], -1.0)
            m, p, _c = _pulsed(
                m, p, 0.0, affine[d, 0], affine[d, 1], scale, steps, first, density, way, cycle, bounds[0], bounds[1]
            )
        mean[n], spread[n] = m, p


def mean_path(
    start: np.ndarray,
    sign: np.ndarray,
    pulses: np.ndarray,
    device: np.ndarray,
    tables: tuple[np.ndarray, np.ndarray],
    grid: tuple[float, float],
    affine: np.ndarray,
    bounds: tuple[float, float],
    cycle: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean conductances, and their variance due to cycle-to-cycle noise, from given starts and without any reading.

    ``start`` (n,) is used where ``pulses`` is -1; the other parameters are those of `filter_readings`. Returns two (n,) arrays.
    """
    out = np.empty((2, sign.size))
    _roll(start, sign, pulses, device, *tables, *grid, affine, np.array(bounds, np.float64), float(cycle), *out)
    return out[0], out[1]
