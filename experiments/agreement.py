"""Verdicts of ``analogpc assess`` beside those of the atlas, for all devices that both have.

    analogpc assess reram-sb     # and so on; copy assessment.json to experiments/results/assess-DEVICE
    python experiments/agreement.py [--out experiments/results/agreement.md]

Reads results/assess-*/assessment.json and results/atlas.csv.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tables import markdown

from analogpc.assessment.findings import TWIN_LEARNS, Interval, allowed_verdicts, verdict_of
from analogpc.report.assessment_answers import share

RESULTS = Path(__file__).parent / "results"
RATE = "optimiser.learning_rate"


@dataclass(frozen=True)
class Cell:
    """A rule with a scheme on a device, in one of the two studies.

    Attributes
    ----------
    relative : Interval
        Accuracy relative to the digital twin.
    twin : float
        Mean accuracy of the digital twin.
    """

    relative: Interval
    twin: float

    @property
    def verdict(self) -> str:
        """Verdict of the mean."""
        return verdict_of(self.relative.mean, self.twin)

    @property
    def verdicts(self) -> set[str]:
        """All verdicts that the interval allows."""
        order = ["does not learn", "learns in part", "learns"]
        ends = [order.index(one) for one in allowed_verdicts(self.relative, self.twin) or (self.verdict,)]
        return set(order[min(ends) : max(ends) + 1])


def atlas(path: Path) -> dict[tuple[str, str, str], Cell]:
    """Read the cells of the atlas by device, rule and scheme: the rate with all seeds, as selected by validation data."""
    grouped: dict[tuple[str, str, str], dict[float, dict[int, float]]] = {}
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["status"] == "finished":
                rates = grouped.setdefault((row["device"], row["case"], row["scheme"]), {})
                rates.setdefault(float(row[RATE]), {})[int(row["seed"])] = float(row["test_accuracy"])
    chosen = {key: max(rates.values(), key=len) for key, rates in grouped.items()}
    found = {}
    for (device, rule, scheme), values in chosen.items():
        twin = chosen["digital", rule, "digital"]
        ratios = [value / twin[seed] for seed, value in values.items() if twin.get(seed, 0.0) >= TWIN_LEARNS]
        found[device, rule, scheme] = Cell(Interval.of(ratios), Interval.of(list(twin.values())).mean)
    return found


def assessment(found: dict[str, Any]) -> dict[tuple[str, str], Cell]:
    """Cells of an assessment, by rule and scheme."""
    twins = {one["rule"]: Interval.of(one["accuracies"]).mean for one in found["digital_twins"]}
    return {
        (one["rule"], one["scheme"]): Cell(Interval.of(_ratios(one, found)), twins[one["rule"]])
        for one in found["learning"]
        if one["accuracies"]
    }


def _ratios(one: dict[str, Any], found: dict[str, Any]) -> list[float]:
    (twin,) = (other for other in found["digital_twins"] if other["rule"] == one["rule"])
    return [value / base for value, base in zip(one["accuracies"], twin["accuracies"], strict=True)]


def page(found: Sequence[dict[str, Any]], cells: dict[tuple[str, str, str], Cell]) -> list[str]:
    """Lines of the page: a count for every device, and all cells."""
    counts, tables = [], []
    for one in found:
        device = one["device"]
        pairs = [(key, mine, cells[device, *key]) for key, mine in assessment(one).items() if (device, *key) in cells]
        if not pairs:
            continue
        same = sum(mine.verdict == other.verdict for _, mine, other in pairs)
        common = sum(bool(mine.verdicts & other.verdicts) for _, mine, other in pairs)
        overlap = sum(_overlap(mine.relative, other.relative) for _, mine, other in pairs)
        lower = [mine.relative.mean - other.relative.mean for _, mine, other in pairs]
        counts.append([device, *map(str, (len(pairs), overlap, common, same)), f"{min(lower):+.1%} to {max(lower):+.1%}"])
        rows = [
            [
                *key,
                share(mine.relative),
                share(other.relative),
                mine.verdict,
                other.verdict,
                "" if mine.verdicts & other.verdicts else "no",
            ]
            for key, mine, other in pairs
        ]
        head = ["rule", "scheme", "assessment", "atlas", "verdict: assessment", "verdict: atlas", "common verdict"]
        tables += ["", f"## {device}", "", *markdown(head, rows)]
    head = ["device", "cells", "intervals overlap", "a verdict in common", "same verdict of the mean", "assessment minus atlas"]
    return [
        "# Assessments and the atlas",
        "",
        "Accuracy relative to the digital twin, mean and 95 % interval over three seeds. The same network learns the same digits with "
        "different budgets: 288 batches in an assessment (1,150 images, eight epochs; learning rates 0.1, 0.3 and 1), 75 in the atlas (480 "
        "images, five epochs; rates 0.0125, 0.05, 0.2 and 0.8). Verdicts in common: those that both intervals allow.",
        "",
        *markdown(head, counts),
        *tables,
        "",
        "Command: `python experiments/agreement.py`.",
    ]


def _overlap(one: Interval, other: Interval) -> bool:
    return one.low <= other.high and other.low <= one.high


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS / "agreement.md")
    chosen = parser.parse_args()
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("assess-*/assessment.json"))]
    chosen.out.write_text("\n".join(page(found, atlas(RESULTS / "atlas.csv"))) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
