"""Every named rule on digits, digital and on crossbars of idealized devices, three seeds each.

    python experiments/every_rule.py [--rules pc zil ...] [--seeds 0 1 2] [--epochs 15] [--out experiments/results/every_rule]

Writes OUT.json (every run, with its study; runs of rules that are not asked for this time stay in it) and OUT.md (the table).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from analogpc.data import load_data
from analogpc.report.tables import summary
from analogpc.rules import named_rules
from analogpc.study import Study
from analogpc.training import begin

SUBSTRATES = {"digital": "digital", "idealized": {"kind": "analog", "device": "idealized"}}
COMMON: dict[str, Any] = {"dataset": "digits", "batch_size": 32, "network": {"kind": "mlp", "widths": [64, 64, 64, 10]}}
OPTIMISERS = {
    "digital": {"kind": "adamw", "learning_rate": 1e-3, "schedule": {"kind": "warmup-cosine"}},
    "idealized": {"kind": "sgd", "learning_rate": 0.2, "schedule": {"kind": "warmup-cosine"}},
}

OWN: dict[str, dict[str, Any]] = {}
"""By rule: fields of the study that differ from the common ones, for example another network."""

OWN_RATES: dict[tuple[str, str], float] = {("ipc", "idealized"): 0.1}
"""By rule and substrate: learning rates that differ from the common ones (incremental PC updates once in every relaxation step)."""

WANTED = 0.9


def study(rule: str, substrate: str, seed: int, epochs: int) -> Study:
    """One run."""
    optimiser = {**OPTIMISERS[substrate]}
    optimiser["learning_rate"] = OWN_RATES.get((rule, substrate), optimiser["learning_rate"])
    fields = {**COMMON, "rule": rule, "substrate": SUBSTRATES[substrate], "optimiser": optimiser, **OWN.get(rule, {})}
    return Study(**fields, seed=seed, epochs=epochs)


def main() -> None:
    """Run all cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", nargs="+", choices=list(named_rules()), default=list(named_rules()), metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("experiments/results/every_rule"))
    arguments = parser.parse_args()
    data = load_data("digits")
    record = arguments.out.with_suffix(".json")
    rows = json.loads(record.read_text(encoding="utf-8")) if record.exists() else []
    rows = [row for row in rows if row["name"] not in arguments.rules]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    for rule in arguments.rules:
        for substrate in SUBSTRATES:
            for seed in arguments.seeds:
                chosen = study(rule, substrate, seed, arguments.epochs)
                run = begin(chosen, data).train(data, progress=False)
                rows.append({"name": rule, **summary(run), "environment": run.environment, "study": chosen.to_toml()})
                print(f"{rule}, {substrate}, seed {seed}: {rows[-1]['test_accuracy']:.2%}", flush=True)
        record.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        arguments.out.with_suffix(".md").write_text(table(rows), encoding="utf-8")


def table(rows: list[dict[str, Any]]) -> str:
    """The results as Markdown, one line for each rule, every seed shown."""
    epochs = sorted({row["epochs"] for row in rows})
    lines = [
        "# Every rule on digits",
        "",
        f"Test accuracy after the last epoch ({', '.join(map(str, epochs))}), batch 32; digital with AdamW, crossbars of idealized "
        "devices with plain SGD in place. Rates and networks as in `experiments/every_rule.py`, every study in the JSON file beside this.",
        "",
        "| rule | variant | digital, mean | every seed | crossbar, mean | every seed |",
        "|---|---|---|---|---|---|",
    ]
    for rule in [name for name in named_rules() if any(row["name"] == name for row in rows)]:
        cells = [rule, next(row["rule"] for row in rows if row["name"] == rule)]
        for substrate in SUBSTRATES:
            reached = [row["test_accuracy"] for row in rows if row["name"] == rule and row["substrate"] == substrate]
            mark = "" if min(reached) >= WANTED else f" (below {WANTED:.0%})"
            cells += [f"{np.mean(reached):.2%}", ", ".join(f"{accuracy:.2%}" for accuracy in reached) + mark]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
