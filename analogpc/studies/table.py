"""The table of a sweep: one row for each trial, one column for each varied field, metric, count and version."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator
from typing_extensions import TypedDict

from analogpc.files.atomic import replace_file
from analogpc.studies.kinds import AnyStudy, kind_of
from analogpc.studies.plan import Plan
from analogpc.studies.trials import Result, Trial

Row = dict[str, Any]
ENVIRONMENT = ("analogpc", "python", "numpy", "numba", "machine", "backend", "gpu")
"""Entries of the environment shown in the table."""


def table_row(trial: Trial, result: Result) -> Row:
    """Build the row of a trial: number, varied fields, rule, substrate, status, metrics, counts, seconds and versions."""
    named = {} if trial.study is None else {"rule": rule_name(trial.study), "substrate": substrate_name(trial.study)}
    return {
        "trial": trial.number,
        "setting": trial.setting,
        **trial.cells,
        **{name: value for name, value in named.items() if name not in trial.cells},
        "status": result.status,
        **result.metrics,
        "total_seconds": result.seconds,
        **{name: result.environment[name] for name in ENVIRONMENT if name in result.environment},
        "sentence": result.sentence,
        "key": trial.key,
    }


def rule_name(study: AnyStudy) -> str:
    """Return the short name of a rule, or else its kind."""
    short = [name for name, rule in kind_of(dict(study)).rules().items() if rule == study.rule]
    return short[0] if short else study.rule.kind


def substrate_name(study: AnyStudy) -> str:
    """Return "digital" or the name of the device."""
    return "digital" if study.substrate.kind == "digital" else study.substrate.device.name


def columns(rows: list[Row], plan: Plan) -> list[str]:
    """Return all columns: varied ones first, then rule, substrate, status and metrics in order, sentence and key last."""
    first = ["trial", "setting", *plan.columns, "rule", "substrate", "status"]
    last = ["total_seconds", *ENVIRONMENT, "sentence", "key"]
    found = dict.fromkeys(name for row in rows for name in row)
    middle = [name for name in found if name not in first and name not in last]
    return [name for name in dict.fromkeys([*first, *middle, *last]) if name in found]


def write_tables(rows: list[Row], plan: Plan, folder: Path) -> None:
    """Write ``table.csv`` and ``table.parquet``.

    Raises
    ------
    OSError
        If a file cannot be written; the previous file is kept.
    """
    names = columns(rows, plan)
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    replace_file(folder / "table.csv", text.getvalue().encode())
    packed = io.BytesIO()
    frame(rows, names).to_parquet(packed, index=False)
    replace_file(folder / "table.parquet", packed.getvalue())


def frame(rows: list[Row], names: list[str]) -> Any:
    """Build a pandas data frame; columns of mixed types become text."""
    import pandas as pd

    made = pd.DataFrame(rows, columns=names)
    for name in made.columns:
        kinds = {type(row[name]) for row in rows if name in row}
        if len(kinds) > 1 and not kinds <= {int, float}:
            made[name] = [str(row[name]) if name in row else None for row in rows]
    return made


def _whole_row(row: Row) -> Row:
    kinds = {"trial": int, "setting": int, "status": str, "sentence": str}
    if not all(isinstance(row.get(name), kind) for name, kind in kinds.items()):
        raise ValueError(f"a row has {', '.join(kinds)}")
    return row


Cell = bool | int | float | str | None


class Record(TypedDict):
    """What `write_record` writes, and `read_record` of the reports takes."""

    name: str
    study: str
    metric: str
    maximise: bool
    varied: list[str]
    columns: list[str]
    rows: list[Annotated[dict[str, Cell], AfterValidator(_whole_row)]]
    histories: dict[str, dict[str, list[Cell | list[Cell]]]]
    studies: dict[str, str]
    environment: dict[str, Cell | dict[str, Cell]]
    command: NotRequired[str]
    analogpc: NotRequired[str]


def write_record(path: Path, plan: Plan, rows: list[Row], details: dict[str, Any]) -> None:
    """Write the data of a sweep report as one JSON file.

    Parameters
    ----------
    path : Path
    plan : Plan
    rows : list of dict
    details : dict
        Additional entries: histories and studies by trial, command, versions.
    """
    record = {
        "format": "analogpc sweep",
        "format_version": 1,
        "name": plan.name,
        "study": plan.text,
        "metric": plan.metric,
        "maximise": plan.maximise,
        "varied": plan.columns,
        "columns": columns(rows, plan),
        "rows": [{name: _storable(value) for name, value in row.items()} for row in rows],
        **details,
    }
    replace_file(path, json.dumps(record, allow_nan=False).encode())


def _storable(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
