"""Page and figure of schedules.toml: schedules of the strength of local errors."""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure

sys.path.append(str(Path(__file__).parents[1]))
from signals import curves
from tables import Swept, every, main, markdown, trained, within

from analogpc.report.page_pictures import style


def page(swept: Swept) -> list[str]:
    """Lines of the page: accuracy after every epoch for every schedule."""
    study = swept.study(swept.settings[0])
    assert study is not None
    lines = [
        "# Schedules of the strength of local errors",
        "",
        f"{trained(study)}, AdamW at {study.optimiser.learning_rate:g}; a network of {len(study.network.blocks)} layers. "
        f"Test accuracy "
        "of the last epoch: mean with its 95 % interval (every seed); then the mean after every earlier epoch, in percent.",
        "",
    ]
    rows = []
    for one in swept.settings:
        if one.values:
            earlier = curves(swept, one)[:, :-1].mean(axis=0)
            rows.append([one.cells["case"], f"**{within(one)}** ({every(one)})", *(f"{value:.1f}" for value in earlier)])
    return [*lines, *markdown(["schedule of gamma", "last epoch", *(f"epoch {n}" for n in range(1, study.epochs))], rows)]


def figure(swept: Swept) -> Figure:
    """Mean accuracy against epochs, with the range of the seeds."""
    drawn = Figure(figsize=(5.6, 3.6), layout="constrained")
    panel = drawn.subplots()
    for number, one in enumerate(one for one in swept.settings if one.values):
        found = curves(swept, one)
        epochs = range(1, found.shape[1] + 1)
        panel.plot(epochs, found.mean(axis=0), **style(number), label=one.cells["case"])
        panel.fill_between(epochs, found.min(axis=0), found.max(axis=0), color=style(number)["color"], alpha=0.12)
    panel.set(xlabel="epoch", ylabel="test accuracy (%)", title="mean, and range of the seeds")
    panel.grid(alpha=0.3)
    panel.legend(fontsize=8, loc="lower right")
    return drawn


if __name__ == "__main__":
    main(__file__, page, figure)
