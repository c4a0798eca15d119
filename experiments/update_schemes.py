"""How local products become conductance changes: every update scheme on four kinds of devices.

    python experiments/update_schemes.py [--images 5000] [--epochs 2] [--seeds 0 1 2] [--rules s+f] [--out OUT]

Fashion-MNIST, 784-128-10, spiking precision with forward updates (and centered equilibrium propagation with ``--rules ep``). Plain
SGD wherever a scheme applies products as they come; schemes with a digital accumulator also with AdamW in front. A combination that
the simulator refuses for physical reasons is listed as such. Writes OUT.json after every run (and goes on from it), OUT.md and OUT.png.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from analogpc.data import load_data
from analogpc.devices.crossbars.crossbar_matrix import CrossbarMatrix
from analogpc.devices.specification import SpecificationError
from analogpc.rules import named_rule
from analogpc.training.fit import begin
from analogpc.training.study import Study

# The presets, and the room that their ranges leave for weights to grow: noisy devices need the range for their first weights.
PRESETS = {"idealized": 8.0, "ecram": 4.0, "reram-sb": 2.0, "pcm": 2.0}
SGD: dict[str, Any] = {"kind": "sgd", "learning_rate": 0.1}
ADAM: dict[str, Any] = {"kind": "adamw", "learning_rate": 1e-3}
# Transfers of all lines after every batch: one line after every sample is closer to the hardware and fifty times as slow to simulate.
FEW: dict[str, Any] = {"lines": 0, "unit": "batch", "fast_scaling": "rate", "fast_rate": 1.0, "transfer_scaling": "absolute"}
SCHEMES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "exact writing": ({"kind": "ideal"}, SGD),
    "stochastic pulses": ({"kind": "stochastic-pulses"}, SGD),
    "deterministic pulses": ({"kind": "stochastic-pulses", "trains": "deterministic"}, SGD),
    "sign pulses": ({"kind": "sign-pulses", "pulses": 4}, SGD),
    "mixed precision": ({"kind": "mixed-precision"}, SGD),
    "mixed precision, AdamW": ({"kind": "mixed-precision"}, ADAM),
    "program and verify": ({"kind": "program-verify", "budget": 50}, SGD),
    "Tiki-Taka": ({"kind": "tiki-taka", **FEW, "transfer_rate": 0.05}, SGD),
    "Tiki-Taka v2": ({"kind": "tiki-taka-v2", **FEW, "transfer_rate": 0.05, "most_pulses": 20}, SGD),
    "c-TTv2": ({"kind": "chopped-tiki-taka", **FEW, "transfer_rate": 0.05, "most_pulses": 20, "chop_probability": 0.02}, SGD),
    "AGAD": ({"kind": "agad", **FEW, "transfer_rate": 0.05, "most_pulses": 20, "chop_probability": 0.1}, SGD),
}


def run(preset: str, scheme: str, rule: str, seed: int, epochs: int, data: Any) -> dict[str, Any]:
    """Accuracy and pulses of one run, or why there is none."""
    specification, optimiser = SCHEMES[scheme]
    try:
        study = Study(
            network={"kind": "mlp", "widths": [784, 128, 10], "activation": "leaky_relu"},
            substrate={"kind": "analog", "device": preset, "scheme": specification, "mapping": {"headroom": PRESETS[preset]}},
            dataset="fashion-mnist",
            rule=named_rule(rule),
            optimiser=optimiser,
            epochs=epochs,
            seed=seed,
        )
    except SpecificationError as error:
        return {"refused": str(error)}
    trained = begin(study, data).train(data)
    matrices = [matrix for matrix in trained.network.matrices().values() if isinstance(matrix, CrossbarMatrix)]
    weights = sum(matrix.shape[0] * matrix.shape[1] for matrix in matrices)
    return {
        "accuracy": trained.history["test_accuracy"][-1],
        "pulses_per_weight": sum(matrix.meter.pulses for matrix in matrices) / weights,
        "seconds": sum(trained.history["seconds"]),
    }


def digital(rule: str, seed: int, epochs: int, data: Any) -> dict[str, Any]:
    """The ideal-digital reference with the same optimiser."""
    study = Study(
        network={"kind": "mlp", "widths": [784, 128, 10], "activation": "leaky_relu"},
        dataset="fashion-mnist",
        rule=named_rule(rule),
        optimiser=SGD,
        epochs=epochs,
        seed=seed,
    )
    trained = begin(study, data).train(data)
    return {
        "accuracy": trained.history["test_accuracy"][-1],
        "pulses_per_weight": 0.0,
        "seconds": sum(trained.history["seconds"]),
    }


def table(results: dict[str, Any], rules: list[str], seeds: list[int]) -> list[str]:
    """One table for each rule: mean accuracy, every seed, and pulses per weight."""
    lines = []
    for rule in rules:
        reference = [results[f"digital|{rule}|{seed}"]["accuracy"] for seed in seeds]
        lines += [
            f"## {rule}",
            "",
            f"Ideal-digital, plain SGD: {np.mean(reference):.2%} ({', '.join(f'{a:.2%}' for a in reference)}).",
            "",
            f"| scheme | {' | '.join(PRESETS)} |",
            f"|---|{'---|' * len(PRESETS)}",
        ]
        for scheme in SCHEMES:
            cells = []
            for preset in PRESETS:
                found = [results[f"{preset}|{scheme}|{rule}|{seed}"] for seed in seeds]
                if "refused" in found[0]:
                    cells.append("refused")
                    continue
                accuracies = [one["accuracy"] for one in found]
                pulses = np.mean([one["pulses_per_weight"] for one in found])
                cells.append(f"**{np.mean(accuracies):.1%}** ({', '.join(f'{a:.1%}' for a in accuracies)}); {pulses:,.0f}")
            lines.append(f"| {scheme} | {' | '.join(cells)} |")
        lines.append("")
    return lines


def figure(results: dict[str, Any], rules: list[str], seeds: list[int], path: Path) -> None:
    """Accuracy against pulses per weight, one panel for each preset, one mark for each scheme (mean over the seeds)."""
    drawn = Figure(figsize=(13, 3.6 * len(rules)))
    panels = drawn.subplots(len(rules), len(PRESETS), sharey=True, squeeze=False)
    colours = matplotlib.colormaps["tab20"](np.linspace(0, 1, len(SCHEMES)))
    for row, rule in zip(panels, rules, strict=True):
        reference = np.mean([results[f"digital|{rule}|{seed}"]["accuracy"] for seed in seeds])
        for panel, preset in zip(row, PRESETS, strict=True):
            panel.axhline(100 * reference, color="0.5", linestyle="--", linewidth=1, label="ideal-digital, SGD")
            for scheme, colour in zip(SCHEMES, colours, strict=True):
                found = [results[f"{preset}|{scheme}|{rule}|{seed}"] for seed in seeds]
                if "refused" in found[0]:
                    continue
                pulses = max(np.mean([one["pulses_per_weight"] for one in found]), 0.1)
                accuracies = 100 * np.array([one["accuracy"] for one in found])
                panel.errorbar(
                    pulses,
                    accuracies.mean(),
                    [[accuracies.mean() - accuracies.min()], [accuracies.max() - accuracies.mean()]],
                    marker="o",
                    color=colour,
                    linestyle="none",
                    label=scheme,
                )
            panel.set_xscale("log")
            panel.set_title(f"{preset}, {rule}", fontsize=10)
            panel.set_xlabel("pulses per weight (0.1: none)")
            panel.grid(alpha=0.3)
        row[0].set_ylabel("test accuracy (%)")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="center left", bbox_to_anchor=(0.84, 0.5), fontsize=8, frameon=False)
    drawn.tight_layout(rect=(0, 0, 0.84, 1))
    drawn.savefig(path, dpi=110)


def main() -> None:
    """Run what is missing, and write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rules", nargs="+", default=["s+f"])
    parser.add_argument("--out", type=Path, default=Path("experiments/results/update_schemes"))
    chosen = parser.parse_args()
    data = load_data("fashion-mnist").take(chosen.images, 10_000)
    record = chosen.out.with_suffix(".json")
    settings = {"images": chosen.images, "epochs": chosen.epochs}
    held = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {"settings": settings, "results": {}}
    if held["settings"] != settings:
        raise SystemExit(f"{record} holds results for {held['settings']}; choose another --out for {settings}")
    results = held["results"]
    for seed in chosen.seeds:
        for rule in chosen.rules:
            for preset in ["digital", *PRESETS]:
                for scheme in SCHEMES if preset != "digital" else [""]:
                    name = "|".join(part for part in (preset, scheme, rule, str(seed)) if part)
                    if name in results:
                        continue
                    common = (rule, seed, chosen.epochs, data)
                    results[name] = digital(*common) if preset == "digital" else run(preset, scheme, *common)
                    print(name, results[name], flush=True)
                    record.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
    lines = [
        "# Update schemes",
        "",
        f"Fashion-MNIST, the first {chosen.images:,} training images, {chosen.epochs} epochs, 784-128-10; test accuracy on all 10,000 test "
        f"images: mean, every seed ({', '.join(map(str, chosen.seeds))}); then pulses that the devices received, per weight. Plain SGD "
        "with a rate of 0.1 unless said; headroom of the ranges "
        f"{', '.join(f'{value:g} ({name})' for name, value in PRESETS.items())}. Command: `python experiments/update_schemes.py`.",
        "",
    ]
    if "ep" in chosen.rules:
        lines += [
            "`ep` is centered equilibrium propagation on the energies of predictive coding: each phase hands over error times activity, "
            "and errors are of the order of the nudge, so that two opposite pulse trains carry no more noise than the single product of "
            "`s+f`. In networks of Hopfield type the products s sᵀ of both phases are of order 1 and nearly cancel: as two trains they "
            "give a variance of about 2 |s sᵀ| Δw η / (2 β) per weight and update against a mean of order η "
            "(tests/devices/test_schemes_pulses.py).",
            "",
        ]
    lines += table(results, chosen.rules, chosen.seeds)
    refused = {value["refused"].rsplit("is not allowed: ", 1)[-1] for value in results.values() if "refused" in value}
    lines += ["Refused:", "", *(f"- {reason}" for reason in sorted(refused)), ""] if refused else []
    chosen.out.with_suffix(".md").write_text("\n".join(lines), encoding="utf-8")
    figure(results, chosen.rules, chosen.seeds, chosen.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
