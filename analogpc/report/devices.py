"""Figure of a device: pulse response, steps, states after programming, noise, drift and current-voltage curve, where applicable.

All populations are drawn from the seed, so equal seeds give equal figures.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analogpc.devices.arrays.array import Array
from analogpc.devices.device import Device
from analogpc.devices.device_numbers import HOUR, crossing_pulses, mean_steps, pulsed_states, slow_deviation
from analogpc.kernels.random.streams import Key
from analogpc.report.pictures import write_picture

YEAR = 365 * 24 * HOUR
DRAWN, POPULATION, TARGETS = 20, 1000, 8
LARGEST_TRAIN = 20_000
MEASURED = 5
_READS, _TIMES, _AGEING_TARGETS, _AGEING_POPULATION = 100, 61, 5, 400
_UP, _DOWN, _GREY = "#1f4e79", "#c55a11", "0.55"
_MICRO = 1e6


def plot_device(device: Device, path: str | Path, seed: int = 0) -> None:
    """Write the figure of a device to a file.

    Parameters
    ----------
    device : Device
    path : path
        File to write: PNG (1,000 pixels wide), PDF or SVG, by its suffix.
    seed : int
        Seed of the simulated devices.
    """
    write_picture(draw_device(device, seed), path, dpi=100)


def draw_device(device: Device, seed: int = 0) -> Figure:
    """Draw the figure of `plot_device`: one panel per property of the device.

    Parameters
    ----------
    device : Device
    seed : int
        Seed of the simulated devices.
    """
    panels = _panels(device)
    columns = 2 if len(panels) == 4 else min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(10, 3.6 * rows + 0.3), layout="constrained")
    figure.suptitle(f"{device.name} ({device.response.kind})", fontsize=12)
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, draw in zip(places, panels, strict=False):
        draw(axes, device, Key(seed))
        axes.grid(alpha=0.3)
        axes.title.set_fontsize(10)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    return figure


def _panels(device: Device) -> list[Callable[[Axes, Device, Key], None]]:
    """Return the panels to draw."""
    response = device.response
    pulsed = response.pulsed
    slow = device.flicker.active or device.telegraph.active
    noisy = device.programming.kind != "exact" or device.read_noise.kind != "none" or slow
    changes = device.drift.kind != "none" or slow
    leaks = response.leaks
    wanted = {
        _draw_measured: pulsed and len(device.provenance.measured.pulses) > 0,
        _draw_pulses: pulsed,
        _draw_steps: pulsed,
        _draw_states: True,
        _draw_noise: noisy,
        _draw_ageing: changes or leaks,
        _draw_current: device.conduction.kind != "ohmic",
    }
    return [draw for draw, there in wanted.items() if there]


def pulse_train(device: Device, key: Key, train: int = 0, drawn: int = DRAWN) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simulate conductances under up pulses from the low end, then the same number of down pulses.

    Parameters
    ----------
    device : Device
        Device with a pulse response.
    key : Key
        Key of the devices and their pulses.
    train : int
        Number of pulses in each direction; 0: the number that crosses the range of the mean device.
    drawn : int
        Number of devices.

    Returns
    -------
    pulses : (reads,) array
    sampled : (reads, drawn) array
        Read conductances, in siemens.
    mean : (reads,) array
        Conductance of the mean device without noise, in siemens.
    """
    response = device.pulse_response
    train = train or min(crossing_pulses(response), LARGEST_TRAIN)
    reads = np.unique(np.round(np.linspace(0, train, _READS + 1)).astype(int))
    counts = np.concatenate([np.diff(reads), -np.diff(reads)[::-1]])
    array = Array(device, (1, drawn), key.fold("pulses"), np.dtype(np.float32))
    array.program(np.full(array.state.shape, response.w_min, np.float32))
    curves, mean = [array.conductance()[0]], [np.array([max(response.w_min, response.window[0])])]
    for step, count in enumerate(counts):
        array.pulse_each(np.full(array.state.shape, count, np.int32), key.fold("cycles"), step)
        curves.append(array.conductance()[0])
        mean.append(pulsed_states(response, mean[-1], int(count)))
    pulses = np.concatenate([[0], np.cumsum(np.abs(counts))])
    return pulses, np.array(curves), device.conductance(np.array(mean)[:, 0])


