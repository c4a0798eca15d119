"""Pulsed outer-product updates: coincidences of the pulse trains at the crosspoints, and steps of the devices.

A crosspoint fires in the slots that the trains of both its lines have in common (Gokmen and Vlasov, Front. Neurosci. 10:333, 2016; the
words are those of `kernels.pulses.trains`). The trains of a line are shared by all its crosspoints, as in hardware.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.gpu.arrays import copied, on_gpu
from analogpc.kernels.gpu.cuda_kernel import CudaKernel
from analogpc.kernels.pulses.measured_steps import drawn_factor
from analogpc.kernels.random.streams import Key, normal, philox, split, step_there
from analogpc.kernels.threads import distribute
from analogpc.kernels.words import SLOTS, count_bits

LINEAR, EXPONENTIAL, POWER, PIECEWISE, MEASURED = range(5)
"""Dependence of the mean step on the state: see `apply_pulses`."""
MULTIPLICATIVE, ADDITIVE, COMPOSITE = range(3)
"""Dependence of the noise of a step on the step: see `apply_pulses`."""
_CHUNK = 16
_LEAST_CROSSPOINTS = 2**15
"""Least number of crosspoints of all products for one thread."""
_SUMS = 1024
"""Number of partial counters of the threads of a GPU."""
_GROUP, _GROUP_WORDS = 128, 4
"""Products in a group of the kernel of the GPU, and words with one bit for each of them."""
_FIRING = CudaKernel("pulses/updates", "firing")
_APPLY_PULSES = CudaKernel("pulses/updates", "apply_pulses")
_APPLY_COUNTS = CudaKernel("pulses/updates", "apply_counts")


@compiled
def _factor(law, constants, w, upward, shape, low, high):
    """Return the mean step at state ``w`` relative to the device's step."""
    one = type(w)(1)
    if law == LINEAR:
        return one + shape * w
    if law == POWER:
        return max((high - w if upward else w - low) / (high - low), type(w)(0)) ** shape
    if law == EXPONENTIAL:
        z = type(w)(2) * constants[0] * w / (high - low) + constants[1]
        amplitude, rate = (constants[2], constants[3]) if upward else (constants[4], -constants[5])
        return max(one - amplitude * type(w)(math.exp(rate * z)), type(w)(0))
    sections = len(constants) // 2 - 1
    place = (w - low) / (high - low) * type(w)(sections)
    left = min(max(int(place), 0), sections - 1)
    first = left if upward else left + sections + 1
    return constants[first] + (place - type(w)(left)) * (constants[first + 1] - constants[first])


@compiled
def move(w, step, upward, shape, low, high, law, constants, noise, kind, added, sloped):
    """Return the state after one pulse; ``noise`` is the cycle-to-cycle deviation times a normal number."""
    if law == MEASURED:
        return min(max(w + step * drawn_factor(constants, w, upward, low, high, noise), low), high)
    factor = _factor(law, constants, w, upward, shape, low, high)
    if kind == ADDITIVE:
        w += step * (factor + noise)
    elif kind == MULTIPLICATIVE:
        w += step * factor * (type(w)(1) + noise)
    else:
        change = step * factor
        w += change + noise * (abs(change) + added + sloped * abs(w))
    return min(max(w, low), high)


