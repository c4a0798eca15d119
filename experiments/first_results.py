"""Fashion-MNIST, 784-256-256-10, five epochs: digital rules beside the same network on memristor crossbars, three seeds each.

    python experiments/first_results.py [--seeds 0 1 2] [--epochs 5] [--out experiments/results/first_results]

Writes OUT.json (every run, with its study) and OUT.md (the table).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from analogpc.data import load_data
from analogpc.report.tables import summary
from analogpc.training.fit import begin
from analogpc.training.study import Study

# Relaxation and rate of PC as published for this network type (Pinchetti et al., MLP on Fashion-MNIST, PC-SE); the rest as said.
PC = {"kind": "predictive-coding", "steps": 5, "step_size": 0.02607, "momentum": 0.1}
ADAMW = {"kind": "adamw", "learning_rate": 1e-3, "schedule": {"kind": "warmup-cosine"}}
PULSES = {"kind": "sgd", "schedule": {"kind": "warmup-cosine"}}

CASES = {
    "backprop, digital": {"rule": "bp", "substrate": "digital", "optimiser": ADAMW},
    "PC, digital": {"rule": PC, "substrate": "digital", "optimiser": ADAMW},
    "S+F, digital": {"rule": "s+f", "substrate": "digital", "optimiser": ADAMW},
    "S+F, digital, plain SGD": {"rule": "s+f", "substrate": "digital", "optimiser": {**PULSES, "learning_rate": 0.1}},
    "S+F, idealized": {
        "rule": "s+f",
        "substrate": {"kind": "analog", "device": "idealized", "mapping": {"headroom": 8.0}},
        "optimiser": {**PULSES, "learning_rate": 0.1},
    },
    "S+F, reram-sb": {
        "rule": "s+f",
        "substrate": {"kind": "analog", "device": "reram-sb", "mapping": {"headroom": 2.0}},
        "optimiser": {**PULSES, "learning_rate": 0.1},
    },
}


def main() -> None:
    """Run all cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("experiments/results/first_results"))
    arguments = parser.parse_args()
    data = load_data("fashion-mnist")
    rows = []
    for case, fields in CASES.items():
        for seed in arguments.seeds:
            study = Study(dataset="fashion-mnist", epochs=arguments.epochs, seed=seed, **fields)
            run = begin(study, data).train(data)
            rows.append({"case": case, **summary(run), "environment": run.environment, "study": study.to_toml()})
            print(f"{case}, seed {seed}: {rows[-1]['test_accuracy']:.2%}", flush=True)
            arguments.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    arguments.out.with_suffix(".md").write_text(table(rows, arguments), encoding="utf-8")


def table(rows: list[dict], arguments: argparse.Namespace) -> str:
    """The results as Markdown, one line for each case, every seed shown."""
    seeds = ", ".join(map(str, arguments.seeds))
    lines = [
        "# Fashion-MNIST, 784-256-256-10, batch 128",
        "",
        f"Test accuracy after {arguments.epochs} epochs (the last epoch, not the best), seeds {seeds}. "
        "Command: `python experiments/first_results.py`.",
        "",
        "| case | optimiser | mean | every seed | pulses per weight | ADC conversions saturated |",
        "|---|---|---|---|---|---|",
    ]
    weights = 784 * 256 + 256 * 256 + 256 * 10
    for case in CASES:
        mine = [row for row in rows if row["case"] == case]
        accuracies = [row["test_accuracy"] for row in mine]
        pulses = np.mean([row["pulses"] for row in mine]) / weights
        conversions = sum(row["conversions_out"] for row in mine)
        saturated = f"{sum(row['saturated_out'] for row in mine) / conversions:.2%}" if conversions else "–"
        each = ", ".join(f"{a:.2%}" for a in accuracies)
        spent = f"{pulses:,.0f}" if pulses else "–"
        lines.append(f"| {case} | {mine[0]['optimiser']} | {np.mean(accuracies):.2%} | {each} | {spent} | {saturated} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
