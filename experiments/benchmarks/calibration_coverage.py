"""Coverage and width of the 90 % intervals of the calibration, for simulated pulse series of known devices.

python experiments/benchmarks/calibration_coverage.py --draws 48 --out coverage.json
python experiments/benchmarks/calibration_coverage.py --cycles --draws 8 --out cycles.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

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
BASE, RANGE = 2e-6, 1e-5


class Truth(NamedTuple):
    """Noises of a simulated device.

    Attributes
    ----------
    cycle : float
        Cycle-to-cycle noise, of a step.
    white, slow : float
        White and slow read noise, of the range.
    memory : float
        Correlation time of the slow noise in pulses.
    """

    cycle: float
    white: float
    slow: float
    memory: float


NOISES = {"white": Truth(0.3, 0.02, 0.0, 8.0), "slow": Truth(0.3, 0.0, 0.02, 8.0), "both": Truth(0.3, 0.01, 0.02, 8.0)}
# In every other six draws the noises are log-uniform between these ends; noises that are zero above stay zero.
LEAST, MOST = Truth(0.1, 0.005, 0.005, 3.0), Truth(1.0, 0.03, 0.03, 30.0)
# Number of devices, cycles per device, up and down pulses per cycle.
POPULATIONS = ((1, 3, 50), (6, 1, 50))
CYCLES = ((1, 1), (1, 3), (1, 10), (1, 30), (5, 1), (5, 3), (20, 1))


def truth(draw: int, noise: str, devices: int) -> Truth:
    """Return the noises of a draw: fixed ones in draws 0 to 5 of every twelve, random ones in the others."""
    fixed = NOISES[noise]
    if draw // len(FAMILIES) % 2 == 0:
        return fixed
    rng = np.random.default_rng((draw, devices, list(NOISES).index(noise), 1))
    return Truth(
        *(
            np.exp(rng.uniform(np.log(low), np.log(high))) if own else 0.0
            for own, low, high in zip(fixed, LEAST, MOST, strict=True)
        )
    )


def measurement(seed: tuple[int, ...], family: str, noises: Truth, population: tuple[int, int, int]) -> dict[str, Any]:
    """Simulate readings in siemens after every pulse; the up and down steps of devices differ by 20 %."""
    rng = np.random.default_rng(seed)
    (up, down), (devices, cycles, pulses) = FAMILIES[family], population
    columns: dict[str, list[Any]] = {name: [] for name in ("pulse", "conductance", "direction", "device")}
    cycle, white, slow, memory = noises
    kept = np.exp(-1 / memory)
    for device in range(devices):
        rise, fall = np.exp(0.2 * rng.normal(size=2)) if devices > 1 else (1.0, 1.0)
        z, e = 0.3, slow * rng.normal()
        for k in range(2 * cycles * pulses):
            upward = (k // pulses) % 2 == 0
            z += (rise * up(z) if upward else -fall * down(z)) * (1 + cycle * rng.normal())
            e = kept * e + np.sqrt(1 - kept**2) * slow * rng.normal()
            columns["pulse"].append(k)
            columns["conductance"].append(BASE + RANGE * (z + e + white * rng.normal()))
            columns["direction"].append(1 if upward else -1)
            columns["device"].append(f"d{device:03d}")
    return {name: np.array(values) for name, values in columns.items()}


def checked(draw: int, noise: str, population: tuple[int, int, int]) -> dict[str, Any]:
    """Run one fit; return the estimates and whether the intervals cover the true values."""
    family, noises = list(FAMILIES)[draw % len(FAMILIES)], truth(draw, noise, population[0])
    columns = measurement((draw, population[0], list(NOISES).index(noise)), family, noises, population)
    started = time.process_time()
    fit = calibrate(columns, accept=True)
    found = {"cycle": [fit.cycle_noise, *fit.cycle_noise_interval, noises.cycle]}
    for name, true, value, ends in (
        ("white", noises.white, fit.read_noise, fit.read_noise_interval),
        ("slow", noises.slow, fit.slow_noise, fit.slow_noise_interval),
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
    known = next((one for one in fit.device.provenance.intervals if one.name.startswith("memory")), None)
    if known and fit.slow_noise > 0 and noises.slow > 0:
        found["memory"] = [known.value, known.low, known.high, 1 / (1 - np.exp(-1 / noises.memory))]
    return {
        "draw": draw,
        "noises": "drawn" if draw // len(FAMILIES) % 2 else "fixed",
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
            columns = measurement((draw, devices, cycles), "soft bounds", NOISES["white"], (devices, cycles, 50))
            fit = calibrate(columns, accept=True)
            yield {"devices": devices, "cycles": cycles, "cycle": [fit.cycle_noise, *fit.cycle_noise_interval]}


def summary(fits: list[dict[str, Any]]) -> str:
    """Return the coverage counts as lines of a Markdown table."""
    rows: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for one in fits:
        for noises, noise in ((one["noises"], one["noise"]), (one["noises"], "all"), ("all", "all")):
            rows[noises, noise].append(one)
    names = ("cycle", "white", "slow", "memory", "step up", "step down")
    lines = [f"| noises | read noise | fits | {' | '.join(names)} | slow noise found | refused |", "|---" * 11 + "|"]
    for (noises, noise), own in sorted(rows.items(), reverse=True):
        cells = []
        for name in names:
            held = [one["held"][name] for one in own if name in one["held"]]
            cells.append(f"{sum(held)}/{len(held)}" if held else "–")
        found, refused = (sum(bool(one[name]) for one in own) for name in ("slow found", "refused"))
        lines.append(f"| {noises} | {noise} | {len(own)} | {' | '.join(cells)} | {found} | {refused} |")
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
        document = {"command": " ".join(["python", *sys.argv]), "date": date.today().isoformat(), "fits": fits}
        chosen.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print((width_table if chosen.cycles else summary)(fits))


if __name__ == "__main__":
    main()
