"""The results of an assessment in sentences, and its numbers as text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from analogpc.assessment.doubts import doubts
from analogpc.assessment.findings import Interval
from analogpc.assessment.protocol import NONE_LEFT
from analogpc.devices.names import in_unit

if TYPE_CHECKING:
    from analogpc.assessment.assess import Assessment

_SMALL = 0.01
"""Regained accuracy below which an imperfection whose interval includes zero is not called a limit."""
_WORDS = {
    "learns": "These learn on '{}'",
    "learns in part": "These learn in part on '{}'",
    "does not learn": "These do not learn on '{}'",
    "undetermined": "These cannot be judged on '{}', since their digital twins do not learn within this budget",
}


def answers(found: Assessment) -> list[str]:
    """Return the results of an assessment, as sentences."""
    best, device = found.best, found.device.name
    sentences = doubts(found.device)
    if found.quick:
        sentences.append(
            f"The short protocol: {found.protocol.epochs} epochs on {found.protocol.train_images} images, as a test of the command. "
            "Its numbers are not meaningful for the device, so there is no verdict."
        )
    if best is None:
        return [
            *sentences,
            f"Nothing could be trained on '{device}': {'; '.join(dict.fromkeys(o.sentence for o in found.learning))}.",
        ]
    sentences += _in_one(found)
    for verdict, words in _WORDS.items():
        names = [one.title for one in found.learning if one.verdict == verdict]
        if names:
            sentences.append(f"{words.format(device)}: {'; '.join(names)}.")
    if unsure := [one.title for one in found.learning if one.allowed]:
        sentences.append(f"With {found.protocol.seeds} seeds the 95 % interval also allows another verdict: {'; '.join(unsure)}.")
    if refused := dict.fromkeys(f"{one.scheme} ({one.sentence})" for one in found.learning if one.verdict == "is refused"):
        sentences.append(f"Not possible: {'; '.join(refused)}.")
    if found.quick:
        return sentences
    compared = f"with {share(best.relative)} of the accuracy of its digital twin"
    if best.verdict == "undetermined":
        compared = f"with an accuracy of {percent(float(np.mean(best.accuracies)))}, where its digital twin does not learn either"
    sentences.append(f"Best by validation data: {best.title}, {compared}.")
    if math.isfinite(best.joules):
        sentences.append(
            f"That training takes {in_unit(best.joules, 'J')} and {in_unit(best.seconds, 's')} on hardware of "
            f"{found.protocol.technology}."
        )
    return sentences + _limit_sentences(found) + _tolerance_sentences(found) + _kept_sentences(found)


def _in_one(found: Assessment) -> list[str]:
    """Return one sentence if all that could be judged have the same verdict, or none learns."""
    verdicts = {one.verdict for one in found.learning if one.verdict not in ("undetermined", "is refused", "is not judged")}
    if verdicts == {"learns"}:
        return [f"Every rule that could be judged learns on '{found.device.name}', with every possible scheme."]
    if verdicts and "learns" not in verdicts:
        partly = "; some learn in part" if "learns in part" in verdicts else ""
        return [f"No rule learns on '{found.device.name}', with any scheme{partly}."]
    return []


def _limit_sentences(found: Assessment) -> list[str]:
    if found.limited is None or len(found.limits) < 2:
        return []
    where = f"{found.limited.title} ({percent(float(np.mean(found.limited.accuracies)))})"
    worst = found.worst_limit
    whole = next((one for one in found.limits if one.without == NONE_LEFT), None)
    last = f" Without all of them it changes by {points(whole.gained)}." if whole and math.isfinite(whole.gained.mean) else ""
    if worst is None:
        return [f"{where} regains nothing by the removal of any single imperfection.{last}"]
    if worst.gained.low > 0:
        doubt = ""
    elif worst.gained.mean < _SMALL:
        return [
            f"No single imperfection measurably limits {where}: the largest change is {points(worst.gained)}, without "
            f"{worst.without}.{last}"
        ]
    else:
        doubt = "; with these seeds this may be chance"
    return [f"Main limit of {where}: {worst.without}. Without it the accuracy changes by {points(worst.gained)}{doubt}.{last}"]


def _tolerance_sentences(found: Assessment) -> list[str]:
    placed = found.placed
    if not placed:
        return ["It has no place on the tolerance curves: they were measured with devices that are trained by pulses."]
    sentences = []
    for judged, words in (
        ("beyond", "beyond the knee"),
        ("at the knee", "at the knee"),
        ("not measured", "beyond all amounts that were tried"),
    ):
        there = {one.name: [rule for rule, said in one.judged.items() if said == judged] for one in placed}
        parts = [f"{name} ({', '.join(rules)})" for name, rules in there.items() if rules]
        if parts:
            sentences.append(f"On the tolerance curves it lies {words} in: {'; '.join(parts)}.")
    if not sentences:
        sentences = ["On the tolerance curves it lies within the knees of all rules, for every nonideality by itself."]
    return sentences


def _kept_sentences(found: Assessment) -> list[str]:
    shown = [one for one in found.kept if one.seconds == 0] + [one for one in found.kept if one.seconds > 0][-1:]
    shown = [one for one in shown if not one.compensated or one.seconds > 0]
    parts = [
        f"{one.when}{' (with drift compensation)' if one.compensated else ''} {share(one.relative)}"
        for one in shown
        if math.isfinite(one.relative.mean)
    ]
    return [f"Trained digitally and programmed onto it, a network keeps of its accuracy: {', '.join(parts)}."] if parts else []


def percent(value: float) -> str:
    """Format a fraction in percent."""
    return "–" if math.isnan(value) else f"{100 * value:.1f} %"


def share(interval: Interval) -> str:
    """Format a fraction with its interval."""
    if math.isnan(interval.mean):
        return "–"
    return percent(interval.mean) + (
        "" if math.isnan(interval.low) else f" [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
    )


def points(interval: Interval) -> str:
    """Format a difference of accuracies in percentage points, with its interval."""
    if math.isnan(interval.mean):
        return "–"
    return f"{100 * interval.mean:+.1f} points" + (
        "" if math.isnan(interval.low) else f" [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"
    )
