"""Shared style of report figures: colour-blind safe colours, markers and lines, and conversion to bytes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design", 2008: distinguishable with all kinds of colour vision, dark enough for print.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8A8A00")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", "-.", ":")
"""Markers and lines also differ, so that figures are readable in black and white."""


@dataclass(frozen=True)
class Picture:
    """A figure of a page.

    Attributes
    ----------
    name : str
        File name, without suffix.
    title, caption : str
    alternative : str
        Alternative text.
    png : bytes
    """

    name: str
    title: str
    caption: str
    alternative: str
    png: bytes


def picture(figure: Figure, name: str, title: str, caption: str, alternative: str) -> Picture:
    """Convert a matplotlib figure to a figure of a page."""
    made = io.BytesIO()
    figure.savefig(made, format="png", dpi=144)
    return Picture(name, title, caption, alternative, made.getvalue())


def canvas(columns: int = 1, rows: int = 1, *, width: float = 4.6, height: float = 3.2) -> tuple[Figure, list[Axes]]:
    """Create an empty figure with panels, without a display."""
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())


def style(number: int) -> dict[str, Any]:
    """Return colour, marker and line of one of several curves."""
    return {
        "color": PALETTE[number % len(PALETTE)],
        "marker": MARKS[number % len(MARKS)],
        "linestyle": LINES[number // len(PALETTE) % len(LINES)],
    }


def legend(axes: Axes, curves: int) -> None:
    """Add a legend that does not cover the curves: outside of the axes if there are many."""
    if curves > 4:
        axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    else:
        axes.legend(frameon=False, fontsize=7)
