"""Pictures of an assessment: rules and schemes, limits, and inference over time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from analogpc.assessment.findings import LEARNS
from analogpc.assessment.protocol import AS_IT_IS, NONE_LEFT
from analogpc.report.assessment_answers import percent
from analogpc.report.page_pictures import PALETTE, Picture, canvas, legend, picture, style

if TYPE_CHECKING:
    from analogpc.assessment.assess import Assessment


def learning_picture(found: Assessment) -> Picture:
    """Plot accuracy relative to the digital twin by rule, one marker per scheme."""
    schemes = list(dict.fromkeys(one.scheme for one in sorted(found.learning, key=lambda one: one.scheme)))
    rules = list(found.protocol.rules)
    figure, (axes,) = canvas(width=7.2, height=3.4)
    axes.axhspan(100 * LEARNS, 130, color=PALETTE[2], alpha=0.10, linewidth=0)
    axes.axhline(100, color="0.4", linestyle="--", linewidth=1)
    for place, scheme in enumerate(schemes):
        there = [one for one in found.learning if one.scheme == scheme and one.accuracies]
        x = np.array([rules.index(one.rule) for one in there]) + 0.16 * (place - (len(schemes) - 1) / 2)
        y = np.array([100 * one.relative.mean for one in there])
        ends = np.array([[one.relative.mean - one.relative.low, one.relative.high - one.relative.mean] for one in there]).T * 100
        look = {**style(place), "linestyle": "none"}
        if len(there):
            axes.errorbar(x, y, np.nan_to_num(ends), label=scheme, markersize=7, capsize=2, linewidth=1.2, **look)
    axes.set_xticks(range(len(rules)), rules)
    shown = [
        100 * np.nan_to_num([one.relative.low, one.relative.high], nan=one.relative.mean)
        for one in found.learning
        if one.accuracies
    ]
    low, high = (min(low for low, _ in shown), max(high for _, high in shown)) if shown else (80.0, 106.0)
    # Intervals of very few seeds can exceed any accuracy; they are cut at the frame.
    limits = max(0.0, min(78.0, low - 2)), min(130.0, max(106.0, high + 2))
    axes.set(ylabel="% of the digital twin's accuracy", ylim=limits, xlim=(-0.6, len(rules) - 0.4))
    axes.grid(alpha=0.3, axis="y")
    legend(axes, 9)
    best = found.best
    note = f"Best by validation data: {best.title}." if best else "Nothing finished."
    caption = f"Mean over the seeds and its 95 % interval. In the shaded band a rule learns. {note}"
    return picture(figure, "learning", "Which rules learn, with which schemes", caption, f"Marks by rule and scheme. {note}")


def limits_picture(found: Assessment) -> list[Picture]:
    """Plot the accuracy regained without each imperfection; nothing if nothing was measured."""
    shown = [one for one in found.limits if one.accuracies and one.without != AS_IT_IS]
    if not shown or found.limited is None:
        return []
    figure, (axes,) = canvas(width=7.2, height=1.2 + 0.3 * len(shown))
    for place, one in enumerate(shown):
        colour = PALETTE[1] if one.without == NONE_LEFT else PALETTE[0]
        axes.barh(
            place,
            100 * one.gained.mean,
            color=colour,
            height=0.6,
            hatch="//" if one.without == NONE_LEFT else "",
            edgecolor="white",
        )
        if not math.isnan(one.gained.low):
            axes.plot([100 * one.gained.low, 100 * one.gained.high], [place, place], color="black", linewidth=1.3)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(shown)), [one.without for one in shown], fontsize=9)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlabel(f"accuracy regained without it (points); as it is: {percent(float(np.mean(found.limited.accuracies)))}")
    axes.grid(alpha=0.3, axis="x")
    caption = f"{found.limited.title}: bars are means over the seeds, lines their 95 % intervals."
    return [picture(figure, "limits", "What limits it", caption, "Bars of accuracy regained by imperfection")]


def kept_picture(found: Assessment) -> list[Picture]:
    """Plot the accuracy of programmed networks against time; nothing for devices that do not age."""
    if len({one.seconds for one in found.kept}) < 2:
        return []
    figure, (axes,) = canvas(width=7.2, height=3.2)
    for place, compensated in enumerate(dict.fromkeys(one.compensated for one in found.kept)):
        there = [one for one in found.kept if one.compensated == compensated]
        x = [max(one.seconds, 1.0) for one in there]
        axes.plot(
            x,
            [100 * np.mean(one.accuracies) for one in there],
            label="with drift compensation" if compensated else "as it is",
            **style(place),
        )
        for one, time in zip(there, x, strict=True):
            axes.plot([time] * len(one.accuracies), [100 * a for a in one.accuracies], ".", color=PALETTE[place], alpha=0.5)
    axes.set(xscale="log", xlabel="seconds since programming (1: at once)", ylabel="test accuracy (%)")
    axes.grid(alpha=0.3)
    legend(axes, 2)
    caption = "A network that was trained digitally and programmed onto the device: mean over the seeds, and every seed (dots)."
    return [picture(figure, "kept", "Inference over time", caption, "Lines of accuracy over time")]
