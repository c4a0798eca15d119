"""Constant steps: one draw per device for a whole batch, as long as no bound can be reached in any order.

Steps that do not depend on the state add up: after n_up upward and n_down downward pulses, in any order, a device has moved by
up (n_up + spread X) - down (n_down + spread Y), X and Y sums of n_up and n_down independent normal numbers. Such a sum has exactly the
distribution of one normal number, of variance spread^2 (up^2 n_up + down^2 n_down). The draws have 32 random bits and end at 6.338
standard deviations; up to that resolution, which all normal numbers here have, the shortcut is exact.

The order is irrelevant only if no clipping can occur on the way. No draw exceeds `LARGEST_NORMAL`, so an upward pulse moves a device
upwards by at most up (1 + 6.34 spread) and downwards by at most up (6.34 spread - 1): if the worst case of all pulses of the batch
stays within the bounds, no order and no noise reaches one. A device for which this fails takes as many products at a time as are safe
from its present state (safety depends on the past and on the numbers of pulses, never on future noise, so that the next draw is
independent), and a product that is not safe by itself is applied pulse by pulse.
"""

from __future__ import annotations

import math

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.lines import row_weighted
from analogpc.kernels.pulses.planes import SCRATCH, list_planes, sum_planes
from analogpc.kernels.random.streams import LARGEST_NORMAL, normal, philox, row_normals, split
from analogpc.kernels.words import SLOTS, count_bits

_BATCH = np.uint32(0x80000000)
"""Bit in the second word of the counters of whole-batch draws, which those of single pulses never have."""


@compiled(forceinline=True)
def _safe(w, ups, downs, up, down, low, high, most):
    """Whether no order and no noise of the given pulses can reach a bound; ``most`` is the largest noise relative to a step."""
    one, zero = type(w)(1), type(w)(0)
    ahead, back = one + most, max(most - one, zero)
    rise = ups * up * ahead + downs * down * back
    fall = downs * down * ahead + ups * up * back
    return (w + rise <= high) & (w - fall >= low)


@compiled(forceinline=True)
def _moved(w, ups, downs, up, down, low, high, spread, xi):
    """Return the state after the given pulses, using one normal number."""
    deviation = spread * type(w)(math.sqrt(up * up * ups + down * down * downs))
    w += (up * ups - down * downs) + deviation * xi
    return min(max(w, low), high)


# One loop per array written: with several, the compiler would have to test too many pairs of arrays for overlap, and would not vectorise.
@compiled(error_model="numpy")
def _mark_unsafe(state, ups, downs, up, down, low, high, most, unsafe):
    """Mark the devices that pulses could move to a bound; return their number."""
    kind, some = type(most), 0
    for i in range(state.size):
        safe = _safe(state[i], kind(ups[i]), kind(downs[i]), up[i], down[i], low[i], high[i], most)
        unsafe[i] = (ups[i] + downs[i] > 0) & (low[i] < high[i]) & (not safe)
    for i in range(state.size):
        some += unsafe[i]
    return some


@compiled(error_model="numpy")
def _move_safe(state, ups, downs, up, down, low, high, spread, most, xi):
    """Move the other devices that received pulses."""
    kind = type(spread)
    for i in range(state.size):
        w, n, m = state[i], kind(ups[i]), kind(downs[i])
        moving = (ups[i] + downs[i] > 0) & (low[i] < high[i]) & _safe(w, n, m, up[i], down[i], low[i], high[i], most)
        state[i] = _moved(w, n, m, up[i], down[i], low[i], high[i], spread, kind(xi[i])) if moving else w


@compiled
def _depends(shape_up, shape_down):
    """Whether any step of a row depends on the state."""
    steep = 0
    for i in range(shape_up.size):
        steep += (shape_up[i] != 0) | (shape_down[i] != 0)
    return steep > 0


@compiled
def _tally(ups, downs, received):
    """Count the pulses of every device; return their sum."""
    fired = 0
    for i in range(ups.size):
        fired += ups[i] + downs[i]
    for i in range(ups.size):
        received[i] += ups[i] + downs[i]
    return fired


@compiled
def _words(c0, c1, step, k0, k1):
    """Return a block of draws for one device (not inlined: rarely called)."""
    c2, c3 = split(step)
    return philox(c0, c1, c2, c3, k0, k1)


