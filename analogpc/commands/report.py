"""The command ``report``: write a page about runs or a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analogpc.commands.output import Json, print_json


def report(
    given: Annotated[list[Path], typer.Argument(help="Run files, or the folder of one sweep.", metavar="RUN.h5… | FOLDER")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for report.html and its figures (default: report in the sweep folder, or RUN-report)."),
    ] = None,
    title: Annotated[str, typer.Option(help="Title of the page.")] = "",
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder with the published files of the data sets, for drift curves, or with the texts.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML page about runs or a sweep, and its figures as PNG files."""
    from analogpc.report.report import write_report

    first = given[0]
    folder = out or (first / "report" if first.is_dir() else Path(f"{first.stem}-report"))
    page = write_report(given, folder, title=title, data_dir=data_dir)
    pictures = sorted(str(file) for file in folder.glob("*.png"))
    if as_json:
        print_json({"command": "report", "page": str(page), "pictures": pictures})
    else:
        print(f"Page: {page}, with {len(pictures)} figures in the same folder.")
