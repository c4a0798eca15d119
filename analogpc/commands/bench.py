"""The command that measures how fast everything is."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from analogpc.commands.output import BackendOption, Json, Overwrite, PrecisionOption, print_json, show, spare, terminal


def bench(
    workloads: Annotated[list[str] | None, typer.Argument(help="Names of workloads; all if none is given (see: --list).")] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Threads of BLAS and kernels; may be given several times.")] = None,
    seconds: Annotated[float, typer.Option(help="For each workload and number of threads, roughly.", min=0.0)] = 2.0,
    peer: Annotated[
        list[str] | None, typer.Option(help="NAME=PYTHON: measure a peer, too, with the Python of its own environment.")
    ] = None,
    backend: BackendOption = "cpu",
    precision: PrecisionOption = None,
    out: Annotated[Path | None, typer.Option(help="Write the results to this file (.json).")] = None,
    listing: Annotated[bool, typer.Option("--list", help="Only tell which workloads and peers there are.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Measure the workloads, each beside the plain matrix product that it cannot do without."""
    from analogpc.bench import WORKLOADS, record, run_bench, table
    from analogpc.bench.runner import peer_names
    from analogpc.files.atomic import replace_file
    from analogpc.kernels.gpu.blas import use_precision

    if listing:
        rows = [{"name": name, "title": w.title, "floor": w.floor, "aim": w.aim} for name, w in WORKLOADS.items()]
        if as_json:
            print_json({"command": "bench", "workloads": rows, "peers": peer_names()})
            return
        for row in rows:
            print(f"{row['name']:20} {row['title']}; beside {row['floor']}; aim {row['aim']}")
        print(f"peers: {', '.join(peer_names())}")
        return
    if out is not None:
        spare(out, overwrite)
    # Do not record local paths.
    command = shlex.join(["analogpc", *(re.sub(r"^(\w+)=.*", r"\1=PYTHON", word) for word in sys.argv[1:])])
    with use_precision(precision or "tf32"):
        found = run_bench(
            workloads or [],
            threads=threads or [1, 2],
            seconds=seconds,
            backend=backend,
            peers=dict(map(_peer, peer or [])),
            report=lambda line: print(f"measuring {line}", file=sys.stderr),
        )
        told = record(found, command, backend)
    if out is not None:
        replace_file(out, (json.dumps(told, indent=1) + "\n").encode())
    if as_json:
        print_json(told)
        return
    terminal(width=170).print(table(found))
    if out is not None:
        show(f"The results are in {out}.")


def _peer(given: str) -> tuple[str, str]:
    name, equals, python = given.partition("=")
    if not (name and equals and python):
        raise ValueError(f"--peer {given}: give the peer and its Python, as in --peer pytorch=envs/torch/bin/python")
    return name, python
