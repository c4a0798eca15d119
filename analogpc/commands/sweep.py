"""The commands ``sweep`` and ``compare``: all trials of a study with axes, and a comparison of a few values."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analogpc.commands.output import BackendOption, Json, print_json, print_table

if TYPE_CHECKING:
    from analogpc.studies.api import SweepResult
    from analogpc.studies.plan import Plan

StudyFile = Annotated[Path, typer.Argument(help="A study file (.toml) with varied fields in [axes].")]
Vary = Annotated[
    list[str] | None,
    typer.Option("--vary", help="Add an axis, for example --vary substrate.adc.bits=4,6,8.", metavar="FIELD=VALUE,VALUE,…"),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Set a field of all studies, for example --set epochs=3.", metavar="FIELD=VALUE")
]
Workers = Annotated[
    int | None, typer.Option(help="Number of worker processes (default: one per processor; 0: compute in this process).", min=0)
]
Scheduler = Annotated[str, typer.Option(help="Address of a Dask scheduler, for example tcp://host:8786.")]
Storage = Annotated[str, typer.Option(help="Database of the trials, for example postgresql+psycopg://user@host/name.")]
DataDir = Annotated[Path | None, typer.Option(help="Folder with the published files of the data set.")]
Seeds = Annotated[int | None, typer.Option(help="Number of seeds, starting at the seed of the study.", min=1)]
Seed = Annotated[int | None, typer.Option(help="First seed.", min=0)]
_FEW = 40


def sweep(
    study: StudyFile,
    vary: Vary = None,
    settings: Settings = None,
    seeds: Seeds = None,
    seed: Seed = None,
    out: Annotated[Path | None, typer.Option(help="Folder for tables and runs (default: STUDY-sweep).")] = None,
    workers: Workers = None,
    scheduler: Scheduler = "",
    storage: Storage = "",
    short: Annotated[
        bool, typer.Option("--short", help="Apply the table [short] of the file, which finishes in seconds.")
    ] = False,
    keep: Annotated[str | None, typer.Option(help="Runs to keep as files: none, best or all.")] = None,
    data_dir: DataDir = None,
    backend: BackendOption = "cpu",
    as_json: Json = False,
) -> None:
    """Compute every trial of a study with axes. Run the same command again to resume after an interruption."""
    from analogpc.studies.plan import read_plan

    over = _over(vary, settings, seeds, seed)
    if keep is not None:
        over["sweep"] = {"keep": keep}
    folder = out or Path(f"{study.stem}-short-sweep" if short else f"{study.stem}-sweep")
    found = _computed(read_plan(study, over, short=short), folder, workers, scheduler, storage, data_dir, backend)
    _tell("sweep", found, as_json, {})


def compare(
    study: StudyFile,
    rule: Annotated[str | None, typer.Option(help="Rules to compare, for example bp,s+f,ep.")] = None,
    device: Annotated[str | None, typer.Option(help="Devices to compare, for example digital,reram-sb,mine.toml.")] = None,
    vary: Vary = None,
    settings: Settings = None,
    seeds: Seeds = None,
    seed: Seed = None,
    out: Annotated[Path | None, typer.Option(help="Folder for table and figure (default: STUDY-compare).")] = None,
    workers: Workers = None,
    scheduler: Scheduler = "",
    data_dir: DataDir = None,
    backend: BackendOption = "cpu",
    as_json: Json = False,
) -> None:
    """Compare a few values of a study: one table of means over seeds with paired differences, and one figure."""
    from analogpc.studies.plan import read_plan

    over = _over(vary, settings, seeds, seed)
    axes: dict[str, Any] = {"rule": rule.split(",")} if rule else {}
    axes |= {"device": _devices(device, read_plan(study, over))} if device else {}
    # Axes given by options replace the axes of the file.
    dropped = dict.fromkeys(("substrate", "substrate.device")) if device else {}
    over["axes"] = {**axes, **dropped, **over.get("axes", {})}
    if "seed" not in read_plan(study, over).columns:
        over["axes"]["seed"] = 3
    if not [name for name in read_plan(study, over).columns if name != "seed"]:
        raise ValueError("compare needs an axis: add --rule bp,s+f or --device digital,reram-sb or --vary FIELD=VALUE,VALUE")
    folder = out or Path(f"{study.stem}-compare")
    found = _computed(read_plan(study, over), folder, workers, scheduler, "", data_dir, backend)
    picture = folder / "compare.png"
    found.plot(picture)
    _tell("compare", found, as_json, {"plot": str(picture)})


def _over(vary: list[str] | None, settings: list[str] | None, seeds: int | None, seed: int | None) -> dict[str, Any]:
    """Return the changes that the options make to the study file."""
    from analogpc.studies.plan import OWN
    from analogpc.training.study_fields import setting

    over: dict[str, Any] = {}
    for text in settings or []:
        name, value = setting(text)
        if name.split(".")[0] in OWN:
            raise ValueError(f"--set {text}: '{name}' is not a field of a study; use --vary for axes")
        over[name] = value
    if seed is not None:
        over["seed"] = seed
    axes: dict[str, Any] = dict(map(_axis, vary or []))
    if seeds is not None:
        axes["seed"] = seeds
    return over | ({"axes": axes} if axes else {})


def _axis(text: str) -> tuple[str, list[Any]]:
    """Parse FIELD=VALUE,VALUE; each value is TOML or else a plain string."""
    from analogpc.devices.texts import parse_toml
    from analogpc.training.study_fields import setting

    name, equals, values = text.partition("=")
    if not equals or not name.strip() or not values.strip():
        raise ValueError(f"--vary {text!r} is not of the form FIELD=VALUE,VALUE")
    try:
        return name.strip(), parse_toml(f"values = [{values}]")["values"]
    except ValueError:
        return name.strip(), [setting(f"{name}={one}")[1] for one in values.split(",")]


def _devices(text: str, plan: Plan) -> dict[str, Any]:
    """Return the changes for each value of --device, by name; crossbars of the study keep their other fields."""
    given = plan.fields.get("substrate", "digital")
    kind = given.get("kind", "analog") if isinstance(given, dict) else given
    names = [name.strip() for name in text.split(",")]
    return {name: {"substrate" if "digital" in (kind, name) else "substrate.device": name} for name in names}


def _computed(
    plan: Plan,
    folder: Path,
    workers: int | None,
    scheduler: str,
    storage: str,
    data_dir: Path | None,
    backend: Any,
) -> SweepResult:
    from analogpc.studies.api import run_plan
    from analogpc.studies.sweep import Means
    from analogpc.studies.workers import available_processors

    count = available_processors() if workers is None else workers
    means = Means(min(count, max(1, plan.trials)), scheduler, storage, backend, str(data_dir or ""))
    command = shlex.join(["analogpc", *sys.argv[1:]])
    return run_plan(plan, folder, means, command=command)


def _tell(command: str, found: SweepResult, as_json: bool, files: dict[str, str]) -> None:
    from analogpc.report.sweeps import plain_settings, settings_table

    metric, folder = found.plan.metric, found.folder
    files = {"table": str(folder / "table.csv"), "parquet": str(folder / "table.parquet"), **files}
    best = found.best
    if as_json:
        summary = {"metric": metric, "settings": plain_settings(found.settings, metric), "best": best.cells if best else None}
        print_json({"command": command, "trials": len(found.rows), **summary, "files": files})
        return
    if len(found.settings) <= _FEW:
        print_table(settings_table(found.settings, metric))
    failed = [row for row in found.rows if row["status"] in ("failed", "lost")]
    if failed:
        again = " Run the same command again to retry lost trials." if any(r["status"] == "lost" for r in failed) else ""
        print(f"{len(failed)} of {len(found.rows)} trials did not finish; see the column 'sentence' for the reason.{again}")
    if best:
        print(f"Best {metric.replace('_', ' ')}: {best.title}.")
    print(f"Table: {files['table']}. To write a page about it: analogpc report {folder}")
