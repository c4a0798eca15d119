"""Page and figure of distillation.toml: distillation from unscaled initial weights."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

sys.path.append(str(Path(__file__).parents[1]))
from signals import TEACHER, curves
from tables import Swept, against, every, main, markdown, trained, within

from analogpc import Network, load_data
from analogpc.report.page_pictures import style
from analogpc.rules.hopfield.signals import SignalsEP
from analogpc.training.study import Study

IMAGES = 64
"""Training images on which the signals before training are measured."""


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
    return [*lines, *markdown(columns, rows), *_signals(swept)]


def _signals(swept: Swept) -> list[str]:
    """Lines of the table of the signals before training."""
    lines = [
        "",
        "## Signals before training",
        "",
        f"Difference p_T - p_S of the probabilities of teacher and student in the free state of the first seed, on {IMAGES} training "
        "images: root mean square, and that of its mean over the images, which is the same for all of them.",
        "",
    ]
    rows = []
    for one in swept.selected().settings:
        study = swept.study(one)
        if study is not None and isinstance(study.rule, SignalsEP):
            rows += [
                [one.cells["case"], str(number), f"{whole:.4f}", f"{common:.4f}"] for number, whole, common in signals(study)
            ]
    return [*lines, *markdown(["rule", "state", "difference", "common to all images"], rows)]


def signals(study: Study) -> list[tuple[int, float, float]]:
    """Return for every signal the number of its state, and the size of its error and of the mean error over the images."""
    data, network = load_data(study.dataset), Network(study.network, seed=study.network_seed)
    places = np.arange(IMAGES)
    x = network.inputs(data.inputs("train", places))
    target = np.eye(data.n_classes, dtype=x.dtype)[data.labels("train", places)]
    rule = study.rule.settled()
    assert isinstance(rule, SignalsEP)
    free = rule.begin(network, x, target)
    found = []
    for signal in rule.signals.of(network, free, target):
        error, _ = signal.read(free)
        found.append((signal.number, _size(error), _size(error.mean(axis=0))))
    return found


def _size(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


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
    panel.legend(fontsize=8, loc="upper left")
    return drawn


if __name__ == "__main__":
    main(__file__, page, figure, prepare=TEACHER)
