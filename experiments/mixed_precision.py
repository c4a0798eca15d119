"""Mixed precision against the ideal-digital reference: Fashion-MNIST, 784-256-256-10, S+F, five epochs, three seeds.

    python experiments/mixed_precision.py [--seeds 0 1 2] [--epochs 5] [--out experiments/results/mixed_precision]

The same optimiser forms the changes digitally on every substrate; on the crossbars they gather in the accumulator of the scheme and go to
the devices in whole pulses. Writes OUT.json after every run (and goes on from it) and OUT.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from analogpc.data import load_data
from analogpc.devices.crossbars.crossbar_matrix import CrossbarMatrix
from analogpc.training.fit import begin
from analogpc.training.study import Study

OPTIMISERS: dict[str, dict[str, Any]] = {
    "AdamW": {"kind": "adamw", "learning_rate": 1e-3, "schedule": {"kind": "warmup-cosine"}},
    "SGD": {"kind": "sgd", "learning_rate": 0.1, "schedule": {"kind": "warmup-cosine"}},
}
# Headroom as in first_results.py: weights trained by AdamW grow several times as large as they began, but noisy devices need their
# range for what the weights are.
SUBSTRATES: dict[str, Any] = {
    "digital": "digital",
    "idealized": {"kind": "analog", "device": "idealized", "mapping": {"headroom": 8.0}, "scheme": {"kind": "mixed-precision"}},
    "reram-sb": {"kind": "analog", "device": "reram-sb", "mapping": {"headroom": 2.0}, "scheme": {"kind": "mixed-precision"}},
}


def measured(substrate: str, optimiser: str, seed: int, epochs: int, data: Any) -> dict[str, Any]:
    """Test accuracy by epoch, and pulses per weight."""
    study = Study(
        dataset="fashion-mnist",
        rule="s+f",
        substrate=SUBSTRATES[substrate],
        optimiser=OPTIMISERS[optimiser],
        epochs=epochs,
        seed=seed,
    )
    run = begin(study, data).train(data)
    matrices = [matrix for matrix in run.network.matrices().values() if isinstance(matrix, CrossbarMatrix)]
    weights = sum(matrix.shape[0] * matrix.shape[1] for matrix in matrices)
    pulses = sum(matrix.meter.pulses for matrix in matrices) / weights if weights else 0.0
    return {"accuracy": run.history["test_accuracy"], "pulses_per_weight": pulses, "seconds": sum(run.history["seconds"])}


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("experiments/results/mixed_precision"))
    chosen = parser.parse_args()
    data, record = load_data("fashion-mnist"), chosen.out.with_suffix(".json")
    results = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    for seed in chosen.seeds:
        for optimiser in OPTIMISERS:
            for substrate in SUBSTRATES:
                name = f"{substrate}|{optimiser}|{seed}|{chosen.epochs}"
                if name not in results:
                    results[name] = measured(substrate, optimiser, seed, chosen.epochs, data)
                    print(name, results[name], flush=True)
                    record.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    lines = [
        "# Mixed precision",
        "",
        f"Fashion-MNIST, 784-256-256-10, S+F, {chosen.epochs} epochs; test accuracy of the last epoch: mean, every seed "
        f"({', '.join(map(str, chosen.seeds))}), difference of the means from digital; pulses per weight. Command: "
        "`python experiments/mixed_precision.py`.",
        "",
        "| substrate | optimiser | mean | every seed | from digital | pulses per weight |",
        "|---|---|---|---|---|---|",
    ]
    for optimiser in OPTIMISERS:
        means = {}
        for substrate in SUBSTRATES:
            found = [results[f"{substrate}|{optimiser}|{seed}|{chosen.epochs}"] for seed in chosen.seeds]
            last = [one["accuracy"][-1] for one in found]
            means[substrate] = float(np.mean(last))
            pulses = np.mean([one["pulses_per_weight"] for one in found])
            lines.append(
                f"| {substrate} | {optimiser} | {means[substrate]:.2%} | {', '.join(f'{a:.2%}' for a in last)} | "
                f"{100 * (means[substrate] - means['digital']):+.2f} % | {pulses:,.0f} |"
            )
    chosen.out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
