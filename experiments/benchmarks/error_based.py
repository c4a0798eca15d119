"""Time of error-based and state-based relaxation of predictive coding to the same residual, by depth.

    python experiments/benchmarks/error_based.py [--depths 5 10 20] [--out experiments/benchmarks/results/error_based.json]

Digital perceptrons of equal width in float64, one batch of digits, output clamped to the one-hot target. Both relaxations start from
the feed-forward pass and end when in every layer the gradient of the energy with respect to the *state* is small relative to the error
of that layer, ||e_l - J^T e_(l+1)|| <= RESIDUAL ||e_l||. Then even the smallest errors, in the first layers, and the resulting updates are
correct. (An absolute residual would also accept small errors that are wrong.) For the error-based relaxation the residual is computed
from the corresponding states; the time of the check is not counted for either. Step sizes (and, with "momentum", the momentum) are the
fastest of a grid for each method. Two kinds of tanh networks are used: with the default initialisation, in which errors shrink from layer
to layer, and with an initialisation that preserves the size of the errors.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import analogpc as apc
from analogpc.dynamics.relaxation import Relaxation
from analogpc.kernels.blas_threads import one_blas_thread
from analogpc.rules.error_based import ErrorRelaxation
from analogpc.training.environment import describe_environment

WIDTH, BATCH, RESIDUAL, STEP_LIMIT = 64, 32, 1e-3, 10_000
MOMENTA = {"plain": (0.0,), "momentum": (0.0, 0.5, 0.9)}
STATE_STEPS, ERROR_STEPS = (0.05, 0.1, 0.2, 0.4, 0.8), (0.01, 0.03, 0.1, 0.3, 1.0)
NETWORKS = {
    "fading": {"activation": "tanh", "init": "kaiming-uniform"},
    "keeping": {"activation": "tanh", "init": "xavier-normal"},
}

Outcome = tuple[int, float, list[np.ndarray]]
"""Steps, seconds, hidden states."""


def by_states(network: apc.Network, x: np.ndarray, y: np.ndarray, s: float, m: float, limit: int) -> Outcome | None:
    """Relax the states; return None if they diverge or need more than ``limit`` steps."""
    relaxation = Relaxation(network.layers, x, y)
    ones = [1.0] * len(network.layers)
    seconds = 0.0
    for step in range(limit):
        began = time.perf_counter()
        relaxation.differentiate(ones)
        seconds += time.perf_counter() - began
        pairs = list(zip(relaxation.gradients[1:-1], relaxation.errors[:-1], strict=True))
        residual = math.inf
        if all(error is not None for _, error in pairs):
            residual = max(relative(gradient, error) for gradient, error in pairs)
        if math.isnan(residual):
            return None
        if residual < RESIDUAL:
            return step, seconds, relaxation.states[1:-1]
        began = time.perf_counter()
        relaxation.descend(s, m)
        seconds += time.perf_counter() - began
    return None


def by_errors(network: apc.Network, x: np.ndarray, y: np.ndarray, s: float, m: float, limit: int) -> Outcome | None:
    """Relax the errors; return None if they diverge or need more than ``limit`` steps."""
    relaxation = ErrorRelaxation(network.layers, x)
    seconds = 0.0
    for step in range(limit):
        residual = state_residual(network, relaxation, y) if step > 0 else math.inf
        if math.isnan(residual):
            return None
        if residual < RESIDUAL:
            return step, seconds, relaxation.states()
        began = time.perf_counter()
        relaxation.differentiate(y - relaxation.predictions[-1])
        relaxation.descend(s, m)
        seconds += time.perf_counter() - began
    return None


def relative(gradient: np.ndarray, error: np.ndarray) -> float:
    """Return ||gradient|| / ||error||, or NaN if a value is not finite."""
    size = float(np.linalg.norm(error))
    return float(np.linalg.norm(gradient)) / size if 0 < size < 1e100 else math.nan


def state_residual(network: apc.Network, relaxation: ErrorRelaxation, y: np.ndarray) -> float:
    """Return the largest ||e_l - J^T e_(l+1)|| / ||e_l||."""
    errors = [*relaxation.errors, y - relaxation.predictions[-1]]
    backs = [layer.vjp(tape, e) for layer, tape, e in zip(network.layers[1:], relaxation.tapes[1:], errors[1:], strict=True)]
    worst = [relative(e - back, e) for e, back in zip(errors, backs, strict=False)]
    return math.nan if any(map(math.isnan, worst)) else max(worst)


def fastest(relax: Callable[..., Outcome | None], steps: tuple[float, ...], momenta: tuple[float, ...], *given: object) -> dict:
    """Find the fastest point of the grid and return the best of three timings of it; only "steps" if none converges."""
    best, limit = None, STEP_LIMIT
    with np.errstate(over="ignore", invalid="ignore"):
        for m in momenta:
            for s in steps:
                outcome = relax(*given, s, m, limit)
                if outcome is not None:
                    best, limit = (s, m), outcome[0] + 1
    if best is None:
        return {"steps": f"more than {STEP_LIMIT}"}
    runs = [outcome for outcome in (relax(*given, *best, STEP_LIMIT) for _ in range(3)) if outcome is not None]
    quickest = min(runs, key=lambda outcome: outcome[1])
    return {"step_size": best[0], "momentum": best[1], "steps": quickest[0], "seconds": quickest[1], "states": quickest[2]}


def measure(kind: str, depth: int, descent: str) -> dict:
    """Measure both relaxations of one network."""
    data = apc.load_data("digits")
    network = apc.mlp([64, *[WIDTH] * (depth - 1), 10], dtype="float64", seed=depth, **NETWORKS[kind])
    x = network.inputs(data.inputs("train", np.arange(BATCH), dtype="float64"))
    y = np.eye(10)[data.labels("train", np.arange(BATCH))]
    states = fastest(by_states, STATE_STEPS, MOMENTA[descent], network, x, y)
    errors = fastest(by_errors, ERROR_STEPS, MOMENTA[descent], network, x, y)
    row = {"network": kind, "depth": depth, "descent": descent, "state_based": states, "error_based": errors}
    one, other = states.pop("states", None), errors.pop("states", None)
    if one is not None and other is not None:
        row["ratio_of_seconds"] = states["seconds"] / errors["seconds"]
        row["ratio_of_steps"] = states["steps"] / errors["steps"]
        largest = max(float(np.abs(a).max()) for a in one)
        row["deviation_of_states"] = max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True)) / largest
    return row


def main() -> None:
    """Measure all depths and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks/results/error_based.json"))
    chosen = parser.parse_args()
    environment = describe_environment()
    results = []
    with one_blas_thread:
        for kind, depth, descent in itertools.product(NETWORKS, chosen.depths, MOMENTA):
            row = measure(kind, depth, descent)
            results.append(row)
            ratio = f"{row['ratio_of_seconds']:.1f} times faster" if "ratio_of_seconds" in row else "no ratio"
            print(
                f"{kind}, depth {depth}, {descent}: states {row['state_based']['steps']} steps, "
                f"errors {row['error_based']['steps']} steps, {ratio}",
                flush=True,
            )
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    setting = {"width": WIDTH, "batch": BATCH, "residual": RESIDUAL, "step_limit": STEP_LIMIT, "networks": NETWORKS}
    setting |= {"momenta": MOMENTA, "state_steps": STATE_STEPS, "error_steps": ERROR_STEPS}
    record = {"setting": setting, "environment": environment, "results": results}
    chosen.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
