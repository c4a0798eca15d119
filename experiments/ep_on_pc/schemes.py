"""Page and figure of schemes.toml: variants of equilibrium propagation on the energies of predictive coding."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

sys.path.append(str(Path(__file__).parents[1]))
from tables import Swept, against, every, main, markdown, selection, trained, within

from analogpc.report.page_pictures import PALETTE


def page(swept: Swept) -> list[str]:
    """Lines of the page."""
    chosen = swept.selected()
    study = swept.study(chosen.settings[0])
    assert study is not None
    lines = [
        "# Equilibrium propagation on the energies of predictive coding",
        "",
        f"{trained(study)}, ReLU, SGD with Nesterov momentum of 0.9. Unless named: centered nudging, squared error, β = 0.02, "
        f"K = number of layers, modified projection. {selection(swept, study)} Test accuracy on 360 images (one image: 0.28 %): mean "
        "with its 95 % interval, every seed, and the difference from BP with the same loss in points, paired by seed, with 95 % interval.",
        "",
    ]
    rows = []
    for one in chosen.settings:
        case = one.cells["case"]
        (reference,) = chosen.where(case="BP, cross-entropy" if "cross-entropy" in case else "BP") or [one]
        gap = "" if reference is one else against(one, reference)
        rows.append([case, within(one), every(one), gap, str(one.cells["optimiser.learning_rate"])])
    return [*lines, *markdown(["variant", "mean", "every seed", "difference from BP", "rate"], rows)]


def figure(swept: Swept) -> Figure:
    """Accuracy of every variant, with every seed."""
    chosen = swept.selected().settings
    drawn = Figure(figsize=(8, 1 + 0.27 * len(chosen)), layout="constrained")
    panel = drawn.subplots()
    for number, one in enumerate(chosen):
        values = 100 * np.array(list(one.values.values()))
        panel.plot(values, [number] * len(values), "o", color=PALETTE[0], markersize=4, alpha=0.6)
        panel.plot([100 * one.mean], [number], "|", color="black", markersize=14)
    panel.set_yticks(range(len(chosen)), [one.cells["case"] for one in chosen])
    panel.invert_yaxis()
    panel.set(xlabel="test accuracy (%); bar: mean")
    panel.grid(axis="x", alpha=0.3)
    return drawn


if __name__ == "__main__":
    main(__file__, page, figure)
