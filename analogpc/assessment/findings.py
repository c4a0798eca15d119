"""Findings of an assessment: which rules learn with which schemes, their limits and costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from analogpc.assessment.protocol import AS_IT_IS, DIGITAL, NONE_LEFT
from analogpc.studies.api import SweepResult
from analogpc.studies.comparison import Setting, mean_interval, settings

LEARNS, PARTLY = 0.95, 0.8
"""Thresholds of accuracy relative to the digital twin for the verdicts "learns" and "learns in part"."""

TWIN_LEARNS = 0.5
"""Minimum accuracy of the digital twin for a verdict."""

RATE = "optimiser.learning_rate"


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with Student's 95 % confidence interval; NaN where undefined."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval:
        """Compute the interval for independent, normally distributed values."""
        found = [value for value in values if math.isfinite(value)]
        if not found:
            return cls(math.nan, math.nan, math.nan)
        return cls(float(np.mean(found)), *mean_interval(found))


@dataclass(frozen=True)
class Learning:
    """One rule with one scheme on the device.

    Attributes
    ----------
    rule, scheme : str
    rate : float
        Selected learning rate.
    accuracies : tuple of float
        Test accuracy of every seed.
    validation : float
        Mean validation accuracy, used for all choices.
    relative : Interval
        Accuracy relative to the digital twin of the same seed.
    joules, seconds : float
        Energy and time of the complete training on the technology; NaN if it lacks an entry.
    verdict : "learns", "learns in part", "does not learn", "undetermined", "is refused" or "is not judged"
        "undetermined" if the digital twin does not learn within the budget. The short protocol gives no verdicts.
    allowed : tuple of str
        Verdicts at the lower and the upper end of the interval of ``relative``, where they differ from each other; empty otherwise.
    sentence : str
        Reason for missing numbers.
    """

    rule: str
    scheme: str
    rate: float
    accuracies: tuple[float, ...]
    validation: float
    relative: Interval
    joules: float
    seconds: float
    verdict: str
    allowed: tuple[str, ...] = ()
    sentence: str = ""

    @property
    def title(self) -> str:
        """Name of rule and scheme."""
        return f"{self.rule}, {self.scheme}"


@dataclass(frozen=True)
class Limit:
    """Gain of the device without one of its imperfections.

    Attributes
    ----------
    without : str
        Name of the imperfection, or all of them.
    rate : float
    accuracies : tuple of float
    gained : Interval
        Accuracy regained, paired by seed.
    sentence : str
        Reason for missing numbers.
    """

    without: str
    rate: float
    accuracies: tuple[float, ...]
    gained: Interval
    sentence: str = ""


def chosen(found: SweepResult) -> list[Setting]:
    """Return for every setting of the grid the proposal with all seeds and its test accuracy; otherwise its first proposal."""
    grouped: dict[tuple[Any, ...], list[Setting]] = {}
    for one in settings(found.rows, "test_accuracy", found.plan.columns):
        cell = tuple(value for name, value in one.cells.items() if name in found.plan.settings[0].cells)
        grouped.setdefault(cell, []).append(one)
    return [max(proposals, key=lambda one: (len(one.values), -one.number)) for proposals in grouped.values()]


def learnings(found: SweepResult, judged: bool = True) -> tuple[list[Learning], list[Learning]]:
    """Evaluate the sweep of `learning_plan`: rules and schemes on the device, the best first, and the digital twins.

    Without ``judged`` no setting gets a verdict: the short protocol is a test without results about the device.
    """
    best = {(one.cells["rule"], one.cells["on"]): one for one in chosen(found)}
    made = [_learning(one, best[rule, DIGITAL], judged) for (rule, on), one in best.items()]
    twins = [one for one in made if one.scheme == DIGITAL]
    there = [one for one in made if one.scheme != DIGITAL]
    return sorted(there, key=lambda one: -one.relative.mean if math.isfinite(one.relative.mean) else math.inf), twins


def _learning(one: Setting, twin: Setting, judged: bool) -> Learning:
    relative = Interval.of([value / twin.values[seed] for seed, value in one.values.items() if twin.values.get(seed)])
    sentence = "; ".join(dict.fromkeys(short(text) for text in one.other))
    refused = not one.values and not any(row.get("total_seconds") for row in one.rows)
    verdict = "is refused" if refused else verdict_of(relative.mean, twin.mean) if judged else "is not judged"
    return Learning(
        rule=str(one.cells["rule"]),
        scheme=str(one.cells["on"]),
        rate=float(one.cells[RATE]),
        accuracies=tuple(one.values.values()),
        validation=one.mean_of("validation_accuracy"),
        relative=relative,
        joules=one.mean_of("joules"),
        seconds=one.mean_of("latency_seconds"),
        verdict=verdict,
        allowed=allowed_verdicts(relative, twin.mean) if verdict in _VERDICTS else (),
        sentence=sentence,
    )


_VERDICTS = ("learns", "learns in part", "does not learn")


def allowed_verdicts(relative: Interval, twin: float) -> tuple[str, ...]:
    """Return the verdicts at the ends of the interval, if they differ."""
    if math.isnan(relative.low):
        return ()
    ends = (verdict_of(relative.low, twin), verdict_of(relative.high, twin))
    return ends if ends[0] != ends[1] else ()


def verdict_of(relative: float, twin: float) -> str:
    """Return the verdict for an accuracy relative to the digital twin; "undetermined" if the twin does not learn."""
    if not twin >= TWIN_LEARNS:
        return "undetermined"
    if relative >= LEARNS:
        return "learns"
    return "learns in part" if relative >= PARTLY else "does not learn"


def best_learning(found: Sequence[Learning], scheme: str) -> Learning | None:
    """Return the rule with the best validation accuracy for a scheme; None if none finished."""
    there = [one for one in found if one.scheme == scheme and math.isfinite(one.validation)]
    return max(there, key=lambda one: one.validation, default=None)


def limits(found: SweepResult) -> list[Limit]:
    """Evaluate the sweep of `limits_plan`: the unchanged device, then the gains of removals in descending order, and all last."""
    best = {str(one.cells["without"]): one for one in chosen(found)}
    made = [_limit(name, one, best[AS_IT_IS]) for name, one in best.items()]

    def place(one: Limit) -> tuple[int, float]:
        order = {AS_IT_IS: 0, NONE_LEFT: 2}.get(one.without, 1)
        return order, -one.gained.mean if math.isfinite(one.gained.mean) else math.inf

    return sorted(made, key=place)


def _limit(name: str, one: Setting, base: Setting) -> Limit:
    gained = [value - base.values[seed] for seed, value in one.values.items() if seed in base.values]
    sentence = "; ".join(dict.fromkeys(short(text) for text in one.other))
    return Limit(name, float(one.cells[RATE]), tuple(one.values.values()), Interval.of(gained), sentence)


def short(sentence: str) -> str:
    """Return the end of an error message, which gives the reason; it starts with the whole specification."""
    return sentence.rsplit("is not allowed: ", 1)[-1]


def plain(one: Any) -> dict[str, Any]:
    """Return a finding as plain data."""
    return asdict(one)
