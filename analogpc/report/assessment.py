"""The page of an assessment, and its tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from analogpc.assessment.findings import LEARNS, PARTLY, Learning, Limit
from analogpc.assessment.protocol import AS_IT_IS
from analogpc.devices.names import in_unit
from analogpc.files.atomic import make_folder, replace_file
from analogpc.report.assessment_answers import answers, percent, points, share
from analogpc.report.assessment_pictures import kept_picture, learning_picture, limits_picture
from analogpc.report.page import Part, TablePart, render

if TYPE_CHECKING:
    from analogpc.assessment.assess import Assessment
    from analogpc.assessment.tolerances import Placed


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
    pictures = [learning_picture(found), *limits_picture(found), *kept_picture(found)]
    environment = next((one.outcome.results[n].environment for one in found.found.values() for n in one.outcome.results), {})
    rules, origin = ", ".join(found.protocol.rules), found.device.provenance
    facts = {
        **({"command": command} if command else {}),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        **{name.replace("_", " "): value for name, value in environment.items()},
    }
    parts = [
        Part("answer", "Answer", answers(found)),
        Part("assumptions", "Assumptions about the device", [*origin.assumptions, *origin.remarks]),
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
