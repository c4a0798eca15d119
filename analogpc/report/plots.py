"""Figures of runs. Figures are drawn without a display and without touching the user's matplotlib settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from analogpc.devices.crossbars.crossbar_matrix import CrossbarMatrix
from analogpc.report.pictures import write_picture
from analogpc.report.tables import substrate_name

if TYPE_CHECKING:
    from analogpc.training.run import Run

_COLOURS = ("#1f4e79", "#c55a11", "#548235", "#7f3f98")


def plot_comparison(runs: list[Run], path: str | Path) -> None:
    """Plot accuracy by epoch, energy by layer and final conductances of several runs.

    Parameters
    ----------
    runs : list of Run
        Runs with at least one finished epoch each.
    path : path
        File to write: PNG, PDF or SVG, by its suffix.
    """
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    accuracy, energy, conductance = figure.subplots(1, 3)
    for run, colour in zip(runs, _COLOURS, strict=False):
        name, history = substrate_name(run), run.history
        accuracy.plot(history["epoch"], history["test_accuracy"], "o-", color=colour, label=f"{name}, test", markersize=4)
        accuracy.plot(history["epoch"], history["train_accuracy"], "--", color=colour, label=f"{name}, train", linewidth=1)
        layers = np.arange(1, len(history["energy"][-1]) + 1)
        energy.semilogy(layers, history["energy"][-1], "o-", color=colour, label=name, markersize=4)
        _histogram(conductance, run, colour)
    accuracy.set(xlabel="epoch", ylabel="accuracy", title="Learning")
    accuracy.xaxis.get_major_locator().set_params(integer=True)
    energy.set(xlabel="layer", ylabel="energy per sample", title="Prediction errors, last epoch")
    energy.set_xticks(layers)
    for axes in (accuracy, energy):
        axes.legend(frameon=False, fontsize=8)
        axes.grid(alpha=0.3)
    write_picture(figure, path, dpi=150)


def _histogram(axes, run: Run, colour: str) -> None:
    """Plot the distribution of the conductances of all trained devices in their window."""
    matrices = [m for m in run.network.to("cpu").matrices().values() if isinstance(m, CrossbarMatrix)]
    if not matrices:
        return
    device = matrices[0].substrate.device
    values = np.concatenate([array.conductance().ravel() for m in matrices for array in m.arrays]) * 1e6
    axes.hist(values, bins=80, color=colour, alpha=0.8, label=f"{device.name}, {values.size:,} devices")
    for end in (device.g_min_siemens, device.g_max_siemens):
        axes.axvline(end * 1e6, color="0.4", linestyle=":", linewidth=1)
    axes.set(xlabel="conductance (µS)", ylabel="devices", title="Crossbar after learning", yscale="log")
    axes.set_ylim(0.8, 4 * axes.get_ylim()[1])  # Room for the legend above the bars.
    axes.legend(frameon=False, fontsize=8)
