"""Device of a pulse fit: response, spreads, noises and window, with the intervals of each number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analogpc.devices.calibration.families import ConstantFamily
from analogpc.devices.calibration.hierarchy import own_estimates, spread_interval
from analogpc.devices.calibration.pulse_fit import PulseFit
from analogpc.devices.calibration.responses import response_of
from analogpc.devices.calibration.state_space import EXTRA, MEMORY, SLOW
from analogpc.devices.nonidealities import ConstantNoise, NoReadNoise
from analogpc.devices.provenance import Interval, StepModel
from analogpc.devices.responses import PulseResponse
from analogpc.devices.responses.base import WINDOW_SIGMAS

NEGLIGIBLE_CYCLE = 1e-3
"""Cycle-to-cycle noise below this value is set to zero."""


@dataclass(frozen=True)
class PulsePart:
    """Contribution of a pulse fit to a device.

    Attributes
    ----------
    fields : dict
        Fields of the device.
    intervals : tuple of Interval
    assumptions, remarks : tuple of str
    step_model : StepModel
    low_siemens, half_siemens : float
        Conductance of the state -1, and per unit of state.
    """

    fields: dict[str, Any]
    intervals: tuple[Interval, ...]
    assumptions: tuple[str, ...]
    remarks: tuple[str, ...]
    step_model: StepModel
    low_siemens: float
    half_siemens: float


def pulse_part(fitted: PulseFit) -> PulsePart:
    """Return the device fields and intervals that follow from pulse series."""
    fit, unit, base = fitted.fit, fitted.unit, fitted.base
    found = response_of(fit.family, fit.theta[:-EXTRA], fit.bounds, -base / unit)
    width = unit * (found.high - found.low)
    response = found.response
    states = (-1.0, 1.0) if not hasattr(response, "w_max") else (response.w_min, response.w_max)
    # One unit of state in siemens: the places of the lowest and highest state correspond to w_min and w_max.
    half = width / (states[1] - states[0])
    low_siemens = base + unit * found.low - (states[0] + 1) * half
    response, remarks, spread_intervals = _spreads(fitted, response, half, base + unit * found.low)
    cycle = fitted.noises[0][0]
    noise = {"dw_min_std": cycle if cycle >= NEGLIGIBLE_CYCLE else 0.0}
    white, slow, memory = fit.noise[1], fit.noise[2], fit.noise[3]
    change = slow * np.sqrt(1 - memory)
    if slow > 0:
        noise["write_noise_std"] = float(change * unit / half / response.dw_min)
    response = response.but(**noise)
    bottom, top = response.window
    fields: dict[str, Any] = {
        "response": response,
        "g_min_siemens": max(low_siemens + (bottom + 1) * half, 0.0),
        "g_max_siemens": low_siemens + (top + 1) * half,
        "read_noise": ConstantNoise(std_siemens=white * unit) if fit.free[-EXTRA + 1] else NoReadNoise(),
    }
    count = len(fit.theta) - EXTRA
    rows = fitted.covariance[:count, :count]
    model = StepModel(
        family=fit.family.name,
        parameters=tuple(fit.theta[:count].tolist()),
        covariance=tuple(tuple(float(f"{v:.5g}") for v in rows[k, : k + 1]) for k in range(count)),
        low_bound=fit.bounds[0],
        high_bound=fit.bounds[1],
        base_siemens=base,
        unit_siemens=unit,
    )
    intervals = (*_intervals(fitted), *spread_intervals)
    if slow > 0:
        intervals += (_write_interval(fitted, response.write_noise_std),)
    return PulsePart(fields, intervals, _assumptions(fitted, change * unit), (*remarks,), model, low_siemens, half)


def _assumptions(fitted: PulseFit, write: float) -> tuple[str, ...]:
    said = ["white read noise, seen once after each pulse, is drawn anew at every read"]
    if fitted.fit.noise[2] > 0:
        pulses = 1 / (1 - fitted.fit.noise[3])
        said.append(
            f"slow read noise of {fitted.fit.noise[2] * fitted.unit * 1e9:.3g} nS, which lasts some {pulses:.3g} pulses, enters as write "
            f"noise of {write * 1e9:.3g} nS, with the same change from one pulse to the next; what lasts longer is left out"
        )
    if isinstance(fitted.fit.family, ConstantFamily) and not np.isfinite(fitted.fit.bounds).all():
        said.append("no bound was reached: the device ends with what was measured")
    return tuple(said)


def _intervals(fitted: PulseFit) -> list[Interval]:
    """Return the intervals of the steps at both ends and in the middle, and of the noises."""
    out = []
    places = np.array([0.0, 0.5, 1.0])
    up, down, up_error, down_error = fitted.steps_at(places)
    for word, steps, errors in (("up", up, up_error), ("down", down, down_error)):
        for k, where in enumerate(("low end", "middle", "high end")):
            value, error = float(steps[k]) * fitted.unit, 1.645 * float(errors[k]) * fitted.unit
            out.append(
                Interval(
                    name=f"step {word}, {where}", value=value, low=max(value - error, 0.0), high=value + error, unit="siemens"
                )
            )
    cycle, white, slow = fitted.noises
    out.append(_interval("cycle-to-cycle noise", cycle, 1.0, "of a step", "response.dw_min_std"))
    if white[2] > 0:
        out.append(_interval("white read noise", white, fitted.unit, "siemens", "read_noise.std_siemens"))
    if slow[2] > 0:
        out.append(_interval("slow read noise", slow, fitted.unit, "siemens"))
        memory = float(1 / (1 - fitted.fit.noise[3]))
        place = len(fitted.fit.theta) - EXTRA + 3
        error = min(1.645 * float(np.sqrt(fitted.covariance[place, place])), 5.0)
        low, high = memory * np.exp(-error), memory * np.exp(error)
        out.append(Interval(name="memory of the slow noise", value=memory, low=float(low), high=float(high), unit="pulses"))
    return out


def _write_interval(fitted: PulseFit, value: float) -> Interval:
    """Return the interval of the write noise that stands for slow noise.

    It is the change from one pulse to the next, σ_e sqrt(1 - φ), which is better known than σ_e and the memory.
    """
    place = len(fitted.fit.theta) - EXTRA + np.array([SLOW, MEMORY])
    weights = np.array([1.0, -0.5])
    variance = float(weights @ fitted.covariance[np.ix_(place, place)] @ weights)
    factor = float(np.exp(min(1.645 * np.sqrt(max(variance, 0.0)), 5.0)))
    name = "write noise for the slow read noise"
    return Interval(
        name=name, value=value, low=value / factor, high=value * factor, unit="of a step", field="response.write_noise_std"
    )


def _interval(name: str, values: tuple[float, float, float], factor: float, unit: str, field: str = "") -> Interval:
    value, low, high = (factor * one for one in values)
    return Interval(name=name, value=value, low=low, high=high, unit=unit, field=field)


def _spreads(
    fitted: PulseFit, response: PulseResponse, half: float, low_siemens: float
) -> tuple[PulseResponse, list[str], list[Interval]]:
    """Return the response with the spreads from device to device, and their uncertainty."""
    fit, remarks = fitted.fit, []
    devices = len(fit.own)
    if devices == 1:
        return response, ["one device tells nothing about the spread from device to device, which is taken as zero"], []
    if devices < 10:
        remarks.append(f"the spread of {devices} devices is itself uncertain")
    values, variances = own_estimates(fit)
    scales = np.exp(values[:, :2])
    means = np.array([1 + response.up_down, 1 - response.up_down])
    own = scales * means
    errors = variances[:, :2] * own**2
    summary = {
        "dw_min_dtod": (own.mean(axis=1), errors.sum(axis=1) / 4, 1.0),
        "up_down_dtod": ((own[:, 0] - own[:, 1]) / 2, errors.sum(axis=1) / 4, 1.0),
        "w_min_dtod": (values[:, 2], variances[:, 2], fitted.unit / half / abs(response.w_min)),
        "w_max_dtod": (values[:, 3], variances[:, 3], fitted.unit / half / response.w_max),
    }
    words = {
        "dw_min_dtod": "spread of the step size from device to device",
        "up_down_dtod": "spread of the asymmetry from device to device",
        "w_min_dtod": "spread of the lower bound from device to device",
        "w_max_dtod": "spread of the upper bound from device to device",
    }
    fields, intervals = {}, []
    if not fit.spreads[2:].any():
        remarks.append("no end of the range was reached: the spread of the bounds from device to device is taken as zero")
        del summary["w_min_dtod"], summary["w_max_dtod"]
    for name, (estimates, uncertain, factor) in summary.items():
        tau, low, high = (factor * one for one in spread_interval(estimates, uncertain))
        fields[name] = tau if tau > 0.002 else 0.0
        intervals.append(Interval(name=words[name], value=tau, low=low, high=high, unit="relative", field=f"response.{name}"))
    room = max(low_siemens, 0.0) / half / WINDOW_SIGMAS / abs(response.w_min)
    if fields.get("w_min_dtod", 0.0) > room:
        remarks.append(
            f"the spread of the lower bound, {fields['w_min_dtod']:.3g}, is cut to {room:.3g}: no conductance is negative"
        )
        fields["w_min_dtod"] = room
    correlation = np.corrcoef(values[:, :2].T)[0, 1] if devices > 2 else 0.0
    remarks.append(f"steps up and down of a device are correlated by {correlation:.2f} from device to device")
    return response.but(**fields), remarks, intervals
