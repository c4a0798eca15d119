"""The page of an assessment, and its tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from analogpc.assessment.findings import LEARNS, PARTLY, Interval, Learning, Limit
from analogpc.assessment.protocol import AS_IT_IS, NONE_LEFT
from analogpc.devices.names import in_unit
from analogpc.files.atomic import make_folder, replace_file
from analogpc.report.page import Part, TablePart, render
from analogpc.report.page_pictures import PALETTE, Picture, canvas, legend, picture, style

if TYPE_CHECKING:
    from analogpc.assessment.assess import Assessment
    from analogpc.assessment.tolerances import Placed


_WORDS = {
    "learns": "These learn on '{}'",
    "learns in part": "These learn in part on '{}'",
    "does not learn": "These do not learn on '{}'",
    "undetermined": "These cannot be judged on '{}', since their digital twins do not learn within this budget",
}


def answers(found: Assessment) -> list[str]:
    """Return the results of an assessment, as sentences."""
    best, device = found.best, found.device.name
    sentences = []
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
    sentences.append(f"Best by validation data: {best.title}, with {share(best.relative)} of the accuracy of its digital twin.")
    if math.isfinite(best.joules):
        sentences.append(
            f"That training takes {in_unit(best.joules, 'J')} and {in_unit(best.seconds, 's')} on hardware of "
            f"{found.protocol.technology}."
        )
    return sentences + _limit_sentences(found) + _tolerance_sentences(found) + _kept_sentences(found)


def _limit_sentences(found: Assessment) -> list[str]:
    if found.limited is None or len(found.limits) < 2:
        return []
    where = f"{found.limited.title} ({percent(float(np.mean(found.limited.accuracies)))})"
    worst = found.worst_limit
    whole = next((one for one in found.limits if one.without == NONE_LEFT), None)
    last = f" Without all of them it changes by {points(whole.gained)}." if whole and math.isfinite(whole.gained.mean) else ""
    if worst is None:
        return [f"{where} regains nothing by the removal of any single imperfection.{last}"]
    open_still = "" if worst.gained.low > 0 else "; with these seeds this may be chance"
    return [
        f"Main limit of {where}: {worst.without}. Without it the accuracy changes by {points(worst.gained)}{open_still}.{last}"
    ]


def _tolerance_sentences(found: Assessment) -> list[str]:
    placed = found.placed
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
    if placed and not sentences:
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


def assessment_tables(found: Assessment) -> list[Table]:
    """Return the tables of rules and schemes, and of limits, for the terminal."""
    learning = Table(title=f"Learning on '{found.device.name}'", title_justify="left")
    for name in ("rule", "scheme", "verdict", "of its digital twin", "accuracy", "rate", "energy", "latency"):
        learning.add_column(name, justify="left" if name in ("rule", "scheme", "verdict") else "right", no_wrap=True)
    for one in found.learning:
        accuracy = percent(float(np.mean(one.accuracies))) if one.accuracies else "–"
        costs = (in_unit(one.joules, "J"), in_unit(one.seconds, "s")) if math.isfinite(one.joules) else ("–", "–")
        learning.add_row(one.rule, one.scheme, one.verdict, share(one.relative), accuracy, f"{one.rate:g}", *costs)
    placed = [_placed_table(found.placed)] if found.placed else []
    if not found.limits or found.limited is None:
        return [learning, *placed]
    limiting = Table(title=f"What limits {found.limited.title}: accuracy regained without", title_justify="left")
    for name in ("", "regained", "every seed"):
        limiting.add_column(name, justify="left" if not name else "right", no_wrap=True)
    for limit in found.limits:
        gained = "" if limit.without == AS_IT_IS else points(limit.gained)
        limiting.add_row(limit.without, gained, ", ".join(map(percent, limit.accuracies)))
    return [learning, limiting, *placed]


def _placed_table(placed: Sequence[Placed]) -> Table:
    table = Table(
        title="Tolerance: the amount at which 5 % of the accuracy are lost (~ the device is at it, ! beyond it, ? beyond what was tried)",
        title_justify="left",
    )
    rules = list(dict.fromkeys(rule for one in placed for rule in one.curves))
    for name in ("nonideality", "here", *rules):
        table.add_column(name, justify="left" if name == "nonideality" else "right", no_wrap=True)
    for one in placed:
        cells = [_knee_cell(one, rule) if rule in one.curves else "–" for rule in rules]
        table.add_row(one.name, f"{one.amount:.3g}", *cells)
    return table


def _knee_cell(one: Placed, rule: str) -> str:
    """The range of the knee over the seeds, marked where the device does not lie within it."""
    mark = {"within": "", "at the knee": " ~", "beyond": " !", "not measured": " ?"}[one.judged[rule]]
    return one.curves[rule].range + mark


def write_page(found: Assessment, command: str) -> None:
    """Write ``report.html`` and its figures to the folder of an assessment."""
    pictures = [_learning_picture(found), *_limits_picture(found), *_kept_picture(found)]
    environment = next((one.outcome.results[n].environment for one in found.found.values() for n in one.outcome.results), {})
    rules = ", ".join(found.protocol.rules)
    facts = {
        **({"command": command} if command else {}),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        **{name.replace("_", " "): value for name, value in environment.items()},
    }
    parts = [
        Part("answer", "Answer", answers(found)),
        Part("pictures", "Pictures", pictures=pictures),
        Part("learning", "Rules and schemes", [_how_it_is_judged(found)], tables=[_learning_part(found)]),
        Part("limits", "What limits it", tables=[_limits_part(found.limits)]),
        Part("tolerances", "On the tolerance curves", [_TOLERANCES], tables=[_tolerances_part(found.placed)]),
        Part("kept", "Inference", tables=[_kept_part(found)]),
        Part("protocol", "Protocol", [_protocol(found, rules)], listings={"Device": found.device.to_toml()}),
        Part("reproduce", "Reproduce", facts=facts),
    ]
    page = render(f"Assessment of {found.device.name}", f"Digits, {rules}", [part for part in parts if _filled(part)])
    folder = found.page.parent
    make_folder(folder)
    for one in pictures:
        replace_file(folder / f"{one.name}.png", one.png)
    replace_file(found.page, page.encode())


_TOLERANCES = (
    "How much of each nonideality the device has, and the amount at which a rule loses 5 % of its accuracy: mean and 95 % interval over "
    "three seeds, one nonideality at a time around an otherwise ideal device that learns in place by pulses (digits, 64-32-10, 6 epochs; "
    "experiments/results/tolerance.md). Several nonidealities together cost more than each of them alone."
)


def _tolerances_part(placed: Sequence[Placed]) -> TablePart:
    rules = list(dict.fromkeys(rule for one in placed for rule in one.curves))
    rows = [
        {
            "nonideality": one.name,
            "this device": (one.amount, f"{one.amount:.3g}"),
            **{f"{rule}: knee": curve.said for rule, curve in one.curves.items()},
            **one.judged,
        }
        for one in placed
    ]
    columns = ["nonideality", "this device", *(name for rule in rules for name in (rule, f"{rule}: knee"))]
    return TablePart("Tolerances", rows, columns)


def _filled(part: Part) -> bool:
    if part.tables and not any(table.rows for table in part.tables):
        return False
    return bool(part.texts or part.facts or part.pictures or any(table.rows for table in part.tables))


def _how_it_is_judged(found: Assessment) -> str:
    return (
        f"A rule learns if it reaches {LEARNS:.0%} of the test accuracy of its digital twin, in part from {PARTLY:.0%}: the same "
        "network, rule, optimiser and budget in exact arithmetic. Intervals are Student's, of 95 %, over "
        f"{found.protocol.seeds} seeds."
    )


def _protocol(found: Assessment, rules: str) -> str:
    protocol = found.protocol
    images = f"the first {protocol.train_images}" if protocol.train_images else "all 1,437"
    return (
        f"Digits, {images} training images, a stratified fifth of which validates; a network {'-'.join(map(str, protocol.widths))}, "
        f"{protocol.epochs} epochs, batches of {protocol.batch_size}, plain stochastic gradient descent; rules {rules}. Of every rule "
        f"and scheme the learning rate is selected from {', '.join(f'{rate:g}' for rate in protocol.rates)} by the validation accuracy "
        f"of the first seed; numbers are those of {protocol.seeds} seeds on the 360 test images, which influenced no choice. Without an "
        "imperfection the rate is selected again. Converters, read noise and mapping are the defaults of crossbars."
    )


def _learning_part(found: Assessment) -> TablePart:
    twins = {one.rule: one for one in found.twins}
    rows = [_learning_row(one, twins[one.rule]) for one in found.learning]
    columns = [
        "rule",
        "scheme",
        "verdict",
        "by its interval",
        "of its digital twin",
        "mean accuracy",
        "every seed",
        "twin",
        "rate",
    ]
    columns += ["energy", "latency", "energy of the twin", "latency of the twin"]
    return TablePart("Rules and schemes", rows, [*columns, "sentence"] if any(r["sentence"] for r in rows) else columns)


def _learning_row(one: Learning, twin: Learning) -> dict[str, Any]:
    def mean(values: Sequence[float]) -> Any:
        return (float(np.mean(values)), percent(float(np.mean(values)))) if values else ""

    def cost(value: float, unit: str) -> Any:
        return (value, in_unit(value, unit)) if math.isfinite(value) else ""

    return {
        "rule": one.rule,
        "scheme": one.scheme,
        "verdict": one.verdict,
        "by its interval": " to ".join(one.allowed),
        "of its digital twin": (one.relative.mean, share(one.relative)) if one.accuracies else "",
        "mean accuracy": mean(one.accuracies),
        "every seed": ", ".join(map(percent, one.accuracies)),
        "twin": mean(twin.accuracies),
        "rate": one.rate,
        "energy": cost(one.joules, "J"),
        "latency": cost(one.seconds, "s"),
        "energy of the twin": cost(twin.joules, "J"),
        "latency of the twin": cost(twin.seconds, "s"),
        "sentence": one.sentence,
        "status": "failed" if not one.accuracies else "",
    }


def _limits_part(found: Sequence[Limit]) -> TablePart:
    rows = [
        {
            "without": one.without,
            "regained": (one.gained.mean, points(one.gained)) if one.accuracies and one.without != AS_IT_IS else "",
            "every seed": ", ".join(map(percent, one.accuracies)),
            "rate": one.rate,
            "sentence": one.sentence,
            "status": "failed" if not one.accuracies else "",
        }
        for one in found
    ]
    columns = ["without", "regained", "every seed", "rate"]
    return TablePart("Limits", rows, [*columns, "sentence"] if any(row["sentence"] for row in rows) else columns)


def _kept_part(found: Assessment) -> TablePart:
    rows = [
        {
            "when": (one.seconds, one.when),
            "drift compensation": "yes" if one.compensated else "no",
            "of the digital accuracy": (one.relative.mean, share(one.relative)),
            "every seed": ", ".join(map(percent, one.accuracies)),
        }
        for one in found.kept
    ]
    return TablePart("Inference", rows, ["when", "drift compensation", "of the digital accuracy", "every seed"])


def _learning_picture(found: Assessment) -> Picture:
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


def _limits_picture(found: Assessment) -> list[Picture]:
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


def _kept_picture(found: Assessment) -> list[Picture]:
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
