"""Scaling of the time of a training step with batch size, width, depth and relaxation steps, one at a time.

    python experiments/benchmarks/scaling.py [--threads 1] [--seconds 0.5] [--out experiments/benchmarks/results/scaling]

Predictive coding on perceptrons around batch 128, width 256, depth 4, T = 8, digital and on crossbars of idealized devices with
exact writing. Writes OUT.json and OUT.png; the slope of a line is the scaling exponent over the upper half of the grid.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numba
import numpy as np
from threadpoolctl import threadpool_limits

from analogpc.bench import take_turns
from analogpc.bench.preparation import rule_step
from analogpc.devices.substrate import Analog, Digital
from analogpc.networks.zoo import mlp
from analogpc.rules import PredictiveCoding
from analogpc.training.environment import describe_environment

USUAL = {"batch": 128, "width": 256, "depth": 4, "steps": 8}
GRIDS = {
    "batch": [1, 4, 16, 64, 256, 1024, 4096],
    "width": [64, 128, 256, 512, 1024, 2048, 4096],
    "depth": [2, 4, 8, 16, 32, 64],
    "steps": [1, 2, 4, 8, 16, 32, 64],
}
MOST_PRODUCTS = 2e11
"""Maximum number of multiplications per step; larger points are skipped."""


def measured(point: dict[str, int], seconds: float) -> dict[str, float]:
    """Measure a step on both substrates, and its plain products; return median seconds."""
    rule = PredictiveCoding(steps=point["steps"], step_size=0.01)
    widths = [point["width"]] * (point["depth"] + 1)
    substrates = {"digital": Digital(), "crossbars": Analog(device="idealized", scheme={"kind": "ideal"})}
    calls, floor = {}, None
    for name, substrate in substrates.items():
        calls[name], products = rule_step(mlp(widths, substrate=substrate), rule, point["batch"])
        floor = floor or products
    times = take_turns({"products": floor, **calls}, seconds, turns=3)
    return {name: one.median for name, one in times.items()}


def slope(grid: list[int], seconds: list[float]) -> float:
    """Return the scaling exponent over the upper half of the grid."""
    half = len(grid) // 2
    return float(np.polyfit(np.log(grid[half:]), np.log(seconds[half:]), 1)[0])


def draw(results: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw one panel per quantity."""
    figure, axes = plt.subplots(1, len(results), figsize=(3.4 * len(results), 3.3), layout="constrained")
    for axis, (name, result) in zip(axes, results.items(), strict=True):
        for what, style in (("products", "k--"), ("digital", "C0.-"), ("crossbars", "C1.-")):
            axis.loglog(result["grid"], result[what], style, label=f"{what}, slope {result['slopes'][what]:.2f}")
        axis.set(xlabel=name, ylabel="seconds per step")
        axis.set_xticks(result["grid"], [str(value) for value in result["grid"]], fontsize=7)
        axis.set_xticks([], minor=True)
        axis.legend(fontsize=7)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    """Measure; write the results and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "scaling")
    chosen = parser.parse_args()
    numba.set_num_threads(chosen.threads)
    results: dict[str, dict[str, Any]] = {}
    with threadpool_limits(chosen.threads, "blas"):
        for name, grid in GRIDS.items():
            points = [{**USUAL, name: value} for value in grid]
            points = [p for p in points if 2 * p["batch"] * p["width"] ** 2 * p["depth"] * p["steps"] <= MOST_PRODUCTS]
            rows = [measured(point, chosen.seconds) for point in points]
            kept = [point[name] for point in points]
            series = {what: [row[what] for row in rows] for what in rows[0]}
            results[name] = {"grid": kept, **series, "slopes": {what: slope(kept, series[what]) for what in series}}
            print(name, kept, {what: round(value, 2) for what, value in results[name]["slopes"].items()}, flush=True)
    record = {"usual": USUAL, "threads": chosen.threads, "environment": describe_environment(), "results": results}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    draw(results, chosen.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
