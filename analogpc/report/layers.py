"""Pictures of layers: numbers by depth, and energies by layer and relaxation step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analogpc.analysis.energies import RelaxationRecord

COLOURS = ("#1f4e79", "#c55a11", "#548235", "#7f3f98", "#808080")


def draw_by_layer(
    axes: Axes, curves: Mapping[str, np.ndarray], *, label: str, logarithmic: bool = True, style: str = "o-"
) -> None:
    """One line for each of some rules, over the layers from the input to the output.

    Parameters
    ----------
    axes : matplotlib Axes
    curves : dict of (layers,) arrays
        By the name in the legend, which several calls share with its colour. Zeros are gaps on a logarithmic axis.
    label : str
        Of the vertical axis.
    logarithmic : bool
    style : str
        Of matplotlib: marks and line.
    """
    for (name, values), colour in zip(curves.items(), COLOURS, strict=False):
        shown = np.where(values > 0, values, np.nan) if logarithmic else values
        axes.plot(np.arange(1, len(values) + 1), shown, style, color=colour, markersize=3.5, linewidth=1.2, label=name)
    axes.set(xlabel="layer", ylabel=label)
    if logarithmic:
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)


def draw_energy_maps(figure: Figure, records: Mapping[str, RelaxationRecord], lowest: float = 1e-6) -> None:
    """The energy of every layer at every step of some relaxations, side by side on one logarithmic scale.

    Parameters
    ----------
    figure : matplotlib Figure
        Empty.
    records : dict of RelaxationRecord
        By the title of the panel.
    lowest : float
        The end of the scale, as a part of the largest energy; layers with less are drawn in its colour, and those with none in white.
    """
    panels = figure.subplots(1, len(records), squeeze=False)[0]
    top = max(record.energies.max() for record in records.values())
    for axes, (name, record) in zip(panels, records.items(), strict=True):
        some = np.ma.masked_less_equal(record.energies.T, 0)
        edges = np.arange(record.steps + 2) - 0.5, np.arange(some.shape[0] + 1) + 0.5
        mesh = axes.pcolormesh(*edges, some, norm=LogNorm(lowest * top, top), cmap="viridis", rasterized=True)
        axes.set(title=name, xlabel="relaxation step")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_ylabel("layer")
    figure.colorbar(mesh, ax=list(panels), label="energy per sample", extend="min")
