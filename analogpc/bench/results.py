"""Results of a benchmark, as a table and as plain data."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from rich.table import Table
from threadpoolctl import threadpool_info

from analogpc.bench.growth import Growth
from analogpc.bench.timing import Times
from analogpc.kernels.gpu.arrays import Backend
from analogpc.training.environment import describe_environment


@dataclass(frozen=True)
class PeerTime:
    """Time of another library for a workload, in a separate process.

    Attributes
    ----------
    ratio : float
        Ratio to its own floor, the matrix products of the same shapes in the same library; median over turns.
    ms : float
        Median time of one call, in milliseconds.
    """

    ratio: float
    ms: float


@dataclass(frozen=True)
class Result:
    """Result of one workload.

    Attributes
    ----------
    name, title, floor : str
        Name and title of the workload, and its floor in words.
    aim : str
        Aim in words: a ratio to the floor, unless it has a unit.
    threads : int
    times : dict of Times
        Times of "floor" and of every variant of the work.
    items : dict of int
        Items per call by variant, where a time per item is more informative than a ratio.
    peers : dict of PeerTime
        Times of other libraries, by name.
    loaded : dict of float
        Times beside busy processes relative to those without, by variant; empty if not measured.
    growth : dict of Growth
        Growth with the number of threads, by variant; empty if not measured.
    """

    name: str
    title: str
    floor: str
    aim: str
    threads: int
    times: dict[str, Times]
    items: dict[str, int]
    peers: dict[str, PeerTime]
    loaded: dict[str, float] = field(default_factory=dict)
    growth: dict[str, Growth] = field(default_factory=dict)

    def ratio(self, variant: str) -> tuple[float, float, float]:
        """Return median and quartiles of the ratio to the floor, per turn."""
        ratios = self.times[variant].seconds / self.times["floor"].seconds
        low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
        return float(middle), float(low), float(high)

    def plain(self) -> dict[str, Any]:
        """Return nested dictionaries of numbers and strings; times in seconds."""
        rows = {}
        for variant, times in self.times.items():
            low, high = times.quartiles
            rows[variant] = {"median_s": times.median, "quartiles_s": [low, high], "turns": len(times.seconds)}
            if variant != "floor":
                middle, low, high = self.ratio(variant)
                rows[variant] |= {"ratio": middle, "ratio_quartiles": [low, high]}
            if variant in self.loaded:
                rows[variant]["beside_busy_processes"] = self.loaded[variant]
            if variant in self.growth:
                rows[variant] |= self.growth[variant].plain()
            if variant in self.items:
                rows[variant]["ns_per_item"] = 1e9 * times.median / self.items[variant]
        return {
            "name": self.name,
            "title": self.title,
            "floor": self.floor,
            "aim": self.aim,
            "threads": self.threads,
            "times": rows,
            "peers": {peer: asdict(time) for peer, time in self.peers.items()},
        }


def load_average() -> float | None:
    """Return the mean number of processes that wanted a processor in the last minute, where the system counts them."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def record(results: list[Result], command: str, backend: Backend = "cpu", load_before: float | None = None) -> dict[str, Any]:
    """Return all results with machine, versions and command; ``load_before`` is the `load_average` before the measurements."""
    return {
        "command": command,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": {
            "processor": _processor(),
            "processors": os.cpu_count(),
            "load_average_before": load_before,
            "load_average": load_average(),
            "blas": _blas(),
        },
        "environment": describe_environment(backend),
        "results": [result.plain() for result in results],
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _blas() -> str:
    """Return name, version and kernels of NumPy's BLAS, on whose speed all ratios depend; empty if they are unknown."""
    found = [one for one in threadpool_info() if one["user_api"] == "blas"]
    own = next((one for one in found if "numpy" in one["filepath"]), found[0] if found else None)
    return "" if own is None else " ".join(filter(None, (own["internal_api"], own["version"], own.get("architecture"))))


def table(results: list[Result]) -> Table:
    """Return a table with one line per variant (time, ratio to the floor, aim), and one per other library."""
    shown = Table()
    columns = ["workload", "threads", "variant", "ms", "ns/item", "ratio to floor", "quartiles", "aim"]
    loaded = any(result.loaded for result in results)
    columns += ["loaded / idle"] * loaded
    for column in columns:
        shown.add_column(column, justify="left" if column in ("workload", "variant") else "right", no_wrap=True)
    for result in results:
        for number, (variant, times) in enumerate(result.times.items()):
            cells = [result.name if number == 0 else "", str(result.threads) if number == 0 else "", variant]
            cells.append(f"{1e3 * times.median:.3g}")
            count = result.items.get(variant)
            cells.append(f"{1e9 * times.median / count:.2f}" if count else "")
            if variant == "floor":
                cells += ["1", "", ""]
            else:
                middle, low, high = result.ratio(variant)
                cells += [f"{middle:.3g}", f"{low:.3g} – {high:.3g}", result.aim if number == 1 else ""]
            shown.add_row(*cells, *[f"{result.loaded[variant]:.2f}" for _ in range(loaded and variant in result.loaded)])
        for peer, found in sorted(result.peers.items()):
            shown.add_row("", "", f"peer: {peer}", f"{found.ms:.3g}", "", f"{found.ratio:.3g}", "", "")
    return shown
