"""Figures of merit of devices, computed from their specifications, for the list, JSON and the documentation.

All are properties of the model, computed without random numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri

from analogpc.devices.device import Device
from analogpc.devices.responses import MeasuredSteps, PulseResponse
from analogpc.kernels.pulses.updates import ADDITIVE, COMPOSITE, apply_counts
from analogpc.kernels.random.streams import Key

HOUR = 3600.0
_CROSSED = 0.9
_TARGETS = 201
_QUANTILES = 201


@dataclass(frozen=True, kw_only=True)
class DeviceNumbers:
    """Figures of merit of a device; None where not applicable.

    Attributes
    ----------
    name, kind, source : str
        Name of the device, kind of its response, and source of its parameters.
    window_siemens : (lowest, highest)
        Lowest and highest conductance of any device.
    range_siemens : (low, high)
        Conductance range of the mean device, called "the range" below.
    states : float
        Pulsed devices: the range over the mean step at zero weight. Programmed devices: number of levels two standard deviations of
        programming apart, range / (2 mean σ), or the number in the specification if that is smaller; inf for a continuum without
        errors.
    pulses : int
        Number of up pulses that move the mean device over 90 % of its way from the low end.
    asymmetry : float
        (up - down) / (up + down) of the mean steps at zero weight, from -1 to 1; also None if zero weight is an end of the range.
    asymmetry_mean : float
        Magnitude of the asymmetry, averaged over the inner 90 % of the range.
    symmetric : bool
        Whether steps up and down are equal at all states.
    symmetry_state, symmetry_siemens : float
        State, nearest to zero weight, at which steps up and down are equal and to which alternating pulses converge; None if there is
        none, or if the steps are equal everywhere.
    step_dtod, step_ctoc : float
        Standard deviation of the step from device to device (log-normal: of its logarithm), and from pulse to pulse, relative to the
        mean step at zero weight.
    write_noise : float
        Standard deviation of a conductance about the written one, relative to the range: root mean square over the range.
    read_noise : float
        Standard deviation of white noise for a read of the reference duration of the model, relative to the range.
    slow_noise : float
        Standard deviation of 1/f and telegraph noise one hour after writing, relative to the range.
    drift_mean, drift_std : float
        Change of conductance from one hour to ten hours after writing, relative to the range: the average over the range of its
        mean, and the root mean square of its standard deviation from device to device. Noise is excluded.
    lifetime_seconds : float
        Time after which the distance from the resting state falls to 1/e; inf for devices without leakage.
    """

    name: str
    kind: str
    source: str
    window_siemens: tuple[float, float]
    range_siemens: tuple[float, float]
    states: float
    pulses: int | None = None
    asymmetry: float | None = None
    asymmetry_mean: float | None = None
    symmetric: bool | None = None
    symmetry_state: float | None = None
    symmetry_siemens: float | None = None
    step_dtod: float | None = None
    step_ctoc: float | None = None
    write_noise: float
    read_noise: float
    slow_noise: float
    drift_mean: float
    drift_std: float
    lifetime_seconds: float


def device_numbers(device: Device) -> DeviceNumbers:
    """Compute the figures of merit of a device."""
    response = device.response
    low, high = device.nominal_siemens
    span = high - low
    targets = np.linspace(low, high, _TARGETS)
    programming = device.programming.deviation(targets, high)
    mean, spread = _drift(device, targets)
    numbers = DeviceNumbers(
        name=device.name,
        kind=response.kind,
        source=device.source,
        window_siemens=(device.g_min_siemens, device.g_max_siemens),
        range_siemens=(low, high),
        states=_levels(device, programming, span),
        write_noise=_rms(programming) / span,
        read_noise=_rms(device.read_noise.reference_deviation(targets, high)) / span,
        slow_noise=_rms(slow_deviation(device, targets)) / span,
        drift_mean=float(mean.mean()) / span,
        drift_std=_rms(spread) / span,
        lifetime_seconds=_lifetime(device),
    )
    return replace(numbers, **_pulse_numbers(device, device.pulse_response)) if response.pulsed else numbers


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _levels(device: Device, programming: np.ndarray, span: float) -> float:
    """Return the number of distinguishable states of a programmed device."""
    written = float(len(device.levels.positions) or device.levels.count)
    mean = float(programming.mean())
    return min(written, span / (2 * mean)) if mean > 0 else written


def _pulse_numbers(device: Device, response: PulseResponse) -> dict[str, Any]:
    """Return the figures of merit specific to pulsed devices."""
    low, high, zero = places(response)
    up, down = (float(step[0]) for step in mean_steps(response, np.array([zero])))
    step = step_at_zero(response)
    both = low < zero < high and up + down > 0
    symmetric, point = _symmetry(response, zero)
    law, noise = response.law, response.dw_min_std
    if isinstance(response, MeasuredSteps):
        noise = response.cycle_deviation
    elif law.noise == ADDITIVE:
        noise *= response.dw_min / step if step > 0 else math.inf
    elif law.noise == COMPOSITE:
        noise *= 1 + (law.added + law.sloped * abs(zero)) / step if step > 0 else math.inf
    return {
        "states": (high - low) / step if step > 0 else math.inf,
        "pulses": crossing_pulses(response),
        "asymmetry": (up - down) / (up + down) if both else None,
        "asymmetry_mean": _mean_asymmetry(response),
        "symmetric": symmetric,
        "symmetry_state": point,
        "symmetry_siemens": None if point is None else float(device.conductance(np.array(point))),
        "step_dtod": response.dw_min_dtod,
        "step_ctoc": noise,
        "write_noise": response.write_noise_std * response.dw_min / (high - low),
    }


def places(response: PulseResponse) -> tuple[float, float, float]:
    """Return the bounds of the mean device, and the state of zero weight."""
    parameters = response.without_spread.sample(Key(0), (1, 1), np.dtype(np.float64))
    low, high = (float(parameters[name][0, 0]) for name in ("low", "high"))
    return low, high, float(parameters["reference"][0, 0]) if "reference" in parameters else 0.0


def pulsed_states(response: PulseResponse, states: np.ndarray, pulses: int) -> np.ndarray:
    """Return the states of the mean device after ``pulses`` pulses (negative: downwards) from ``states`` (n,); float64 (n,)."""
    mean, shape = response.without_spread, (1, len(states))
    parameters = mean.sample(Key(0), shape, np.dtype(np.float64))
    after = np.clip(np.array(states, np.float64)[None], parameters["low"], parameters["high"])
    apply_counts(after, np.full(shape, pulses, np.int32), parameters, mean.law, Key(0), 0)
    return after[0]


def mean_steps(response: PulseResponse, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the step sizes of one up and one down pulse of the mean device at ``states`` (n,), within bounds; each (n,), not negative."""
    return pulsed_states(response, states, 1) - states, states - pulsed_states(response, states, -1)


