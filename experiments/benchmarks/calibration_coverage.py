"""Coverage and width of the 90 % intervals of the calibration, for simulated pulse series of known devices.

python experiments/benchmarks/calibration_coverage.py --draws 48 --out coverage.json
python experiments/benchmarks/calibration_coverage.py --cycles --draws 8 --out cycles.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from analogpc.devices.calibration import calibrate

# Up and down steps at the position z in the range, relative to the range.
FAMILIES = {
    "constant": (lambda z: 0.02, lambda z: 0.02),
    "soft bounds": (lambda z: 0.03 * (1.1 - z), lambda z: 0.036 * (z + 0.1)),
    "linear": (lambda z: 0.03 - 0.02 * z, lambda z: 0.012 + 0.02 * z),
    "exponential": (lambda z: 0.006 + 0.05 * np.exp(-3 * z), lambda z: 0.005 + 0.05 * np.exp(-3 * (1 - z))),
    "power": (
        lambda z: 0.05 * (max(1.05 - z, 0) / 1.1) ** 2,
        lambda z: 0.05 * (max(z + 0.05, 0) / 1.1) ** 1.5,
    ),
    "table": (
        lambda z: np.interp(z, [0, 0.5, 1], [0.05, 0.015, 0.01]),
        lambda z: np.interp(z, [0, 0.25, 1], [0.01, 0.03, 0.04]),
    ),
}
# White and slow read noise relative to the range; the slow noise has a correlation time of 8 pulses.
NOISES = {"white": (0.02, 0.0), "slow": (0.0, 0.02), "both": (0.01, 0.02)}
CYCLE_NOISE, MEMORY, BASE, RANGE = 0.3, 8.0, 2e-6, 1e-5
# Number of devices, cycles per device, up and down pulses per cycle.
POPULATIONS = ((1, 3, 50), (6, 1, 50))
CYCLES = ((1, 1), (1, 3), (1, 10), (1, 30), (5, 1), (5, 3), (20, 1))


def measurement(
    seed: tuple[int, ...], family: str, white: float, slow: float, population: tuple[int, int, int]
) -> dict[str, Any]:
    """Simulate readings in siemens after every pulse; the up and down steps of devices differ by 20 %."""
    rng = np.random.default_rng(seed)
    (up, down), (devices, cycles, pulses) = FAMILIES[family], population
    columns: dict[str, list[Any]] = {name: [] for name in ("pulse", "conductance", "direction", "device")}
    kept = np.exp(-1 / MEMORY)
    for device in range(devices):
        rise, fall = np.exp(0.2 * rng.normal(size=2)) if devices > 1 else (1.0, 1.0)
        z, e = 0.3, slow * rng.normal()
        for k in range(2 * cycles * pulses):
            upward = (k // pulses) % 2 == 0
            z += (rise * up(z) if upward else -fall * down(z)) * (1 + CYCLE_NOISE * rng.normal())
            e = kept * e + np.sqrt(1 - kept**2) * slow * rng.normal()
            columns["pulse"].append(k)
            columns["conductance"].append(BASE + RANGE * (z + e + white * rng.normal()))
            columns["direction"].append(1 if upward else -1)
            columns["device"].append(f"d{device:03d}")
    return {name: np.array(values) for name, values in columns.items()}


def checked(draw: int, noise: str, population: tuple[int, int, int]) -> dict[str, Any]:
    """Run one fit; return the estimates and whether the intervals cover the true values."""
    family, (white, slow) = list(FAMILIES)[draw % len(FAMILIES)], NOISES[noise]
    started = time.process_time()
    fit = calibrate(measurement((draw, population[0]), family, white, slow, population), accept=True)
    found = {"cycle": [fit.cycle_noise, *fit.cycle_noise_interval, CYCLE_NOISE]}
    for name, true, value, ends in (
        ("white", white, fit.read_noise, fit.read_noise_interval),
        ("slow", slow, fit.slow_noise, fit.slow_noise_interval),
    ):
        found[name] = [number / RANGE for number in (value, *ends, RANGE * true)]
    for word, law, steps, errors in (
        ("up", FAMILIES[family][0], fit.step_up, fit.step_up_error),
        ("down", FAMILIES[family][1], -fit.step_down, fit.step_down_error),
    ):
        at = len(steps) // 2
        true = float(law((fit.node_conductance[at] - BASE) / RANGE))
        value, error = steps[at] / RANGE, 1.645 * errors[at] / RANGE
        found[f"step {word}"] = [value, value - error, value + error, true]
    return {
        "noise": noise,
        "devices": population[0],
        "family": family,
        "found": fit.family,
        "estimate, low, high, true": {name: [float(f"{x:.5g}") for x in values] for name, values in found.items()},
        "held": {name: bool(low <= true <= high) for name, (_, low, high, true) in found.items()},
        "slow found": fit.slow_noise > 0,
        "refused": list(fit.checks.failures),
        "seconds": round(time.process_time() - started, 1),
    }


def coverages(draws: int, first: int = 0) -> Iterator[dict[str, Any]]:
    """Run fits for all noises and populations, cycling through the families, draw by draw."""
    for draw in range(first, first + draws):
        for population in POPULATIONS:
            for noise in NOISES:
                yield checked(draw, noise, population)


def widths(draws: int) -> Iterator[dict[str, Any]]:
    """Run fits of soft bounds with white read noise, by number of devices and cycles."""
    for draw in range(draws):
        for devices, cycles in CYCLES:
            columns = measurement((draw, devices, cycles), "soft bounds", 0.02, 0.0, (devices, cycles, 50))
            fit = calibrate(columns, accept=True)
            yield {"devices": devices, "cycles": cycles, "cycle": [fit.cycle_noise, *fit.cycle_noise_interval]}


def summary(fits: list[dict[str, Any]]) -> str:
    """Return the coverage counts as lines of a Markdown table."""
    rows: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for one in fits:
        rows[one["noise"], one["devices"]].append(one)
    names = ("cycle", "white", "slow", "step up", "step down")
    lines = [f"| read noise | devices | fits | {' | '.join(names)} | slow noise found | refused |", "|---" * 10 + "|"]
    for (noise, devices), own in rows.items():
        cells = []
        for name in names:
            held = [one["held"][name] for one in own if name in one["held"]]
            cells.append(f"{np.mean(held):.0%}" if held else "–")
        found, refused = (sum(bool(one[name]) for one in own) for name in ("slow found", "refused"))
        lines.append(f"| {noise} | {devices} | {len(own)} | {' | '.join(cells)} | {found} | {refused} |")
    return "\n".join(lines)


def width_table(fits: list[dict[str, Any]]) -> str:
    """Return the median intervals as lines of a Markdown table."""
    lines = ["| devices | cycles per device | median estimate | median 90 % interval |", "|---|---|---|---|"]
    for devices, cycles in CYCLES:
        own = np.array([one["cycle"] for one in fits if (one["devices"], one["cycles"]) == (devices, cycles)])
        if len(own):
            value, low, high = np.median(own, axis=0)
            lines.append(f"| {devices} | {cycles} | {value:.2f} | {low:.2f} to {high:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Run the fits, write them to the file, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=48)
    parser.add_argument("--first", type=int, default=0, help="number of the first draw: others are fresh")
    parser.add_argument("--cycles", action="store_true", help="intervals by number of devices and cycles, instead of coverage")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    fits: list[dict[str, Any]] = []
    for one in widths(chosen.draws) if chosen.cycles else coverages(chosen.draws, chosen.first):
        fits.append(one)
        chosen.out.write_text(json.dumps({"fits": fits}, indent=1) + "\n", encoding="utf-8")
    print((width_table if chosen.cycles else summary)(fits))


if __name__ == "__main__":
    main()
