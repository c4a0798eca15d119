"""Moments of the states of a block of devices through many products of pulse trains, for steps that depend linearly on the state.

A pulse takes w to w + s (1 + c w) + noise, where s is the signed step and c its shape. With additive noise, s spread xi, the state after
any pulses in any order is a sum of independent normal numbers: it is normal, and its mean and variance follow from pulse to pulse without
a draw. With multiplicative noise, s (1 + c w) spread xi, a pulse multiplies the distance from the fixed point -1/c by
(1 + x) (1 + r xi), x = s c and r = spread x / (1 + x). The state is then not normal, but its moments still follow from pulse to pulse.
For n pulses in one direction, a the mean and u the deviation from it, f = 1 + c a, e = s spread f / (1 + x), V = E u^2, K3 and K4 the
third and fourth cumulant:

    a  -> a + s f S,    S = 1 + (1 + x) + ... + (1 + x)^(n-1)
    V  -> (1+x)^(2n) [V + n e^2 + n r^2 (V + (n-1) e^2 / 2)]
    K3 -> (1+x)^(3n) [K3 + 3 n r e (2 V + (n-1) e^2)]
    K4 -> (1+x)^(4n) [K4 + n r^2 ((n-1)(16n-20) e^4 + (48n-36) e^2 V + 12 V^2) + 12 n r e K3]

The mean is exact; the others are exact up to terms smaller by a factor of D^2, the sum of r^2 over the pulses of a group of products.
The state is then drawn by the quantile function of its distribution at one normal number z, in the expansion of Cornish and Fisher
(Revue de l'Institut International de Statistique 5:307, 1938):

    a + V^(1/2) [z + g (z^2 - 1)/6 + k (z^3 - 3 z)/24 - g^2 (2 z^3 - 5 z)/36],    g = K3 / V^(3/2),  k = K4 / V^2.

The error is of order D^3, and groups are kept so small that D^2 <= 2e-4: the error of the distribution function is then below 3e-7,
comparable to the accuracy of `streams.normal` (1e-6 of a value).

All this holds as long as no bound is reached. Until then, the deviation from the mean path is a martingale with normal increments whose
variances are bounded as long as the state stays in the neighbourhood that it can reach. It then exceeds seven times the root of the sum
of these bounds, upwards or downwards, with a probability below exp(-7^2 / 2) = 2.3e-11 each (Freedman, Ann. Probab. 3:100, 1975), less
than one step of the 32 bits of a draw. A group is safe for a device if mean path and margin stay within its bounds. That depends on the
past and on the pulses, never on future noise.
"""

from __future__ import annotations

import math

import numpy as np

from analogpc.kernels.compiled import compiled, intrinsic
from analogpc.kernels.words import SLOTS, count_bits, lowest_bit

COLUMNS = 256
"""Number of devices of a block, whose data fit into the first-level cache."""
WORDS = COLUMNS // 64
"""Number of 64-bit words with a bit for every device of a block."""
_MARGIN, _WIDEST, _STEEPEST, _FASTEST = 7.0, 2e-4, 2.0**-4, 0.375
# Offsets in the working space of a block, one array with constant distances for vectorised loops (see `pulse_planes`). From _SHAPE on,
# offsets for upward pulses are followed by those for downward pulses.
(STATE, _LOW, HIGH, _UP, _DOWN, _MEAN, _VARIANCE, _THIRD, _FOURTH, UPS, DOWNS) = (np.uint64(COLUMNS * k) for k in range(11))
(_SHAPE, _LOG, _GAIN, _NOISE, _RELATIVE) = (np.uint64(COLUMNS * k) for k in range(11, 21, 2))
_OTHER = np.uint64(COLUMNS)
PLACES = 21
"""Working space in units of COLUMNS numbers."""


@intrinsic(lambda which, a, b: a(which, a, b))
def pick(builder, which, a, b):
    """Return ``a`` where ``which`` is true, else ``b``, of one type: unlike Python's expression never a branch or a choice of address."""
    return builder.select(which, a, b)


