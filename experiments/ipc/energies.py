"""Energies of predictive coding and incremental predictive coding against the number of relaxation steps, from the first "
"step of training.

    python experiments/ipc/energies.py [--seeds 0 1 2] [--steps 480] [--out OUT]

Generative: the first 100 images of MNIST, at the output of a perceptron of widths 256-256-256-256-784 whose causes are inferred; T = 8, 12
and 16. Discriminative: the first 250 images of Fashion-MNIST, perceptrons with 3, 4 and 6 layers of weights and hidden layers of 64
units, T = 8. Pixels from 0 to 1, full batches, states by plain gradient descent with step 0.5, weights by plain gradient descent of
the energy summed over the batch, at 5e-5 (generative) and 1e-4 (discriminative), as in the paper (Salvatori et al., ICLR 2024, Figs.
2, 7 and 8). Predictive coding updates the weights after T steps, incremental predictive coding in every step. Energies are those at
the end of a batch of T steps, per image. Writes OUT.json, OUT.md and OUT.png.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

sys.path.append(str(Path(__file__).parents[1]))
from tables import dated, markdown, plus_minus

from analogpc import SGD, Dataset, GenerativePC, IncrementalPC, PredictiveCoding, fit, load_data, mlp
from analogpc._version import __version__
from analogpc.report.page_pictures import style

RULES = ("PC", "iPC")


def images(name: str, count: int) -> Dataset:
    """Return the first images of a data set, with pixels from 0 to 1."""
    return replace(load_data(name).take(count, 10), mean=(0.0,), std=(1.0,), normalisation="given")


def generative(rule: str, steps: int, total: int, data: Dataset, widths: tuple[int, ...], seed: int) -> list[float]:
    """Return the energy per image after every ``steps`` of ``total`` steps of a generative network."""
    flat = data.inputs("train", np.arange(len(data.train_labels))).reshape(len(data.train_labels), -1)
    network = mlp((*widths, flat.shape[1]), activation="tanh", seed=seed)
    learner = GenerativePC(steps=steps, step_size=0.5, momentum=0.0, learn="at-end" if rule == "PC" else "every-step")
    how = {"epochs": total // steps, "batch_size": len(flat), "seed": seed}
    return learner.train(network, flat, SGD(learning_rate=5e-5 * len(flat)), **how)


def discriminative(rule: str, steps: int, total: int, data: Dataset, layers: int, seed: int) -> list[float]:
    """Return the energy per image after every ``steps`` of ``total`` steps of a classifier."""
    inputs = int(np.prod(data.input_shape))
    network = mlp((inputs, *(64,) * (layers - 1), 10), activation="tanh", seed=seed)
    made = PredictiveCoding if rule == "PC" else IncrementalPC
    count = len(data.train_labels)
    how = {"epochs": total // steps, "batch_size": count, "optimiser": SGD(learning_rate=1e-4 * count), "seed": seed}
    run = fit(network, made(steps=steps, step_size=0.5), data, progress=False, **how)
    return [float(np.sum(energies)) for energies in run.history["energy"]]


def curves(chosen: argparse.Namespace) -> list[dict]:
    """Return all curves."""
    rows = []
    first, second = (images(name, count) for name, count in zip(chosen.data, chosen.images, strict=True))
    for seed in chosen.seeds:
        for rule in RULES:
            for steps in (8, 12, 16):
                found = generative(rule, steps, chosen.steps, first, (256, 256, 256, 256), seed)
                rows.append(
                    {"kind": "generative", "case": f"T = {steps}", "rule": rule, "seed": seed, "T": steps, "energies": found}
                )
            for layers in (3, 4, 6):
                found = discriminative(rule, 8, chosen.steps, second, layers, seed)
                case = f"{layers} layers"
                rows.append({"kind": "discriminative", "case": case, "rule": rule, "seed": seed, "T": 8, "energies": found})
            print(f"seed {seed}, {rule}", flush=True)
    return rows


def table(rows: list[dict], chosen: argparse.Namespace) -> str:
    """Return the page: energies at a tenth of the steps and at the end, and the steps after which iPC is below the end of PC."""
    lines = [
        "# Incremental predictive coding: energies against relaxation steps",
        "",
        f"Generative: {chosen.images[0]} images of {chosen.data[0]}, 256-256-256-256-784; discriminative: "
        f"{chosen.images[1]} images of "
        f"{chosen.data[1]}, hidden layers of 64 units, T = 8. Full batches, plain gradient descent. Energy per image after "
        f"a tenth of the steps and after all {chosen.steps}: mean over the seeds with half of its 95 % interval (Student's t), and "
        "lowest to highest. Last column: steps after which iPC is below the last energy of PC.",
        "",
    ]
    body = []
    for kind, case in dict.fromkeys((row["kind"], row["case"]) for row in rows):
        group = {rule: [row for row in rows if (row["kind"], row["case"], row["rule"]) == (kind, case, rule)] for rule in RULES}
        cells = []
        for rule in RULES:
            found = np.array([row["energies"] for row in group[rule]])
            for place in (max(0, found.shape[1] // 10 - 1), -1):
                values = found[:, place]
                cells.append(f"{plus_minus(values, '.3g')} ({values.min():.3g} to {values.max():.3g})")
        sooner = []
        for plain, incremental in zip(*group.values(), strict=True):
            below = np.flatnonzero(np.array(incremental["energies"]) <= plain["energies"][-1])
            sooner.append(f"{(below[0] + 1) * incremental['T']}" if len(below) else "never")
        body.append([f"{kind}, {case}", *cells, ", ".join(sooner)])
    columns = ["network", *(f"{rule}, {when}" for rule in RULES for when in ("a tenth", "all steps")), "iPC as low as PC (steps)"]
    command = "python experiments/ipc/energies.py"
    return "\n".join([*lines, *markdown(columns, body), "", dated(__version__, chosen.seeds, command), ""])


def figure(rows: list[dict]) -> Figure:
    """Energies against steps: one panel for each kind, every seed."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    drawn = Figure(figsize=(11, 4), layout="constrained")
    for panel, kind in zip(drawn.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
        own = [row for row in rows if row["kind"] == kind]
        cases = list(dict.fromkeys(row["case"] for row in own))
        for row in own:
            number = cases.index(row["case"]) + len(cases) * RULES.index(row["rule"])
            look = style(number) | {"linestyle": "-" if row["rule"] == "PC" else "--", "marker": None}
            label = f"{row['rule']}, {row['case']}" if row["seed"] == own[0]["seed"] else None
            steps = row["T"] * np.arange(1, len(row["energies"]) + 1)
            panel.plot(steps, row["energies"], **look, linewidth=1.3, label=label)
        panel.set(xlabel="relaxation steps", ylabel="energy per image", yscale="log", title=kind)
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
    return drawn


def main() -> None:
    """Compute all curves; write numbers, page and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=480)
    parser.add_argument("--data", nargs=2, default=["mnist", "fashion-mnist"])
    parser.add_argument("--images", type=int, nargs=2, default=[100, 250])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "energies")
    chosen = parser.parse_args()
    rows = curves(chosen)
    chosen.out.with_suffix(".json").write_text(json.dumps(rows) + "\n", encoding="utf-8")
    chosen.out.with_suffix(".md").write_text(table(rows, chosen), encoding="utf-8")
    figure(rows).savefig(chosen.out.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
