"""Comparison of settings: means and deviations over seeds, and paired differences with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from analogpc.studies.axes import SEEDS
from analogpc.studies.table import Row


@dataclass(frozen=True)
class Setting:
    """Trials that differ only in their seeds.

    Attributes
    ----------
    number : int
    cells : dict
        Varied fields without the seed; always includes rule and substrate.
    numbers : list of int
        Numbers of the trials.
    values : dict
        Metric of the finished trials, by seed.
    other : list of str
        Reasons why the other trials did not finish.
    rows : list of dict
    """

    number: int
    cells: dict[str, Any]
    numbers: list[int]
    values: dict[tuple[Any, ...], float]
    other: list[str]
    rows: list[Row]

    @property
    def mean(self) -> float:
        """Mean over the seeds; NaN if no trial finished."""
        return float(np.mean(list(self.values.values()))) if self.values else math.nan

    @property
    def deviation(self) -> float:
        """Standard deviation over the seeds (n - 1); NaN if fewer than two finished."""
        return float(np.std(list(self.values.values()), ddof=1)) if len(self.values) > 1 else math.nan

    def mean_of(self, column: str) -> float:
        """Return the mean of a column over the finished trials."""
        found = [row[column] for row in self.rows if row["status"] == "finished" and isinstance(row.get(column), (int, float))]
        return float(np.mean(found)) if found else math.nan

    @property
    def title(self) -> str:
        """Short description of the varied fields."""
        return ", ".join(str(cell) for cell in self.cells.values())


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences, with its confidence interval.

    Attributes
    ----------
    mean, low, high : float
        Mean and ends of the interval; the ends are NaN with fewer than two pairs.
    pairs : int
    """

    mean: float
    low: float
    high: float
    pairs: int


def settings(rows: Iterable[Row], metric: str, varied: list[str]) -> list[Setting]:
    """Group the rows of a table by all varied fields except the seed, in table order.

    Parameters
    ----------
    rows : iterable of dict
    metric : str
        Name of the compared column.
    varied : list of str
        Names of the varied columns.
    """
    seeds = [name for name in varied if name in SEEDS]
    shown = [name for name in varied if name not in SEEDS]
    grouped: dict[int, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["trial"]):
        grouped.setdefault(row["setting"], []).append(row)
    made = []
    for number, mine in grouped.items():
        finished = [row for row in mine if row["status"] == "finished" and isinstance(row.get(metric), (int, float))]
        named = {"rule": "rule" in shown, "substrate": {"substrate", "substrate.device", "device"} & set(shown)}
        names = [*shown, *(name for name, there in named.items() if not there and name in mine[0])]
        made.append(
            Setting(
                number,
                {name: mine[0].get(name, "") for name in names},
                [row["trial"] for row in mine],
                {tuple(row.get(name) for name in seeds): float(row[metric]) for row in finished},
                [row["sentence"] for row in mine if row["status"] != "finished"],
                mine,
            )
        )
    return made


def best_setting(given: list[Setting], maximise: bool) -> Setting | None:
    """Return the setting with the best mean among those with only finished trials; the first on ties."""
    whole = [one for one in given if one.values and not one.other]
    # In a search only the best proposal gets all seeds; exclude those with fewer seeds.
    most = max((len(one.values) for one in whole), default=0)
    whole = [one for one in whole if len(one.values) == most]
    if not whole:
        return None
    return max(whole, key=lambda one: one.mean) if maximise else min(whole, key=lambda one: one.mean)


def difference(one: Setting, other: Setting, confidence: float = 0.95) -> Difference:
    """Compute the difference of the metric between two settings, paired by seed.

    The interval is Student's, for the mean of independent, normally distributed differences.

    Parameters
    ----------
    one, other : Setting
    confidence : float
        Confidence level, between 0 and 1.
    """
    pairs = [one.values[seed] - other.values[seed] for seed in one.values if seed in other.values]
    if not pairs:
        return Difference(math.nan, math.nan, math.nan, 0)
    mean = float(np.mean(pairs))
    if len(pairs) < 2:
        return Difference(mean, math.nan, math.nan, len(pairs))
    half = float(stats.t.ppf((1 + confidence) / 2, len(pairs) - 1) * np.std(pairs, ddof=1) / math.sqrt(len(pairs)))
    return Difference(mean, mean - half, mean + half, len(pairs))


def mean_interval(values: Iterable[float], confidence: float = 0.95) -> tuple[float, float]:
    """Compute Student's confidence interval of a mean; NaN for fewer than two values."""
    found = np.asarray(list(values), float)
    if len(found) < 2:
        return math.nan, math.nan
    half = float(stats.t.ppf((1 + confidence) / 2, len(found) - 1) * found.std(ddof=1) / math.sqrt(len(found)))
    return float(found.mean()) - half, float(found.mean()) + half