def _draw_pulses(axes: Axes, device: Device, key: Key) -> None:
    """Plot up pulses from the low end, then the same number of down pulses: reads of sampled devices, and the mean device."""
    pulses, curves, mean = pulse_train(device, key)
    train = int(pulses[-1]) // 2
    axes.plot(pulses, curves * _MICRO, color=_GREY, linewidth=0.6, alpha=0.7)
    axes.lines[0].set_label(f"{DRAWN} sampled devices, as read")
    axes.plot(pulses, mean * _MICRO, color=_UP, linewidth=2.2, label="mean device, free of noise")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set(xlabel="pulse number", ylabel="conductance (µS)", title=f"{train:,} pulses up, then {train:,} down")
    _legend_above(axes)


def _draw_measured(axes: Axes, device: Device, key: Key) -> None:
    """Plot the measured pulse series, and simulated devices with the same pulses and initial state."""
    curve = device.provenance.measured
    siemens, upward, pulses = np.array(curve.siemens), np.array(curve.upward), np.array(curve.pulses)
    place, ends = np.arange(len(siemens)), [*curve.begins[1:], len(siemens)]
    for series, (first, last) in enumerate(zip(curve.begins, ends, strict=True)):
        array = Array(device, (1, MEASURED), key.fold("measured", series), np.dtype(np.float32))
        # The initial state is estimated from noisy readings: the mean of the first few.
        begin = float(siemens[first : min(first + 3, last)].mean())
        start = float(device.state(np.array(min(max(begin, device.g_min_siemens), device.g_max_siemens))))
        array.program(np.full(array.state.shape, start, np.float32))
        found = [array.conductance()[0]]
        for k in range(first + 1, last):
            count = int(pulses[k] - pulses[k - 1]) * (1 if upward[k] else -1)
            array.pulse_each(np.full(array.state.shape, count, np.int32), key.fold("trains", series), k)
            found.append(array.conductance()[0])
        axes.plot(place[first:last], np.array(found) * _MICRO, color=_UP, linewidth=0.6, alpha=0.5)
    axes.lines[0].set_label(f"{MEASURED} simulated devices, as written")
    axes.plot(place, siemens * _MICRO, "o", color=_DOWN, markersize=1.8, markeredgewidth=0, label="measured", zorder=0)
    axes.set(xlabel="reading", ylabel="conductance (µS)", title="Measured, and simulated from the same starts")
    _legend_above(axes)


def _draw_steps(axes: Axes, device: Device, key: Key) -> None:
    """Plot the step of the mean device for one pulse, in both directions."""
    response = device.pulse_response
    states = np.linspace(response.w_min, response.w_max, 401)
    steps = mean_steps(response, states)
    siemens = device.conductance(states) * _MICRO
    largest = max(float(step.max()) for step in steps) * device.siemens_per_state
    factor, unit = (_MICRO, "µS") if largest >= 0.5e-6 else (1e9, "nS")
    for step, colour, word in zip(steps, (_UP, _DOWN), ("up", "down"), strict=True):
        axes.plot(siemens, step * device.siemens_per_state * factor, color=colour, linewidth=1.6, label=f"one pulse {word}")
    axes.set_ylim(bottom=0)
    axes.set(xlabel="conductance (µS)", ylabel=f"size of the step ({unit})", title="Steps of the mean device")
    _legend_above(axes)


def _targets(device: Device, count: int) -> np.ndarray:
    """Return equally spaced conductances over the range of the mean device, in siemens."""
    return np.linspace(*device.nominal_siemens, count)


def _programmed(device: Device, key: Key, targets: np.ndarray, count: int) -> Array:
    """Program ``count`` devices to each of the ``targets`` (siemens): one row each."""
    array = Array(device, (len(targets), count), key, np.dtype(np.float32))
    array.program(np.repeat(device.state(targets)[:, None], count, axis=1).astype(np.float32))
    return array


def _colours(count: int) -> np.ndarray:
    return colormaps["viridis"](np.linspace(0.0, 0.9, count))


def _draw_states(axes: Axes, device: Device, key: Key) -> None:
    """Plot histograms of the conductances of devices written to a few targets."""
    targets = _targets(device, TARGETS)
    values = _programmed(device, key.fold("states"), targets, POPULATION).conductance().astype(np.float64) * _MICRO
    bins = np.linspace(values.min(), values.max(), 91).tolist()
    for row, target, colour in zip(values, targets * _MICRO, _colours(TARGETS), strict=True):
        axes.hist(row, bins=bins, histtype="stepfilled", facecolor=(*colour[:3], 0.45), edgecolor=colour, linewidth=0.8)
        axes.axvline(target, color=colour, linewidth=0.8, linestyle=":")
    # Exactly written devices give a single tall bar; the root scale keeps short bars visible.
    axes.set_yscale("function", functions=(lambda n: np.sqrt(np.maximum(n, 0)), np.square))
    axes.set_ylim(bottom=0)
    axes.set(
        xlabel="conductance (µS)", ylabel="devices (root scale)", title=f"{TARGETS} targets (dotted), {POPULATION:,} devices each"
    )


