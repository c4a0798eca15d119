"""Page and figure of residual.toml: Hopfield networks with and without skips against depth."""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure

sys.path.append(str(Path(__file__).parents[1]))
from tables import Swept, against, every, main, markdown, selection, trained, within

from analogpc.report.page_pictures import style

RATE = "optimiser.learning_rate"


def page(swept: Swept) -> list[str]:
    """Lines of the page: accuracy with and without skips, and their difference."""
    chosen = swept.selected()
    study = swept.study(chosen.settings[0])
    assert study is not None
    cases = swept.values("case")
    lines = [
        "# Residual convolutional Hopfield networks",
        "",
        f"{trained(study)}, SGD with Nesterov momentum; residual blocks of two convolutions of "
        f"{study.network.blocks[0].channels} channels, "
        f"then a dense layer. {selection(swept, study)} Test accuracy of the last epoch: mean with its 95 % interval (every "
        f"seed); learning "
        "rate. Last column: difference in points, paired by seed, with 95 % interval. Published: Hopfield-ResNet13 (four "
        "blocks of 128 to "
        "512 channels), CIFAR-10, 93.92 %.",
        "",
    ]
    rows = []
    for blocks in swept.values("blocks"):
        group = [chosen.where(case=case, blocks=blocks)[0] for case in cases]
        cells = [f"**{within(one)}** ({every(one)}); {one.cells[RATE]}" if one.values else "; ".join(one.other) for one in group]
        rows.append([f"{blocks} ({2 * int(blocks) + 1} layers)", *cells, against(*group)])
    return [*lines, *markdown(["blocks", *cases, "difference"], rows)]


def figure(swept: Swept) -> Figure:
    """Accuracy against the number of blocks (every seed, and means), and against epochs for one number of blocks."""
    chosen, blocks = swept.selected(), swept.values("blocks")
    middle = len(blocks) // 2
    drawn = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = drawn.subplots(1, 2, sharey=True)
    for number, case in enumerate(swept.values("case")):
        group = [chosen.where(case=case, blocks=count)[0] for count in blocks]
        look = style(number)
        left.plot([int(count) for count in blocks], [100 * one.mean for one in group], **look, label=f"{case}, mean")
        for count, one in zip(blocks, group, strict=True):
            left.plot([int(count)] * len(one.values), [100 * v for v in one.values.values()], ".", color=look["color"], alpha=0.5)
        for turn, row in enumerate(row for row in group[middle].rows if row["status"] == "finished"):
            history = swept.record["histories"][str(row["trial"])]
            label = None if turn else case
            right.plot(history["epoch"], [100 * v for v in history["test_accuracy"]], **look, markersize=4, label=label)
    left.set(xlabel="residual blocks", ylabel="test accuracy (%)", xticks=[int(count) for count in blocks])
    right.set(xlabel="epoch", title=f"blocks: {blocks[middle]}, every seed")
    for panel in (left, right):
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8, loc="upper right")
    return drawn


if __name__ == "__main__":
    main(__file__, page, figure)
