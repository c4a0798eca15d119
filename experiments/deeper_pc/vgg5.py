"""Page and figure of vgg5.toml: VGG5 at an eighth of the width on a part of CIFAR-10."""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure

sys.path.append(str(Path(__file__).parents[1]))
from tables import Swept, every, layer_energies, main, markdown, mean, trained

from analogpc.report.page_pictures import style


def page(swept: Swept) -> list[str]:
    """Lines of the page: accuracy and energies by layer."""
    study = swept.study(swept.settings[0])
    assert study is not None
    lines = [
        "# Deeper predictive coding: VGG5, an eighth of the width",
        "",
        f"{trained(study)}, AdamW at {study.optimiser.learning_rate}, not tuned. Accuracy on {study.test_images} test images after the "
        "last epoch: mean (every seed); then the energy of every layer per sample in the last epoch, from the first layer to the output.",
        "",
    ]
    finished = [one for one in swept.settings if one.values]
    count = len(layer_energies(swept, finished[0]))
    rows = [
        [one.cells["case"], f"**{mean(one)}** ({every(one)})", *(f"{value:.1e}" for value in layer_energies(swept, one))]
        for one in finished
    ]
    return [*lines, *markdown(["rule", "test accuracy", *(f"layer {n + 1}" for n in range(count))], rows)]


def figure(swept: Swept) -> Figure:
    """Accuracy of every seed, and energies by layer."""
    drawn = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = drawn.subplots(1, 2)
    for number, one in enumerate(swept.settings):
        look = style(number)
        left.plot(
            [one.cells["case"]] * len(one.values), [100 * value for value in one.values.values()], **look | {"linestyle": "none"}
        )
        if one.values:
            energies = layer_energies(swept, one)
            right.plot(range(1, len(energies) + 1), energies, **look, label=one.cells["case"])
    left.set(ylabel="test accuracy (%)")
    right.set(xlabel="layer", ylabel="energy per sample, last epoch", yscale="log")
    for panel in (left, right):
        panel.grid(alpha=0.3)
    right.legend(fontsize=8)
    return drawn


if __name__ == "__main__":
    main(__file__, page, figure)
