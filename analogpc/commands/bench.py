"""The command ``bench``: measure the speed of all workloads."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from analogpc.commands.output import BackendOption, Json, Overwrite, PrecisionOption, print_json, show, spare, terminal


def bench(
    workloads: Annotated[list[str] | None, typer.Argument(help="Names of workloads (default: all; see --list).")] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Number of threads; may be repeated.")] = None,
    seconds: Annotated[float, typer.Option(help="Approximate time per workload and number of threads.", min=0.0)] = 2.0,
    peer: Annotated[
        list[str] | None, typer.Option(help="Also measure another library, with the Python of its environment.")
    ] = None,
    backend: BackendOption = "cpu",
    precision: PrecisionOption = None,
    busy: Annotated[
        int,
        typer.Option(help="Also time every call beside this number of busy processes, and show how much longer it takes.", min=0),
    ] = 0,
    growth: Annotated[
        bool,
        typer.Option(
            "--growth", help="Also show which share of every call is serial, and the gain that more threads could bring."
        ),
    ] = False,
    old: Annotated[
        Path | None,
        typer.Option("--compare", help="Compare with a file of an earlier measurement; by default measure what it measured."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the results to this file (.json).")] = None,
    listing: Annotated[bool, typer.Option("--list", help="List the workloads and the other libraries, and stop.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Time the workloads, each next to the plain matrix product that bounds it."""
    from analogpc.bench import (
        WORKLOADS,
        compare,
        comparison_table,
        growth_table,
        load_average,
        loads,
        read_bench,
        record,
        run_bench,
        table,
    )
    from analogpc.bench.runner import peer_names
    from analogpc.files.atomic import replace_file
    from analogpc.kernels.gpu.blas import use_precision

    if listing:
        rows = [{"name": name, "title": w.title, "floor": w.floor, "aim": w.aim} for name, w in WORKLOADS.items()]
        if as_json:
            print_json({"command": "bench", "workloads": rows, "peers": peer_names()})
            return
        for row in rows:
            print(f"{row['name']:20} {row['title']}; compared with {row['floor']}; aim {row['aim']}")
        print(f"peers: {', '.join(peer_names())}")
        return
    if out is not None:
        spare(out, overwrite)
    earlier = None if old is None else read_bench(old)
    if earlier is not None:
        workloads, threads = _measured_before(earlier, workloads, threads, list(WORKLOADS))
    load = load_average()
    # Do not record local paths.
    words = [re.sub(r"^(\w+)=.*", r"\1=PYTHON", word) for word in sys.argv[1:]]
    command = shlex.join(["analogpc", *(word.replace("\\", "/").rsplit("/", 1)[-1] for word in words)])
    with use_precision(precision or "tf32"):
        found = run_bench(
            workloads or [],
            threads=threads or [1, 2],
            seconds=seconds,
            backend=backend,
            peers=dict(map(_peer, peer or [])),
            busy=busy,
            growth=growth,
            report=lambda line: print(f"measuring {line}", file=sys.stderr),
        )
        made = record(found, command, backend, load)
    changes = [] if earlier is None else compare(earlier, made)
    if out is not None:
        replace_file(out, (json.dumps(made, indent=1) + "\n").encode())
    if as_json:
        print_json(made | ({"compared": [change.plain() for change in changes]} if earlier is not None else {}))
        return
    terminal(width=170).print(table(found))
    if growth:
        terminal(width=170).print(growth_table(found))
    if earlier is not None:
        terminal(width=170).print(comparison_table(changes))
        show(f"Old: {loads(earlier)}.")
        show(f"New: {loads(made)}.")
    if out is not None:
        show(f"Results: {out}.")


def _measured_before(
    earlier: dict[str, Any], workloads: list[str] | None, threads: list[int] | None, known: list[str]
) -> tuple[list[str], list[int]]:
    """Return workloads and numbers of threads: the given ones, or those of an earlier measurement that still exist."""
    before = {(result["name"], int(result["threads"])) for result in earlier["results"]}
    names = workloads or [name for name in known if name in {name for name, _ in before}]
    if not names:
        raise ValueError(f"no workload of that file exists any more; the workloads are {', '.join(known)}")
    return names, threads or sorted({count for name, count in before if name in names}) or [1, 2]


def _peer(given: str) -> tuple[str, str]:
    name, equals, python = given.partition("=")
    if not (name and equals and python):
        raise ValueError(f"--peer {given}: write NAME=PYTHON, for example --peer pytorch=envs/torch/bin/python")
    return name, python
