"""Figures in files."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure

from analogpc.files.atomic import replace_file


def write_picture(figure: Figure, path: str | Path, dpi: int) -> None:
    """Write a figure atomically: PNG, PDF or SVG, by the suffix of ``path``.

    Raises
    ------
    ValueError
        If matplotlib does not know the format.
    StorageError
        If the file cannot be written.
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=dpi, format=Path(path).suffix.removeprefix(".") or "png")
    replace_file(path, drawn.getbuffer())
