"""The command ``plot``: draw runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analogpc.commands.output import Json, Overwrite, print_json, show, spare

_ENDINGS = (".png", ".pdf", ".svg")


def plot(
    runs: Annotated[list[Path], typer.Argument(help="One or more run files.")],
    out: Annotated[Path, typer.Option(help="Figure to write (.png, .pdf or .svg).")] = Path("plot.png"),
    names: Annotated[
        list[str] | None,
        typer.Option("--name", help="Legend entry of a run, once per run (default: the settings that differ)."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Draw learning curves, energies by layer and conductances of one or more runs."""
    if out.suffix.lower() not in _ENDINGS:
        raise ValueError(f"--out {out}: the file name must end in one of {', '.join(_ENDINGS)}")
    if names and len(names) != len(runs):
        raise ValueError(f"there are {len(runs)} runs and {len(names)} names: give --name once per run, or not at all")
    spare(out, overwrite)
    from analogpc.plot.curves import runs as draw
    from analogpc.plot.shared import names_of
    from analogpc.report.pictures import write_picture
    from analogpc.training.run import Run

    loaded = [Run.load(path) for path in runs]
    labels = names or names_of(loaded)
    write_picture(draw(*loaded, names=labels), out, dpi=150)
    if as_json:
        print_json({"command": "plot", "runs": dict(zip(map(str, runs), labels, strict=True)), "files": {"plot": str(out)}})
    else:
        show(f"{len(loaded)} run{'s' if len(loaded) > 1 else ''} drawn in {out}.")
