"""Page and figure of signals.toml: intermediate error signals against the number of layers."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

sys.path.append(str(Path(__file__).parents[1]))
from tables import Swept, against, every, main, markdown, selection, trained, within

from analogpc.report.page_pictures import style
from analogpc.studies.comparison import Setting

TEACHER = "analogpc train experiments/intermediate_signals/teachers/digits.toml --out teacher.h5"
RATE = "optimiser.learning_rate"


def page(swept: Swept) -> list[str]:
    """Lines of the page: accuracies, differences from plain equilibrium propagation, and the convergence."""
    chosen = swept.selected()
    study = swept.study(chosen.settings[0])
    assert study is not None
    depths, cases = swept.values("layers"), swept.values("case")
    lines = [
        "# Intermediate error signals against depth",
        "",
        f"{trained(study)}, AdamW; convolutional networks of 10 channels with more layers. {selection(swept, study)} Test "
        f"accuracy of the "
        "last epoch: mean with its 95 % interval (every seed); learning rate.",
        "",
    ]
    rows = [[case, *(_cell(chosen, case, depth) for depth in depths)] for case in cases]
    lines += markdown(["rule", *(f"{depth} layers" for depth in depths)], rows)
    lines += ["", "## Difference from plain equilibrium propagation", "", "Points, paired by seed, with 95 % interval.", ""]
    rows = [[case, *(_gap(chosen, case, cases[0], depth) for depth in depths)] for case in cases[1:]]
    lines += markdown(["rule", *(f"{depth} layers" for depth in depths)], rows)
    lines += ["", f"## Convergence, {depths[-1]} layers", "", "Mean test accuracy after every epoch, in percent.", ""]
    deepest = [(case, curves(swept, *chosen.where(case=case, layers=depths[-1]))) for case in cases]
    rows = [[case, *(f"{value:.1f}" for value in found.mean(axis=0))] for case, found in deepest if len(found)]
    return [*lines, *markdown(["rule", *map(str, range(1, study.epochs + 1))], rows)]


def _cell(chosen: Swept, case: str, depth: str) -> str:
    (one,) = chosen.where(case=case, layers=depth)
    return f"**{within(one)}** ({every(one)}); {one.cells[RATE]}" if one.values else "; ".join(one.other)


def _gap(chosen: Swept, case: str, plain: str, depth: str) -> str:
    return against(*(chosen.where(case=name, layers=depth)[0] for name in (case, plain)))


def curves(swept: Swept, one: Setting) -> np.ndarray:
    """Return the test accuracies of a setting in percent, by seed and epoch."""
    histories = [swept.record["histories"][str(row["trial"])] for row in one.rows if row["status"] == "finished"]
    return 100 * np.array([history["test_accuracy"] for history in histories])


def figure(swept: Swept) -> Figure:
    """Accuracy against depth, and convergence of the deepest networks; every seed, and means."""
    chosen, depths = swept.selected(), swept.values("layers")
    drawn = Figure(figsize=(11, 4), layout="constrained")
    left, right = drawn.subplots(1, 2, sharey=True)
    places = [int(depth) for depth in depths]
    for number, case in enumerate(swept.values("case")):
        groups = [chosen.where(case=case, layers=depth)[0] for depth in depths]
        look = style(number)
        left.plot(places, [100 * one.mean for one in groups], **look, label=case)
        for place, one in zip(places, groups, strict=True):
            seeds = [100 * value for value in one.values.values()]
            left.plot(
                [place + 0.12 * (number - 2)] * len(seeds), seeds, color=look["color"], marker=".", linestyle="none", alpha=0.5
            )
        for turn, curve in enumerate(curves(swept, groups[-1])):
            right.plot(range(1, len(curve) + 1), curve, **look, label=None if turn else case, alpha=0.8, markersize=4)
    left.set(xlabel="layers", ylabel="test accuracy (%)", xticks=places, title="mean and every seed")
    right.set(xlabel="epoch", title=f"{depths[-1]} layers, every seed")
    for panel in (left, right):
        panel.axhline(10, color="0.6", linewidth=1)
        panel.grid(alpha=0.3)
    drawn.legend(*left.get_legend_handles_labels(), loc="outside right center", fontsize=9, frameon=False)
    return drawn


if __name__ == "__main__":
    main(__file__, page, figure, prepare=TEACHER)
