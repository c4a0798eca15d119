"""Vanishing energies in the first layers of predictive coding, and the effect of spiking precision and forward updates.

    python experiments/vanishing_pc.py [--seeds 0 1 2] [--out experiments/results/vanishing_pc]

Networks of 7 and 10 layers: perceptrons of width 64 on digits, and VGG7 and VGG10 with a sixteenth of their channels on Fashion-MNIST
(padded to 32 x 32). One batch of test images, squared error, output clamped to the one-hot target, as many relaxation steps as layers.
The figures show the energies that the weights learn from, and the update of every weight matrix relative to the gradient of
backpropagation, at initialisation and after a short training of each network with its own rule. They are computed in float64, because
errors much smaller than their states are lost in the rounding of float32, the type used for training. Writes OUT.png (by layer),
OUT_steps.png (energies of the perceptrons by layer and step, at initialisation), OUT.md and OUT.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tables import dated, plus_minus

import analogpc as apc
from analogpc._version import __version__
from analogpc.analysis import RelaxationRecord, energy_profile, exact_copy, gradient_alignment, residual, state_hessian_extremes
from analogpc.kernels.blas_threads import one_blas_thread
from analogpc.report.layers import COLOURS, draw_by_layer, draw_energy_maps
from analogpc.rules import Rule
from analogpc.training.environment import describe_environment

RULES = {
    "PC, step 0.05": apc.PredictiveCoding(steps="layers", step_size=0.05),
    "PC, step 0.5": apc.PredictiveCoding(steps="layers", step_size=0.5),
    "S+F, step 0.5": apc.PredictiveCoding(steps="layers", step_size=0.5, precision="spiking", update="forward"),
    "D+F, step 0.5": apc.PredictiveCoding(steps="layers", step_size=0.5, precision="decay-code", update="forward"),
}
EQUILIBRIUM = "PC, settled"
SETTLING = apc.ErrorBasedPC(steps=60, step_size=0.1, momentum=0.7)
TRAINING = {
    "MLP": {"epochs": 10, "batch_size": 32, "optimiser": apc.AdamW(learning_rate=1e-3)},
    "VGG": {"epochs": 1, "batch_size": 32, "optimiser": apc.AdamW(learning_rate=3e-3)},
}
VGG_IMAGES, BATCH = 2560, 32


def networks(seed: int) -> dict[str, tuple[apc.Network, apc.Dataset]]:
    """Networks and their data, by name."""
    digits, fashion = apc.load_data("digits"), apc.load_data("fashion-mnist", augment=False).take(VGG_IMAGES, 1000)
    room = ((0, 0), (2, 2), (2, 2), (0, 0))
    padded = replace(fashion, train_images=np.pad(fashion.train_images, room), test_images=np.pad(fashion.test_images, room))
    chosen: dict[str, tuple[apc.Network, apc.Dataset]] = {}
    for depth in (7, 10):
        chosen[f"MLP, {depth} layers"] = apc.mlp([64] * depth + [10], activation="leaky_relu", seed=seed), digits
    for depth in (7, 10):
        chosen[f"VGG{depth}"] = apc.vgg(depth, input_shape=(32, 32, 1), width=1 / 16, seed=seed), padded
    return chosen


def measured(network: apc.Network, rule: Rule, data: apc.Dataset) -> dict[str, Any]:
    """Analyse one batch of test images in float64, and the update directions also in float32."""
    exact = exact_copy(network)
    x, target = batch(network, data)
    record = energy_profile(exact, rule, x, target)
    alignment = gradient_alignment(exact, rule, x, target)
    return {
        "accuracy": apc.evaluate(network, data),
        "energy": record.learnt_from.tolist(),
        "relaxed_energy": record.energies[-1].tolist(),
        "first_share": float(record.learnt_shares[0]),
        "norm_ratio": alignment.norm_ratio.tolist(),
        "cosine": alignment.cosine.tolist(),
        "cosine_float32": gradient_alignment(network, rule, x, target).cosine.tolist(),
        "stable_step_size": state_hessian_extremes(network, x[:2], target[:2], tolerance=1e-3).stable_step_size(),
    }


def batch(network: apc.Network, data: apc.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The first test images and their one-hot targets."""
    x = network.inputs(data.inputs("test", range(BATCH)))
    return x, np.eye(data.n_classes)[data.labels("test", range(BATCH))]


def study(seed: int) -> tuple[dict[str, Any], dict[str, RelaxationRecord]]:
    """Compute all numbers by network, rule and time of measurement, and the relaxations of the perceptrons at initialisation."""
    rows: dict[str, Any] = {}
    records: dict[str, RelaxationRecord] = {}
    for name, (network, data) in networks(seed).items():
        began = time.perf_counter()
        exact, (x, target) = exact_copy(network), batch(network, data)
        left = residual(exact, SETTLING, x, target)["relaxed"]
        settled = {"initial": measured(network, SETTLING, data), "residual_rms": left.rms, "rule": SETTLING.to_toml()}
        rows[name] = {"rules": {}, "equilibrium": settled}
        for label, rule in RULES.items():
            run = apc.fit(network, rule, data, seed=seed, progress=False, **TRAINING[name[:3]])
            moments = {"initial": measured(network, rule, data), "trained": measured(run.network, rule, data)}
            rows[name]["rules"][label] = {**moments, "study": run.study.to_toml()}
            records[f"{name}\n{label}"] = energy_profile(exact, rule, x, target)
        rows[name]["seconds"] = time.perf_counter() - began
        print(f"{name}: {rows[name]['seconds']:.0f} s", flush=True)
    return rows, records


