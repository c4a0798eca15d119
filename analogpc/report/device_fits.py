"""Pictures of calibrations: measured data against the fit, and a physical model's pulse curve against the device made from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from analogpc.devices.calibration.fitting import Calibration
from analogpc.devices.device import Device
from analogpc.devices.physics import PhysicalModel, Programming, pulse_curve
from analogpc.devices.responses import PulseResponse
from analogpc.report.pictures import write_picture

_DATA, _UP, _DOWN = "0.55", "#1f4e79", "#c55a11"
_BINS = 16


def plot_calibration(calibration: Calibration, path: str | Path) -> None:
    """Readings with the fitted curve and its noise, and the step against the conductance in both directions.

    Parameters
    ----------
    calibration : Calibration
        Of several devices the first is drawn on the left, all of them on the right.
    path : path
        PNG, PDF or SVG, by its ending.
    """
    figure = Figure(figsize=(11, 4), layout="constrained")
    curve, steps = figure.subplots(1, 2)
    _draw_curve(curve, calibration)
    _draw_steps(steps, calibration)
    for axes in (curve, steps):
        axes.grid(alpha=0.3)
    write_picture(figure, path, dpi=150)


def _draw_curve(axes: Axes, c: Calibration) -> None:
    """Readings of the first device in their order, with the mean curve and two standard deviations around it."""
    first = np.flatnonzero(c.data.device == 0)
    place = np.arange(len(first))
    mean, band = c.fitted[first] * 1e6, c.band[first] * 1e6
    axes.fill_between(place, mean - 2 * band, mean + 2 * band, color=_UP, alpha=0.15, linewidth=0, label="fit ± 2σ of its noise")
    size = 3.0 if len(first) <= 400 else 1.5
    axes.plot(place, c.data.conductance[first] * 1e6, "o", color=_DATA, markersize=size, markeredgewidth=0, label="data")
    axes.plot(place, mean, color=_UP, linewidth=1.4, label="fit, free of noise")
    many = len(c.data.device_names)
    which = f", device {c.data.device_names[0]} of {many}" if many > 1 else ""
    axes.set(xlabel="reading", ylabel="conductance (µS)", title=f"{c.device.name}{which}: R² = {c.r_squared:.4f}")
    # Room for the legend above the curve.
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.16 * (high - low))
    axes.margins(x=0.02)
    axes.legend(frameon=False, fontsize=8, loc="upper center", ncols=3)


def _draw_steps(axes: Axes, c: Calibration) -> None:
    """Fitted steps with two standard errors, and the mean differences of readings in bins of the fitted conductance."""
    data, places = c.data, c.node_conductance * 1e6
    left = np.flatnonzero(np.diff(data.series) == 0)
    where, sign = c.fitted[left] * 1e6, data.direction[left + 1]
    # Only the fast devices reach the ends of the range: each is compared by its own scale.
    scale = c.device_scales[data.device[left], (sign < 0).astype(int)]
    change = np.diff(data.conductance)[left] / np.diff(data.pulse)[left] / scale * 1e9
    edges = np.linspace(places[0], places[-1], _BINS + 1)
    for direction, step, error, colour, word in (
        (1, c.step_up, c.step_up_error, _UP, "up"),
        (-1, c.step_down, c.step_down_error, _DOWN, "down"),
    ):
        step, error = step * 1e9, error * 1e9
        axes.fill_between(places, step - 2 * error, step + 2 * error, color=colour, alpha=0.2, linewidth=0)
        axes.plot(places, step, color=colour, linewidth=1.4, label=f"{word}: fit ± 2 standard errors")
        own, values = where[sign == direction], change[sign == direction]
        bins = np.clip(np.digitize(own, edges) - 1, 0, _BINS - 1)
        counts = np.bincount(bins, minlength=_BINS)
        filled = counts >= 5
        total = np.bincount(bins, values, _BINS)[filled] / counts[filled]
        middle = np.bincount(bins, own, _BINS)[filled] / counts[filled]
        axes.plot(
            middle, total, "o", color=colour, markersize=4, markerfacecolor="white", label=f"{word}: mean differences of data"
        )
    axes.axhline(0, color="0.4", linewidth=0.8)
    axes.set(xlabel="conductance (µS)", ylabel="step of one pulse (nS)", title="Steps")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.25 * (high - low))
    axes.legend(frameon=False, fontsize=8, loc="upper center", ncols=2)


def plot_pulse_curve(model: PhysicalModel, programming: Programming, device: Device, path: str | Path) -> None:
    """The pulse curve of a physical model beside that of the device made from it.

    Parameters
    ----------
    model : PhysicalModel
    programming : Programming
    device : Device
        Of `physics.to_device`, with a response that moves in pulses.
    path : path
        PNG, PDF or SVG, by its ending.
    """
    if not isinstance(device.response, PulseResponse):
        raise ValueError(f"device {device.name}: its response '{device.response.kind}' does not move in pulses")
    curve = pulse_curve(model, programming)[:, 0]
    upward = [number < programming.pulses for number in range(2 * programming.pulses)]
    start = float(device.state(curve[:1])[0])
    states = np.concatenate([[start], device.response.trajectory(start, upward)])
    pulses = np.arange(1 + 2 * programming.pulses)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for up, colour, height, width in (
        (True, _UP, programming.volts_up, programming.seconds_up),
        (False, _DOWN, programming.volts_down, programming.seconds_down),
    ):
        part = pulses[: programming.pulses + 1] if up else pulses[programming.pulses :]
        label = f"model, {height:g} V, {EngFormatter('s')(width)}"
        axes.plot(part, curve[part] * 1e6, "o", color=colour, markersize=3.5, markeredgewidth=0, label=label)
    axes.plot(pulses, device.conductance(states) * 1e6, color="0.2", linewidth=1, label=f"device, {len(_nodes(device))} nodes")
    axes.set(xlabel="pulse", ylabel="conductance (µS)", title=f"{device.name} ({type(model).__name__})")
    axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.3)
    write_picture(figure, path, dpi=150)


def _nodes(device: Device) -> tuple[float, ...]:
    """The table of a piecewise response; empty for another."""
    return getattr(device.response, "nodes_up", ())
