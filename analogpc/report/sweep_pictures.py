"""Figures of a sweep: settings, learning curves, the effect of each varied field, and pairs of fields."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from analogpc.report.page_pictures import PALETTE, Picture, canvas, legend, picture, style
from analogpc.report.sweeps import draw_settings, is_fraction, number
from analogpc.studies.axes import SEEDS
from analogpc.studies.comparison import Setting, mean_interval, settings
from analogpc.studies.kinds import TEXTS

Record = dict[str, Any]
_MOST_CURVES, _MOST_SETTINGS = 12, 40


def sweep_pictures(record: Record) -> list[Picture]:
    """Return all figures of a sweep.

    Parameters
    ----------
    record : dict
        Contents of ``sweep.json``.
    """
    metric = record["metric"]
    found = [one for one in settings(record["rows"], metric, record["varied"]) if one.values]
    if not found:
        return []
    ranked = sorted(found, key=lambda one: one.mean, reverse=record["maximise"])
    made = [_settings(ranked, metric), *_curves(record, ranked)]
    varied = [name for name in record["varied"] if name not in SEEDS]
    for name in dict.fromkeys([*varied, "rule", "substrate"]):
        made += _field(found, name, metric)
    return made + _heat_map(found, varied, metric) + _costs(found, metric)


def _settings(ranked: Sequence[Setting], metric: str) -> Picture:
    shown = ranked[:_MOST_SETTINGS]
    best = shown[0]
    note = f"Best: {best.title} with {number(best.mean, metric)}."
    if len(ranked) > len(shown):
        note += f" The best {len(shown)} of {len(ranked)} settings are shown."
    caption = f"Every seed (dots), mean (diamonds) and its 95 % confidence interval (bars). {note}"
    return picture(draw_settings(shown, metric), "settings", "Settings", caption, f"Dots for every seed by setting. {note}")


def _curves(record: Record, ranked: Sequence[Setting]) -> list[Picture]:
    """Plot the metric by epoch (of a language model: by batch), with mean and range over the seeds."""
    metric, shown = record["metric"], ranked[:_MOST_CURVES]
    histories = record["histories"]
    if metric in TEXTS.tested_once:
        # Known at the end only: the validation is measured all along.
        metric = metric.replace("test_", "validation_")
    drawn = [one for one in shown if any(metric in histories.get(str(n), {}) for n in one.numbers)]
    if not drawn:
        return []
    figure, (axes,) = canvas(width=7.2, height=3.6)
    scale = 100 if is_fraction(metric) else 1
    for place, one in enumerate(drawn):
        lines = [histories[str(n)][metric] for n in one.numbers if metric in histories.get(str(n), {})]
        length = min(map(len, lines))
        table = scale * np.array([line[:length] for line in lines], float)
        history = histories[str(one.numbers[0])]
        steps = np.array(history["batch"][:length]) if "batch" in history else np.arange(1, length + 1)
        look = style(place)
        axes.plot(steps, table.mean(0), **look, markersize=3, linewidth=1.3, label=one.title)
        axes.fill_between(steps, table.min(0), table.max(0), color=look["color"], alpha=0.15, linewidth=0)
    by = "batch" if "batch" in histories[str(drawn[0].numbers[0])] else "epoch"
    axes.set(xlabel=by, ylabel=metric.replace("_", " ") + (" (%)" if is_fraction(metric) else ""))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    legend(axes, 9)
    left = f" The best {len(drawn)} of {len(ranked)} settings." if len(ranked) > len(drawn) else ""
    note = f"Mean over the seeds (lines), and from the lowest to the highest of them (bands).{left}"
    return [picture(figure, "curves", "Learning curves", note, f"Lines of {metric} by {by}, one for each setting.")]


def _field(found: Sequence[Setting], name: str, metric: str) -> list[Picture]:
    """Plot the metric against one varied field, over all values of the others."""
    values = list(dict.fromkeys(one.cells[name] for one in found if name in one.cells))
    if len(values) < 2:
        return []
    figure, (axes,) = canvas(width=max(4.6, 0.9 + 0.55 * len(values)) if len(values) < 25 else 9)
    scale = 100 if is_fraction(metric) else 1
    numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    if numeric:
        values.sort()
        axes.plot(*_dots(found, name, scale), "o", color=PALETTE[0], alpha=0.5, markersize=4, markeredgewidth=0)
        if values[0] > 0 and values[-1] / values[0] >= 20:
            axes.set_xscale("log")
    else:
        for place, value in enumerate(values):
            mine = scale * np.array([v for one in found if one.cells.get(name) == value for v in one.values.values()])
            axes.plot(np.full(len(mine), place), mine, "o", color=PALETTE[0], alpha=0.5, markersize=4, markeredgewidth=0)
            low, high = mean_interval(mine)
            if not math.isnan(low):
                axes.plot([place, place], [low, high], "-", color=PALETTE[1], linewidth=1.5)
            axes.plot(place, mine.mean(), "D", color=PALETTE[1], markersize=5.5)
        turn = 35 if max(len(str(value)) for value in values) * len(values) > 45 else 0
        axes.set_xticks(
            range(len(values)), [str(value) for value in values], rotation=turn, ha="right" if turn else "center", fontsize=8
        )
        axes.set_xlim(-0.5, len(values) - 0.5)
    axes.set(xlabel=name, ylabel=metric.replace("_", " ") + (" (%)" if is_fraction(metric) else ""))
    if is_fraction(metric):
        axes.set_ylim(max(axes.get_ylim()[0], 0.0), min(axes.get_ylim()[1], 101.0))
    axes.grid(alpha=0.3)
    title = f"{metric.replace('_', ' ').capitalize()} against {name}"
    note = "All trials, over all values of the other fields" + (
        "." if numeric else ": dots; mean and 95 % interval: diamonds and bars."
    )
    return [picture(figure, f"field-{_file(name)}", title, note, f"Dots of {metric} by {name}")]


def _dots(found: Sequence[Setting], name: str, scale: float) -> tuple[list[float], list[float]]:
    pairs = [(one.cells[name], scale * value) for one in found for value in one.values.values()]
    return [x for x, _ in pairs], [y for _, y in pairs]


def _heat_map(found: Sequence[Setting], varied: Sequence[str], metric: str) -> list[Picture]:
    """Plot rule against substrate, or the first two varied fields with few values."""
    names = [
        name for name in dict.fromkeys([*varied, "rule", "substrate"]) if 1 < len({one.cells.get(name) for one in found}) <= 24
    ]
    if len(names) < 2:
        return []
    first = next((name for name in names if name == "rule"), names[0])
    second = next(
        (name for name in names if name.startswith("substrate") and name != first), next(n for n in names if n != first)
    )
    rows = list(dict.fromkeys(one.cells[first] for one in found if first in one.cells))
    columns = list(dict.fromkeys(one.cells[second] for one in found if second in one.cells))
    table = np.full((len(rows), len(columns)), np.nan)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            mine = [one.mean for one in found if one.cells.get(first) == row and one.cells.get(second) == column]
            table[i, j] = np.mean(mine) if mine else np.nan
    figure, (axes,) = canvas(width=2.2 + 0.75 * len(columns), height=1.5 + 0.38 * len(rows))
    scale = 100 if is_fraction(metric) else 1
    mesh = axes.imshow(scale * table, cmap="cividis", aspect="auto")
    middle = scale * (np.nanmin(table) + np.nanmax(table)) / 2
    for (i, j), value in np.ndenumerate(scale * table):
        text = "–" if math.isnan(value) else f"{value:.1f}" if is_fraction(metric) else f"{value:.3g}"
        axes.text(j, i, text, ha="center", va="center", fontsize=8, color="white" if value < middle else "black")
    axes.set_yticks(range(len(rows)), [str(row) for row in rows], fontsize=8)
    axes.set_xticks(range(len(columns)), [str(column) for column in columns], fontsize=8, rotation=30, ha="right")
    axes.set(xlabel=second, ylabel=first)
    unit = " (%)" if is_fraction(metric) else ""
    figure.colorbar(mesh, ax=axes, label=metric.replace("_", " ") + unit)
    note = f"Mean {metric.replace('_', ' ')}{unit} over the seeds and everything else that varies; – where no trial finished."
    return [picture(figure, "heat-map", f"{first} × {second}", note, f"Table of {metric} by {first} and {second}")]


def _costs(found: Sequence[Setting], metric: str) -> list[Picture]:
    """Plot the metric against cost: energy if there is a bill, otherwise pulses."""
    for label in ("joules", "pulses"):
        points = [(one.mean_of(label), one) for one in found]
        points = [(cost, one) for cost, one in points if cost > 0]
        if len(points) >= 2:
            break
    else:
        return []
    figure, (axes,) = canvas(width=7.2, height=3.6)
    scale = 100 if is_fraction(metric) else 1
    for place, (cost, one) in enumerate(points[:_MOST_CURVES]):
        axes.plot(cost, scale * one.mean, **{**style(place), "linestyle": ""}, markersize=7, label=one.title)
    axes.set(xscale="log", xlabel=label, ylabel=metric.replace("_", " ") + (" (%)" if is_fraction(metric) else ""))
    axes.grid(alpha=0.3)
    legend(axes, 9)
    note = f"Means over the seeds; {label} of a whole run, on a logarithmic scale."
    return [
        picture(
            figure, "costs", f"{metric.replace('_', ' ').capitalize()} against {label}", note, f"Marks of {metric} by {label}"
        )
    ]


def _file(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name).strip("-").lower()
