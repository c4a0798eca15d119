"""States and gradients of a deep Hopfield-type network by layer: plain equilibrium propagation and intermediate signals.

    python experiments/vanishing_ep.py [--convolutional] [--seeds 0 1 2] [--depth 10] [--epochs 12] [--images N] [--out OUT] [--redraw DATE]

Digits, dense layers of 32 units or convolutions of 8 channels (3 x 3, the last layer dense), without biases, tanh, softmax read-out, in
float64 so that small numbers are not rounding errors. Signals at every hidden state: local errors (against the network's own output, and
against the label), or weighted distillation of the logits of a perceptron trained by backprop (Lin et al., arXiv 2508.15989). Measured
before and after training, as means over the units and 64 samples: the free states, their displacement by the nudges, and the update of a
weight by a batch. Writes OUT.json, OUT.md and OUT.png; with --redraw only the last two, from an OUT.json measured on DATE.
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tables import plus_minus

from analogpc import (
    AdamW,
    Backprop,
    Chain,
    Conv2d,
    Dense,
    Flatten,
    Hopfield,
    HopfieldEP,
    Network,
    WarmupCosine,
    fit,
    load_data,
    mlp,
)
from analogpc._version import __version__
from analogpc.data import Dataset
from analogpc.report.page_pictures import style
from analogpc.rules.hopfield.intermediate import LocalError, WeightedDistillation
from analogpc.rules.hopfield.signals import SignalsEP, Steady
from analogpc.rules.hopfield.teacher import Teacher

WIDTH, CHANNELS, SAMPLES = 32, 8, 64
RULES = ("plain", "local errors", "local errors, label", "weighted distillation")
MEASURES = {"state": "mean |s|", "move": "mean |s(β) - s(-β)|", "gradient": "mean weight update"}
Profile = dict[str, list[float]]


def cases(depth: int, data: Dataset) -> dict[str, HopfieldEP]:
    """Rules by name, all with the same nudge."""
    taught = fit(mlp([64, 64, 10], seed=100), Backprop(), data, epochs=8, batch_size=32, progress=False)
    print(f"teacher: {taught.history['test_accuracy'][-1]:.2%}", flush=True)
    hidden = tuple(range(1, depth))
    distilled = WeightedDistillation(states=hidden, teacher=Teacher.of(taught.network), teacher_states=(2,) * len(hidden))
    common = {"beta": 0.5, "steps": 15, "output": "cross-entropy"}
    strength = Steady(start=0.85)
    return {
        "plain": HopfieldEP(**common),
        "local errors": SignalsEP(signals=LocalError(target="output"), gamma=strength, **common),
        "local errors, label": SignalsEP(signals=LocalError(), gamma=strength, **common),
        "weighted distillation": SignalsEP(signals=distilled, gamma=strength, **common),
    }


def student(depth: int, seed: int, convolutional: bool) -> Network:
    """Build a network of the given depth, with couplings weak enough for the states to converge."""
    hidden = Conv2d(channels=CHANNELS) if convolutional else Dense(features=WIDTH)
    hidden, last = (layer.but(bias=False, init_gain=0.5) for layer in (hidden, Dense(features=10)))
    blocks = (hidden,) * (depth - 1) + (Chain(blocks=(Flatten(), last)) if convolutional else last,)
    heads = tuple(range(1, depth))
    fields = {"activation": "tanh", "readout": "softmax", "steps": 20, "dtype": "float64"}
    shape = (8, 8, 1) if convolutional else (64,)
    return Network(Hopfield(input_shape=shape, blocks=blocks, heads=heads, head_features=(10,) * len(heads), **fields), seed=seed)


def profile(network: Network, rule: HopfieldEP, data: Dataset) -> Profile:
    """Compute the three measures by layer."""
    indices = np.arange(SAMPLES)
    x = network.inputs(data.inputs("train", indices, dtype="float64"))
    target = np.eye(10)[data.labels("train", indices)]
    free, ends = rule.begin(network, x, target), []
    for beta in (rule.beta, -rule.beta):
        phase = rule.phase(network, free, target, beta)
        phase.states.relax(rule.steps, network.architecture.order, phase.force)
        ends.append(phase.states.states)
    learnt = {id(matrix): 0.0 for matrix in network.matrices().values()}

    def apply(products, gain):
        for matrix, pre, post in products:
            learnt[id(matrix)] = learnt[id(matrix)] + gain * post.T @ pre / SAMPLES

    rule.train_step(network, x, target, apply)
    layers = [next(iter(layer.matrices.values())) for layer in network.layers]
    return {
        "state": [float(np.abs(state).mean()) for state in free.states[1:]],
        "move": [float(np.abs(up - down).mean()) for up, down in zip(*ends, strict=True)][1:],
        "gradient": [float(np.abs(learnt[id(matrix)]).mean()) for matrix in layers],
    }


def draw(rows: list[dict], path: Path) -> None:
    """Draw the measures by layer (columns) before and after training (rows), and the accuracies on the right."""
    figure = Figure(figsize=(14, 6), layout="constrained")
    panels = figure.subplot_mosaic([["b0", "b1", "b2", "acc"], ["a0", "a1", "a2", "acc"]])
    for row in rows:
        look = style(RULES.index(row["rule"])) | {"alpha": 0.75, "linewidth": 1.1, "markersize": 4}
        for letter, when in (("b", "before"), ("a", "after")):
            for number, measure in enumerate(MEASURES):
                values = np.array(row[when][measure])
                panels[f"{letter}{number}"].plot(np.arange(1, len(values) + 1), np.where(values > 0, values, np.nan), **look)
        label = row["rule"] if row["seed"] == rows[0]["seed"] else None
        panels["acc"].plot(np.arange(1, len(row["accuracy"]) + 1), row["accuracy"], label=label, **look)
    for letter, when in (("b", "before"), ("a", "after")):
        for number, title in enumerate(MEASURES.values()):
            panel = panels[f"{letter}{number}"]
            panel.set(yscale="log", title=f"{title}, {when} training", xlabel="state" if number < 2 else "layer")
    panels["acc"].axhline(0.1, color="0.7", linewidth=1)
    panels["acc"].set(title="test accuracy; every seed", xlabel="epoch", ylim=(0, 1))
    for panel in panels.values():
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(alpha=0.3)
    panels["acc"].legend(frameon=False)
    figure.savefig(path, dpi=100)


def table(rows: list[dict], chosen: argparse.Namespace) -> str:
    """Markdown table: each measure at the layer farthest from its source, as geometric means over the seeds."""
    lines = [
        f"# Vanishing states and gradients in a {'convolutional ' if chosen.convolutional else ''}network of {chosen.depth} layers",
        "",
        f"Seeds {', '.join(map(str, chosen.seeds))}, {chosen.epochs} epochs on {chosen.images or 'all'} images. "
        "State: mean |s| of the last hidden state. Move and gradient: "
        "mean |s(β) - s(-β)| of the first state, and mean update of a weight of the first layer. Geometric means over the seeds. "
        f"Accuracies: test, mean with its 95 % interval (Student's t) and every seed. "
        f"{chosen.redraw or f'{datetime.now(UTC):%Y-%m-%d}'}, analogpc {__version__}. Command: "
        f"`{command(chosen)}`.",
        "",
        "| rule | when | state | move | gradient | accuracy |",
        "|---|---|---|---|---|---|",
    ]
    for rule in RULES:
        own = [row for row in rows if row["rule"] == rule]
        if not own:
            continue
        for when in ("before", "after"):
            ends = [[row[when][measure][place] for row in own] for measure, place in zip(MEASURES, (-1, 0, 0), strict=True)]
            means = " | ".join(f"{np.exp(np.mean(np.log(values))):.1e}" for values in ends)
            last = [row["accuracy"][-1] for row in own]
            each = ", ".join(f"{a:.1%}" for a in last)
            reached = f"{plus_minus([100 * a for a in last], '.1f')} % ({each})" if when == "after" else ""
            lines.append(f"| {rule} | {when} | {means} | {reached} |")
    lines += ["", 'Local errors refer to the network\'s own output (`target = "output"`), with "label" to the label.']
    if missing := [rule for rule in RULES if all(row["rule"] != rule for row in rows)]:
        lines[-1] += f" Not measured: {'; '.join(missing)}."
    return "\n".join(lines) + "\n"


def command(chosen: argparse.Namespace) -> str:
    """Return the command that gives these results."""
    shape = " --convolutional" if chosen.convolutional else ""
    images = f" --images {chosen.images}" if chosen.images else ""
    return f"python experiments/vanishing_ep.py{shape} --depth {chosen.depth} --epochs {chosen.epochs}{images} --out {chosen.out}"


def main() -> None:
    """Measure, train, measure again; write the figure and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--depth", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--images", type=int, default=0, help="training images; all by default")
    parser.add_argument("--convolutional", action="store_true", help="convolutions instead of dense layers")
    parser.add_argument("--out", type=Path, default=Path("experiments/results/vanishing_ep"))
    parser.add_argument("--redraw", metavar="DATE", default="", help="only write the table and the figure of OUT.json")
    chosen = parser.parse_args()
    if chosen.redraw:
        rows = json.loads(chosen.out.with_suffix(".json").read_text(encoding="utf-8"))
        chosen.out.with_suffix(".md").write_text(table(rows, chosen), encoding="utf-8")
        draw(rows, chosen.out.with_suffix(".png"))
        return
    data, rows = load_data("digits"), []
    if chosen.images:
        data = data.take(chosen.images, len(data.test_labels))
    for name, rule in cases(chosen.depth, data).items():
        for seed in chosen.seeds:
            network = student(chosen.depth, seed, chosen.convolutional)
            adam = AdamW(learning_rate=2e-3, schedule=WarmupCosine(end=0.02))
            run = fit(network, rule, data, epochs=chosen.epochs, batch_size=32, seed=seed, optimiser=adam, progress=False)
            before, after = (profile(one, rule, data) for one in (network, run.network))
            rows.append({"rule": name, "seed": seed, "before": before, "after": after, "accuracy": run.history["test_accuracy"]})
            print(f"{name}, seed {seed}: {rows[-1]['accuracy'][-1]:.2%}", flush=True)
    chosen.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    chosen.out.with_suffix(".md").write_text(table(rows, chosen), encoding="utf-8")
    draw(rows, chosen.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
