"""Tables and figures of sweeps: comparison of settings, with every seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from rich.table import Table

from analogpc.report.layers import COLOURS
from analogpc.studies.comparison import Difference, Setting, difference, mean_interval


def is_fraction(metric: str) -> bool:
    """Return whether a metric is a fraction, displayed in percent."""
    return metric.endswith("accuracy")


def number(value: float, metric: str) -> str:
    """Format a metric."""
    if math.isnan(value):
        return "–"
    return f"{100 * value:.2f} %" if is_fraction(metric) else f"{value:.4g}"


def spread(one: Setting, metric: str) -> str:
    """Format mean ± standard deviation over the seeds."""
    if math.isnan(one.mean):
        return "–"
    if math.isnan(one.deviation):
        return number(one.mean, metric)
    if is_fraction(metric):
        return f"{100 * one.mean:.2f} ± {100 * one.deviation:.2f} %"
    return f"{one.mean:.4g} ± {one.deviation:.2g}"


def interval(compared: Difference, metric: str) -> str:
    """Format a difference with its confidence interval, which needs two pairs."""
    if not compared.pairs:
        return "–"
    scale, unit = (100, " %") if is_fraction(metric) else (1, "")
    if math.isnan(compared.low):
        return f"{scale * compared.mean:+.3g}{unit}"
    return f"{scale * compared.mean:+.2f}{unit} [{scale * compared.low:+.2f}, {scale * compared.high:+.2f}]"


def settings_table(given: Sequence[Setting], metric: str) -> Table:
    """Return a table of settings: mean ± standard deviation, and the paired difference from the first with its 95 % interval."""
    table = Table()
    names = list(given[0].cells)
    for name in names:
        table.add_column(name, overflow="fold")
    for name in ("seeds", metric.replace("_", " "), "difference from the first", "pulses", "s"):
        table.add_column(name, justify="right", no_wrap=True)
    for place, one in enumerate(given):
        compared = "" if place == 0 else interval(difference(one, given[0]), metric)
        pulses, seconds = one.mean_of("pulses"), one.mean_of("seconds")
        cells = [str(one.cells.get(name, "")) for name in names]
        count = f"{len(one.values)}" + (f" of {len(one.numbers)}" if one.other else "")
        table.add_row(
            *cells,
            count,
            spread(one, metric),
            compared,
            f"{pulses:,.0f}" if pulses > 0 else "–",
            "–" if math.isnan(seconds) else f"{seconds:.1f}",
        )
    return table


def draw_settings(given: Sequence[Setting], metric: str) -> Figure:
    """Draw one line per setting: a dot for every seed, the mean, and its 95 % confidence interval.

    Parameters
    ----------
    given : sequence of Setting
    metric : str
        Name of the metric.
    """
    shown = [one for one in given if one.values]
    figure = Figure(figsize=(8, 1.1 + 0.32 * max(1, len(shown))), layout="constrained")
    axes = figure.subplots()
    scale = 100 if is_fraction(metric) else 1
    for place, one in enumerate(shown):
        values = scale * np.array(list(one.values.values()))
        axes.plot(values, np.full(len(values), place), "o", color=COLOURS[0], alpha=0.45, markersize=4.5, markeredgewidth=0)
        low, high = mean_interval(values)
        if not math.isnan(low):
            axes.plot([low, high], [place, place], "-", color=COLOURS[1], linewidth=1.5)
        axes.plot(values.mean(), place, "D", color=COLOURS[1], markersize=5.5)
    axes.set_yticks(range(len(shown)), [one.title for one in shown], fontsize=8)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlabel(
        f"{metric.replace('_', ' ')}: every seed (dots), mean (diamond) and its 95 % confidence interval (bar)", fontsize=8
    )
    if is_fraction(metric):
        axes.xaxis.set_major_formatter(PercentFormatter(decimals=None))
        # Intervals of few seeds may exceed the possible range of accuracies.
        low, high = axes.get_xlim()
        axes.set_xlim(max(low, 0.0), min(high, 100.0))
    axes.grid(alpha=0.3, axis="x")
    return figure


def plain_settings(given: Sequence[Setting], metric: str) -> list[dict[str, Any]]:
    """Return settings as plain data: means, deviations, every seed, and differences from the first."""
    compared = []
    for one in given:
        apart = difference(one, given[0])
        compared.append(
            {
                **one.cells,
                "trials": one.numbers,
                "metric": metric,
                "mean": one.mean,
                "deviation": one.deviation,
                "values": list(one.values.values()),
                "difference": {"mean": apart.mean, "low": apart.low, "high": apart.high, "pairs": apart.pairs},
                "sentences": one.other,
            }
        )
    return compared