@compiled
def moves(w, hits, step, upward, shape, low, high, law, constants, spread, kind, added, sloped, index, c2, c3, k0, k1):
    """Return the state after ``hits`` pulses in one direction; pulse k takes word k mod 4 of block k div 4."""
    if spread == 0:
        for _ in range(hits):
            w = move(w, step, upward, shape, low, high, law, constants, spread, kind, added, sloped)
        return w
    for block in range((hits + 3) // 4):
        w0, w1, w2, w3 = philox(np.uint32(index), np.uint32(block), c2, c3, k0, k1)
        left = hits - 4 * block
        w = move(w, step, upward, shape, low, high, law, constants, spread * normal(w0), kind, added, sloped)
        if left > 1:
            w = move(w, step, upward, shape, low, high, law, constants, spread * normal(w1), kind, added, sloped)
        if left > 2:
            w = move(w, step, upward, shape, low, high, law, constants, spread * normal(w2), kind, added, sloped)
        if left > 3:
            w = move(w, step, upward, shape, low, high, law, constants, spread * normal(w3), kind, added, sloped)
    return w


@functools.cache
def _coincidences(law: int, kind: int, one_sided: bool) -> Callable[..., int]:
    """Return the kernel of one law and kind of noise, which as compile-time constants cost nothing in the innermost loop."""

    @compiled
    def apply(
        top,
        bottom,
        state,
        rows,
        columns,
        up,
        down,
        shape_up,
        shape_down,
        low,
        high,
        constants,
        spread,
        added,
        sloped,
        k0,
        k1,
        first,
        received,
    ):
        width, fired = state.shape[1], 0
        for j in range(top, bottom):
            for b in range(rows.shape[0]):
                row = rows[b, j]
                slots = row & SLOTS
                if slots == 0:
                    continue
                c2, c3 = split(first + np.uint64(b))
                for start in range(0, width, _CHUNK):
                    # Most crosspoints do not fire: a chunk of columns is skipped if none of them shares a slot.
                    stop = min(start + _CHUNK, width)
                    shared = np.uint32(0)
                    for i in range(start, stop):
                        shared |= slots & columns[b, i]
                    if shared == 0:
                        continue
                    for i in range(start, stop):
                        hits = count_bits(slots & columns[b, i])
                        upward = (row ^ columns[b, i]) >> np.uint32(31) == 0
                        if hits == 0 or (one_sided and not upward):
                            continue
                        fired += hits
                        received[j, i] += hits
                        if low[j, i] >= high[j, i]:
                            continue
                        step, shape = (up[j, i], shape_up[j, i]) if upward else (-down[j, i], shape_down[j, i])
                        # fmt: off
                        state[j, i] = moves(
                            state[j, i], hits, step, upward, shape, low[j, i], high[j, i], law, constants,
                            spread, kind, added, sloped, j * width + i, c2, c3, k0, k1,
                        )
                        # fmt: on
        return fired

    return apply


@functools.cache
def _counted(law: int, kind: int) -> Callable[..., int]:
    """Return the kernel for pulses that are counted device by device."""

    @compiled
    def apply(
        top, bottom, state, counts, up, down, shape_up, shape_down, low, high, constants, spread, added, sloped, k0, k1, when
    ):
        width, fired = state.shape[1], 0
        c2, c3 = split(when)
        for j in range(top, bottom):
            for i in range(width):
                hits = abs(counts[j, i])
                if hits == 0:
                    continue
                fired += hits
                if low[j, i] >= high[j, i]:
                    continue
                upward = counts[j, i] > 0
                step, shape = (up[j, i], shape_up[j, i]) if upward else (-down[j, i], shape_down[j, i])
                # fmt: off
                state[j, i] = moves(
                    state[j, i], hits, step, upward, shape, low[j, i], high[j, i], law, constants,
                    spread, kind, added, sloped, j * width + i, c2, c3, k0, k1,
                )
                # fmt: on
        return fired

    return apply


def _sum_over_rows(kernel: Callable[..., int], state: np.ndarray, products: int, *arguments: Any) -> int:
    """Call a kernel for parts of the rows of the devices, in threads; return the sum of its results."""
    pulses: list[int] = []
    grain = 1 + _LEAST_CROSSPOINTS // max(1, products * state.shape[1])
    distribute(lambda top, bottom: pulses.append(int(kernel(top, bottom, state, *arguments))), len(state), grain)
    return sum(pulses)


@dataclass(frozen=True)
class Law:
    """Law of the response of a device to pulses; see `apply_pulses` for the meaning of the fields.

    Attributes
    ----------
    law : int
        ``LINEAR``, ``EXPONENTIAL``, ``POWER``, ``PIECEWISE`` or ``MEASURED``.
    constants : tuple of float
    spread : float
        Cycle-to-cycle standard deviation.
    noise : int
        ``MULTIPLICATIVE``, ``ADDITIVE`` or ``COMPOSITE``.
    added, sloped : float
        Parameters of the composite noise.
    """

    law: int
    constants: tuple[float, ...]
    spread: float
    noise: int
    added: float = 0.0
    sloped: float = 0.0

    def numbers(self, dtype: np.dtype) -> tuple[np.ndarray, float, float, float]:
        """Return the kernel arguments, in the type of the states."""
        return np.array(self.constants, dtype), dtype.type(self.spread), dtype.type(self.added), dtype.type(self.sloped)


PARAMETERS = ("up", "down", "shape_up", "shape_down", "low", "high")


@functools.cache
def _constants_there(constants: tuple[float, ...], dtype: np.dtype) -> Any:
    """Return the constants of a law on the GPU, copied there once, so that a graph finds them."""
    return copied(np.array(constants, dtype), "gpu")


def _launch(
    kernel: CudaKernel, state: np.ndarray, given: tuple[Any, ...], parameters: dict[str, np.ndarray], law: Law, *stream: Any
) -> np.ndarray:
    """Launch a GPU kernel with one thread per device; return the number of pulses, a 0-d integer device array."""
    constants, *numbers = law.numbers(state.dtype)
    arrays = [np.ascontiguousarray(parameters[name], like=state) for name in PARAMETERS]
    answer = _constants_there(law.constants, state.dtype), len(constants) // 2 - 1, *numbers, law.law, law.noise
    pulses = np.zeros(_SUMS, np.uint64, like=state)
    kernel(state.size, state, *given, *arrays, *answer, *stream, pulses, _SUMS)
    return pulses.sum()


def _firing(words: np.ndarray) -> np.ndarray:
    """Return in which products each line fires, one bit per product: (groups, lines, 4) uint32, on the GPU."""
    n, lines = words.shape
    groups = -(-n // _GROUP)
    fires = np.empty((groups, lines, _GROUP_WORDS), np.uint32, like=words)
    _FIRING(fires.size, words, fires, n, lines, groups)
    return fires


def apply_pulses(
    state: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    parameters: dict[str, np.ndarray],
    law: Law,
    one_sided: bool,
    key: Key,
    first_step: int,
    received: np.ndarray,
) -> Any:
    """Apply coincident pulses to devices, pulse by pulse.

    An upward pulse changes the state w by ``up * f(w)``, a downward one by ``-down * f(w)``, with noise, and w is clipped to the
    device's own bounds. The factor f and the noise of a step are:

    - ``LINEAR``: 1 + shape w (Gokmen and Vlasov 2016 for shape 0; Fusi and Abbott 2007 for shape -1/bound).
    - ``EXPONENTIAL``: max(0, 1 - A exp(d gamma z)), z = 2 a w / (high - low) + b, d = +-1 the direction; ``constants`` are a, b,
      A upwards, gamma upwards, A downwards, gamma downwards (Gong et al., Nat. Commun. 9:2102, 2018, as in aihwkit).
    - ``POWER``: the remaining range, (high - w) or (w - low) over (high - low), to the power of shape.
    - ``PIECEWISE``: linear interpolation between nodes equally spaced from low to high; ``constants`` are the nodes for upward, then
    for downward pulses.
    - ``MEASURED``: drawn from a table by its inverse distribution function (see `measured_steps`); ``spread`` is 1, without further
    noise.
    - ``MULTIPLICATIVE``: the change is multiplied by 1 + spread xi; ``ADDITIVE``: spread xi is added to f; ``COMPOSITE``: the
      change gets the standard deviation spread (abs(change) + added + sloped abs(w)).

    Parameters
    ----------
    state : (rows, columns) array
        Updated in place; on the GPU it and ``received`` are contiguous.
    rows, columns : (n, rows) and (n, columns) uint32 arrays
        Trains of n rank-one products, from `trains`.
    parameters : dict of (rows, columns) arrays in the type of ``state``
        "up", "down" (both positive), "shape_up", "shape_down", "low", "high". Devices with equal bounds do not move.
    law : Law
    one_sided : bool
        Whether downward coincidences have no effect.
    key, first_step
        Random stream; the noise of pulse k of a device in product i is a function of (key, first_step + i, device, k).
    received : (rows, columns) int32 array
        Accumulator of the number of pulses that every device receives.

    Returns
    -------
    int
        Number of pulses that devices received; on the GPU a 0-d integer device array (no synchronisation).
    """
    if on_gpu(state):
        sent = [np.ascontiguousarray(words, np.uint32, like=state) for words in (rows, columns)]
        fires = [_firing(words) for words in sent]
        given = *sent, *fires, received, len(fires[0]), *state.shape, one_sided
        return _launch(_APPLY_PULSES, state, given, parameters, law, *key.words, *step_there(first_step))
    apply = _coincidences(law.law, law.noise, one_sided)
    arrays = [parameters[name] for name in PARAMETERS]
    numbers = law.numbers(state.dtype)
    return _sum_over_rows(apply, state, len(rows), rows, columns, *arrays, *numbers, *key.words, np.uint64(first_step), received)


def apply_counts(state: np.ndarray, counts: np.ndarray, parameters: dict[str, np.ndarray], law: Law, key: Key, step: int) -> Any:
    """Apply ``counts`` pulses to every device, (rows, columns) int32; negative counts are downward pulses.

    The other parameters are those of `apply_pulses`; the noise of pulse k of a device is a function of (key, step, device, k).
    """
    if on_gpu(state):
        given = np.ascontiguousarray(counts, np.int32, like=state), state.size
        return _launch(_APPLY_COUNTS, state, given, parameters, law, *key.words, *step_there(step))
    arrays = [parameters[name] for name in PARAMETERS]
    apply = _counted(law.law, law.noise)
    return _sum_over_rows(apply, state, 1, counts, *arrays, *law.numbers(state.dtype), *key.words, np.uint64(step))
