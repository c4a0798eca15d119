"""Figures of runs, rules and devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analogpc.devices.names import unit_of
from analogpc.plot.shared import Picture, colour, legend_below, names_of, picture, style

if TYPE_CHECKING:
    from analogpc.devices.device import Device
    from analogpc.networks.network import Network
    from analogpc.rules import Rule
    from analogpc.training.run import Run


def runs(*given: Run, names: Sequence[str] | None = None) -> Picture:
    """Plot learning curves, last energies by layer and final conductances of runs.

    Parameters
    ----------
    given : Run
        Runs with at least one finished epoch each.
    names : sequence of str
        Legend entries; by default the differences between the studies.

    Returns
    -------
    matplotlib figure
    """
    from analogpc.plot.crossbars import crossbar_matrices, draw_conductances

    _refuse_unfinished(given)
    labels = names_of(given) if names is None else list(names)
    analog = {number: crossbar_matrices(run.network) for number, run in enumerate(given) if crossbar_matrices(run.network)}
    figure = picture(4.2 * (3 + bool(analog)), 3.4 + 0.25 * (1 + len(given) // 4))
    axes = figure.subplots(1, 3 + bool(analog))
    for part, kind in zip(axes, ("score", "loss"), strict=False):
        _draw_learning(part, given, labels, kind)
    _draw_last_energies(axes[2], given, labels)
    if analog:
        draw_conductances(axes[3], {labels[number]: found for number, found in analog.items()}, legend=False, numbers=[*analog])
    legend_below(figure, axes[0])
    return figure


def learning(*given: Run, names: Sequence[str] | None = None) -> Picture:
    """Plot accuracies (for regression r2) and losses by epoch; see `runs`."""
    _refuse_unfinished(given)
    labels = names_of(given) if names is None else list(names)
    figure = picture(9, 3.6)
    axes = figure.subplots(1, 2)
    for part, kind in zip(axes, ("score", "loss"), strict=True):
        _draw_learning(part, given, labels, kind)
    legend_below(figure, axes[0])
    return figure


def _refuse_unfinished(given: Sequence[Run]) -> None:
    if not given:
        raise ValueError("nothing to plot: give at least one run")
    for run in given:
        if not run.history.get("epoch"):
            raise ValueError("a run without a finished epoch has nothing to draw")


def _draw_learning(axes: Axes, given: Sequence[Run], labels: Sequence[str], kind: str) -> None:
    metrics = ("loss",) if kind == "loss" else ("accuracy", "r2")
    title = "loss"
    for number, (run, label) in enumerate(zip(given, labels, strict=True)):
        held = "test" if "test_loss" in run.history else "validation"
        for part, line, width in ((held, style(number), 1.8), ("train", ":", 1.0)):
            metric = next((one for one in metrics if f"{part}_{one}" in run.history), None)
            if metric is None:
                continue
            title = metric if kind == "score" else title
            marks = "o" if len(run.history["epoch"]) < 30 and part != "train" else None
            axes.plot(
                run.history["epoch"],
                run.history[f"{part}_{metric}"],
                line,
                marker=marks,
                markersize=3.5,
                linewidth=width,
                color=colour(number),
                label=f"{label}, {part}",
            )
    axes.set(xlabel="epoch", ylabel=title, title=f"{title[0].upper()}{title[1:]} (dotted: training)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)


def _draw_last_energies(axes: Axes, given: Sequence[Run], labels: Sequence[str]) -> None:
    for number, (run, label) in enumerate(zip(given, labels, strict=True)):
        values = np.array(run.history["energy"][-1])
        shown = np.where(values > 0, values, np.nan)
        layers = np.arange(1, len(values) + 1)
        axes.semilogy(layers, shown, f"o{style(number)}", markersize=4, color=colour(number), label=label)
    axes.set(xlabel="layer", ylabel="energy per sample", title="Prediction errors, last epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)


def energies(network: Network, rule: Rule | str, x: np.ndarray, target: np.ndarray) -> Picture:
    """Plot the energy of every layer at every step of a relaxation, without weight updates.

    Parameters
    ----------
    network, rule, x, target
        See `analogpc.analysis.energy_profile`.
    """
    from analogpc.analysis import energy_profile
    from analogpc.report.layers import draw_energy_maps

    record = energy_profile(network, rule, x, target)
    figure = picture(5.5, 3.4)
    draw_energy_maps(figure, {rule if isinstance(rule, str) else rule.kind: record})
    return figure


def pulse_response(*devices: Device | str, pulses: int = 0, seed: int = 0, population: int = 12) -> Picture:
    """Plot conductances under up pulses and then equally many down pulses, of several devices of each kind and their mean.

    Parameters
    ----------
    devices : Device or str
        Devices, or names of presets.
    pulses : int
        Number of pulses in each direction; by default the number that crosses the range of the first device.
    seed : int
        Seed of the simulated devices.
    population : int
        Number of devices of each kind.
    """
    from analogpc.devices.presets import preset
    from analogpc.kernels.random.streams import Key
    from analogpc.report.devices import pulse_train

    made = [preset(device) if isinstance(device, str) else device for device in devices]
    for device in made:
        if not device.response.pulsed:
            raise ValueError(f"the device '{device.name}' is programmed, not pulsed, so it has no pulse response")
    if not made:
        raise ValueError("nothing to plot: name at least one device, as in pulse_response('reram-sb')")
    top, prefix = unit_of(max(device.g_max_siemens for device in made))
    figure = picture(6, 3.6)
    axes, count = figure.subplots(), pulses
    for number, device in enumerate(made):
        at, sampled, mean = pulse_train(device, Key(seed), count, population)
        count = count or int(at[-1]) // 2
        axes.plot(at, sampled / top, color=colour(number), linewidth=0.5, alpha=0.4)
        axes.plot(at, mean / top, style(number), color=colour(number), linewidth=1.8, label=device.name)
    axes.axvline(count, color="0.5", linestyle=":", linewidth=1)
    axes.set(
        xlabel="pulse", ylabel=f"conductance ({prefix}S)", title=f"{count} pulses up, {count} down, {population} devices each"
    )
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def confusion(found: Any) -> Picture:
    """Plot a confusion matrix.

    Parameters
    ----------
    found : Confusion
        Result of `Run.confusion`.
    """
    counts, names = found.counts, found.classes
    size = max(3.2, 0.42 * len(names) + 1.5)
    figure = picture(size + 1, size)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    mesh = axes.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    if len(names) <= 20:
        for row, column in np.argwhere(counts > 0):
            dark = shares[row, column] < 0.5
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=8, color="w" if dark else "k")
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted class", ylabel="true class", title=f"accuracy {found.accuracy:.2%}")
    figure.colorbar(mesh, label="share of the true class")
    return figure
