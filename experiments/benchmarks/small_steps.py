"""Training steps of a small network, repeated from recordings and as written: the cost of Python.

    python experiments/benchmarks/small_steps.py [--threads 1] [--turns 15] [--out experiments/benchmarks/results/small_steps.json]

A network of 64-32-10 learns random batches of 32 by several rules, digitally and on crossbars of `idealized` devices. The variants
alternate in one process; results are medians over the turns, each the fastest of 20 steps.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numba
import numpy as np

import analogpc as apc
from analogpc.dynamics.repetition import UNRECORDED
from analogpc.rules import Rule, named_rule
from analogpc.training.environment import describe_environment
from analogpc.training.optimisers import Learner
from analogpc.training.step import TrainingStep

RULES: dict[str, Rule] = {name: named_rule(name) for name in ("bp", "pc", "pc-ce", "s+f", "ep", "epc", "fixed", "ipc")}
RULES["ipc, T = 8"] = named_rule("ipc").but(steps=8)
SUBSTRATES: dict[str, apc.Digital | apc.Analog] = {"digital": apc.Digital(), "crossbars": apc.Analog(device="idealized")}
WIDTHS, BATCH, STEPS = (64, 32, 10), 32, 20


def milliseconds(rule: Rule, substrate: apc.Digital | apc.Analog, turns: int) -> dict[str, float]:
    """Return the median times of a step in both variants."""
    rng = np.random.default_rng(0)
    x = rng.random((BATCH, WIDTHS[0])).astype(np.float32)
    target = np.eye(WIDTHS[-1], dtype=np.float32)[rng.integers(0, WIDTHS[-1], BATCH)]
    steps, found = {}, {"recorded": list[float](), "as written": list[float]()}
    for name in found:
        network = apc.mlp(WIDTHS, substrate=substrate, seed=1)
        steps[name] = TrainingStep(network, Learner(apc.SGD(), network.matrices()), repeats=name == "recorded")
        for _ in range(UNRECORDED + 1):
            steps[name].learn(rule, x, target, 1e-3)
    assert steps["recorded"].recordings == 1
    for _ in range(turns):
        for name, step in steps.items():
            best = float("inf")
            for _ in range(STEPS):
                start = time.perf_counter()
                step.learn(rule, x, target, 1e-3)
                best = min(best, time.perf_counter() - start)
            found[name].append(1e3 * best)
    return {name: float(np.median(times)) for name, times in found.items()}


def main() -> None:
    """Measure, print a table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    numba.set_num_threads(given.threads)
    rows = [
        {"rule": rule, "substrate": name, **milliseconds(RULES[rule], substrate, given.turns)}
        for name, substrate in SUBSTRATES.items()
        for rule in RULES
    ]
    for row in rows:
        ratio = row["as written"] / row["recorded"]
        print(
            f"{row['substrate']:10} {row['rule']:10} {row['as written']:6.2f} ms {row['recorded']:6.2f} ms  {ratio:.1f} times as fast"
        )
    if given.out:
        record = {"threads": given.threads, "environment": describe_environment(), "milliseconds": rows}
        given.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
