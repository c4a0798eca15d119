"""Page and figure of depth.toml: BP, predictive coding and its variants against depth."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

sys.path.append(str(Path(__file__).parents[1]))
from tables import Swept, against, every, layer_energies, main, markdown, selection, trained, within

from analogpc.report.page_pictures import style
from analogpc.studies.comparison import Setting

RATE = "optimiser.learning_rate"


def page(swept: Swept) -> list[str]:
    """Lines of the page: accuracy against depth, then the energies of all layers."""
    chosen = swept.selected()
    study = swept.study(chosen.settings[0])
    assert study is not None
    lines = [
        "# Deeper predictive coding: depth",
        "",
        f"{trained(study)}, AdamW; perceptrons of width {study.network.widths[1]} with more layers; T = number of layers. "
        f"{selection(swept, study)} Test accuracy of the last epoch: mean with its 95 % interval (every "
        "seed); learning rate.",
        "",
    ]
    return lines + by_depth(swept)


def by_depth(swept: Swept) -> list[str]:
    """Lines of three tables: accuracy and difference from backpropagation by depth, and energies by layer of the deepest network."""
    chosen, depths = swept.selected(), swept.values("layers")
    columns = ["rule", *(f"{depth} layers" for depth in depths)]
    lines = markdown(columns, [[case, *(_cell(chosen, case, depth) for depth in depths)] for case in swept.values("case")])
    lines += ["", "## Difference from backpropagation", "", "Points, paired by seed, with 95 % interval.", ""]
    lines += markdown(columns, [[case, *(_gap(chosen, case, depth) for depth in depths)] for case in swept.values("case")[1:]])
    lines += [
        "",
        f"## Energies by layer, {depths[-1]} layers",
        "",
        "Per sample in the last epoch, from the first layer to the output.",
        "",
    ]
    deepest = [one for one in chosen.where(layers=depths[-1]) if one.values]
    rows = [[one.cells["case"], *(f"{value:.1e}" for value in layer_energies(swept, one))] for one in deepest]
    return [*lines, *markdown(["rule", *map(str, range(1, int(depths[-1]) + 1))], rows)]


def _cell(chosen: Swept, case: str, depth: str) -> str:
    (one,) = chosen.where(case=case, layers=depth)
    rate = f"; {one.cells[RATE]}" if RATE in one.cells else ""
    return f"**{within(one)}** ({every(one)}){rate}" if one.values else "; ".join(one.other)


def _gap(chosen: Swept, case: str, depth: str) -> str:
    (one,), (reference,) = chosen.where(case=case, layers=depth), chosen.where(case="BP", layers=depth)
    return against(one, reference)


def figure(swept: Swept) -> Figure:
    """Accuracy against depth, lines from the lowest to the highest seed, and the energy of every layer of the deepest network."""
    chosen, depths = swept.selected(), swept.values("layers")
    drawn = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = drawn.subplots(1, 2)
    for number, case in enumerate(swept.values("case")):
        group = [one for depth in depths for one in chosen.where(case=case, layers=depth)]
        means = np.array([100 * one.mean for one in group])
        # From the lowest to the highest seed, beside the others.
        below = means - [100 * min(one.values.values()) for one in group]
        above = [100 * max(one.values.values()) for one in group] - means
        places = [int(depth) + 0.06 * number for depth in depths]
        left.errorbar(places, means, (below, above), **_style(number), label=case)
        _draw_energies(right, swept, group[-1], number)
    left.set(xlabel="layers", ylabel="test accuracy (%)", xticks=[int(depth) for depth in depths])
    right.set(xlabel="layer", ylabel="energy per sample, last epoch", yscale="log")
    right.set_title(f"{depths[-1]} layers", fontsize=10)
    for panel in (left, right):
        panel.grid(alpha=0.3)
    drawn.legend(*left.get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    return drawn


def _style(number: int) -> dict:
    return style(number) | {"markersize": 4}


def _draw_energies(panel, swept: Swept, one: Setting, number: int) -> None:
    if one.values:
        energies = layer_energies(swept, one)
        panel.plot(np.arange(1, len(energies) + 1), energies, **_style(number))


if __name__ == "__main__":
    main(__file__, page, figure)
