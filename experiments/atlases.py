"""Page and figures of an atlas: rules on devices with update schemes, relative to their digital twins. One study file for each task."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from tables import Swept, every, markdown, mean, pulses_per_weight, selection, trained

from analogpc.assessment.findings import LEARNS, PARTLY, TWIN_LEARNS
from analogpc.studies.comparison import Setting, mean_interval

DIGITAL = "digital"
MARKS = {"pulses in place": "P", "mixed precision": "M", "Tiki-Taka v2": "T"}
"""Letters of the schemes."""

AT_CHANCE = (
    "with no rate were 20 % of the validation images right after the first epochs (`[prune]` in the study file), or it diverged."
)

MEANINGS = {"×": "impossible", "–": "at chance", "?": "the digital twin does not learn"}
"""Signs of cells without a relative accuracy."""

COLUMNS = ("% of the digital accuracy", "test accuracy of every seed", "rate", "pulses per weight", "energy")


def relative(one: Setting, twin: Setting) -> list[float]:
    """Return the accuracy relative to the digital twin, for every seed with which the twin learns."""
    return [value / twin.values[seed] for seed, value in one.values.items() if twin.values.get(seed, 0.0) >= TWIN_LEARNS]


def cells(swept: Swept) -> dict[tuple[str, str, str], tuple[Setting, list[float]]]:
    """All cells by scheme, device and rule: the selected setting, and its relative accuracies."""
    chosen = swept.selected()
    twins = {one.cells["case"]: one for one in chosen.where(device=DIGITAL)}
    return {
        (one.cells["scheme"], one.cells["device"], one.cells["case"]): (one, relative(one, twins[one.cells["case"]]))
        for one in chosen.settings
        if one.cells["device"] != DIGITAL
    }


def axes(swept: Swept) -> tuple[list[str], list[str], list[str]]:
    """Return schemes, devices and rules, without the digital twin; devices in the order of their mean over all finished cells."""
    found = cells(swept)
    schemes = [name for name in swept.values("scheme") if name != DIGITAL]
    devices = [name for name in swept.values("device") if name != DIGITAL]
    level = {
        device: np.mean([np.mean(values) if values else 0.0 for (_, other, _), (_, values) in found.items() if other == device])
        for device in devices
    }
    return schemes, sorted(devices, key=lambda name: -level[name]), swept.values("case")


def best(swept: Swept) -> dict[tuple[str, str], tuple[str, Setting, list[float]]]:
    """The scheme with the best mean validation accuracy over the seeds, by device and rule, with its cell."""
    made: dict[tuple[str, str], tuple[float, tuple[str, Setting, list[float]]]] = {}
    for (scheme, device, rule), (one, values) in cells(swept).items():
        level = one.mean_of("validation_accuracy")
        level = -1.0 if math.isnan(level) or not one.values else level
        if (device, rule) not in made or level > made[device, rule][0]:
            made[device, rule] = (level, (scheme, one, values))
    return {key: cell for key, (_, cell) in made.items()}


def page(swept: Swept, title: str = "", further: str = "") -> list[str]:
    """Lines of the page: what was computed, the best schemes, counts, one table per scheme, the reasons for refusals.

    Parameters
    ----------
    swept : Swept
    title : str
        Task, for the heading.
    further : str
        Sentences on the choice of devices and schemes.
    """
    schemes, devices, rules = axes(swept)
    found, top, chosen = cells(swept), best(swept), swept.selected()
    study, chosen_schemes = swept.study(chosen.settings[0]), len(found) > len(top)
    assert study is not None
    lines = [
        f"# The atlas{title}: which rule survives which device",
        "",
        f"{trained(study)}, plain SGD. {selection(swept, study)} {further}The table shows the accuracy on the test images, which were not "
        "used for any selection. The budget is small: digital twins have not converged, and other rates would help "
        "some cells.",
        "",
        f"Relative accuracies are paired by seed. A seed with which the digital twin stays below {TWIN_LEARNS:.0%} is left out: its "
        "ratio would tell nothing about the device (see the digital twins below). Intervals are 95 % Student's t intervals.",
        "",
        "## The best scheme of every cell" if chosen_schemes else "## All cells",
        "",
        ("The scheme is selected by the mean validation accuracy over the seeds. " if chosen_schemes else "")
        + "Below: % of the digital accuracy (mean ± half of the 95 % interval), pulses per weight, and the energy of the training.",
        "",
        *markdown(
            ["device", *rules], [[device, *(_best_cell(swept, top.get((device, rule))) for rule in rules)] for device in devices]
        ),
        "",
        f"Schemes: {', '.join(f'{mark}: {name}' for name, mark in MARKS.items() if name in schemes)}.",
        "",
        "## Counts",
        "",
        f"Number of devices on which a rule reaches {LEARNS:.0%} of its digital twin, then {PARTLY:.0%}, of those on which the scheme is "
        "possible:",
        "",
    ]
    twins = [(rule, *chosen.where(device=DIGITAL, case=rule)) for rule in rules]
    rows = [[rule, f"{mean(one)} ({every(one)})", _rate(one), _joules(one)] for rule, one in twins]
    lines += markdown(["rule", *schemes], [[rule, *_counts(found, rule, schemes)] for rule in rules])
    lines += ["", "## Digital twins", ""]
    lines += markdown(["rule", "test accuracy", "rate", "energy"], rows)
    for scheme in schemes:
        there = [(device, rule) for device in devices for rule in rules if (scheme, device, rule) in found]
        rows = [[device, rule, *described(swept, *found[scheme, device, rule])] for device, rule in there]
        lines += ["", f"## {scheme[0].upper()}{scheme[1:]}", "", *markdown(["device", "rule", *COLUMNS], rows)]
    return [*lines, *_reasons(found)]


def _best_cell(swept: Swept, cell: tuple[str, Setting, list[float]] | None) -> str:
    if cell is None:
        return "not run"
    scheme, one, values = cell
    relation, _, _, pulses, joules = described(swept, one, values)
    return f"**{relation}** {MARKS[scheme]}, {pulses} pulses, {joules}" if one.values else relation


def _counts(found: dict[tuple[str, str, str], tuple[Setting, list[float]]], rule: str, schemes: list[str]) -> list[str]:
    made = []
    for scheme in schemes:
        group = [(one, values) for (name, _, case), (one, values) in found.items() if name == scheme and case == rule]
        possible = [values for one, values in group if not _refused(one)]
        levels = [sum(bool(values) and float(np.mean(values)) >= level for values in possible) for level in (LEARNS, PARTLY)]
        made.append(f"{levels[0]}, {levels[1]} of {len(possible)}")
    return made


def _reasons(found: dict[tuple[str, str, str], tuple[Setting, list[float]]]) -> list[str]:
    reasons = dict.fromkeys(
        text.rsplit("is not allowed: ", 1)[-1] for one, _ in found.values() if _refused(one) for text in one.other
    )
    lines = ["", "Impossible:", "", *(f"- {text}" for text in reasons)] if reasons else []
    if any(not one.values and not _refused(one) for one, _ in found.values()):
        lines += ["", f"At chance: {AT_CHANCE}"]
    return lines


def _refused(one: Setting) -> bool:
    return not one.values and any("is not allowed" in text for text in one.other)


def described(swept: Swept, one: Setting, values: list[float]) -> list[str]:
    """Return the cells of `COLUMNS`."""
    if not one.values:
        return ["impossible" if _refused(one) else "at chance", *("–" for _ in COLUMNS[1:])]
    spread = f" ± {100 * (mean_interval(values)[1] - np.mean(values)):.0f}" if len(values) > 1 else ""
    relation = f"{100 * np.mean(values):.0f}{spread}" if values else "the digital twin does not learn"
    return [relation, every(one), _rate(one), _pulses(pulses_per_weight(swept, one)), _joules(one)]


def _rate(one: Setting) -> str:
    return str(one.cells["optimiser.learning_rate"])


def _pulses(count: float) -> str:
    return f"{count:,.0f}" if count >= 10 else f"{count:.2g}"


def _joules(one: Setting) -> str:
    joules = one.mean_of("joules")
    return "–" if math.isnan(joules) else f"{1e6 * joules:.3g} µJ" if joules < 0.9995e-3 else f"{1e3 * joules:.3g} mJ"


def figure(swept: Swept, title: str = "") -> Figure:
    """One heat map: devices by rules, accuracy relative to the digital twin with the scheme that was best on validation data."""
    schemes, _, rules = axes(swept)
    top = best(swept)
    values = {key: float(np.mean(cell[2] or [np.nan])) for key, cell in top.items()}
    learnt = {
        name: [values[name, rule] for rule in rules if not math.isnan(values.get((name, rule), math.nan))] for name, _ in top
    }
    devices = sorted(learnt, key=lambda name: -float(np.mean(learnt[name] or [0.0])))
    drawn = Figure(figsize=(2.9 + 0.85 * len(rules), 1.9 + 0.42 * len(devices)), layout="constrained")
    panel = drawn.subplots()
    shown = np.array([[values.get((device, rule), np.nan) for rule in rules] for device in devices])
    image = heat_map(panel, shown, devices, rules)
    for row, device in enumerate(devices):
        for column, rule in enumerate(rules):
            if (device, rule) in top:
                scheme, one, _ = top[device, rule]
                write(panel, row, column, values[device, rule], _mark(one), f" {MARKS[scheme]}")
    drawn.colorbar(image, ax=panel, pad=0.01).set_label("% of the digital accuracy")
    chosen = len(cells(swept)) > len(top)
    written = {_mark(one) for _, one, reached in top.values() if not reached}
    signs = [f"{mark}: {MEANINGS[mark]}" for mark in MEANINGS if mark in written]
    signs += ["empty: not run"] if len(top) < len(devices) * len(rules) else []
    drawn.suptitle(
        f"Which rule survives which device{title}?\n% of the digital accuracy{' with the best scheme' if chosen else ''}; "
        + "bold: at least 95 %"
        + (f"; {', '.join(signs)}" if signs else "")
        + "\n"
        + ", ".join(f"{mark}: {name}" for name, mark in MARKS.items() if name in schemes),
        fontsize=10,
    )
    return drawn


def schemes_figure(swept: Swept) -> Figure:
    """One heat map for each scheme: devices by rules, accuracy relative to the digital twin."""
    schemes, devices, rules = axes(swept)
    found = cells(swept)
    drawn = Figure(figsize=(1.6 + 3.6 * len(schemes), 1.6 + 0.42 * len(devices)), layout="constrained")
    panels = drawn.subplots(1, len(schemes), sharey=True, squeeze=False)[0]
    for panel, scheme in zip(panels, schemes, strict=True):
        none: tuple[None, list[float]] = (None, [])
        cells_here = [[found.get((scheme, device, rule), none) for rule in rules] for device in devices]
        values = np.array([[np.mean(reached or [np.nan]) for _, reached in line] for line in cells_here])
        image = heat_map(panel, values, devices, rules)
        panel.set_title(scheme, fontsize=11)
        for row, line in enumerate(cells_here):
            for column, (one, _) in enumerate(line):
                write(panel, row, column, values[row, column], _mark(one) if one else "")
    bar = drawn.colorbar(image, ax=panels, shrink=0.9, pad=0.01)
    bar.set_label("% of the digital accuracy")
    drawn.suptitle(
        "Which rule survives which device? Bold: at least 95 % of the digital accuracy; ×: impossible; –: at chance; empty: not run"
        + ("; ?: the digital twin does not learn" if any(one.values and not values for one, values in found.values()) else ""),
        fontsize=11,
    )
    return drawn


def heat_map(panel: Axes, values: np.ndarray, devices: list[str], rules: list[str]) -> AxesImage:
    """Draw relative accuracies, devices by rules."""
    image = panel.imshow(100 * values, cmap="cividis", vmin=20, vmax=100, aspect="auto")
    panel.set_facecolor("white")
    panel.set_xticks(range(len(rules)), rules, rotation=45, ha="right", rotation_mode="anchor")
    panel.set_yticks(range(len(devices)), devices)
    panel.set_xticks(np.arange(len(rules) + 1) - 0.5, minor=True)
    panel.set_yticks(np.arange(len(devices) + 1) - 0.5, minor=True)
    panel.grid(which="minor", color="white", linewidth=1.5)
    panel.tick_params(which="both", length=0)
    return image


def _mark(one: Setting) -> str:
    """Return the sign of a cell without a relative accuracy."""
    return "×" if _refused(one) else "?" if one.values else "–"


def write(panel: Axes, row: int, column: int, value: float, mark: str, after: str = "") -> None:
    """Write the relative accuracy in a cell, or ``mark`` if there is none."""
    if math.isnan(value):
        panel.text(column, row, mark, ha="center", va="center", color="0.4")
        return
    weight = "bold" if value >= LEARNS else "normal"
    colour = "black" if value > 0.65 else "white"
    panel.text(column, row, f"{100 * value:.0f}{after}", ha="center", va="center", color=colour, weight=weight, fontsize=9)
