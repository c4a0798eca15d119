"""Figures of layers: values by depth, and energies by layer and relaxation step."""

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
    """Draw one line per rule, over the layers from input to output.

    Parameters
    ----------
    axes : matplotlib Axes
    curves : dict of (layers,) arrays
        Curves by legend entry; equal names in several calls share entry and colour. Zeros are gaps on a logarithmic axis.
    label : str
        Label of the vertical axis.
    logarithmic : bool
    style : str
        Marker and line style of matplotlib.
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
    """Draw the energy of every layer at every step of relaxations, side by side on one logarithmic scale.

    Parameters
    ----------
    figure : matplotlib Figure
        Empty figure.
    records : dict of RelaxationRecord
        Records by panel title.
    lowest : float
        Lower end of the scale, as a fraction of the largest energy; smaller energies share its colour, zeros are white.
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
