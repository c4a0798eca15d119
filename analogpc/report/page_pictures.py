"""What all pictures of reports share: colours that the colour-blind tell apart, marks, lines, and how a picture becomes bytes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design", 2008: told apart by all kinds of colour vision, dark enough for paper.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8A8A00")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", "-.", ":")
"""Marks and lines differ, too, so that pictures are read in black and white."""


@dataclass(frozen=True)
class Picture:
    """A picture of a page.

    Attributes
    ----------
    name : str
        Of its file, without ending.
    title, caption : str
    alternative : str
        What is seen, for those who do not see it.
    png : bytes
    """

    name: str
    title: str
    caption: str
    alternative: str
    png: bytes


def picture(figure: Figure, name: str, title: str, caption: str, alternative: str) -> Picture:
    """A figure as a picture of a page."""
    made = io.BytesIO()
    figure.savefig(made, format="png", dpi=144)
    return Picture(name, title, caption, alternative, made.getvalue())


def canvas(columns: int = 1, rows: int = 1, *, width: float = 4.6, height: float = 3.2) -> tuple[Figure, list[Axes]]:
    """An empty figure of some panels, drawn without a display."""
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())


def style(number: int) -> dict[str, Any]:
    """Colour, mark and line of one of several curves."""
    return {
        "color": PALETTE[number % len(PALETTE)],
        "marker": MARKS[number % len(MARKS)],
        "linestyle": LINES[number // len(PALETTE) % len(LINES)],
    }


def legend(axes: Axes, curves: int) -> None:
    """A legend that does not cover the curves: beside the axes where there are many."""
    if curves > 4:
        axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    else:
        axes.legend(frameon=False, fontsize=7)
