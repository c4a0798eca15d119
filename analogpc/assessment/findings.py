"""What the tables of an assessment say: which rules learn with which schemes, what limits them, and what it costs."""

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
"""Accuracy over that of the digital twin from which a rule is said to learn, and to learn in part."""

TWIN_LEARNS = 0.5
"""What the digital twin must reach for its rule to be judged at all."""

RATE = "optimiser.learning_rate"


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with Student's 95 % confidence interval; NaN where it cannot be told."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval:
        """Of independent, normally distributed values."""
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
        The learning rate that was chosen.
    accuracies : tuple of float
        On the test part, of every seed.
    validation : float
        The mean accuracy on the validation part, by which choices are made.
    relative : Interval
        Accuracy over that of the digital twin of the same seed.
    joules, seconds : float
        What a whole training took on the hardware of the technology; NaN if that lacks an entry.
    verdict : "learns", "learns in part", "does not learn", "cannot be told", "is refused" or "is not judged"
        It cannot be told where the digital twin does not learn within the budget. The short protocol judges nothing.
    sentence : str
        Why there is no number, or not one of every seed.
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
    sentence: str = ""

    @property
    def title(self) -> str:
        """Rule and scheme."""
        return f"{self.rule}, {self.scheme}"


@dataclass(frozen=True)
class Limit:
    """What the device gains without one of its imperfections.

    Attributes
    ----------
    without : str
        The imperfection; or all of them.
    rate : float
    accuracies : tuple of float
    gained : Interval
        Accuracy regained, paired by seed.
    sentence : str
        Why there is no number.
    """

    without: str
    rate: float
    accuracies: tuple[float, ...]
    gained: Interval
    sentence: str = ""


def chosen(found: SweepResult) -> list[Setting]:
    """Of every setting of the grid the proposal that got all seeds, with its test accuracy; otherwise its first proposal."""
    grouped: dict[tuple[Any, ...], list[Setting]] = {}
    for one in settings(found.rows, "test_accuracy", found.plan.columns):
        cell = tuple(value for name, value in one.cells.items() if name in found.plan.settings[0].cells)
        grouped.setdefault(cell, []).append(one)
    return [max(proposals, key=lambda one: (len(one.values), -one.number)) for proposals in grouped.values()]


def learnings(found: SweepResult, judged: bool = True) -> tuple[list[Learning], list[Learning]]:
    """From the sweep of `learning_plan`: the rules and schemes on the device, the best first; and the digital twins.

    Without ``judged`` no setting gets a verdict: the short protocol shows that all of it works, and nothing about the device.
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
    return Learning(
        rule=str(one.cells["rule"]),
        scheme=str(one.cells["on"]),
        rate=float(one.cells[RATE]),
        accuracies=tuple(one.values.values()),
        validation=one.mean_of("validation_accuracy"),
        relative=relative,
        joules=one.mean_of("joules"),
        seconds=one.mean_of("latency_seconds"),
        verdict="is refused" if refused else _verdict(relative.mean, twin.mean) if judged else "is not judged",
        sentence=sentence,
    )


def _verdict(relative: float, twin: float) -> str:
    if not twin >= TWIN_LEARNS:
        return "cannot be told"
    if relative >= LEARNS:
        return "learns"
    return "learns in part" if relative >= PARTLY else "does not learn"


def best_learning(found: Sequence[Learning], scheme: str) -> Learning | None:
    """The rule with the best validation accuracy with a scheme; None if none finished."""
    there = [one for one in found if one.scheme == scheme and math.isfinite(one.validation)]
    return max(there, key=lambda one: one.validation, default=None)


def limits(found: SweepResult) -> list[Limit]:
    """From the sweep of `limits_plan`: the device as it is, then what each removal regains, the most first, and all of them last."""
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
    """The end of a refusal, which says why; its beginning holds the whole specification."""
    return sentence.rsplit("is not allowed: ", 1)[-1]


def plain(one: Any) -> dict[str, Any]:
    """A finding as plain data."""
    return asdict(one)