def step_at_zero(response: PulseResponse) -> float:
    """Return the mean of the up and down steps of the mean device at zero weight; only the up step if that is the lower bound."""
    low, high, zero = places(response)
    up, down = (float(step[0]) for step in mean_steps(response, np.array([zero])))
    directions = [step for step, free in ((up, zero < high), (down, zero > low)) if free]
    return sum(directions) / len(directions)


def _mean_asymmetry(response: PulseResponse) -> float:
    low, high, _ = places(response)
    up, down = mean_steps(response, low + (high - low) * np.linspace(0.05, 0.95, _TARGETS))
    return float(np.mean(np.abs(up - down) / np.maximum(up + down, np.finfo(float).tiny)))


def _symmetry(response: PulseResponse, zero: float) -> tuple[bool, float | None]:
    """Return whether all up and down steps are equal, and the state nearest to ``zero`` where they are, if there is one."""
    low, high, _ = places(response)
    states = np.linspace(low, high, 2001)
    up, down = mean_steps(response, states)
    # A step cut off by a bound is not a property of the law.
    inside = (states + up < high) & (states - down > low)
    states, difference = states[inside], (up - down)[inside]
    if not len(states):
        return False, None
    if np.abs(difference).max() <= 1e-9 * response.dw_min:
        return True, None
    falls = np.flatnonzero((difference[:-1] > 0) & (difference[1:] <= 0))
    if not len(falls):
        return False, None
    first = falls[np.argmin(np.abs(states[falls] - zero))]

    def excess(state: float) -> float:
        up, down = mean_steps(response, np.array([state]))
        return float(up[0] - down[0])

    point = float(brentq(excess, states[first], states[first + 1], xtol=1e-12))
    return False, 0.0 if abs(point) < 1e-9 else point


def crossing_pulses(response: PulseResponse) -> int:
    """Return the number of up pulses that move the mean device from its lower bound over 90 % of the reachable way."""
    low, high, _ = places(response)

    def reached(pulses: int) -> float:
        return float(pulsed_states(response, np.array([low]), pulses)[0])

    # Slightly less, so that rounding does not add one pulse.
    goal = low + (_CROSSED - 1e-9) * (high - low)
    most, now, growth = 1, reached(1), 0.0
    while now < goal and most < 2**26:
        most, before, earlier = 2 * most, now, growth
        now = reached(most)
        growth = now - before
        # If steps vanish before the goal, twice the number of pulses hardly changes the state.
        if growth < 1e-4 * (high - low) and growth <= earlier:
            goal = low + _CROSSED * (now - low)
            break
    least = 0
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if reached(middle) >= goal else (middle, most)
    return most


def slow_deviation(device: Device, g: np.ndarray) -> np.ndarray:
    """Return the standard deviation of 1/f and telegraph noise one hour after writing ``g``, both in siemens."""
    flicker, telegraph = device.flicker, device.telegraph
    relative = np.zeros_like(g)
    if flicker.active:
        relative += flicker.deviation_scale(g, device.nominal_siemens[1]) ** 2 * flicker.variance(HOUR)
    if telegraph.active:
        square = telegraph.amplitude**2 * math.exp(2 * telegraph.amplitude_dtod**2)
        relative += telegraph.probability * telegraph.duty * (1 - telegraph.duty) * square
    return g * np.sqrt(relative)


def _drift(device: Device, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of the change from one to ten hours after writing ``targets``, in the same shape."""
    if device.drift.kind == "none":
        return np.zeros_like(targets), np.zeros_like(targets)
    xi = ndtri((np.arange(_QUANTILES) + 0.5) / _QUANTILES)
    written, draws = np.broadcast_arrays(targets[:, None], xi[None])
    written, draws = np.ascontiguousarray(written), np.ascontiguousarray(draws / xi.std())
    top = device.nominal_siemens[1]
    change = device.drift.conductance(written, 10 * HOUR, top, draws) - device.drift.conductance(written, HOUR, top, draws)
    return change.mean(axis=1), change.std(axis=1)


def _lifetime(device: Device) -> float:
    """Return the shorter of the two leakage times, in seconds."""
    leak = math.inf
    if device.response.pulsed:
        leak = device.pulse_response.lifetime * device.pulse_response.cycle_seconds
    return min(leak, device.drift.lifetime_seconds if device.drift.kind == "retention" else math.inf)
