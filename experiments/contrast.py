"""Contrasts measured with a bias, and noise of the states: strong nudges, overclamping, exchanged phases and complex nudges.

    python experiments/contrast.py [--short] [--out experiments/results/contrast]

Every weight of a contrastive rule compares its two phases, and a comparator has an offset: the weight learns its contrast plus a fixed bias
(Dillavou et al., arXiv 2505.22887, in networks of resistors; overclamping is their training method). Writes OUT.json (every run), OUT.md
and OUT.png.
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from imperfect_ep import Imperfect, NoisyHolomorphicEP, Overclamped
from matplotlib.figure import Figure
from tables import markdown

import analogpc as apc
from analogpc.networks import Hopfield
from analogpc.networks.network import Network
from analogpc.report.page_pictures import style
from analogpc.studies.comparison import mean_interval

WIDTHS, RATES, HOLDOUT, BATCH = (64, 32, 10), (0.03, 0.1), 0.25, 32
BIASES = (0.0, 0.001, 0.003, 0.01, 0.03)
NOISES = (0.0, 0.02, 0.04, 0.1)
EPOCHS, DURATIONS, LASTING_BIAS = 5, (5, 20, 60), 0.01
Row = dict[str, Any]


def rules(amount: float, kind: str, draw: int) -> dict[str, Any]:
    """Rules by name, with a bias or noise of the given size."""
    given = {kind: amount, "draw": draw}
    if kind == "bias":
        return {
            "centered, β = 0.1": Imperfect(beta=0.1, **given),
            "centered, β = 0.4": Imperfect(beta=0.4, **given),
            "coupled learning, β = 1": Imperfect(beta=1.0, nudging="positive", drive="clamp", **given),
            "overclamped, distance 1": Overclamped(beta=1.0, **given),
            "overclamped, distance 2": Overclamped(beta=2.0, **given),
            "centered, β = 0.1, exchanged": Imperfect(beta=0.1, exchange=True, **given),
        }
    return {
        "centered, β = 0.1": Imperfect(beta=0.1, **given),
        "centered, β = 0.4": Imperfect(beta=0.4, **given),
        "holomorphic, N = 4, β = 0.4": NoisyHolomorphicEP(points=4, beta=0.4, steps=10, **given),
    }


def trained(rule: Any, rate: float, seed: int, epochs: int, chosen: argparse.Namespace) -> tuple[float, float]:
    """Train on digits; return the validation and the test accuracy, 0 if training diverges."""
    data = apc.load_data("digits").take(chosen.images, chosen.test_images)
    network = Network(Hopfield(widths=WIDTHS, activation="steep_sigmoid", steps=15), apc.Digital(), seed=seed)
    try:
        run = apc.fit(
            network,
            rule,
            data,
            epochs=epochs,
            batch_size=BATCH,
            seed=seed,
            optimiser=apc.SGD(learning_rate=rate),
            holdout=HOLDOUT,
            division="stratified",
            progress=False,
        )
    except ArithmeticError:
        return 0.0, 0.0
    return run.history["validation_accuracy"][-1], run.history["test_accuracy"][-1]


def cases(short: bool) -> list[tuple[str, float, str, float, int]]:
    """All cases: name of the table and its amount; kind and size of the error; epochs."""
    epochs = 1 if short else EPOCHS
    made = [("bias", bias, "bias", bias, epochs) for bias in BIASES]
    made += [("epochs", number, "bias", LASTING_BIAS, number) for number in ((1,) if short else DURATIONS)]
    return made + [("noise", noise, "noise", noise, epochs) for noise in NOISES]


def measure(chosen: argparse.Namespace) -> list[Row]:
    """Select the rate of every case with the first seed on validation data, and test it with all seeds."""
    rows: list[Row] = []
    for table, amount, kind, size, epochs in cases(chosen.short):
        drawn = [rules(size, kind, seed) for seed in range(chosen.seeds)]
        for name in drawn[0]:
            found = {rate: trained(drawn[0][name], rate, 0, epochs, chosen) for rate in chosen.rates}
            best = max(found, key=lambda rate: found[rate][0])
            others = [trained(drawn[seed][name], best, seed, epochs, chosen)[1] for seed in range(1, chosen.seeds)]
            rows.append({"kind": table, "amount": amount, "rule": name, "rate": best, "accuracies": [found[best][1], *others]})
            print(*rows[-1].values(), flush=True)
    return rows


def said(row: Row) -> str:
    """Format the mean, the 95 % interval, every seed and the rate."""
    values = row["accuracies"]
    low, high = np.clip(mean_interval(values), 0, 1)
    each = ", ".join(f"{one:.2%}" if one else "diverged" for one in values)
    return f"**{np.mean(values):.1%}** [{low:.0%}, {high:.0%}] ({each}); {row['rate']}"


TABLES = {
    "bias": (
        "Bias of the contrast",
        "Standard deviation of the bias over the weights, in units of dΦ/dW of a sample; drawn once for a seed.",
    ),
    "epochs": ("Longer training with a bias", f"A bias of {LASTING_BIAS:g}; epochs of training."),
    "noise": (
        "Noise of the states",
        "Standard deviation of the noise on the drive of every state at every nudged step; complex states have it in both parts.",
    ),
}
"""Titles and explanations of the tables."""


def page(rows: list[Row], chosen: argparse.Namespace) -> list[str]:
    """Lines of the page."""
    images = round(chosen.images * (1 - HOLDOUT))
    lines = [
        "# A measured contrast: bias and noise",
        "",
        f"Digits, {images} training images, a Hopfield network {'-'.join(map(str, WIDTHS))} with the activation of Laborieux and "
        f"Zenke, exact arithmetic, {1 if chosen.short else EPOCHS} epochs unless stated, batches of {BATCH}, plain SGD. The rate is "
        f"selected from {', '.join(map(str, chosen.rates))} with the first seed on {chosen.images - images} validation images. Test "
        f"accuracy on {chosen.test_images} images: mean [95 % interval, Student's t] (every seed); rate. A run that diverges counts as 0.",
        "",
        "Overclamped (the training method of Dillavou et al., arXiv 2505.22887): the output is clamped at a fixed distance from its free "
        "value in the direction of the target, and the weights learn for a time proportional to the error. Exchanged: the two phases "
        "change their places at every comparator after every batch.",
    ]
    for kind, (title, unit) in TABLES.items():
        own = [row for row in rows if row["kind"] == kind]
        amounts = list(dict.fromkeys(row["amount"] for row in own))
        table = [
            [name, *(said(row) for amount in amounts for row in own if row["rule"] == name and row["amount"] == amount)]
            for name in dict.fromkeys(row["rule"] for row in own)
        ]
        lines += ["", f"## {title}", "", unit, "", *markdown(["rule", *map(str, amounts)], table)]
    short = " --short" if chosen.short else ""
    return [
        *lines,
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, analogpc {apc.__version__}, seeds {', '.join(map(str, range(chosen.seeds)))}. "
        f"Command: `python experiments/contrast.py{short}`.",
    ]


def figure(rows: list[Row]) -> Figure:
    """Accuracy against the bias, against the duration of the training with a bias, and against the noise."""
    drawn = Figure(figsize=(12, 4.4), layout="constrained")
    titles = {"bias": "bias of the contrast", "epochs": f"epochs with a bias of {LASTING_BIAS:g}", "noise": "noise of the states"}
    for panel, (kind, title) in zip(drawn.subplots(1, 3, sharey=True), titles.items(), strict=True):
        own = [row for row in rows if row["kind"] == kind]
        amounts = list(dict.fromkeys(row["amount"] for row in own))
        for number, name in enumerate(dict.fromkeys(row["rule"] for row in own)):
            values = np.array([row["accuracies"] for row in own if row["rule"] == name]) * 100
            mean = values.mean(axis=1)
            ends = [mean - values.min(axis=1), values.max(axis=1) - mean]
            panel.errorbar(range(len(amounts)), mean, ends, label=name, markersize=4, linewidth=1.2, **style(number))
        panel.axhline(10, color="0.5", linestyle="--", linewidth=1)
        panel.set_xticks(range(len(amounts)), [f"{one:g}" for one in amounts])
        panel.set(xlabel=title, ylim=(0, 100))
        panel.grid(alpha=0.3)
        if kind != "epochs":
            panel.legend(framealpha=1, edgecolor="none", fontsize=8, loc="lower left")
    drawn.axes[0].set_ylabel("test accuracy (%)")
    return drawn


def main() -> None:
    """Measure, and write the results, the page and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="a test of seconds, whose numbers mean nothing")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "contrast", help="path without suffix")
    chosen = parser.parse_args()
    chosen.images, chosen.test_images = (64, 40) if chosen.short else (640, 360)
    chosen.rates, chosen.seeds = (RATES[:1], 2) if chosen.short else (RATES, 3)
    rows = measure(chosen)
    chosen.out.with_suffix(".json").write_text(json.dumps(rows, indent=0) + "\n", encoding="utf-8")
    chosen.out.with_suffix(".md").write_text("\n".join(page(rows, chosen)) + "\n", encoding="utf-8")
    figure(rows).savefig(chosen.out.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
