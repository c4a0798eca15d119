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
from analogpc.kernels.lines import row_total, row_weighted
from analogpc.kernels.memory import prefetch
from analogpc.kernels.random.streams import LARGEST_NORMAL, normal, philox, row_normals, split
from analogpc.kernels.words import SLOTS, count_bits, lowest_bit

_BATCH = np.uint32(0x80000000)
"""Bit in the second word of the counters of whole-batch draws, which those of single pulses never have."""
_FEW = 16
"""All devices of a row are moved together unless there are fewer pulses than one for this many devices."""
_AHEAD = 4
"""Number of rows from a prefetch to the use of what it brings."""


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
    some = 0
    for i in range(state.size):
        safe = _safe(state[i], ups[i], downs[i], up[i], down[i], low[i], high[i], most)
        unsafe[i] = (ups[i] + downs[i] > 0) & (low[i] < high[i]) & (not safe)
    for i in range(state.size):
        some += unsafe[i]
    return some


@compiled(error_model="numpy")
def _move_safe(state, ups, downs, up, down, low, high, spread, unsafe, xi):
    """Move the other devices that received pulses."""
    kind = type(spread)
    for i in range(state.size):
        w = state[i]
        moving = (ups[i] + downs[i] > 0) & (low[i] < high[i]) & (unsafe[i] == 0)
        state[i] = _moved(w, ups[i], downs[i], up[i], down[i], low[i], high[i], spread, kind(xi[i])) if moving else w


@compiled
def _depends(shape_up, shape_down):
    """Whether any step of a row depends on the state."""
    steep = 0
    for i in range(shape_up.size):
        steep += (shape_up[i] != 0) | (shape_down[i] != 0)
    return steep > 0


@compiled
def _load(upwards, downwards, one_sided, pulses):
    """Load the pulses of a row as numbers in the type of the states: upwards, downwards and both."""
    kind = pulses.dtype.type
    for i in range(upwards.size):
        pulses[0, i] = kind(upwards[i])
    for i in range(upwards.size):
        pulses[1, i] = kind(0) if one_sided else kind(downwards[i])
    for i in range(upwards.size):
        pulses[2, i] = pulses[0, i] + pulses[1, i]


@compiled
def _words(c0, c1, step, k0, k1):
    """Return a block of draws for one device (not inlined: rarely called)."""
    c2, c3 = split(step)
    return philox(c0, c1, c2, c3, k0, k1)


@compiled(error_model="numpy")
def _one_device(state, row, column, turn, j, i, up, down, low, high, spread, one_sided, index, k0, k1, steps):
    """Apply the products of a batch in turn, as many at a time as are safe; ``row`` and ``column`` are the trains of its lines."""
    w, kind = state, type(state)
    most = spread * kind(LARGEST_NORMAL)
    ups, downs, start = 0, 0, 0
    n = row.size
    for b in range(n + 1):
        hits, upward = 0, False
        if b < n:
            upward = np.uint32(row[b] ^ column[b] ^ turn) >> np.uint32(31) == 0
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