@compiled(error_model="numpy")
def _one_device(state, row, column, j, i, up, down, low, high, spread, one_sided, index, k0, k1, steps):
    """Apply the products of a batch in turn, as many at a time as are safe; ``row`` and ``column`` are the trains of its lines."""
    w, kind = state, type(state)
    most = spread * kind(LARGEST_NORMAL)
    ups, downs, start = 0, 0, 0
    n = row.size
    for b in range(n + 1):
        hits, upward = 0, False
        if b < n:
            upward = (row[b] ^ column[b]) >> np.uint32(31) == 0
            hits = 0 if one_sided and not upward else int(count_bits(np.uint32(row[b] & column[b] & SLOTS)))
            if hits == 0:
                continue
            more, fewer = (ups + hits, downs) if upward else (ups, downs + hits)
            if _safe(w, kind(more), kind(fewer), up, down, low, high, most):
                start = b if ups + downs == 0 else start
                ups, downs = more, fewer
                continue
        if ups + downs > 0:
            words = _words(np.uint32(i // 4), _BATCH | np.uint32(j), steps[start], k0, k1)
            w = _moved(w, kind(ups), kind(downs), up, down, low, high, spread, kind(normal(words[i % 4])))
            ups, downs, start = 0, 0, b
        if hits > 0 and _safe(w, kind(hits * upward), kind(hits * (not upward)), up, down, low, high, most):
            ups, downs = hits * upward, hits * (not upward)
            continue
        step = up if upward else -down
        for k in range(hits):
            if k % 4 == 0 and spread > 0:
                words = _words(np.uint32(index), np.uint32(k // 4), steps[b], k0, k1)
            noise = spread * kind(normal(words[k % 4])) if spread > 0 else kind(0)
            w = min(max(w + step * (kind(1) + noise), low), high)
    return w


def room(n: int, width: int, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """Allocate working space for rows.

    The planes, the digits of their sum (two views), pulses upwards and downwards, normal numbers, marks, products of states.
    """
    places, digits = np.empty(31 * n + 8, np.uint64), np.empty(SCRATCH, np.uint64)
    counts = np.zeros((2, width), np.int32)
    xi, unsafe, products = (
        np.zeros((width + 3) // 4 * 4, np.float32),
        np.empty(width, np.uint8),
        np.empty(width + width // 8, dtype),
    )
    return places, digits, digits.view(np.uint32), counts, xi, unsafe, products


@compiled
def apply_constant(
    begin, end, room, state, rows, columns, planes, one_sided, up, down, shape_up, shape_down, low, high, spread, k0, k1, steps,
    received, fired, found,
):  # fmt: skip
    """Apply a batch to those rows of devices from ``begin`` to ``end`` whose steps are all constant.

    ``rows`` (rows, n) and ``columns`` (columns, n) hold the trains of a line contiguously, ``planes`` are from `bit_planes`. ``fired``
    (rows,) int64 is set to the number of pulses that a row received, or to -1 if it has state-dependent steps; a nonempty ``found``
    (rows,) float64 is set to the sum of the states before the batch, each times ``received``.
    """
    width = state.shape[1]
    c2, c3 = split(steps[0])
    most = spread * type(spread)(LARGEST_NORMAL)
    places, digits, halves, counts, xi, unsafe, products = room
    ups, downs = counts[0], counts[1]
    for j in range(begin, end):
        if _depends(shape_up[j], shape_down[j]):
            fired[j] = -1
            continue
        count = list_planes(rows[j], places)
        sum_planes(planes, places, count, np.uint64(0), digits, halves, ups)
        if not one_sided:
            sum_planes(planes, places, count, np.uint64(1), digits, halves, downs)
        fired[j] = _tally(ups, downs, received[j])
        if found.size > 0:
            found[j] = row_weighted(received[j], state[j], products)
        if spread > 0:
            row_normals(xi, _BATCH | np.uint32(j), c2, c3, k0, k1, 0)
        some = _mark_unsafe(state[j], ups, downs, up[j], down[j], low[j], high[j], most, unsafe)
        _move_safe(state[j], ups, downs, up[j], down[j], low[j], high[j], spread, most, xi)
        for i in range(width if some > 0 else 0):
            if unsafe[i]:
                # fmt: off
                state[j, i] = _one_device(
                    state[j, i], rows[j], columns[i], j, i, up[j, i], down[j, i], low[j, i], high[j, i], spread, one_sided,
                    j * width + i, k0, k1, steps,
                )
                # fmt: on
