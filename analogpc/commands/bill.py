"""The commands ``bill`` and ``technology``: costs of a run on hardware, and the technologies that price them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analogpc.commands.output import Json, print_json, show

Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Set an entry, in its own unit, for example --set array.columns_per_adc=8.", metavar="ENTRY=VALUE"
    ),
]


def bill(
    run: Annotated[Path, typer.Argument(help="A run file (run.h5).")],
    technology: Annotated[str, typer.Option(help="A technology (see: analogpc technology), or a file (.toml).")] = "isaac-32nm",
    epochs: Annotated[int | None, typer.Option(help="Bill only the first epochs.", min=1)] = None,
    trace: Annotated[
        str | None, typer.Option(help="Show every charge of this part, with counts and entries.", metavar="PART")
    ] = None,
    settings: Changes = None,
    as_json: Json = False,
) -> None:
    """Compute the cost of a run on hardware (joules, seconds, square millimetres), next to its digital twin."""
    from analogpc.report.bills import bill_tables, trace_dict, trace_lines
    from analogpc.training.run_file import load_any

    trained = load_any(run)
    changes = dict(_change(text) for text in settings or [])
    billed, twin = (trained.bill(technology, epochs=epochs, twin=twin, changes=changes) for twin in (False, True))
    charges = None if trace is None else [trace_dict(charge) for charge in billed.trace(trace)]
    if as_json:
        traced = {} if charges is None else {"trace": charges}
        print_json({"command": "bill", "run": str(run), "bill": billed.to_dict(), "digital_twin": twin.to_dict(), **traced})
    elif trace is not None:
        print("\n".join(trace_lines(billed, trace)))
    else:
        show(*bill_tables(billed, twin))


def _change(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError:
        pass
    raise ValueError(f"--set {text!r} is not of the form ENTRY=NUMBER" + ("" if equals else ", as in array.columns_per_adc=8"))


def technology(
    name: Annotated[str | None, typer.Argument(help="A technology, or a file (.toml).")] = None, as_json: Json = False
) -> None:
    """List the technologies, or show all entries of one with their sources."""
    from rich.table import Table

    from analogpc.devices.costs.technology import technologies
    from analogpc.devices.costs.technology import technology as found
    from analogpc.report.bills import technology_table

    if name is not None:
        one = found(name)
        if as_json:
            print_json({"command": "technology", "technology": one.to_dict()})
        else:
            show(technology_table(one))
        return
    every = [found(shipped) for shipped in technologies()]
    if as_json:
        print_json({"command": "technology", "technologies": [one.to_dict() for one in every]})
        return
    table = Table()
    table.add_column("technology", no_wrap=True)
    table.add_column("what it is")
    for one in every:
        table.add_row(one.name, one.description)
    show(table)
