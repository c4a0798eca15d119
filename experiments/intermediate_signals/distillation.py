"""Page and figure of distillation.toml: distillation from unscaled initial weights."""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure

sys.path.append(str(Path(__file__).parents[1]))
from signals import TEACHER, curves
from tables import Swept, against, every, main, markdown, trained, within

from analogpc.report.page_pictures import style


def page(swept: Swept) -> list[str]:
    """Lines of the page: accuracy, and difference from plain equilibrium propagation."""
    chosen = swept.selected()
    study = swept.study(chosen.settings[0])
    assert study is not None
    lines = [
        "# Distillation from unscaled initial weights",
        "",
        f"{trained(study)}, AdamW at {study.optimiser.learning_rate:g}; {len(study.network.blocks)} layers, initial states between 0 and "
        "1. Test accuracy of the last epoch: mean with its 95 % interval, every seed, and the difference from plain equilibrium "
        "propagation in points, paired by seed, with 95 % interval; then the mean after every earlier epoch, in percent.",
        "",
    ]
    rows = []
    for one in chosen.settings:
        earlier = curves(swept, one)[:, :-1].mean(axis=0)
        gap = "" if one is chosen.settings[0] else against(one, chosen.settings[0])
        cells = [one.cells["case"], f"**{within(one)}**", every(one), gap]
        rows.append([*cells, *(f"{value:.1f}" for value in earlier)])
    columns = ["rule", "accuracy", "every seed", "difference", *(f"epoch {n}" for n in range(1, study.epochs))]
    return [*lines, *markdown(columns, rows)]


def figure(swept: Swept) -> Figure:
    """Accuracy against epochs, every seed."""
    drawn = Figure(figsize=(5.6, 3.6), layout="constrained")
    panel = drawn.subplots()
    for number, one in enumerate(swept.selected().settings):
        for turn, curve in enumerate(curves(swept, one)):
            label = None if turn else one.cells["case"]
            panel.plot(range(1, len(curve) + 1), curve, **style(number), markersize=4, alpha=0.8, label=label)
    panel.set(xlabel="epoch", ylabel="test accuracy (%)", title="every seed")
    panel.grid(alpha=0.3)
    panel.legend(fontsize=8, loc="lower right")
    return drawn


if __name__ == "__main__":
    main(__file__, page, figure, prepare=TEACHER)
