"""Page and figure of vgg5.toml: VGG5 at an eighth of the width on a part of CIFAR-10."""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure

sys.path.append(str(Path(__file__).parents[1]))
from tables import Swept, against, every, layer_energies, main, markdown, trained, within

from analogpc.report.page_pictures import style

PUBLISHED = {
    "BP": "89.43",
    "PC": "87.98",
    "PC-CN": "89.47",
    "D": "87.91",
    "S": "88.06",
    "F": "88.79",
    "D+F": "89.32",
    "S+F": "89.45",
    "BP, BF": "90.01",
    "PC, BF": "87.77",
    "S+F, BF": "89.30",
}
"""Test accuracies in percent of the whole VGG5 on all images: Qi et al. (best epoch, five seeds); PC-CN: Pinchetti et al."""


def page(swept: Swept) -> list[str]:
    """Lines of the page: accuracy, difference from backprop, and energies by layer."""
    study = swept.study(swept.settings[0])
    assert study is not None
    lines = [
        "# Deeper predictive coding: VGG5, an eighth of the width",
        "",
        f"{trained(study)}, AdamW at {study.optimiser.learning_rate:g}, not tuned. Accuracy on {study.test_images} test images after "
        "the last epoch: mean with its 95 % interval, every seed, and the difference from backpropagation (for networks with batch "
        "normalisation: with the same) in points, paired by seed, with 95 % interval. BF: running statistics frozen during "
        "relaxation; BN: not frozen. "
        "Published: the whole network on all 50,000 images (Qi et al., best epoch; PC-CN: Pinchetti et al.), in percent.",
        "",
    ]
    finished = [one for one in swept.settings if one.values]
    rows = []
    for one in finished:
        case = one.cells["case"]
        (reference,) = swept.where(case="BP, BF" if ", " in case else "BP") or [one]
        gap = "" if reference is one else against(one, reference)
        rows.append([case, PUBLISHED.get(case, "–"), within(one), every(one), gap])
    lines += markdown(["rule", "published (%)", "ours", "every seed", "difference from BP"], rows)
    lines += [
        "",
        "## Energies by layer",
        "",
        "Per sample in the last epoch, mean over the seeds, from the first layer to the output.",
        "",
    ]
    count = len(layer_energies(swept, finished[0]))
    rows = [[one.cells["case"], *(f"{value:.1e}" for value in layer_energies(swept, one))] for one in finished]
    return [*lines, *markdown(["rule", *(f"layer {n + 1}" for n in range(count))], rows)]


def figure(swept: Swept) -> Figure:
    """Accuracy of every seed and the mean, and energies by layer of the rules without normalisation."""
    finished = [one for one in swept.settings if one.values]
    drawn = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = drawn.subplots(1, 2)
    for number, one in enumerate(finished):
        normal = ", " in one.cells["case"]
        colour = "#555555" if normal else style(number)["color"]
        seeds = [100 * value for value in one.values.values()]
        left.plot(seeds, [number] * len(seeds), color=colour, marker="o", linestyle="none", alpha=0.6)
        left.plot([100 * one.mean], [number], color=colour, marker="|", markersize=16, markeredgewidth=2)
        if not normal:
            energies = layer_energies(swept, one)
            right.plot(range(1, len(energies) + 1), energies, **style(number), label=one.cells["case"])
    left.set_yticks(range(len(finished)), [one.cells["case"] for one in finished])
    left.invert_yaxis()
    left.set(xlabel="test accuracy (%): every seed, and mean")
    right.set(xlabel="layer", ylabel="energy per sample, last epoch", yscale="log", title="without normalisation")
    right.xaxis.get_major_locator().set_params(integer=True)
    for panel in (left, right):
        panel.grid(alpha=0.3)
    right.legend(fontsize=8)
    return drawn


if __name__ == "__main__":
    main(__file__, page, figure)
