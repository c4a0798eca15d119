"""What all commands share: how they print, what they refuse to replace, and the options that mean the same everywhere."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analogpc.kernels.gpu.arrays import Backend
from analogpc.kernels.gpu.blas import Precision
from analogpc.report.plain import plain
from analogpc.report.text import visible

if TYPE_CHECKING:
    from rich.console import Console

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
BackendOption = Annotated[Backend, typer.Option("--backend", help="Where to compute: cpu, or gpu (needs CuPy and a GPU).")]
PrecisionOption = Annotated[
    Precision | None,
    typer.Option("--precision", help="Precision of float32 matrix products on the GPU (default: tf32)."),
]
_COLUMNS = 120
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")]


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object; numbers that JSON cannot hold become the texts "inf", "-inf" and "nan"."""
    print(json.dumps(plain(value), allow_nan=False))


def write_what_the_terminal_can_show() -> None:
    """Replace characters that standard output or error cannot encode instead of failing on them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace" if stream is sys.stderr else "replace")


def terminal(width: int | None = None) -> Console:
    """Standard output for tables and sentences; texts are taken as they stand, without markup.

    Where there is no terminal to fit, ``width`` is the number of columns.
    """
    from rich.console import Console

    console = Console(markup=False, highlight=False, emoji=False)
    if width is not None and not console.is_terminal:
        console.width = width
    return console


def show(*renderables: Any) -> None:
    """Print tables and sentences to standard output."""
    terminal().print(*(visible(one, but="\n") if isinstance(one, str) else one for one in renderables))


def print_table(table: Any) -> None:
    """Print a table to standard output, with the width that it needs where there is no terminal to fit."""
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=_COLUMNS)).print(table)


def spare(out: Path, overwrite: bool) -> None:
    """Refuse to write over somebody's file, and a place where nothing can be written, before anything is computed."""
    from analogpc.files.atomic import check_writable

    if out.exists() and not overwrite:
        raise ValueError(f"{out} exists: name another file, or allow its replacement with --overwrite")
    check_writable(out)
