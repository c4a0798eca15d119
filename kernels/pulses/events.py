"""State-dependent steps: product by product, but only where lines coincide, and with noise drawn in bulk.

The devices that fire in a product are found by the planes of `pulse_planes` (64 columns to a word) and listed; the noise of the whole
list is drawn in plain, vectorised loops; then the devices move in order. The noise of pulse k of a device in a product is the same
function of (key, step, device, k) as in `pulses.apply_pulses`, and the states are bit-identical, except for one shortcut.

The shortcut: the n pulses of a device in one product have the same direction. With a linear law and additive noise each is
w <- a w + step (1 + spread xi), a = 1 + step shape, so that together they are

    w + step (1 + shape w) S(a) + step spread sum_k a^(n-1-k) xi_k,     S(a) = 1 + a + ... + a^(n-1),

and the sum of independent normal numbers is one normal number of variance S(a^2): exact in distribution (up to the resolution of the
draws, see `pulse_constant`) if no bound can be reached on the way. The step of a device is largest or smallest at one of its bounds,
and no draw exceeds `LARGEST_NORMAL`; if the worst case of n pulses stays within the bounds, none is reached. Otherwise the product is
applied pulse by pulse. With multiplicative noise the state is multiplied by a product of normal numbers, which has no such form: there
every pulse has its own draw.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.lines import row_weighted
from analogpc.kernels.pulses.planes import COLUMNS, WORDS, mark_firing
from analogpc.kernels.pulses.updates import ADDITIVE, LINEAR, move, moves
from analogpc.kernels.random.streams import LARGEST_NORMAL, normal, philox, split
from analogpc.kernels.words import SLOTS, count_bits, lowest_bit

_FULL = 256
"""Number of draws at which a list is processed; the last product can still add 8 blocks of draws for every device of a row."""


def room(width: int, dtype: np.dtype) -> tuple[tuple[np.ndarray, ...], np.ndarray, np.ndarray, np.ndarray]:
    """Allocate working space: a list, marks of columns, the states of a row before the batch, and their products with pulses.

    The list: the devices and their pulses; the counters of their draws and the number of words each uses; the draws.
    """
    size = _FULL + 8 * width
    device, hits, used = np.empty((3, size), np.int32)
    index, block, c2, c3 = np.empty((4, size), np.uint32)
    listed = device, hits, index, block, c2, c3, used, np.empty(4 * size, np.uint32), np.empty(4 * size, np.float32)
    return listed, np.empty(WORDS, np.uint64), np.empty(width, dtype), np.empty(width + width // 8, dtype)


# One call lists many devices: every array argument costs tens of cycles, mostly for reference counting.
@compiled
def _list(listed, b, planes, rows, columns, j, low, high, steps, one_sided, single, received, mask):
    """List the devices that fire from product ``b`` on until the list is full, with one draw each if ``single``.

    Otherwise with as many blocks of draws as their pulses need. Returns the next product, and the numbers of pulses, devices and
    draws.
    """
    device, hits, index, block, c2, c3, used, _, _ = listed
    base = j * columns.shape[1]
    pulses, count, draws = 0, 0, 0
    while b < rows.shape[0] and draws < _FULL:
        row = rows[b, j]
        low_step, high_step = split(steps[b])
        for part in range(planes.shape[0] if row & SLOTS != 0 else 0):
            mark_firing(planes, part, np.uint64(0), row, b, one_sided, mask)
            for w in range(WORDS):
                bits = mask[w]
                while bits != 0:
                    i = part * COLUMNS + 64 * w + int(lowest_bit(bits))
                    bits &= bits - np.uint64(1)
                    column = columns[b, i]
                    hit = int(count_bits(np.uint32(row & column & SLOTS)))
                    pulses += hit
                    received[j, i] += hit
                    if low[j, i] >= high[j, i]:
                        continue
                    device[count] = i
                    hits[count] = hit if (row ^ column) >> np.uint32(31) == 0 else -hit
                    count += 1
                    for k in range(1 if single else (hit + 3) // 4):
                        index[draws], block[draws] = np.uint32(base + i), np.uint32(k)
                        c2[draws], c3[draws] = low_step, high_step
                        used[draws] = 1 if single else min(4, hit - 4 * k)
                        draws += 1
        b += 1
    return b, pulses, count, draws


@compiled(error_model="numpy")
def _draw(index, block, c2, c3, used, draws, k0, k1, words, xi):
    """Draw the normal numbers used by the first ``draws`` blocks of draws, one after the other."""
    total = 0
    for e in range(draws):
        total += used[e]
    if total == draws:
        for e in range(draws):
            xi[e] = normal(philox(index[e], block[e], c2[e], c3[e], k0, k1)[0])
        return
    for e in range(draws):
        w0, w1, w2, w3 = philox(index[e], block[e], c2[e], c3[e], k0, k1)
        words[4 * e] = w0
        words[4 * e + 1] = w1
        words[4 * e + 2] = w2
        words[4 * e + 3] = w3
    # All four words are copied, used or not, to keep the loop free of branches: the next ones overwrite the rest.
    total = 0
    for e in range(draws):
        for lane in range(4):
            words[total + lane] = words[4 * e + lane]
        total += used[e]
    for k in range(total):
        xi[k] = normal(words[k])


@compiled(forceinline=True)
def _series(n, x):
    """Return 1 + (1 + x) + ... + (1 + x)^(n - 1) for n up to 31, without cancellation for small x: S(2m) = S(m) (2 + x S(m))."""
    kind = type(x)
    total = kind(0)
    for bit in (16, 8, 4, 2, 1):
        total = total * (kind(2) + x * total)
        if n & bit:
            total = kind(1) + (kind(1) + x) * total
    return total


@compiled(forceinline=True)
def _summed(w, hits, step, shape, low, high, spread, xi):
    """Return the state after ``hits`` pulses of a linear law with additive noise from one number; and whether no bound can be reached."""
    one, kind = type(w)(1), type(w)
    at_low, at_high = one + shape * low, one + shape * high
    most = spread * kind(LARGEST_NORMAL)
    size = kind(hits) * abs(step)
    ahead = size * max(max(at_low, at_high) + most, kind(0))
    back = size * max(most - min(at_low, at_high), kind(0))
    rise, fall = (ahead, back) if step > 0 else (back, ahead)
    x = step * shape
    deviation = step * spread * kind(np.sqrt(_series(hits, x * (kind(2) + x))))
    new = w + step * (one + shape * w) * _series(hits, x) + deviation * xi
    return min(max(new, low), high), (w + rise <= high) & (w - fall >= low)


@compiled(forceinline=True)
def _work_off(state, listed, count, draws, devices, constants, spread, added, sloped, base, k0, k1, law, kind):
    """Draw the noise of the listed devices of a row and move them; their ``hits`` are negative for downward pulses."""
    device, hits, index, block, c2, c3, used, words, xi = listed
    up, down, shape_up, shape_down, low, high = devices
    summed = law == LINEAR and kind == ADDITIVE
    if spread > 0:
        _draw(index, block, c2, c3, used, draws, k0, k1, words, xi)
    place = 0
    for e in range(count):
        i, n, upward = device[e], abs(hits[e]), hits[e] > 0
        # Both directions are loaded and one is selected: a branch would be unpredictable, and a misprediction costs more than a load.
        w, step_up, step_down, shape, other = state[i], up[i], -down[i], shape_up[i], shape_down[i]
        step, shape = step_up if upward else step_down, shape if upward else other
        if spread == 0:
            for _ in range(n):
                w = move(w, step, upward, shape, low[i], high[i], law, constants, spread, kind, added, sloped)
        elif summed and n > 1:
            w, safe = _summed(w, n, step, shape, low[i], high[i], spread, type(w)(xi[e]))
            if not safe:
                # fmt: off
                w = moves(
                    state[i], n, step, upward, shape, low[i], high[i], law, constants, spread, kind, added, sloped,
                    base + i, c2[e], c3[e], k0, k1,
                )
                # fmt: on
        else:
            for k in range(n):
                noise = spread * xi[e if summed else place + k]
                w = move(w, step, upward, shape, low[i], high[i], law, constants, noise, kind, added, sloped)
            place += n
        state[i] = w


@functools.cache
def events(law: int, kind: int) -> Callable[..., None]:
    """Return the kernel of one law and kind of noise, which are compile-time constants."""

    @compiled
    def apply(
        begin, end, room, state, rows, columns, planes, one_sided, up, down, shape_up, shape_down, low, high, constants, spread,
        added, sloped, k0, k1, steps, received, fired, found,
    ):  # fmt: skip
        """Apply a batch to the rows from ``begin`` to ``end`` whose ``fired`` is negative, and store their numbers of pulses there.

        A nonempty ``found`` (rows,) float64 is set to the sum of the states before the batch, each times ``received``.
        """
        width = state.shape[1]
        listed, mask, before, products = room
        for j in range(begin, end):
            if fired[j] >= 0:
                continue
            devices = (up[j], down[j], shape_up[j], shape_down[j], low[j], high[j])
            total, b = np.int64(0), np.int64(0)
            if found.size > 0:
                for i in range(width):
                    before[i] = state[j, i]
            while b < rows.shape[0]:
                # fmt: off
                b, pulses, count, draws = _list(
                    listed, b, planes, rows, columns, j, low, high, steps, one_sided, law == LINEAR and kind == ADDITIVE,
                    received, mask,
                )
                _work_off(
                    state[j], listed, count, draws, devices, constants, spread, added, sloped, j * width, k0, k1, law, kind
                )
                # fmt: on
                total += pulses
            fired[j] = total
            if found.size > 0:
                found[j] = row_weighted(received[j], before, products)

    return apply
