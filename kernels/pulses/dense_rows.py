"""Steps that depend linearly on the state, for busy lines: whole rows together, and one draw for many products.

A row is cut into blocks of columns, whose devices are processed side by side in vectorised loops, whether they fire or not; in products
in which few of them fire, only those are visited.
`pulse_moments` documents the method, the draws, and when a group of products is safe for a device. Groups hold up to a given number of
slots of the row, and fewer where they are not safe for many devices of a block. A device for which a group is not safe is processed
pulse by pulse, with the same draws as in `pulses.apply_pulses`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.lines import row_weighted
from analogpc.kernels.pulses.moments import (
    COLUMNS,
    DOWNS,
    PLACES,
    STATE,
    UPS,
    WORDS,
    advance,
    advance_some,
    begin,
    device,
    load,
    mark_unsafe,
    settle,
    tally,
)
from analogpc.kernels.pulses.planes import COLUMNS as PLANE_COLUMNS
from analogpc.kernels.pulses.planes import WORDS as PLANE_WORDS
from analogpc.kernels.pulses.updates import ADDITIVE
from analogpc.kernels.random.streams import normal, philox, split
from analogpc.kernels.words import MAX_LENGTH, SLOTS, count_bits, lowest_bit

_GROUP = np.uint32(0xC0000000)
"""Bits in the second word of the counters of draws for a group of products; no other counters have both bits."""
_LEAST_SLOTS, _MOST_SLOTS, _PULSES = 96, 384, 16.0
"""Slots of a row in a group of several products: as many as send `_PULSES` pulses to a device on average, within these limits. Larger
groups need fewer draws, but more devices may reach a bound within one."""
_FEW = 8
"""Groups are made smaller if more than one device in this many is unsafe."""
_FEW_SLOTS, _SPARSE = 12, 5
"""Products with at most that many slots of the row are examined for devices that fire; these are processed one by one if fewer than
one in `_SPARSE` fires, and all devices together otherwise: the result has the same bits."""
_LISTED = 192
"""Number of blocks of draws at which a list is processed; a device adds at most one for every slot of a group."""
_ROOM = _LISTED + _MOST_SLOTS


@compiled(forceinline=True)
def _words(plane, at):
    return plane[at], plane[at + np.uint64(1)], plane[at + np.uint64(2)], plane[at + np.uint64(3)]


@compiled(forceinline=True)
def _or(a, b):
    return a[0] | b[0], a[1] | b[1], a[2] | b[2], a[3] | b[3]


@compiled(forceinline=True)
def _and(a, b):
    return a[0] & b[0], a[1] & b[1], a[2] & b[2], a[3] & b[3]


@compiled(forceinline=True)
def mark_block(planes, part, start, row, b, one_sided, marks):
    """Mark the devices of a block that coincide with the train ``row`` in product ``b``, as `mark_firing` does; return their number.

    Parameters
    ----------
    planes, part, start, row, b, one_sided
        As for `mark_firing`.
    marks : (3 WORDS,) uint64 array
        Set to the devices that receive pulses, to those that receive several, and to those that receive them downwards, 64 to a word,
        lowest bit first.
    """
    slots, sign = np.uint32(row & SLOTS), np.uint64(row >> np.uint32(31))
    # The words of a block are tuples, which stay in registers.
    nothing = (np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0))
    fires, several, falls = nothing, nothing, nothing
    while slots != 0:
        pair = np.uint64(2) * (np.uint64(MAX_LENGTH * b) + np.uint64(lowest_bit(slots)))
        up = _words(planes[part], np.uint64(PLANE_WORDS) * (pair + sign) + start)
        down = nothing if one_sided else _words(planes[part], np.uint64(PLANE_WORDS) * (pair + np.uint64(1) - sign) + start)
        both = _or(up, down)
        several = _or(several, _and(fires, both))
        fires, falls = _or(fires, both), _or(falls, down)
        slots = np.uint32(slots & np.uint32(slots - np.uint32(1)))
    for w in range(WORDS):
        marks[w], marks[WORDS + w], marks[2 * WORDS + w] = fires[w], several[w], falls[w]
    return int(count_bits(fires[0]) + count_bits(fires[1]) + count_bits(fires[2]) + count_bits(fires[3]))


@compiled
def _end(row, start, most):
    """Return the end of a group that begins with ``start``: the products with at most ``most`` slots, but at least one."""
    slots, stop = int(count_bits(np.uint32(row[start] & SLOTS))), start + 1
    while stop < row.size:
        slots += int(count_bits(np.uint32(row[stop] & SLOTS)))
        if slots > most:
            break
        stop += 1
    return stop


def group_slots(pulses: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """Return the largest number of slots in a group of products for every row, (rows,) int64.

    Parameters
    ----------
    pulses : (rows,) array
        Mean number of pulses of a device in a batch.
    slots : (rows,) array
        Number of slots of the row in the batch.
    """
    return np.clip(_PULSES * slots / np.maximum(pulses, 1e-9), _LEAST_SLOTS, _MOST_SLOTS).astype(np.int64)


def room(dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """Allocate working space.

    A block; its marks; lists of pulses (lane and number) and of draws (counters), draws, products of states; devices that fire.
    """
    unsafe, pulses, draws = np.empty(COLUMNS, np.uint8), np.empty((2, _ROOM), np.int32), np.empty((4, _ROOM), np.uint32)
    xi, products = np.zeros(4 * _ROOM, np.float32), np.empty(COLUMNS + COLUMNS // 8, dtype)
    return np.zeros(PLACES * COLUMNS, dtype), unsafe, pulses, draws, xi, products, np.zeros(3 * WORDS, np.uint64)


@compiled
def _list(unsafe, pulses, draws, i, lanes, row, columns, left, start, stop, one_sided, index, steps):
    """List the pulses of unsafe devices through a group, starting with device ``i``, until the list is full.

    Returns the next device, and the numbers of entries and blocks of draws.
    """
    count, blocks = 0, 0
    while i < lanes and blocks < _LISTED:
        for b in range(start, stop if unsafe[i] else start):
            column = columns[b, left + i]
            hits, upward = int(count_bits(np.uint32(row[b] & column & SLOTS))), (row[b] ^ column) >> np.uint32(31) == 0
            if hits == 0 or (one_sided and not upward):
                continue
            pulses[0, count], pulses[1, count] = i, hits if upward else -hits
            count += 1
            c2, c3 = split(steps[b])
            for k in range((hits + 3) // 4):
                draws[0, blocks], draws[1, blocks], draws[2, blocks], draws[3, blocks] = index + left + i, k, c2, c3
                blocks += 1
        i += 1
    return i, count, blocks


@compiled(error_model="numpy")
def _draw(draws, blocks, k0, k1, xi):
    """Draw all four normal numbers of every block: skipping unused ones would take as long."""
    for e in range(np.uint64(blocks)):
        w0, w1, w2, w3 = philox(draws[0, e], draws[1, e], draws[2, e], draws[3, e], k0, k1)
        xi[4 * e] = normal(w0)
        xi[4 * e + 1] = normal(w1)
        xi[4 * e + 2] = normal(w2)
        xi[4 * e + 3] = normal(w3)


@compiled
def _work_off(work, pulses, count, spread, additive, xi):
    """Move listed devices pulse by pulse, as `pulses.move` does, and remove them from the pulses of the group."""
    zero, one, place = type(spread)(0), type(spread)(1), 0
    for e in range(count):
        lane, n = pulses[0, e], abs(pulses[1, e])
        w, step, shape, low, high = device(work, lane, pulses[1, e] > 0)
        for k in range(n):
            factor, noise = one + shape * w, spread * xi[place + k]
            w += step * (factor + noise) if additive else step * factor * (one + noise)
            w = min(max(w, low), high)
        place += (n + 3) // 4 * 4
        work[int(STATE) + lane] = w
        work[int(UPS) + lane] = work[int(DOWNS) + lane] = zero


@functools.cache
def busy_rows(kind: int) -> Callable[..., None]:
    """Return the kernel of one kind of noise, which is a compile-time constant."""
    additive = kind == ADDITIVE

    @compiled(error_model="numpy")
    def apply(
        first_block, end, room, state, rows, columns, used, planes, one_sided, up, down, shape_up, shape_down, low, high, spread, k0, k1,
        steps, received, fired, slots, found,
    ):  # fmt: skip
        """Apply a batch to blocks of rows, from ``first_block`` to ``end``, except those of rows with ``slots`` 0 (see `group_slots`).

        ``rows`` (rows, n) holds the trains of a line contiguously, ``used`` (n,) is from `used_slots`. ``fired``
        (rows, blocks) is set to the number of pulses of a block; a nonempty ``found`` (rows, blocks) float64 is set to the sum of the
        states before the batch, each times ``received``.
        """
        width, blocks = state.shape[1], fired.shape[1]
        work, unsafe, pulses, draws, xi, products, marks = room
        for block in range(first_block, end):
            j, left = block // blocks, block % blocks * COLUMNS
            if slots[j] == 0:
                continue
            row, lanes = rows[j], min(width - left, COLUMNS)
            word = np.uint64(left % PLANE_COLUMNS // 64)
            span, place, start, most = np.uint64(lanes), np.uint64(left), np.int64(0), slots[j]
            load(work, span, place, state[j], up[j], down[j], shape_up[j], shape_down[j], low[j], high[j], spread, additive)
            while start < row.size:
                stop = _end(row, start, most)
                begin(work, span)
                for b in range(start, stop):
                    own = int(count_bits(np.uint32(row[b] & SLOTS)))
                    if own == 0:
                        continue
                    some = lanes
                    if own <= _FEW_SLOTS:
                        some = mark_block(planes, left // PLANE_COLUMNS, word, row[b] & used[b], b, one_sided, marks)
                    if _SPARSE * some < lanes:
                        advance_some(work, marks, place, row[b], columns[b], one_sided, additive)
                    else:
                        advance(work, span, place, row[b], columns[b], one_sided, additive)
                some = mark_unsafe(work, span, spread, additive, unsafe)
                if _FEW * some > lanes and stop > start + 1:
                    most //= 2
                    continue
                fired[j, block % blocks] += tally(work, span, place, received[j])
                i = np.int64(0) if some > 0 else lanes
                while i < lanes:
                    i, count, drawn = _list(
                        unsafe, pulses, draws, i, lanes, row, columns, left, start, stop, one_sided, j * width, steps
                    )
                    if spread > 0:
                        _draw(draws, drawn, k0, k1, xi)
                    _work_off(work, pulses, count, spread, additive, xi)
                if spread > 0:
                    c2, c3 = split(steps[start])
                    for e in range(COLUMNS // 4):
                        draws[0, e], draws[1, e], draws[2, e], draws[3, e] = e, _GROUP | np.uint32(block), c2, c3
                    _draw(draws, (lanes + 3) // 4, k0, k1, xi)
                settle(work, span, spread, additive, xi)
                start = stop
            if found.size > 0:
                part = slice(left, left + lanes)
                found[j, block % blocks] = row_weighted(received[j, part], state[j, part], products)
            for c in range(span):
                state[j, place + c] = work[STATE + c]

    return apply
