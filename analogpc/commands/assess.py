"""The command ``assess``: what a device is good for."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from analogpc.commands.output import BackendOption, Json, print_json, show, terminal

_COLUMNS = 130


def assess(
    device: Annotated[str, typer.Argument(help="Name of a preset, or a device file (.toml) written by analogpc calibrate.")],
    out: Annotated[Path | None, typer.Option(help="Folder for sweeps and page (default: DEVICE-assessment).")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Finish in seconds: a test of the command, not of the device.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(help="Number of worker processes (default: one per processor; 0: compute in this process).", min=0),
    ] = None,
    technology: Annotated[
        str, typer.Option(help="Technology that prices energy and time (see: analogpc technology), or a file (.toml).")
    ] = "",
    seed: Annotated[int, typer.Option(help="First seed.", min=0)] = 0,
    backend: BackendOption = "cpu",
    as_json: Json = False,
) -> None:
    """Report which rules and schemes learn on a device, how far from digital, what limits it, and what it costs.

    Takes minutes. After an interruption, run the same command again to resume.
    """
    from analogpc.assessment.assess import assess as assessed
    from analogpc.report.assessment import assessment_tables
    from analogpc.report.assessment_answers import answers

    command = shlex.join(["analogpc", *sys.argv[1:]])
    found = assessed(
        device, out=out, quick=quick, workers=workers, technology=technology, seed=seed, backend=backend, command=command
    )
    if as_json:
        files = {"page": str(found.page), "data": str(found.folder / "assessment.json")}
        print_json({"command": "assess", **found.to_dict(), "files": files})
        return
    terminal(width=_COLUMNS).print(*assessment_tables(found))
    for sentence in (*answers(found), f"Page: {found.page}."):
        show(sentence)
