"""Contrasts measured with a bias, and noise of the states: the effect of strong nudges, exchanged phases and complex nudges.

    python experiments/contrast.py [--short] [--out experiments/results/contrast]

Every weight of a contrastive rule compares its two phases, and a comparator has an offset: the weight learns its contrast plus a fixed bias
(Dillavou et al., arXiv 2505.22887, in networks of resistors). Writes OUT.json (every run), OUT.md and OUT.png.
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from matplotlib.figure import Figure
from tables import markdown
from typing_extensions import override

import analogpc as apc
from analogpc.dynamics.recurrent import Recurrent
from analogpc.kernels.random.streams import Key, normals
from analogpc.networks import Hopfield
from analogpc.networks.network import Network
from analogpc.report.page_pictures import style
from analogpc.rules.base import Apply, StepContext
from analogpc.rules.hopfield.holomorphic import HolomorphicEP
from analogpc.rules.hopfield.hopfield_ep import HopfieldEP
from analogpc.rules.hopfield.traces import Traces
from analogpc.studies.comparison import mean_interval

WIDTHS, RATES, HOLDOUT, BATCH = (64, 32, 10), (0.03, 0.1), 0.25, 32
BIASES = (0.0, 0.001, 0.003, 0.01, 0.03)
NOISES = (0.0, 0.02, 0.04, 0.1)
Row = dict[str, Any]


class Imperfect(HopfieldEP):
    """Equilibrium propagation whose contrasts have a fixed bias, and whose nudged states have noise.

    Attributes
    ----------
    bias : float
        Standard deviation, over the weights, of the offset in dPhi/dW(plus) - dPhi/dW(minus) of every sample; drawn once.
    exchange : bool
        Exchange the inputs of all comparators after every batch: the sign of the bias changes, that of the contrast does not.
    noise : float
        Standard deviation of the noise added to the drive of every state at every nudged step.
    draw : int
        Seed of bias and noise.
    """

    names: ClassVar[dict[str, dict[str, Any]]] = {}
    kind: Literal["imperfect-hopfield-ep"] = "imperfect-hopfield-ep"
    bias: float = 0.0
    exchange: bool = False
    noise: float = 0.0
    draw: int = 0
    batch: int = 0

    @override
    def at(self, context: StepContext) -> Self:
        return super().at(context).but(batch=context.step)

    @override
    def begin(self, network: Network, x: np.ndarray, target: np.ndarray) -> Recurrent:
        return disturbed(super().begin(network, x, target), self.noise, self.draw, self.batch)

    @override
    def _learn(self, apply: Apply, plus: Traces, minus: Traces, base: Recurrent, gain: float) -> None:
        super()._learn(apply, plus, minus, base, gain)
        if self.bias == 0:
            return
        sign = -1 if self.exchange and self.batch % 2 else 1
        samples = len(base.states[0])
        for number, layer in enumerate(base.layers):
            matrix = layer.matrices["weight"]
            inputs, outputs = layer.input_shape[0], layer.output_shape[0]
            drawn = normals(Key(self.draw).fold("bias", number), 0, (inputs, outputs), base.states[0].dtype)
            # One row for every input: the sum of the products is the bias for every sample.
            apply([(matrix, np.eye(inputs, dtype=drawn.dtype), drawn * drawn.dtype.type(sign * self.bias * samples))], gain)


class NoisyHolomorphicEP(HolomorphicEP):
    """Holomorphic equilibrium propagation with noise of the states, of the same size in their real and imaginary parts."""

    kind: Literal["noisy-holomorphic-ep"] = "noisy-holomorphic-ep"
    noise: float = 0.0
    draw: int = 0
    batch: int = 0

    @override
    def at(self, context: StepContext) -> Self:
        return super().at(context).but(batch=context.step)

    @override
    def begin(self, network: Network, x: np.ndarray, target: np.ndarray) -> tuple[Recurrent, Hopfield]:
        free, architecture = super().begin(network, x, target)
        return disturbed(free, self.noise, self.draw, self.batch), architecture


def disturbed(free: Recurrent, noise: float, draw: int, batch: int) -> Recurrent:
    """Give all states of the phases that continue ``free`` a noisy drive."""
    if noise == 0:
        return free
    count = iter(range(10**9))

    def force(number: int) -> Any:
        def drawn(states: Recurrent) -> np.ndarray:
            state = states.states[number]
            parts = [
                normals(Key(draw).fold("noise", batch, next(count)), 0, state.shape, state.real.dtype)
                for _ in range(1 + np.iscomplexobj(state))
            ]
            return state.real.dtype.type(noise) * (parts[0] if len(parts) == 1 else parts[0] + 1j * parts[1])

        return drawn

    for number in range(1, len(free.states)):
        free.pulls[number] = force(number)
    return free


def rules(amount: float, kind: str, draw: int) -> dict[str, Any]:
    """Rules by name, with a bias or noise of the given size."""
    given = {kind: amount, "draw": draw}
    if kind == "bias":
        return {
            "centered, β = 0.1": Imperfect(beta=0.1, **given),
            "centered, β = 0.4": Imperfect(beta=0.4, **given),
            "coupled learning, β = 1": Imperfect(beta=1.0, nudging="positive", drive="clamp", **given),
            "centered, β = 0.1, exchanged": Imperfect(beta=0.1, exchange=True, **given),
        }
    return {
        "centered, β = 0.1": Imperfect(beta=0.1, **given),
        "centered, β = 0.4": Imperfect(beta=0.4, **given),
        "holomorphic, N = 4, β = 0.4": NoisyHolomorphicEP(points=4, beta=0.4, steps=10, **given),
    }


def trained(rule: Any, rate: float, seed: int, chosen: argparse.Namespace) -> tuple[float, float]:
    """Train on digits; return the validation and the test accuracy, 0 if training diverges."""
    data = apc.load_data("digits").take(chosen.images, chosen.test_images)
    network = Network(Hopfield(widths=WIDTHS, activation="steep_sigmoid", steps=15), apc.Digital(), seed=seed)
    try:
        run = apc.fit(
            network,
            rule,
            data,
            epochs=chosen.epochs,
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


def measure(chosen: argparse.Namespace) -> list[Row]:
    """Select the rate of every case with the first seed on validation data, and test it with all seeds."""
    rows: list[Row] = []
    for kind, amounts in (("bias", BIASES), ("noise", NOISES)):
        for amount in amounts if not chosen.short else amounts[:2]:
            for name in rules(amount, kind, 0):
                found = {rate: trained(rules(amount, kind, 0)[name], rate, 0, chosen) for rate in chosen.rates}
                best = max(found, key=lambda rate: found[rate][0])
                accuracies = [found[best][1]]
                accuracies += [trained(rules(amount, kind, seed)[name], best, seed, chosen)[1] for seed in range(1, chosen.seeds)]
                rows.append({"kind": kind, "amount": amount, "rule": name, "rate": best, "accuracies": accuracies})
                print(kind, amount, name, best, accuracies, flush=True)
    return rows


def said(row: Row) -> str:
    """Format the mean, the 95 % interval, every seed and the rate."""
    values = row["accuracies"]
    low, high = np.clip(mean_interval(values), 0, 1)
    each = ", ".join(f"{one:.2%}" if one else "diverged" for one in values)
    return f"**{np.mean(values):.1%}** [{low:.0%}, {high:.0%}] ({each}); {row['rate']}"


def page(rows: list[Row], chosen: argparse.Namespace) -> list[str]:
    """Lines of the page."""
    images = round(chosen.images * (1 - HOLDOUT))
    lines = [
        "# A measured contrast: bias and noise",
        "",
        f"Digits, {images} training images, a Hopfield network {'-'.join(map(str, WIDTHS))} with the activation of Laborieux and "
        f"Zenke, exact arithmetic, {chosen.epochs} epochs, batches of {BATCH}, plain SGD. The rate is selected from "
        f"{', '.join(map(str, chosen.rates))} with the first seed on {chosen.images - images} validation images. Test accuracy on "
        f"{chosen.test_images} images: mean [95 % interval, Student's t] (every seed); rate. A run that diverges counts as 0.",
    ]
    titles = {
        "bias": (
            "Bias of the contrast",
            "Standard deviation of the bias over the weights, in units of dΦ/dW of a sample; drawn once for a seed.",
        ),
        "noise": (
            "Noise of the states",
            "Standard deviation of the noise on the drive of every state at every nudged step; complex states have it in both parts.",
        ),
    }
    for kind, (title, unit) in titles.items():
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
    """Accuracy against the bias, and against the noise."""
    drawn = Figure(figsize=(9, 3.8), layout="constrained")
    for panel, (kind, title) in zip(
        drawn.subplots(1, 2, sharey=True), {"bias": "bias of the contrast", "noise": "noise of the states"}.items(), strict=True
    ):
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
        panel.legend(framealpha=1, edgecolor="none", fontsize=8, loc="lower left")
    drawn.axes[0].set_ylabel("test accuracy (%)")
    return drawn


def main() -> None:
    """Measure, and write the results, the page and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="a test of seconds, whose numbers mean nothing")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "contrast", help="path without suffix")
    chosen = parser.parse_args()
    chosen.images, chosen.test_images, chosen.epochs = (64, 40, 1) if chosen.short else (640, 360, 5)
    chosen.rates, chosen.seeds = (RATES[:1], 2) if chosen.short else (RATES, 3)
    rows = measure(chosen)
    chosen.out.with_suffix(".json").write_text(json.dumps(rows, indent=0) + "\n", encoding="utf-8")
    chosen.out.with_suffix(".md").write_text("\n".join(page(rows, chosen)) + "\n", encoding="utf-8")
    figure(rows).savefig(chosen.out.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
