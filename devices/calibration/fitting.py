"""Calibration: measured conductance against pulse number becomes a device with a piecewise response.

The data format is that of `measurements.read_pulse_data`, the statistical model that of `step_fit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analogpc.devices.calibration.measurements import CalibrationError, PulseData, read_pulse_data
from analogpc.devices.calibration.step_fit import Intervals, StepFit, fit_steps
from analogpc.devices.device import Device
from analogpc.devices.responses import PiecewiseStep
from analogpc.devices.responses.base import WINDOW_SIGMAS
from analogpc.devices.responses.step_tables import piecewise_from_steps

__all__ = ["Calibration", "CalibrationError", "calibrate"]

_FEWEST_PULSES = 8


@dataclass(frozen=True)
class Calibration:
    """A device fitted to data, and how well it fits.

    Attributes
    ----------
    device : Device
        With a `PiecewiseStep` response; states -1 and 1 are the mean ends of the measured range.
    data : PulseData
        What was fitted.
    fitted : (n,), siemens
        The noise-free curve of the fit through the measured pulses, every series from its own estimated start.
    band : (n,), siemens
        Standard deviation of a reading around it: cycle-to-cycle noise that adds up, and read noise.
    node_conductance : (nodes,), siemens
        Places of the nodes of the response.
    step_up, step_down : (nodes,), siemens
        Fitted changes of one pulse there; those downwards are negative.
    step_up_error, step_down_error : (nodes,), siemens
        Their standard errors.
    device_scales : (devices, 2)
        Steps up and down of each device relative to the common ones.
    read_noise : float
        Standard deviation of a reading, in siemens. It enters the device as write noise.
    cycle_noise : float
        Standard deviation of a step relative to its mean.
    read_noise_error, cycle_noise_error : float
        Relative standard errors of these two; inf where the data cannot tell.
    residual_rms : float
        Root mean square of data minus ``fitted``, in siemens.
    r_squared : float
        1 - residual variance / variance of the data.
    warnings : tuple of str
        What to know before trusting the fit, one sentence each.
    """

    device: Device
    data: PulseData
    fitted: np.ndarray
    band: np.ndarray
    node_conductance: np.ndarray
    step_up: np.ndarray
    step_down: np.ndarray
    step_up_error: np.ndarray
    step_down_error: np.ndarray
    device_scales: np.ndarray
    read_noise: float
    cycle_noise: float
    read_noise_error: float
    cycle_noise_error: float
    residual_rms: float
    r_squared: float
    warnings: tuple[str, ...]


def calibrate(source: str | Path | Mapping[str, Any], name: str = "calibrated", nodes: int = 17) -> Calibration:
    """Fit a device to measured conductance against pulse number.

    The range that was measured is taken for the range of the device: pulses that would lead beyond it end at its bounds. Readings
    piled up at a hard bound show as steps that fall to zero within one node.

    Parameters
    ----------
    source : path, or mapping of column name to sequence
        See `measurements.read_pulse_data`.
    name : str
        Name of the device.
    nodes : int
        Nodes of the response, odd, from 3 to 257; smoothness is estimated, so that more nodes do not mean more noise.

    Returns
    -------
    Calibration

    Raises
    ------
    CalibrationError
        If the data cannot be used, in one sentence: columns are missing or wrong, values are not finite, pulses are too few in a
        direction, or the conductance does not follow them.

    Examples
    --------
    >>> pulse = np.arange(121)
    >>> down = pulse > 60
    >>> rise = 1 - np.exp(-np.minimum(pulse, 60) / 30)
    >>> siemens = 1e-6 * (1 + rise * np.exp(-np.maximum(pulse - 60, 0) / 30))
    >>> fit = calibrate({"pulse": pulse, "conductance": siemens, "direction": np.where(down, -1, 1)})
    >>> bool(fit.r_squared > 0.999)
    True
    """
    if isinstance(nodes, bool) or not isinstance(nodes, (int, np.integer)) or not 3 <= nodes <= 257 or nodes % 2 == 0:
        raise CalibrationError(f"nodes = {nodes!r} is not allowed: an odd whole number from 3 to 257")
    origin = f" in {Path(source).name}" if isinstance(source, (str, Path)) else ""
    return _fitted(read_pulse_data(source), name, nodes, origin)


def _fitted(data: PulseData, name: str, nodes: int, origin: str) -> Calibration:
    """The device of the data and all that says how well it is known; ``origin`` completes its source."""
    intervals, base, unit = _intervals(data)
    fit = fit_steps(intervals, nodes, len(data.device_names))
    ends = _ends(data, fit)
    low, high = ends.mean(axis=0)
    place = np.linspace(low, high, nodes)
    half = (high - low) / 2
    up, down = fit.at(0, place), fit.at(1, place)
    try:
        mean = piecewise_from_steps(up / half, -down / half)
    except ValueError as error:
        raise CalibrationError(f"the conductance does not follow the pulses: {error}") from None
    warnings = _warnings(data, intervals, fit)
    fitted, band = _curve(data, intervals, fit, place, mean)
    response, device_warnings = _response(mean, fit, ends, low * unit + base, half * unit, half)
    bottom, top = response.window
    device = Device(
        name=name,
        response=response,
        g_min_siemens=max(base + unit * (low + (bottom + 1) * half), 0.0),
        g_max_siemens=base + unit * (low + (top + 1) * half),
        source=f"fitted to {len(data.pulse)} readings of {len(data.device_names)} device(s){origin}",
    )
    fitted, band = base + unit * fitted, unit * band
    residual = data.conductance - fitted
    return Calibration(
        device=device,
        data=data,
        fitted=fitted,
        band=band,
        node_conductance=base + unit * place,
        step_up=unit * up,
        step_down=-unit * down,
        step_up_error=unit * fit.errors_at(0, place),
        step_down_error=unit * fit.errors_at(1, place),
        device_scales=fit.scales,
        read_noise=unit * fit.read_noise,
        cycle_noise=fit.cycle_noise,
        read_noise_error=float(fit.noise_errors[0]),
        cycle_noise_error=float(fit.noise_errors[1]),
        residual_rms=float(np.sqrt(np.mean(residual**2))),
        r_squared=float(1 - np.mean(residual**2) / np.var(data.conductance)),
        warnings=(*warnings, *device_warnings),
    )


def _intervals(data: PulseData) -> tuple[Intervals, float, float]:
    """The stretches between readings in a scaled unit, the siemens of its zero and of its one; or why they cannot be used."""
    left = np.flatnonzero(np.diff(data.series) == 0)
    sign = data.direction[left + 1].astype(np.float64)
    pulses = np.diff(data.pulse)[left].astype(np.float64)
    for word, count in (("up", (sign > 0).sum()), ("down", (sign < 0).sum())):
        if count < _FEWEST_PULSES:
            raise CalibrationError(f"the data hold {count} readings after pulses {word}; at least {_FEWEST_PULSES} are needed")
    readings = data.conductance
    base, unit = float(readings.min()), float(np.ptp(readings))
    # Noise alone moves the mean of pulses up as often down as up; the test asks for four standard errors.
    moves = sign * np.diff(readings)[left]
    if unit <= 1e-12 * np.abs(readings).max(initial=0) or not _moves(moves, data, left, unit):
        raise CalibrationError("the conductance is flat: it does not follow the pulses beyond its noise")
    return Intervals((readings - base) / unit, left, pulses, sign, data.device[left]), base, unit


def _moves(moves: np.ndarray, data: PulseData, left: np.ndarray, unit: float) -> bool:
    """Whether the net movement of the runs, in the direction of their pulses, stands out from the noise of their ends."""
    breaks = np.flatnonzero((np.diff(left) != 1) | (np.diff(data.direction[left + 1]) != 0)) + 1
    nets = np.array([run.sum() for run in np.split(moves, breaks)])
    # Differences of differences hold hardly any trend; their variance is 6 r² for readings with noise r.
    bends = np.diff(data.conductance, 2)[np.diff(data.series)[:-1] == 0]
    noise = np.sqrt(2 * np.mean(bends**2) / 6) if len(bends) else 0.0
    return bool(nets.sum() > 4 * noise * np.sqrt(len(nets)) and nets.sum() > 1e-9 * unit)


def _ends(data: PulseData, fit: StepFit) -> np.ndarray:
    """The lowest and the highest estimated conductance of each device, (devices, 2), scaled."""
    parts = [fit.conductance[data.device == d] for d in range(len(data.device_names))]
    return np.array([[part.min(), part.max()] for part in parts])


def _curve(
    data: PulseData, intervals: Intervals, fit: StepFit, place: np.ndarray, mean: PiecewiseStep
) -> tuple[np.ndarray, np.ndarray]:
    """The noise-free curve through the measured pulses and the standard deviation of readings around it, scaled."""
    low, half = place[0], (place[-1] - place[0]) / 2
    steps = {1: mean.dw_min * half * (1 + mean.up_down) * np.array(mean.nodes_up)}
    steps[-1] = -mean.dw_min * half * (1 - mean.up_down) * np.array(mean.nodes_down)
    slopes = {sign: np.gradient(step, place) for sign, step in steps.items()}
    path, variance = fit.conductance.copy(), np.zeros(len(data.pulse))
    for i, n in enumerate(intervals.left):
        state, spread, sign = path[n], variance[n], int(intervals.sign[i])
        scale = fit.scales[intervals.device[i], 0 if sign > 0 else 1]
        for _ in range(int(intervals.pulses[i])):
            step = scale * np.interp(state, place, steps[sign])
            spread = spread * (1 + scale * np.interp(state, place, slopes[sign])) ** 2 + (fit.cycle_noise * step) ** 2
            state = float(np.clip(state + step, min(low, path[n]), max(place[-1], path[n])))
        path[n + 1], variance[n + 1] = state, spread
    return path, np.sqrt(variance + fit.read_noise**2)


def _response(
    mean: PiecewiseStep, fit: StepFit, ends: np.ndarray, low_siemens: float, half_siemens: float, half: float
) -> tuple[PiecewiseStep, list[str]]:
    """The response with its noises and, of several devices, its spreads; and warnings."""
    warnings: list[str] = []
    spread = dict.fromkeys(("dw_min_dtod", "up_down_dtod", "w_max_dtod", "w_min_dtod"), 0.0)
    if len(ends) > 1:
        # Per device: size = (up + down) / 2 and asymmetry = (up - down) / 2, relative to dw_min.
        means = np.array([1 + mean.up_down, 1 - mean.up_down])
        sizes = fit.scales * means
        for name, weights in (("dw_min_dtod", np.array([0.5, 0.5])), ("up_down_dtod", np.array([0.5, -0.5]))):
            own = np.mean([weights * means @ v @ (weights * means) for v in fit.scale_variances])
            spread[name] = float(np.sqrt(max(np.var(sizes @ weights, ddof=1) - own, 0.0)))
        deviations = ends.std(axis=0, ddof=1) / half
        spread["w_min_dtod"], spread["w_max_dtod"] = float(deviations[0]), float(deviations[1])
    room = max(low_siemens, 0.0) / half_siemens / WINDOW_SIGMAS
    if spread["w_min_dtod"] > room:
        warnings.append(
            f"the spread of the lower bound, {spread['w_min_dtod']:.3g}, is cut to {room:.3g}: no conductance is negative"
        )
        spread["w_min_dtod"] = room
    if low_siemens < 0:
        warnings.append(f"the lowest fitted conductance, {low_siemens:.3g} S, is negative and taken as zero")
    write = fit.read_noise / half / mean.dw_min
    return mean.but(dw_min_std=fit.cycle_noise, write_noise_std=write, **spread), warnings


def _pressed(intervals: Intervals) -> float:
    """The share of the readings after which a device, at its end of the range, hardly moves any more.

    A device whose steps fade has few readings within 2 % of its end, or moves on there; one at a hard bound piles them up.
    """
    moves = intervals.sign * np.diff(intervals.readings)[intervals.left]
    begin, count = intervals.readings[intervals.left], 0
    for device in np.unique(intervals.device):
        for sign in (1, -1):
            own = (intervals.device == device) & (intervals.sign == sign)
            reached = sign * begin[own]
            span = np.ptp(reached) if own.any() else 0.0
            at_end = reached > reached.max(initial=-np.inf) - 0.02 * span
            before = (reached > reached.max(initial=-np.inf) - 0.2 * span) & ~at_end
            if (
                at_end.sum() > 0.05 * own.sum()
                and before.sum() >= 5
                and moves[own][at_end].mean() < 0.2 * moves[own][before].mean()
            ):
                count += int(at_end.sum())
    return count / len(begin)


def _warnings(data: PulseData, intervals: Intervals, fit: StepFit) -> list[str]:
    """What the data leave open."""
    warnings = []
    if data.directions_inferred:
        warnings.append("directions were inferred from the trend; a column 'direction' is safer near turning points")
    if len(data.device_names) == 1:
        warnings.append("one device tells nothing about the spread from device to device, which is taken as zero")
    elif len(data.device_names) < 10:
        warnings.append(f"the spread of {len(data.device_names)} devices is itself uncertain")
    for d, word in enumerate(("up", "down")):
        if (fit.steps[d] < 0).any():
            warnings.append(f"steps {word} are fitted with the wrong sign in places and taken as zero there")
    if (intervals.pulses > 1).any():
        warnings.append("readings skip pulses; the cycle-to-cycle noise rests on their sums")
    pressed = _pressed(intervals)
    if pressed:
        warnings.append(
            f"{pressed:.0%} of the readings lie where a device seems to press against a hard bound; cut them off, or the noise from pulse "
            "to pulse comes out too large"
        )
    for value, word in zip(fit.noise_errors, ("read", "cycle-to-cycle"), strict=True):
        if value > 0.3:
            warnings.append(f"the data hardly tell the {word} noise: its relative standard error is {value:.2g}")
    return warnings
