"""Figures of conductances: distributions and maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.axes import Axes

from analogpc.devices.crossbars.crossbar import Crossbar
from analogpc.devices.crossbars.crossbar_matrix import CrossbarMatrix
from analogpc.devices.names import unit_of
from analogpc.plot.shared import Picture, colour, picture

if TYPE_CHECKING:
    from analogpc.networks.network import Network

_MOST_TILES = 8


def crossbar_matrices(of: Any) -> list[CrossbarMatrix]:
    """Return the crossbar matrices of a run, a network, a crossbar or a matrix, in main memory."""
    if isinstance(of, CrossbarMatrix):
        return [of]
    if isinstance(of, Crossbar):
        return [of.matrix]
    network: Network = getattr(of, "network", of)
    return [matrix for matrix in network.to("cpu").matrices().values() if isinstance(matrix, CrossbarMatrix)]


def _some(of: Any) -> list[CrossbarMatrix]:
    found = crossbar_matrices(of)
    if not found:
        raise ValueError("the network is digital and has no conductances: put it on crossbars with net.on(apc.Analog(...))")
    return found


def conductances(*of: Any, names: Sequence[str] | None = None) -> Picture:
    """Plot the distribution of the conductances of all devices in their window.

    Parameters
    ----------
    of : Run, Network or Crossbar
    names : sequence of str
        Legend entries; by default names of devices.
    """
    found = [_some(one) for one in of]
    labels = names or [
        f"{n}: {m[0].substrate.device.name}" if len(of) > 1 else m[0].substrate.device.name for n, m in enumerate(found, 1)
    ]
    figure = picture(6, 3.6)
    draw_conductances(figure.subplots(), dict(zip(labels, found, strict=True)))
    return figure


def draw_conductances(
    axes: Axes, matrices: Mapping[str, Sequence[CrossbarMatrix]], *, legend: bool = True, numbers: Sequence[int] | None = None
) -> None:
    """Draw histograms of the conductances of matrices, by legend entry; ``numbers`` select the colours."""
    devices = [group[0].substrate.device for group in matrices.values()]
    factor, prefix = unit_of(max(device.g_max_siemens for device in devices))
    ends = min(d.g_min_siemens for d in devices) / factor, max(d.g_max_siemens for d in devices) / factor
    for number, (name, group), device in zip(numbers or range(len(devices)), matrices.items(), devices, strict=True):
        values = np.concatenate([array.conductance().ravel() for matrix in group for array in matrix.arrays]) / factor
        bins = np.linspace(*ends, 81).tolist()
        kind: Literal["step", "stepfilled"] = "stepfilled" if len(matrices) == 1 else "step"
        axes.hist(values, bins=bins, color=colour(number), histtype=kind, label=f"{name}, {values.size:,} devices")
        for end in (device.g_min_siemens, device.g_max_siemens):
            axes.axvline(end / factor, color=colour(number), linestyle=":", linewidth=1)
    axes.set(xlabel=f"conductance ({prefix}S)", ylabel="devices", title="Conductances (dotted: window)", yscale="log")
    if legend:
        axes.set_ylim(0.8, 4 * axes.get_ylim()[1])  # Room for the legend above the bars.
        axes.legend(frameon=False, fontsize=8)


def tiles(of: Any, matrix: str = "") -> Picture:
    """Plot the arrays of a matrix as conductance maps with crosses at stuck weights, and a histogram.

    Parameters
    ----------
    of : Crossbar, Network or Run
    matrix : str
        Matrix of a network, such as "layer1.0.weight"; by default the first on crossbars.
    """
    chosen = _named(of, matrix)
    arrays = [
        (f"tile {number}, {name}", g, tile.stuck if name != "reference" else np.zeros_like(g, bool))
        for number, tile in enumerate(chosen.tiles())
        for name, g in tile.conductances.items()
    ]
    shown = arrays[:_MOST_TILES]
    device = chosen.substrate.device
    factor, prefix = unit_of(device.g_max_siemens)
    rows = -(-len(shown) // 2)
    figure = picture(11, max(3.6, 2.6 * rows))
    parts: Any = figure.subfigures(1, 2, width_ratios=(1.4, 1))
    left, right = parts
    places = left.subplots(rows, min(2, len(shown)), squeeze=False).ravel()
    for axes, (title, g, stuck) in zip(places, shown, strict=False):
        low, high = device.g_min_siemens / factor, device.g_max_siemens / factor
        mesh = axes.imshow(g / factor, vmin=low, vmax=high, cmap="cividis", aspect="auto", interpolation="nearest")
        at = np.argwhere(stuck)
        axes.plot(at[:, 1], at[:, 0], "x", color="#D55E00", markersize=2.5, markeredgewidth=0.7)
        axes.set_title(title, fontsize=9)
        axes.set(xlabel="bit line", ylabel="word line")
    for axes in places[len(shown) :]:
        axes.set_axis_off()
    left.colorbar(mesh, ax=list(places), label=f"conductance ({prefix}S)")
    more = f", {len(shown)} of {len(arrays)} arrays" if len(shown) < len(arrays) else ""
    left.suptitle(f"{device.name}{more}; crosses: stuck", fontsize=10)
    draw_conductances(right.subplots(), {device.name: [chosen]})
    return figure


def _named(of: Any, name: str) -> CrossbarMatrix:
    if not name or isinstance(of, (Crossbar, CrossbarMatrix)):
        return _some(of)[0]
    from analogpc.devices.names import unknown

    network = getattr(of, "network", of).to("cpu")
    found = {key: matrix for key, matrix in network.matrices().items() if isinstance(matrix, CrossbarMatrix)}
    if name not in found:
        raise ValueError(unknown("matrix on crossbars", name, found, "matrices on crossbars"))
    return found[name]
