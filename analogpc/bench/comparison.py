"""Comparison of two benchmark records: the same workloads before and after a change."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table


@dataclass(frozen=True)
class Change:
    """Times of one variant of a workload in two records.

    Attributes
    ----------
    name, variant : str
        Workload, and variant of its work or "floor".
    threads : int
    old_s, new_s : float
        Median times of one call, in seconds.
    old_ratio, new_ratio : float
        Ratios to the floor of the same record; 1 for the floor.
    """

    name: str
    threads: int
    variant: str
    old_s: float
    new_s: float
    old_ratio: float
    new_ratio: float

    @property
    def gain(self) -> float:
        """Old time over new time: above 1 if the new one is faster."""
        return self.old_s / self.new_s

    def plain(self) -> dict[str, Any]:
        """Return all fields and the gain."""
        return {**vars(self), "gain": self.gain}


def read_bench(path: Path) -> dict[str, Any]:
    """Return the record that ``analogpc bench --out`` wrote to a file.

    Raises
    ------
    ValueError
        If the file cannot be read, or does not hold such a record.
    """
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"--compare {path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise ValueError(f"--compare {path} is not JSON: give a file that analogpc bench --out wrote") from None
    try:
        times(held)
        loads(held)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise ValueError(f"--compare {path} is not a benchmark record: give a file that analogpc bench --out wrote") from None
    return held


def times(record: dict[str, Any]) -> dict[tuple[str, int, str], tuple[float, float]]:
    """Return median seconds and ratio to the floor by workload, number of threads and variant."""
    found = {}
    for result in record["results"]:
        for variant, row in result["times"].items():
            numbers = float(row["median_s"]), float(row["ratio"] if variant != "floor" else 1.0)
            if not all(math.isfinite(number) and number > 0 for number in numbers):
                raise ValueError("times are positive numbers")
            found[str(result["name"]), int(result["threads"]), str(variant)] = numbers
    return found


def loads(record: dict[str, Any]) -> str:
    """Return date, processor and load of the machine before the measurement, in words."""
    machine = record["machine"]
    load = machine.get("load_average_before", machine.get("load_average"))
    busy = "unknown" if load is None else f"{float(load):.2f}"
    return f"{record['date']}, {machine['processor']}, {machine['processors']} processors, load average {busy}"


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """Return the changes of everything that both records hold, in the order of the new one.

    Raises
    ------
    ValueError
        If they have no workload with a number of threads in common.
    """
    before, after = times(old), times(new)
    found = [
        Change(*place, before[place][0], now, before[place][1], ratio) for place, (now, ratio) in after.items() if place in before
    ]
    if not found:
        raise ValueError("the two benchmark records have no workload with the same number of threads in common")
    return found


def comparison_table(changes: list[Change]) -> Table:
    """Return a table with one line per variant: both times, old over new, and both ratios to the floor."""
    shown = Table()
    for column in ("workload", "threads", "variant", "old ms", "new ms", "old / new", "old ratio", "new ratio"):
        shown.add_column(column, justify="left" if column in ("workload", "variant") else "right", no_wrap=True)
    last = None
    for change in changes:
        first = (change.name, change.threads) != last
        last = change.name, change.threads
        times_ms = f"{1e3 * change.old_s:.3g}", f"{1e3 * change.new_s:.3g}", f"{change.gain:.2f}"
        ratios = ("1", "1") if change.variant == "floor" else (f"{change.old_ratio:.3g}", f"{change.new_ratio:.3g}")
        shown.add_row(change.name if first else "", str(change.threads) if first else "", change.variant, *times_ms, *ratios)
    return shown
