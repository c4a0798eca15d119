"""The command that assesses a device."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from analogpc.commands.output import BackendOption, Json, print_json, show, terminal

_COLUMNS = 130


def assess(
    device: Annotated[str, typer.Argument(help="A preset's name, or a device file (.toml), as analogpc calibrate makes it.")],
    out: Annotated[Path | None, typer.Option(help="Folder for sweeps and page; DEVICE-assessment if not given.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Seconds instead of minutes: that it works, and nothing about the device.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(help="Worker processes; one for each processor if not given, 0 for this process itself.", min=0)
    ] = None,
    technology: Annotated[
        str, typer.Option(help="What prices joules and seconds (see: analogpc technology), or a file (.toml).")
    ] = "",
    seed: Annotated[int, typer.Option(help="The first of the seeds.", min=0)] = 0,
    backend: BackendOption = "cpu",
    as_json: Json = False,
) -> None:
    """Say which rules and schemes learn on a device, how far from digital, what limits it, and what it costs.

    Takes minutes; the same command goes on after any interruption.
    """
    from analogpc.assessment.api import assess as assessed
    from analogpc.report.assessment import answers, assessment_tables

    command = shlex.join(["analogpc", *sys.argv[1:]])
    found = assessed(
        device, out=out, quick=quick, workers=workers, technology=technology, seed=seed, backend=backend, command=command
    )
    if as_json:
        files = {"page": str(found.page), "data": str(found.folder / "assessment.json")}
        print_json({"command": "assess", **found.to_dict(), "files": files})
        return
    terminal(width=_COLUMNS).print(*assessment_tables(found))
    for sentence in (*answers(found), f"The page is in {found.page}."):
        show(sentence)