def _draw_noise(axes: Axes, device: Device, key: Key) -> None:
    """Plot standard deviations against conductance: of the models, and of programmed devices."""
    top = device.nominal_siemens[1]
    g = _targets(device, 201)
    if device.programming.kind != "exact":
        axes.plot(g * _MICRO, device.programming.deviation(g, top) * _MICRO, color=_UP, label="programming")
        targets = _targets(device, TARGETS)
        # Use the written state: a read would add the slow noise.
        found = device.conductance(_programmed(device, key.fold("states"), targets, POPULATION).state).std(axis=1)
        axes.plot(
            targets * _MICRO,
            found * _MICRO,
            "o",
            color=_UP,
            markerfacecolor="white",
            label=f"programming, {POPULATION:,} devices",
        )
    if device.read_noise.kind != "none":
        duration = device.read_noise.reference_seconds * 1e9
        white = device.read_noise.reference_deviation(g, top)
        axes.plot(g * _MICRO, white * _MICRO, color=_DOWN, label=f"read of {duration:g} ns (white)")
    if device.flicker.active or device.telegraph.active:
        axes.plot(g * _MICRO, slow_deviation(device, g) * _MICRO, color="#548235", label="slow (1/f …) after 1 hour")
    axes.set_ylim(bottom=0)
    axes.set(xlabel="conductance (µS)", ylabel="standard deviation (µS)", title="Noise against conductance")
    _legend_above(axes)


def _draw_ageing(axes: Axes, device: Device, key: Key) -> None:
    """Plot conductances from one second to one year after writing."""
    targets = _targets(device, _AGEING_TARGETS)
    array = _programmed(device, key.fold("ageing"), targets, _AGEING_POPULATION)
    times = np.geomspace(1.0, YEAR, _TIMES)
    values = np.empty((_TIMES, *array.state.shape))
    for index, wait in enumerate(np.diff(times, prepend=0.0)):
        array.elapse(float(wait))
        values[index] = array.conductance() * _MICRO
    for row, colour in enumerate(_colours(_AGEING_TARGETS)):
        axes.plot(times, values[:, row, :DRAWN], color=colour, linewidth=0.5, alpha=0.5)
    for row, colour in enumerate(_colours(_AGEING_TARGETS)):
        axes.plot(times, values[:, row].mean(axis=1), color=colour, linewidth=2.4)
    axes.lines[0].set_label(f"{DRAWN} devices each")
    axes.lines[-1].set_label(f"mean of {_AGEING_POPULATION}")
    axes.set_xscale("log")
    axes.set_xticks([1, 60, HOUR, 24 * HOUR, YEAR], ["1 s", "1 min", "1 h", "1 day", "1 year"])
    axes.minorticks_off()
    axes.set(xlabel="time since writing", ylabel="conductance (µS)", title=f"{_AGEING_TARGETS} targets after writing")
    _legend_above(axes)


def _draw_current(axes: Axes, device: Device, key: Key) -> None:
    """Plot current against voltage, with Ohm's law for comparison."""
    volts = np.linspace(-0.5, 0.5, 201)
    targets = _targets(device, _AGEING_TARGETS)
    for g, colour in zip(targets, _colours(_AGEING_TARGETS), strict=True):
        current = device.conduction.current(np.array(g), volts)
        axes.plot(volts, current * _MICRO, color=colour, linewidth=1.6, label=f"{g * _MICRO:.3g} µS")
        axes.plot(volts, g * volts * _MICRO, color=colour, linewidth=0.8, linestyle="--")
    axes.set(xlabel="voltage (V)", ylabel="current (µA)", title="Current (dashed: Ohm's law)")
    axes.legend(frameon=False, fontsize=8)


def _legend_above(axes: Axes) -> None:
    """Add a legend above the data."""
    low, high = axes.get_ylim()
    entries = len(axes.get_legend_handles_labels()[1])
    axes.set_ylim(low, high + 0.1 * entries * (high - low))
    axes.legend(frameon=False, fontsize=8, loc="upper center")