@compiled(forceinline=True)
def _log_ratio(x):
    """Return log(1 + x) / x for abs(x) up to `_STEEPEST`, to 2e-12."""
    kind, total = type(x), type(x)(1 / 9)
    for k in (8, 7, 6, 5, 4, 3, 2, 1):
        total = kind((-1) ** (k + 1) / k) + x * total
    return total


@compiled(forceinline=True)
def _exp_ratio(t):
    """Return (exp(t) - 1) / t for abs(t) up to 0.4, to 2e-9."""
    kind = type(t)
    low = (kind(1 / 6) * t + kind(1 / 2)) * t + kind(1)
    high = ((kind(1 / 40320) * t + kind(1 / 5040)) * t + kind(1 / 720)) * t + kind(1 / 120)
    return (high * t + kind(1 / 24)) * (t * t * t) + low


@compiled(forceinline=True, error_model="numpy")
def load(work, lanes, left, state, up, down, shape_up, shape_down, low, high, spread, additive):
    """Load ``lanes`` devices of a row, from column ``left`` on, into the working space, with their responses to a pulse.

    Noise is in units of the larger step times the spread.
    """
    one, kind = type(spread)(1), type(spread)
    for i in range(lanes):
        c = left + i
        work[STATE + i], work[_LOW + i], work[HIGH + i] = state[c], low[c], high[c]
        work[_UP + i], work[_DOWN + i] = up[c], down[c]
        work[_SHAPE + i], work[_SHAPE + _OTHER + i] = shape_up[c], shape_down[c]
    for i in range(lanes):
        for other in (np.uint64(0), _OTHER):
            step = work[_UP + i] if other == 0 else -work[_DOWN + i]
            size, x = step / max(work[_UP + i], work[_DOWN + i]), step * work[_SHAPE + other + i]
            ratio = _log_ratio(x)
            work[_LOG + other + i] = x * ratio
            work[_GAIN + other + i] = step * ratio
            work[_NOISE + other + i] = size * size * ratio / (one + x / kind(2)) if additive else size / (one + x)
            work[_RELATIVE + other + i] = spread * x / (one + x)


@compiled(forceinline=True)
def device(work, i, upward):
    """Return the state of a device, its step and shape in a direction, and its bounds."""
    other = 0 if upward else COLUMNS
    step, shape = work[int(_UP) + other + i], work[int(_SHAPE) + other + i]
    step = step if upward else -step
    return work[i], step, shape, work[int(_LOW) + i], work[int(HIGH) + i]


@compiled
def begin(work, lanes):
    """Start a group of products with known states."""
    for i in range(lanes):
        work[_MEAN + i] = work[STATE + i]
    for i in range(_VARIANCE, _SHAPE):
        work[i] = 0


