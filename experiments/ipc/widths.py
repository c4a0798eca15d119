"""Page and figure of widths.toml: BP and incremental predictive coding against the width of a convolutional network."""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure

sys.path.append(str(Path(__file__).parents[1]))
from tables import Swept, against, every, main, markdown, selection, trained, within

from analogpc.report.page_pictures import style

PUBLISHED = "BP 67.92 (C = 1) to 75.51 (C = 20), iPC 70.61 (C = 1), 77.48 (C = 7, the best) and 76.12 (C = 20)"
WIDTH, RATE = "network.width", "optimiser.learning_rate"


def page(swept: Swept) -> list[str]:
    """Lines of the page: accuracy and seconds against the width."""
    chosen = swept.selected()
    study = swept.study(chosen.settings[0])
    assert study is not None
    lines = [
        "# Incremental predictive coding: width of a convolutional network",
        "",
        f"{trained(study)}, AdamW; convolutions of C times {', '.join(map(str, study.network.channels))} channels. "
        f"{selection(swept, study)} "
        f"Test accuracy of the last epoch on {study.test_images} images: mean with its 95 % interval (every seed); learning "
        f"rate. Last column: "
        f"difference in points, paired by seed, with 95 % interval. Published, all 50,000 images, in percent: {PUBLISHED}.",
        "",
    ]
    rows = []
    for width in swept.values(WIDTH):
        group = [chosen.where(**{"case": case, WIDTH: width})[0] for case in swept.values("case")]
        cells = [f"**{within(one)}** ({every(one)}); {one.cells[RATE]}" for one in group]
        rows.append([str(width), *cells, against(group[-1], group[0])])
    return [*lines, *markdown(["C", *swept.values("case"), "iPC − BP"], rows)]


def figure(swept: Swept) -> Figure:
    """Accuracy against width: every seed, and means."""
    chosen, widths = swept.selected(), swept.values(WIDTH)
    drawn = Figure(figsize=(5.2, 3.6), layout="constrained")
    panel = drawn.subplots()
    for number, case in enumerate(swept.values("case")):
        group = [chosen.where(**{"case": case, WIDTH: width})[0] for width in widths]
        look = style(number)
        panel.plot(widths, [100 * one.mean for one in group], **look, label=f"{case}, mean")
        for width, one in zip(widths, group, strict=True):
            panel.plot([width] * len(one.values), [100 * v for v in one.values.values()], ".", color=look["color"], alpha=0.5)
    panel.set(xscale="log", xlabel="width factor C", ylabel="test accuracy (%)")
    panel.set_xticks(widths, [str(width) for width in widths])
    panel.minorticks_off()
    panel.grid(alpha=0.3)
    panel.legend(fontsize=9)
    return drawn


if __name__ == "__main__":
    main(__file__, page, figure)
