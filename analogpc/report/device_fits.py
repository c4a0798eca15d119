"""Figures of calibrations: measured data against the fit, and a physical model's pulse curve against the device made from it."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from analogpc.devices.calibration.assembly import DeviceFit
from analogpc.devices.calibration.fitting import Calibration
from analogpc.devices.device import Device
from analogpc.devices.physics import PhysicalModel, Programming, pulse_curve
from analogpc.report.pictures import write_picture

_DATA, _UP, _DOWN = "0.55", "#1f4e79", "#c55a11"
_BINS = 8
_UNITS = ((1e3, "mS"), (1e6, "µS"), (1e9, "nS"), (1e12, "pS"))


def plot_calibration(calibration: Calibration, path: str | Path) -> None:
    """Plot readings with fitted curve and band, steps against conductance, prediction errors, and the verdict.

    Parameters
    ----------
    calibration : Calibration
        Calibration; the curve shows the first device, the steps show all devices.
    path : path
        File to write: PNG, PDF or SVG, by its suffix.
    """
    figure = Figure(figsize=(13, 7.5), layout="constrained")
    grid = figure.add_gridspec(2, 6)
    curve, steps = figure.add_subplot(grid[0, :3]), figure.add_subplot(grid[0, 3:])
    errors, correlation, text = (figure.add_subplot(grid[1, k : k + 2]) for k in (0, 2, 4))
    _draw_curve(curve, calibration)
    _draw_steps(steps, calibration)
    _draw_errors(errors, correlation, calibration)
    _draw_verdict(text, calibration)
    for axes in (curve, steps, errors, correlation):
        axes.grid(alpha=0.3)
    write_picture(figure, path, dpi=120)


def readable(siemens: float) -> tuple[float, str]:
    """Return the factor and the unit for a conductance of that size."""
    return next(((factor, unit) for factor, unit in _UNITS if siemens * factor >= 0.3), _UNITS[-1])


def _draw_curve(axes: Axes, c: Calibration) -> None:
    """Plot the readings of the first device in order, with the mean curve and the 90 % band of readings."""
    first = np.flatnonzero(c.data.device == 0)
    place, siemens = np.arange(len(first)), c.data.conductance[first]
    factor, unit = readable(float(np.abs(siemens).max()))
    mean, band = c.fitted[first] * factor, 1.645 * c.band[first] * factor
    low, high = siemens.min() * factor, siemens.max() * factor
    room = 0.15 * (high - low)
    breaks = np.flatnonzero(np.diff(c.data.series[first]) != 0) + 1
    for number, part in enumerate(np.split(place, breaks)):
        labels = ("90 % of readings", "fit, free of noise") if number == 0 else (None, None)
        axes.fill_between(
            part, mean[part] - band[part], mean[part] + band[part], color=_UP, alpha=0.15, linewidth=0, label=labels[0]
        )
        axes.plot(part, mean[part], color=_UP, linewidth=1.4, label=labels[1], zorder=3)
    size = 3.0 if len(first) <= 400 else 1.5
    axes.plot(place, siemens * factor, "o", color=_DATA, markersize=size, markeredgewidth=0, label="data")
    many = len(c.data.device_names)
    which = f", device {c.data.device_names[0]} of {many}" if many > 1 else ""
    axes.set(xlabel="reading", ylabel=f"conductance ({unit})", title=f"{c.device.name}{which}: R² = {c.r_squared:.4f}")
    # Limits follow the data, with room for the legend; a wider band is cut.
    axes.set_ylim(low - room, high + 1.8 * room)
    axes.margins(x=0.02)
    axes.legend(frameon=False, fontsize=8, loc="upper center", ncols=3)


def _draw_steps(axes: Axes, c: Calibration) -> None:
    """Plot fitted steps with 90 % intervals, and binned mean differences of readings with standard errors."""
    data = c.data
    largest = max(float(np.abs(c.step_up).max()), float(np.abs(c.step_down).max()))
    (wide, wide_unit), (fine, fine_unit) = readable(float(c.node_conductance.max())), readable(largest)
    left = np.flatnonzero(np.diff(data.series) == 0)
    where, sign = c.fitted[left] * wide, data.direction[left + 1]
    # Only fast devices reach the ends of the range: scale each device separately.
    scale = c.device_scales[data.device[left], (sign < 0).astype(int)]
    pulses = np.maximum(np.diff(data.pulse)[left], 1)
    change = np.diff(data.conductance)[left] / scale * fine
    places = c.node_conductance * wide
    edges = np.linspace(places[0], places[-1], _BINS + 1)
    noise = c.band[left] / scale * fine
    for direction, step, error, colour, word in (
        (1, c.step_up, c.step_up_error, _UP, "up"),
        (-1, c.step_down, c.step_down_error, _DOWN, "down"),
    ):
        mean, spread = step * fine, 1.645 * error * fine
        axes.fill_between(places, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)
        axes.plot(places, mean, color=colour, linewidth=1.4, label=f"{word}: fit and 90 % interval")
        own = sign == direction
        bins = np.clip(np.digitize(where[own], edges) - 1, 0, _BINS - 1)
        counts = np.bincount(bins, pulses[own], minlength=_BINS)
        filled = counts >= 5
        total = np.bincount(bins, change[own], _BINS)[filled] / counts[filled]
        middle = np.bincount(bins, where[own], _BINS)[filled] / np.bincount(bins, minlength=_BINS)[filled]
        # Differences telescope: only the noise of the first and last reading of a run remains.
        runs = np.array([1 + (np.diff(np.flatnonzero(bins == k)) > 1).sum() for k in range(_BINS)])[filled]
        ends = np.array([noise[own][bins == k].mean() for k in np.flatnonzero(filled)])
        axes.errorbar(
            middle,
            total,
            yerr=np.sqrt(2 * runs) * ends / counts[filled],
            fmt="o",
            color=colour,
            markersize=4,
            markerfacecolor="white",
            linewidth=0.8,
            label=f"{word}: mean differences",
        )
    axes.axhline(0, color="0.4", linewidth=0.8)
    top, bottom = float((c.step_up * fine).max()), float((c.step_down * fine).min())
    axes.set_ylim(min(1.6 * bottom, 0) - 0.1 * top, 1.9 * top - 0.1 * bottom)
    axes.set(xlabel=f"conductance ({wide_unit})", ylabel=f"step of one pulse ({fine_unit})", title=f"Steps: {c.family}")
    axes.legend(frameon=False, fontsize=8, loc="upper center", ncols=2)


def _draw_errors(axes: Axes, correlation: Axes, c: Calibration) -> None:
    """Plot the prediction errors of the filter, in standard deviations, and their autocorrelation with the 95 % band of white noise."""
    surprise, variance, _, _ = c.pulse_fit.fit.run(c.pulse_fit.data)
    z = (surprise / np.sqrt(variance))[c.pulse_fit.data.inner]
    axes.plot(np.arange(len(z)), z, ".", color=_DATA, markersize=2)
    axes.axhspan(-1.645, 1.645, color=_UP, alpha=0.12, linewidth=0)
    axes.set_ylim(-5.5, 5.5)
    title = f"Prediction errors: {c.checks.coverage:.0%} within the 90 % band"
    axes.set(xlabel="reading", ylabel="standard deviations", title=title)
    lags = np.arange(1, 1 + len(c.checks.autocorrelation))
    correlation.bar(lags, c.checks.autocorrelation, color=_UP, width=0.6)
    correlation.axhspan(-1.96 / np.sqrt(len(z)), 1.96 / np.sqrt(len(z)), color=_DATA, alpha=0.3, linewidth=0)
    low, high = correlation.get_ylim()
    correlation.set_ylim(min(low, -0.3), max(high, 0.3))
    correlation.set(xlabel="pulses apart", ylabel="correlation", title="Their autocorrelation")


def _draw_verdict(axes: Axes, c: Calibration) -> None:
    """Write the verdict and the numbers as text."""
    axes.set_axis_off()
    factor, unit = readable(max(c.read_noise, c.slow_noise, 1e-12))

    def known(value: float, interval: tuple[float, float], scale: float = 1.0) -> str:
        return f"{value * scale:.3g} [{interval[0] * scale:.3g}, {interval[1] * scale:.3g}]"

    lines = [
        "passed" if not c.checks.failures else "refused",
        *(f"• {one}" for one in c.checks.failures),
        "",
        f"steps: {c.family}",
        f"c2c noise: {known(c.cycle_noise, c.cycle_noise_interval)} of a step",
        f"white read noise: {known(c.read_noise, c.read_noise_interval, factor)} {unit}",
        f"slow read noise: {known(c.slow_noise, c.slow_noise_interval, factor)} {unit}",
        f"{len(c.data.pulse):,} readings, {len(c.data.device_names)} device(s), {int(c.data.series.max()) + 1} series",
        "",
        *(f"• {one}" for one in c.warnings),
    ]
    wrapped = [part for line in lines for part in (textwrap.wrap(line, 62, subsequent_indent="  ") or [""])]
    colour = "#2e7d32" if not c.checks.failures else "#b00020"
    axes.text(0, 1, wrapped[0], color=colour, fontsize=13, weight="bold", va="top", transform=axes.transAxes)
    axes.text(0, 0.92, "\n".join(wrapped[1:31]), fontsize=7.5, va="top", transform=axes.transAxes)


def plot_parts(fit: DeviceFit, path: str | Path) -> None:
    """Plot one panel per measurement other than pulses, with the model, and the verdict.

    Parameters
    ----------
    fit : DeviceFit
    path : path
        File to write: PNG, PDF or SVG, by its suffix.
    """
    count = len(fit.parts)
    figure = Figure(figsize=(5.2 * count + 4.5, 4.4), layout="constrained")
    places = figure.subplots(1, count + 1, squeeze=False)[0]
    for axes, part in zip(places, fit.parts, strict=False):
        colours = (_UP, _DOWN, "#548235", "0.3")
        for number, (x, y, label) in enumerate(part.panel.points):
            few = len(part.panel.points) <= len(colours)
            axes.plot(x, y, "o", markersize=2.5, markeredgewidth=0, color=colours[number] if few else _DATA, label=label or None)
        paired = len(part.panel.lines) == len(part.panel.points) and part.kind == "step-table"
        for number, (x, y, label) in enumerate(part.panel.lines):
            colour = (_UP if 2 * number < len(part.panel.lines) else _DOWN) if paired else "0.15"
            axes.plot(x, y, linewidth=1.4, color=colour, label=label or None)
        if part.panel.log_x:
            axes.set_xscale("log")
        if part.panel.log_y:
            axes.set_yscale("log")
        axes.set(title=part.panel.title, xlabel=part.panel.x, ylabel=part.panel.y)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
    _draw_notes(places[-1], fit.device, fit.failures)
    write_picture(figure, path, dpi=120)


def _draw_notes(axes: Axes, device: Device, failures: tuple[str, ...]) -> None:
    """Write the verdict, the results and the assumptions as text."""
    axes.set_axis_off()
    origin = device.provenance
    lines = [f"• {one}" for one in failures]
    lines += [f"{one.name}: {one.value:.4g} [{one.low:.4g}, {one.high:.4g}] {one.unit}" for one in origin.intervals]
    lines += ["", *(f"• {one}" for one in origin.remarks), "", *(f"assumed: {one}" for one in origin.assumptions)]
    wrapped = [part for line in lines for part in (textwrap.wrap(line, 64, subsequent_indent="  ") or [""])]
    axes.text(
        0,
        1,
        "refused" if failures else "passed",
        color="#b00020" if failures else "#2e7d32",
        fontsize=13,
        weight="bold",
        va="top",
    )
    axes.text(0, 0.92, "\n".join(wrapped[:34]), fontsize=7.5, va="top", transform=axes.transAxes)


def plot_pulse_curve(model: PhysicalModel, programming: Programming, device: Device, path: str | Path) -> None:
    """Plot the pulse curve of a physical model and of the device derived from it.

    Parameters
    ----------
    model : PhysicalModel
    programming : Programming
    device : Device
        Device from `physics.to_device`, with a pulse response.
    path : path
        File to write: PNG, PDF or SVG, by its suffix.
    """
    if not device.response.pulsed:
        raise ValueError(f"device {device.name}: its response '{device.response.kind}' is not a pulse response")
    curve = pulse_curve(model, programming)[:, 0]
    upward = [number < programming.pulses for number in range(2 * programming.pulses)]
    start = float(device.state(curve[:1])[0])
    states = np.concatenate([[start], device.pulse_response.trajectory(start, upward)])
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
    """Return the table of a piecewise response; empty for others."""
    return getattr(device.response, "nodes_up", ())