COLUMNS: tuple[tuple[Callable[[dict[str, Any]], float], str], ...] = (
    (lambda moment: moment["stable_step_size"], "{:.2f}"),
    (lambda moment: moment["first_share"], "{:.1e}"),
    (lambda moment: moment["norm_ratio"][0], "{:.1e}"),
    (lambda moment: moment["cosine"][0], "{:.3f}"),
    (lambda moment: moment["cosine_float32"][0], "{:.3f}"),
)
"""Values of the first layer in the table, and their formats."""

PANELS = (
    ("energy", "energy per sample", "energies learnt from"),
    ("norm_ratio", "norm relative to backprop", "size of the update"),
    ("cosine", "cosine with backprop", "direction of the update"),
)


def draw(rows: dict[str, Any], path: Path) -> None:
    """Draw one row of panels per network; solid lines at initialisation, dashed lines after training."""
    figure = Figure(figsize=(15, 3 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(PANELS) + 1, width_ratios=[1, 1, 1, 0.7])
    for panels, (name, row) in zip(grid, rows.items(), strict=True):
        for moment, style in (("initial", "o-"), ("trained", "x--")):
            for axes, (number, label, title) in zip(panels[:-1], PANELS, strict=True):
                curves = {rule: np.array(found[moment][number]) for rule, found in row["rules"].items()}
                if moment == "initial":
                    curves[EQUILIBRIUM] = np.array(row["equilibrium"]["initial"][number])
                draw_by_layer(axes, curves, label=label, logarithmic=number != "cosine", style=style)
                axes.set_title(f"{name}: {title}" if number == "energy" else title)
        panels[2].set_ylim(-1.05, 1.05)
        draw_shares(panels[3], row)
    grid[0, 0].legend(frameon=False, fontsize=8, handles=grid[0, 0].get_lines()[: len(RULES) + 1])
    ends = grid[0, 2].get_lines()[0], grid[0, 2].get_lines()[len(RULES) + 1]
    grid[0, 2].legend(ends, ["at initialisation", "after training"], frameon=False, fontsize=8, loc="lower right")
    figure.savefig(path, dpi=85)


def draw_shares(axes: Axes, row: dict[str, Any]) -> None:
    """Draw the energy share of the first layer for each rule: opaque at initialisation, pale after training."""
    for place, (found, colour) in enumerate(zip(row["rules"].values(), COLOURS, strict=False)):
        for offset, moment, alpha in ((-0.2, "initial", 1.0), (0.2, "trained", 0.45)):
            axes.bar(place + offset, found[moment]["first_share"], 0.4, color=colour, alpha=alpha)
    axes.bar(len(RULES), row["equilibrium"]["initial"]["first_share"], 0.4, color=COLOURS[len(RULES)])
    names = [label.replace(", step", "\n") for label in RULES]
    axes.set_xticks(range(len(RULES) + 1), [*names, "settled"], fontsize=7)
    axes.set(yscale="log", title="energy share of layer 1")
    axes.grid(alpha=0.3, axis="y")


def table(found: Sequence[dict[str, Any]], seeds: Sequence[int]) -> str:
    """Return the values of the first layer, over all seeds, as a Markdown table."""
    lines = [
        "# Vanishing energies",
        "",
        f"First layer, at initialisation → after short training, median over the seeds; one batch of {BATCH} test images, T = L relaxation "
        "steps. Share: fraction of the first layer in the energy that the weights learn from. Norm and cosine: update of its weights "
        "relative to the gradient of backpropagation, in float64 except in the float32 column (nan: no update). "
        f"{EQUILIBRIUM}: close to the equilibrium, after 60 steps of its errors; units that end at a kink of the leaky ReLU or of max "
        "pooling keep a residual. Stable: the largest stable step size at the feed-forward states, 2/λmax. Training: digits 10 epochs, "
        f"AdamW at 0.001; Fashion-MNIST {VGG_IMAGES} images once, AdamW at 0.003, so accuracies only show whether a network learns: mean "
        "with its 95 % interval (Student's t), and every seed.",
        "",
        "| network | rule | stable | share | norm | cosine | cosine, float32 | test accuracy |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in found[0]:
        for label in (*RULES, EQUILIBRIUM):
            runs = [rows[name]["equilibrium"] if label == EQUILIBRIUM else rows[name]["rules"][label] for rows in found]
            moments = [moment for moment in ("initial", "trained") if moment in runs[0]]
            cells = [
                " → ".join(form.format(np.median([value(run[moment]) for run in runs])) for moment in moments)
                for value, form in COLUMNS
            ]
            every = [100 * run[moments[-1]]["accuracy"] for run in runs] if len(moments) > 1 else []
            cells.append(f"{plus_minus(every, '.1f')} % ({', '.join(f'{one:.1f}' for one in every)})" if every else "")
            lines.append(f"| {name} | {label} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", dated(__version__, seeds, "python experiments/vanishing_pc.py"), ""])


def main() -> None:
    """Measure; write the figures, of the first seed, and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("experiments/results/vanishing_pc"))
    chosen = parser.parse_args()
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    with one_blas_thread:
        found, profiles = zip(*[study(seed) for seed in chosen.seeds], strict=True)
    document = {"environment": describe_environment(), "networks": dict(zip(map(str, chosen.seeds), found, strict=True))}
    chosen.out.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    chosen.out.with_suffix(".md").write_text(table(found, chosen.seeds), encoding="utf-8")
    draw(found[0], chosen.out.with_suffix(".png"))
    figure = Figure(figsize=(13, 6), layout="constrained")
    for part, depth in zip(figure.subfigures(2, 1), (7, 10), strict=True):
        draw_energy_maps(part, {name: record for name, record in profiles[0].items() if name.startswith(f"MLP, {depth}")})
    figure.savefig(chosen.out.with_name(f"{chosen.out.name}_steps.png"), dpi=100)


if __name__ == "__main__":
    main()
