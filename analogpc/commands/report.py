"""The command that makes a page of runs or of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analogpc.commands.output import Json, print_json


def report(
    given: Annotated[list[Path], typer.Argument(help="Files of runs, or the folder of one sweep.", metavar="RUN.h5… | FOLDER")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for report.html and its pictures; report in the sweep, or RUN-report, if not given."),
    ] = None,
    title: Annotated[str, typer.Option(help="Of the page.")] = "",
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder with the published files of the data sets, for drift curves.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML page about runs or a sweep, and its pictures as PNG files."""
    from analogpc.report.report import write_report

    first = given[0]
    folder = out or (first / "report" if first.is_dir() else Path(f"{first.stem}-report"))
    page = write_report(given, folder, title=title, data_dir=data_dir)
    pictures = sorted(str(file) for file in folder.glob("*.png"))
    if as_json:
        print_json({"command": "report", "page": str(page), "pictures": pictures})
    else:
        print(f"The page is in {page}; its {len(pictures)} pictures lie beside it.")