@compiled(forceinline=True, error_model="numpy")
def _advance_one(work, i, slots, row, column, one_sided, additive):
    """Update the moments of device ``i`` for the coincidences of the trains ``row`` and ``column``; without any they stay as they are."""
    kind = type(work[0])
    zero, one, two = kind(0), kind(1), kind(2)
    upward = np.int32(row ^ column) >= 0
    hits = kind(np.int32(count_bits(np.uint32(slots & column))))
    ups, downs = pick(upward, hits, zero), pick(upward | one_sided, zero, hits)
    h = ups + downs
    work[UPS + i] += ups
    work[DOWNS + i] += downs
    shape = pick(upward, work[_SHAPE + i], work[_SHAPE + _OTHER + i])
    log = pick(upward, work[_LOG + i], work[_LOG + _OTHER + i])
    gain = pick(upward, work[_GAIN + i], work[_GAIN + _OTHER + i])
    noise = pick(upward, work[_NOISE + i], work[_NOISE + _OTHER + i])
    mean, variance = work[_MEAN + i], work[_VARIANCE + i]
    factor = one + shape * mean
    some = h * _exp_ratio(h * log)
    less = log * some
    kept = one + less
    square = kept * kept
    work[_MEAN + i] = mean + gain * factor * some
    if additive:
        work[_VARIANCE + i] = square * variance + noise * some * (one + less / two)
    else:
        r = pick(upward, work[_RELATIVE + i], work[_RELATIVE + _OTHER + i])
        third, fourth = work[_THIRD + i], work[_FOURTH + i]
        e, hr = noise * factor, h * r
        e2, rr, hre = e * e, hr * r, kind(3) * hr * e
        again = (h - one) * e2
        work[_VARIANCE + i] = square * (variance + h * e2 + rr * (variance + again / two))
        work[_THIRD + i] = square * kept * (third + hre * (two * variance + again))
        more = again * e2 * (kind(16) * h - kind(20)) + variance * (kind(12) * variance + (kind(48) * h - kind(36)) * e2)
        work[_FOURTH + i] = square * square * (fourth + rr * more + kind(4) * hre * third)


@compiled(forceinline=True, error_model="numpy")
def _advance_once(work, i, downward, additive):
    """Perform `_advance_one` for a single pulse, where the formulas are short: equal up to rounding."""
    kind, one = type(work[0]), type(work[0])(1)
    # Offsets, not branches: directions cannot be predicted.
    other = np.uint64(downward) * _OTHER + i
    work[UPS + other] += one
    size = work[_UP + other]
    step, shape, noise = pick(downward, -size, size), work[_SHAPE + other], work[_NOISE + other]
    mean, variance = work[_MEAN + i], work[_VARIANCE + i]
    factor, kept = one + shape * mean, one + step * shape
    square = kept * kept
    work[_MEAN + i] = mean + step * factor
    if additive:
        size = size / max(work[_UP + i], work[_DOWN + i])
        work[_VARIANCE + i] = square * variance + size * size
    else:
        r, third, fourth = work[_RELATIVE + other], work[_THIRD + i], work[_FOURTH + i]
        e = noise * factor
        e2, rr, re = e * e, r * r, r * e
        work[_VARIANCE + i] = square * (variance + e2 + rr * variance)
        work[_THIRD + i] = square * kept * (third + kind(6) * re * variance)
        work[_FOURTH + i] = square * square * (fourth + kind(12) * rr * variance * (variance + e2) + kind(12) * re * third)


@compiled(forceinline=True, error_model="numpy")
def advance(work, lanes, left, row, columns, one_sided, additive):
    """Update the moments for one product of the train ``row`` and those of ``columns`` from ``left`` on."""
    slots = np.uint32(row & SLOTS)
    for i in range(lanes):
        _advance_one(work, i, slots, row, columns[left + i], one_sided, additive)


@compiled(forceinline=True, error_model="numpy")
def advance_some(work, marks, left, row, columns, one_sided, additive):
    """Perform `advance` for the devices marked in ``marks`` (see `dense_rows.mark_block`); equal up to rounding."""
    slots, one = np.uint32(row & SLOTS), np.uint64(1)
    for w in range(np.uint64(WORDS)):
        # The trains of the columns are not read for single pulses: they are not in the first-level cache.
        bits, downward, first = marks[w] & ~marks[np.uint64(WORDS) + w], marks[np.uint64(2 * WORDS) + w], np.uint64(64) * w
        while bits != 0:
            place = np.uint64(lowest_bit(bits))
            bits &= bits - one
            _advance_once(work, first + place, (downward >> place) & one != 0, additive)
    for w in range(np.uint64(WORDS)):
        bits, first = marks[np.uint64(WORDS) + w], np.uint64(64) * w
        while bits != 0:
            i = first + lowest_bit(bits)
            bits &= bits - one
            _advance_one(work, i, slots, row, columns[left + i], one_sided, additive)


