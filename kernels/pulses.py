"""Pulsed outer-product updates: pulse trains on the lines, coincidences at the crosspoints, steps of the devices.

A line's train for one rank-one product is one 32-bit word: 31 time slots and, in the top bit, the sign of the value (a negative
value drives the line with the opposite polarity). A crosspoint fires in the slots that both lines have in common (Gokmen and Vlasov,
Front. Neurosci. 10:333, 2016). The trains of a line are shared by all its crosspoints, as on hardware.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from analogpc.kernels.streams import Key, normal, philox, split

MAX_LENGTH = 31
_SLOTS = np.uint32(0x7FFFFFFF)
_CHUNK = 16


@nb.njit(cache=True)
def _count(word):
    """The number of bits set in a uint32."""
    word = word - ((word >> np.uint32(1)) & np.uint32(0x55555555))
    word = (word & np.uint32(0x33333333)) + ((word >> np.uint32(2)) & np.uint32(0x33333333))
    word = (word + (word >> np.uint32(4))) & np.uint32(0x0F0F0F0F)
    # Numba widens the product to 64 bits; only its low 32 hold the sum of the four byte counts.
    return np.uint32(word * np.uint32(0x01010101)) >> np.uint32(24)


@nb.njit(cache=True, parallel=True)
def _trains(values, gain, length, k0, k1, first_step, words):
    clipped = 0
    for b in nb.prange(values.shape[0]):
        c2, c3 = split(first_step + np.uint64(b))
        over = 0
        for j in range(values.shape[1]):
            probability = np.float64(gain[b]) * abs(np.float64(values[b, j]))
            word = np.uint32(0)
            if probability > 1.0:
                over += 1
            if probability >= 1.0:
                word = (np.uint32(1) << np.uint32(length[b])) - np.uint32(1)
            elif probability > 0.0:
                threshold = np.uint64(probability * 4294967296.0)
                for block in range((length[b] + 3) // 4):
                    draws = philox(np.uint32(j), np.uint32(block), c2, c3, k0, k1)
                    for lane in range(min(4, length[b] - 4 * block)):
                        if np.uint64(draws[lane]) < threshold:
                            word |= np.uint32(1) << np.uint32(4 * block + lane)
            if values[b, j] < 0:
                word |= np.uint32(0x80000000)
            words[b, j] = word
        clipped += over
    return clipped


def trains(values: np.ndarray, gain: np.ndarray, length: np.ndarray, key: Key, first_step: int) -> tuple[np.ndarray, int]:
    """Stochastic pulse trains: in every slot a line fires with probability min(1, gain * |value|).

    Parameters
    ----------
    values : (n, lines) array
        Values of the lines for n rank-one products, applied one after the other.
    gain : (n,) float64 array
        Probability per unit of value.
    length : (n,) int64 array
        Slots used, 0 to 31.
    key, first_step
        Random stream; product i draws at step ``first_step + i``.

    Returns
    -------
    words : (n, lines) uint32 array
        Bit k is slot k; the top bit is set for a negative value.
    clipped : int
        Lines whose wanted probability exceeded 1.
    """
    words = np.empty(values.shape, np.uint32)
    clipped = _trains(values, gain, length, *key.words, np.uint64(first_step), words)
    return words, int(clipped)


@nb.njit(cache=True)
def _move(w, step, slope, low, high, noise, additive):
    """The state after one pulse."""
    allowed = type(w)(1) + slope * w
    w += step * (allowed + noise) if additive else step * allowed * (type(w)(1) + noise)
    return min(max(w, low), high)


@nb.njit(cache=True)
def _step(w, hits, step, slope, low, high, spread, additive, index, c2, c3, k0, k1):
    """The state after ``hits`` pulses in one direction; pulse k takes word k mod 4 of block k div 4."""
    if spread == 0:
        for _ in range(hits):
            w = _move(w, step, slope, low, high, spread, additive)
        return w
    for block in range((hits + 3) // 4):
        w0, w1, w2, w3 = philox(np.uint32(index), np.uint32(block), c2, c3, k0, k1)
        left = hits - 4 * block
        w = _move(w, step, slope, low, high, spread * normal(w0), additive)
        if left > 1:
            w = _move(w, step, slope, low, high, spread * normal(w1), additive)
        if left > 2:
            w = _move(w, step, slope, low, high, spread * normal(w2), additive)
        if left > 3:
            w = _move(w, step, slope, low, high, spread * normal(w3), additive)
    return w


@nb.njit(cache=True, parallel=True)
def _linear(state, rows, columns, up, down, slope_up, slope_down, low, high, spread, additive, k0, k1, first_step, touched):
    pulses = 0
    width = state.shape[1]
    for j in nb.prange(state.shape[0]):
        fired = 0
        for b in range(rows.shape[0]):
            row = rows[b, j]
            slots = row & _SLOTS
            if slots == 0:
                continue
            c2, c3 = split(first_step + np.uint64(b))
            for start in range(0, width, _CHUNK):
                # Most crosspoints do not fire: a whole chunk of columns is passed over at once if none of them shares a slot.
                stop = min(start + _CHUNK, width)
                shared = np.uint32(0)
                for i in range(start, stop):
                    shared |= slots & columns[b, i]
                if shared == 0:
                    continue
                for i in range(start, stop):
                    hits = _count(slots & columns[b, i])
                    if hits == 0:
                        continue
                    fired += hits
                    touched[j, i] = True
                    if (row ^ columns[b, i]) >> np.uint32(31) == 0:
                        step, slope = up[j, i], slope_up[j, i]
                    else:
                        step, slope = -down[j, i], slope_down[j, i]
                    index = j * width + i
                    state[j, i] = _step(
                        state[j, i], hits, step, slope, low[j, i], high[j, i], spread, additive, index, c2, c3, k0, k1
                    )
        pulses += fired
    return pulses


def pulse_linear(
    state: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    parameters: dict[str, np.ndarray],
    spread: float,
    additive: bool,
    key: Key,
    first_step: int,
    touched: np.ndarray,
) -> int:
    """Apply coincident pulses to devices whose step is linear in their state, pulse by pulse.

    One pulse upwards changes w to ``w + up * (1 + slope_up * w) * (1 + spread * xi)``, one pulse downwards to
    ``w - down * (1 + slope_down * w) * (1 + spread * xi)``, clipped to the device's bounds; with ``additive`` noise the step is
    ``1 + slope * w + spread * xi`` times ``up`` or ``-down``. Zero slopes give the constant step, slopes of minus one over the
    bounds give the soft bounds (Gokmen and Vlasov 2016; Fusi and Abbott 2007).

    Parameters
    ----------
    state : (rows, columns) array
        Changed in place.
    rows, columns : (n, rows) and (n, columns) uint32 arrays
        Trains of n rank-one products, from `trains`.
    parameters : dict of (rows, columns) arrays in the type of ``state``
        "up", "down" (both positive), "slope_up", "slope_down", "low", "high".
    spread : float
        Cycle-to-cycle standard deviation relative to a step.
    key, first_step
        Random stream; the noise of pulse k of a device in product i is a function of (key, first_step + i, device, k).
    touched : (rows, columns) bool array
        Set where a device got a pulse.

    Returns
    -------
    int
        Pulses that devices received.
    """
    arrays = [parameters[name] for name in ("up", "down", "slope_up", "slope_down", "low", "high")]
    kind = state.dtype.type
    noise = (kind(spread), additive, *key.words, np.uint64(first_step))
    return int(_linear(*(state, rows, columns, *arrays, *noise, touched)))
