"""Code shared by all commands: printing, protection of existing files, and common options."""

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
    """Print one JSON object; numbers that JSON cannot represent become the strings "inf", "-inf" and "nan"."""
    print(json.dumps(plain(value), allow_nan=False))


def write_what_the_terminal_can_show() -> None:
    """Replace characters that standard output or standard error cannot encode, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace" if stream is sys.stderr else "replace")


def terminal(width: int | None = None) -> Console:
    """Return a console on standard output that prints text verbatim, without markup.

    If standard output is not a terminal, ``width`` is the number of columns.
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
    """Print a table to standard output, at its natural width if that is not a terminal."""
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=_COLUMNS)).print(table)


def spare(out: Path, overwrite: bool) -> None:
    """Refuse an existing file (without --overwrite) or an unwritable path before any computation."""
    from analogpc.files.atomic import check_writable

    if out.exists() and not overwrite:
        raise ValueError(f"{out} exists: name another file, or add --overwrite to replace it")
    check_writable(out)