@compiled
def _sum_few(state, counts, first, second, one_sided, marks, products):
    """Return what `lines.row_weighted` returns; ``products`` holds zeros for a row, and room for an eighth of one."""
    kind, width = state.dtype.type, state.size
    for w in range(marks.size):
        bits = marks[w]
        while bits != 0:
            i = 64 * w + int(lowest_bit(bits))
            bits &= bits - np.uint64(1)
            products[i] = (kind(counts[first, i]) + (kind(0) if one_sided else kind(counts[second, i]))) * state[i]
    total = row_total(products[:width], products[width : width + width // 8])
    for w in range(marks.size):
        bits = marks[w]
        while bits != 0:
            products[64 * w + int(lowest_bit(bits))] = kind(0)
            bits &= bits - np.uint64(1)
    return total


@compiled(error_model="numpy")
def _move_few(
    state, counts, first, second, one_sided, up, down, low, high, spread, most, marks, j, k0, k1, step, row, columns, turn, steps
):  # fmt: skip
    """Move the few devices in ``marks``: only these get a normal number."""
    kind = type(spread)
    for w in range(marks.size):
        bits = marks[w]
        while bits != 0:
            i = 64 * w + int(lowest_bit(bits))
            bits &= bits - np.uint64(1)
            ups, downs = kind(counts[first, i]), kind(0) if one_sided else kind(counts[second, i])
            if ups + downs == 0 or low[i] >= high[i]:
                continue
            if _safe(state[i], ups, downs, up[i], down[i], low[i], high[i], most):
                xi = kind(0)
                if spread > 0:
                    xi = kind(normal(_words(np.uint32(i // 4), _BATCH | np.uint32(j), step, k0, k1)[i % 4]))
                state[i] = _moved(state[i], ups, downs, up[i], down[i], low[i], high[i], spread, xi)
            else:
                # fmt: off
                state[i] = _one_device(
                    state[i], row, columns[i], turn, j, i, up[i], down[i], low[i], high[i], spread, one_sided, j * state.size + i,
                    k0, k1, steps,
                )
                # fmt: on


@compiled(forceinline=True)
def _prefetch_one(array, j, i):
    prefetch(array.ctypes.data + j * array.strides[0] + i * array.strides[1])


@compiled
def _prefetch_few(j, state, up, down, low, high, marks):
    """Bring what `_move_few` will need of a row to the cache, which would wait for memory at every device."""
    for w in range(marks.shape[1]):
        bits = marks[j, w]
        while bits != 0:
            i = 64 * w + int(lowest_bit(bits))
            bits &= bits - np.uint64(1)
            _prefetch_one(state, j, i)
            _prefetch_one(up, j, i)
            _prefetch_one(down, j, i)
            _prefetch_one(low, j, i)
            _prefetch_one(high, j, i)


def room(width: int, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """Allocate working space for rows: pulses upwards, downwards and both; normal numbers, marks, products of states, and of few."""
    xi, unsafe = np.zeros((width + 3) // 4 * 4, np.float32), np.empty(width, np.uint8)
    return np.empty((3, width), dtype), xi, unsafe, np.empty(width + width // 8, dtype), np.zeros(width + width // 8, dtype)


@compiled
def apply_constant(
    begin, end, room, state, slots, rows, columns, counts, marks, pulses, turn, one_sided, up, down, shape_up, shape_down, low, high,
    spread, k0, k1, steps, received, fired, found,
):  # fmt: skip
    """Apply a batch to those rows of devices from ``begin`` to ``end`` whose steps are all constant.

    ``slots`` (rows,) are the numbers of slots of a row; rows without one receive no pulse. ``rows`` (rows, n) and ``columns`` (columns,
    n) hold the trains of a line contiguously; ``counts``, ``marks`` and ``pulses`` are from `count_coincidences`. ``turn`` is 0, or the
    sign bit if all directions are inverted. ``fired`` (rows,) int64 is set to the number of pulses that a row received, or to -1 if it
    received any and has state-dependent steps; a nonempty ``found`` (rows,) float64 is set to the sum of the states before the batch,
    each times its pulses. A nonempty ``received`` (rows, columns) counts the pulses.
    """
    width = state.shape[1]
    c2, c3 = split(steps[0])
    most = spread * type(spread)(LARGEST_NORMAL)
    loaded, xi, unsafe, products, few = room
    ups, downs, both = loaded[0], loaded[1], loaded[2]
    first, second = (1, 0) if turn != 0 else (0, 1)
    for j in range(begin, end):
        ahead = j + _AHEAD
        if ahead < end and slots[ahead] > 0 and _FEW * (pulses[ahead, 0] + pulses[ahead, 1]) < width:
            _prefetch_few(ahead, state, up, down, low, high, marks)
        fired[j] = 0
        if found.size > 0:
            found[j] = 0.0
        if slots[j] == 0:
            continue
        fired[j] = pulses[j, first] + (0 if one_sided else pulses[j, second])
        if fired[j] == 0:
            continue
        if _depends(shape_up[j], shape_down[j]):
            fired[j] = -1
            continue
        if _FEW * fired[j] < width:
            for i in range(width if received.size > 0 else 0):
                received[j, i] += np.int32(counts[j, first, i]) + (np.int32(0) if one_sided else np.int32(counts[j, second, i]))
            if found.size > 0:
                found[j] = _sum_few(state[j], counts[j], first, second, one_sided, marks[j], few)
            _move_few(
                state[j], counts[j], first, second, one_sided, up[j], down[j], low[j], high[j], spread, most, marks[j], j, k0, k1,
                steps[0], rows[j], columns, turn, steps,
            )  # fmt: skip
            continue
        _load(counts[j, first], counts[j, second], one_sided, loaded)
        for i in range(width if received.size > 0 else 0):
            received[j, i] += np.int32(both[i])
        if found.size > 0:
            found[j] = row_weighted(both, state[j], products)
        if spread > 0:
            row_normals(xi, _BATCH | np.uint32(j), c2, c3, k0, k1, 0)
        some = _mark_unsafe(state[j], ups, downs, up[j], down[j], low[j], high[j], most, unsafe)
        _move_safe(state[j], ups, downs, up[j], down[j], low[j], high[j], spread, unsafe, xi)
        for i in range(width if some > 0 else 0):
            if unsafe[i] and ups[i] + downs[i] > 0:
                # fmt: off
                state[j, i] = _one_device(
                    state[j, i], rows[j], columns[i], turn, j, i, up[j, i], down[j, i], low[j, i], high[j, i], spread, one_sided,
                    j * width + i, k0, k1, steps,
                )
                # fmt: on