@compiled(forceinline=True, error_model="numpy")
def mark_unsafe(work, lanes, spread, additive, unsafe):
    """Mark the devices for which a group is too large; return their number."""
    kind, some = type(spread), 0
    zero, one, margin = kind(0), kind(1), kind(_MARGIN) * spread
    for i in range(lanes):
        w, n, m, up, down = work[STATE + i], work[UPS + i], work[DOWNS + i], work[_UP + i], work[_DOWN + i]
        c, d = work[_SHAPE + i], work[_SHAPE + _OTHER + i]
        at_up, at_down = one + c * w, one + d * w
        c, d = abs(c), abs(d)
        rate_up, rate_down = up * c, down * d
        # A deviation grows or shrinks on the way, by less than exp(2.1 x) <= 1 + 3.2 x for rates x up to _FASTEST.
        loose = margin * (one + kind(3.2) * (n * rate_up + m * rate_down))
        # The reach of a path solves reach = steps and noise at the largest factors within reach.
        far_n, far_m, noise = n, m, zero
        if additive:
            noise = loose * kind(math.sqrt(n * up * up + m * down * down))
        else:
            far_n, far_m = n + loose * kind(math.sqrt(n)), m + loose * kind(math.sqrt(m))
        rate = far_n * rate_up + far_m * rate_down
        reach = (far_n * up * abs(at_up) + far_m * down * abs(at_down) + noise) / (one - rate)
        c, d = c * reach, d * reach
        if not additive:
            a, b = up * (abs(at_up) + c), down * (abs(at_down) + d)
            noise = loose * kind(math.sqrt(n * a * a + m * b * b))
        rise = n * up * max(at_up + c, zero) + m * down * max(d - at_down, zero) + noise
        fall = m * down * max(at_down + d, zero) + n * up * max(c - at_up, zero) + noise
        wide = zero if additive else spread * spread * (n * rate_up * rate_up + m * rate_down * rate_down)
        safe = (rate <= kind(_FASTEST)) & (wide <= kind(_WIDEST)) & (max(rate_up, rate_down) <= kind(_STEEPEST))
        safe &= (w + rise <= work[HIGH + i]) & (w - fall >= work[_LOW + i])
        unsafe[i] = (n + m > zero) & (work[_LOW + i] < work[HIGH + i]) & (not safe)
    for i in range(lanes):
        some += unsafe[i]
    return some


@compiled(forceinline=True, error_model="numpy")
def settle(work, lanes, spread, additive, xi):
    """Move the devices that received pulses, with one normal number each."""
    kind = type(spread)
    zero, one = kind(0), kind(1)
    for i in range(lanes):
        variance, z = work[_VARIANCE + i], kind(xi[i])
        deviation = max(work[_UP + i], work[_DOWN + i]) * spread * kind(math.sqrt(variance))
        if not additive:
            inverse = pick(variance > zero, one / variance, zero)
            skew = work[_THIRD + i] * inverse * kind(math.sqrt(inverse))
            excess, z2 = work[_FOURTH + i] * inverse * inverse, z * z
            bend = kind(1 / 24) * excess * (z2 - kind(3)) - kind(1 / 36) * skew * skew * (z2 + z2 - kind(5))
            z += kind(1 / 6) * skew * (z2 - one) + bend * z
        low, high = work[_LOW + i], work[HIGH + i]
        moving = (work[UPS + i] + work[DOWNS + i] > zero) & (low < high)
        work[STATE + i] = pick(moving, min(max(work[_MEAN + i] + deviation * z, low), high), work[STATE + i])


@compiled
def tally(work, lanes, left, received):
    """Count the pulses of every device of a row in a group; return their sum."""
    fired = 0
    for i in range(lanes):
        received[left + i] += np.int32(work[UPS + i] + work[DOWNS + i])
    for i in range(lanes):
        fired += np.int32(work[UPS + i] + work[DOWNS + i])
    return fired
