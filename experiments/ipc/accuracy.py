"""Page and figure of accuracy.toml: BP, PC and iPC on MNIST and Fashion-MNIST, reduced."""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure

sys.path.append(str(Path(__file__).parents[1]))
from tables import Swept, against, every, main, markdown, selection, trained, within

from analogpc.report.page_pictures import style

PUBLISHED = {
    ("mnist", "BP"): "98.26; 98.29",
    ("mnist", "PC"): "98.55; 98.26",
    ("mnist", "iPC"): "98.54; 98.45",
    ("fashion-mnist", "BP"): "88.54; 89.48",
    ("fashion-mnist", "PC"): "85.12; 89.58",
    ("fashion-mnist", "iPC"): "89.13; 89.90",
}
"""Accuracies in percent: Table 1 of Salvatori et al. (ICLR 2024); then Pinchetti et al. (squared error, best epoch)."""


def page(swept: Swept) -> list[str]:
    """Lines of the page."""
    chosen = swept.selected()
    study = swept.study(chosen.settings[0])
    assert study is not None
    lines = [
        "# Incremental predictive coding: accuracy",
        "",
        f"{trained(study)}, AdamW, on both data sets; {study.test_images} test images. {selection(swept, study)} Published: all 60,000 "
        "images, Table 1 of Salvatori et al. (ICLR 2024); then Pinchetti et al. (25 epochs, best epoch, best five of seven seeds). "
        "Ours: last epoch, mean with its 95 % interval, every seed, and the difference from BP in points, paired by seed, with 95 % "
        "interval.",
        "",
    ]
    rows = []
    for one in chosen.settings:
        case, dataset = one.cells["case"], one.cells["dataset"]
        seconds = one.mean_of("seconds")
        rows.append(
            [
                dataset,
                case,
                PUBLISHED.get((dataset, case), "–"),
                within(one),
                every(one),
                "" if case == "BP" else against(one, *chosen.where(dataset=dataset, case="BP")),
                str(one.cells["optimiser.learning_rate"]),
                f"{seconds:.0f}",
            ]
        )
    return [
        *lines,
        *markdown(["data", "rule", "published (%)", "ours", "every seed", "difference from BP", "rate", "seconds"], rows),
    ]


def figure(swept: Swept) -> Figure:
    """Test accuracy against epochs."""
    chosen, datasets = swept.selected(), swept.values("dataset")
    drawn = Figure(figsize=(4.5 * len(datasets), 3.6), layout="constrained")
    for panel, dataset in zip(drawn.subplots(1, len(datasets), squeeze=False)[0], datasets, strict=True):
        for number, one in enumerate(chosen.where(dataset=dataset)):
            for turn, row in enumerate(row for row in one.rows if row["status"] == "finished"):
                history = swept.record["histories"][str(row["trial"])]
                label = one.cells["case"] if turn == 0 else None
                panel.plot(history["epoch"], [100 * value for value in history["test_accuracy"]], **style(number), label=label)
        panel.set(xlabel="epoch", ylabel="test accuracy (%)", title=dataset)
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
    return drawn


if __name__ == "__main__":
    main(__file__, page, figure)
