"""Reports: pages about runs and sweeps."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from analogpc.devices.texts import parse_json
from analogpc.files.atomic import make_folder, replace_file
from analogpc.report.page import Part, TablePart, render
from analogpc.report.page_pictures import Picture
from analogpc.report.sweeps import interval, is_fraction, spread
from analogpc.studies.comparison import best_setting, difference, settings
from analogpc.studies.table import Record

if TYPE_CHECKING:
    from analogpc.training.language import LanguageRun
    from analogpc.training.run import Run

_HIDDEN = ("key", "setting", "machine", "python", "numpy", "numba", "analogpc", "backend", "gpu")
"""Columns of a sweep shown once, or not at all."""


class ReportError(ValueError):
    """Raised if there is nothing to report; the message gives the reason."""


def write_report(given: Sequence[str | Path], folder: str | Path, *, title: str = "", data_dir: str | Path | None = None) -> Path:
    """Write a page and its figures.

    Parameters
    ----------
    given : sequence of paths
        Run files, or the folder of one sweep.
    folder : path
        Folder of the page, created if missing.
    title : str
        Title of the page.
    data_dir : path
        Folder with the published files of the data sets, needed for drift curves, or with the texts of language models.

    Returns
    -------
    Path
        Path of the page, ``report.html``.

    Raises
    ------
    ReportError, StorageError, OSError
        If the input is invalid or the page cannot be written.
    """
    places, folder = [Path(one) for one in given], Path(folder)
    if not places:
        raise ReportError("a report needs run files or the folder of a sweep")
    if any(place.is_dir() for place in places):
        if len(places) > 1:
            raise ReportError("a report covers one sweep or run files: name one folder, or files only")
        page, pictures = _of_sweep(places[0], title)
    else:
        page, pictures = _of_runs(places, title, data_dir)
    make_folder(folder)
    for one in pictures:
        replace_file(folder / f"{one.name}.png", one.png)
    replace_file(folder / "report.html", page.encode())
    return folder / "report.html"


def _of_sweep(folder: Path, title: str) -> tuple[str, list[Picture]]:
    from analogpc.report.sweep_pictures import sweep_pictures

    record = read_record(folder)
    pictures = sweep_pictures(record)
    rows, metric = record["rows"], record["metric"]
    found = settings(rows, metric, record["varied"])
    best = best_setting(found, record["maximise"])
    finished = sum(row["status"] == "finished" for row in rows)
    texts = [f"{len(rows)} trials, of which {finished} finished; judged by {metric.replace('_', ' ')}."]
    if best:
        texts.append(f"Best: {best.title} with {spread(best, metric)} over {len(best.values)} seeds.")
    by_setting = TablePart("Settings", [_setting_row(one, found[0], metric) for one in found], _setting_columns(found, metric))
    shown = [name for name in record["columns"] if name not in _HIDDEN and any(row.get(name, "") != "" for row in rows)]
    all_trials = TablePart("All trials", rows, shown, frozenset(name for name in shown if is_fraction(name)))
    parts = [
        Part("answer", "Answer", texts, tables=[by_setting]),
        Part("pictures", "Pictures", pictures=pictures),
        Part("trials", "All trials", tables=[all_trials]),
        _provenance(record["environment"], record.get("command", ""), {"Study file": record["study"]} if record["study"] else {}),
    ]
    return render(title or f"Sweep {record['name']}", f"{len(found)} settings, {len(rows)} trials", parts), pictures


def read_record(folder: Path) -> dict[str, Any]:
    """Read ``sweep.json`` from the folder of a sweep.

    Raises
    ------
    ReportError
        If it is missing or invalid.
    """
    file = folder / "sweep.json"
    try:
        record = parse_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReportError(
            f"{folder} is not the folder of a sweep: it has no sweep.json (run analogpc sweep to create it)"
        ) from None
    except (OSError, ValueError) as error:
        raise ReportError(f"{file} cannot be read: {error}") from None
    if not isinstance(record, dict) or record.get("format") != "analogpc sweep":
        raise ReportError(f"{file} is not the record of a sweep")
    if record.get("format_version") != 1:
        raise ReportError(f"{file} was written by another version (format {record.get('format_version')}; this version reads 1)")
    try:
        return dict(TypeAdapter(Record).validate_python(record, strict=True))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise ReportError(f"{file} is not a valid sweep record: {where} is missing or has another type") from None


def _setting_row(one: Any, first: Any, metric: str) -> dict[str, Any]:
    gap = difference(one, first)
    apart = (gap.mean, interval(gap, metric)) if one is not first and gap.pairs else ""
    mean = (one.mean, spread(one, metric)) if one.values else ""
    cells = {**one.cells, "seeds": len(one.values), "mean ± s.d.": mean}
    pulses = one.mean_of("pulses")
    return {
        **cells,
        "difference from the first": apart,
        "pulses": pulses if pulses > 0 else "",
        "seconds": one.mean_of("seconds"),
        "sentence": "; ".join(dict.fromkeys(one.other)),
        "status": "failed" if one.other and not one.values else "",
    }


def _setting_columns(found: Sequence[Any], metric: str) -> list[str]:
    names = list(dict.fromkeys(name for one in found for name in one.cells))
    listed = [*names, "seeds", "mean ± s.d.", "difference from the first", "pulses", "seconds"]
    return [*listed, "sentence"] if any(one.other for one in found) else listed


def _of_language_runs(places: Sequence[Path], title: str, data_dir: str | Path | None) -> tuple[str, list[Picture]]:
    from analogpc.report.language_runs import language_pictures, run_table, samples, texts_of
    from analogpc.studies.table import rule_name, substrate_name
    from analogpc.training.language import LanguageRun

    loaded = [LanguageRun.load(place) for place in places]
    runs = dict(zip(_names(loaded, places), loaded, strict=True))
    for name, run in runs.items():
        if run.best is None:
            raise ReportError(f"{name} has no finished evaluation, so there is nothing to report yet")
    texts, missing = texts_of(runs, data_dir)
    pictures = language_pictures(runs, texts)
    studies = {f"Study of {name}" if len(runs) > 1 else "Study": run.study.to_toml() for name, run in runs.items()}
    parts = [
        Part("results", "Results", tables=[run_table(runs, (rule_name, substrate_name))]),
        Part("pictures", "Pictures", pictures=pictures),
        samples(runs, texts, missing),
        *_bills(runs),
        _provenance(loaded[0].environment, _command(loaded[0]) if len(loaded) == 1 else "", studies),
    ]
    kinds = dict.fromkeys(f"{Path(run.study.text).name}, {run.study.network.task} language model" for run in loaded)
    return render(title or f"Report of {', '.join(runs)}", "; ".join(kinds), parts), pictures


def _of_runs(places: Sequence[Path], title: str, data_dir: str | Path | None) -> tuple[str, list[Picture]]:
    from analogpc.files.storage import read_header

    kinds = [read_header(place)["kind"] for place in places]
    if "language-run" in kinds:
        if set(kinds) != {"language-run"}:
            raise ReportError("a report covers runs of language models, or other runs, but not both: report them separately")
        return _of_language_runs(places, title, data_dir)
    return _of_other_runs(places, title, data_dir)


def _of_other_runs(places: Sequence[Path], title: str, data_dir: str | Path | None) -> tuple[str, list[Picture]]:
    from analogpc.report.run_pictures import run_pictures
    from analogpc.training.run import Run

    loaded = [Run.load(place) for place in places]
    runs = dict(zip(_names(loaded, places), loaded, strict=True))
    for name, run in runs.items():
        if not run.history.get("epoch"):
            raise ReportError(f"{name} has no finished epoch, so there is nothing to report yet")
    data, missing = _data(runs, data_dir)
    pictures = run_pictures(runs, data)
    table, columns = _run_table(runs)
    studies = {f"Study of {name}" if len(runs) > 1 else "Study": run.study.to_toml() for name, run in runs.items()}
    percent = frozenset(name for name in columns if is_fraction(name))
    texts = [f"No drift curve for {name}: {reason}" for name, reason in missing.items()]
    parts = [
        Part("results", "Results", texts, tables=[TablePart("Runs", table, columns, percent)]),
        Part("pictures", "Pictures", pictures=pictures),
        *_bills(runs),
        _provenance(loaded[0].environment, _command(loaded[0]) if len(loaded) == 1 else "", studies),
    ]
    kinds = dict.fromkeys(f"{run.study.dataset}, {run.study.network.kind}" for run in loaded)
    return render(title or f"Report of {', '.join(runs)}", "; ".join(kinds), parts), pictures


def _names(runs: Sequence[Run | LanguageRun], places: Sequence[Path]) -> list[str]:
    """Name runs by their differences, or by their files where that is ambiguous."""
    from analogpc.studies.table import rule_name, substrate_name

    listed = [{"rule": rule_name(run.study), "on": substrate_name(run.study), "seed": f"seed {run.study.seed}"} for run in runs]
    differing = [key for key in listed[0] if len({one[key] for one in listed}) > 1] or ["rule", "on"]
    names = [", ".join(one[key] for key in differing) for one in listed]
    return names if len(set(names)) == len(names) else [str(place) for place in places]


def _data(runs: Mapping[str, Run], data_dir: str | Path | None) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the data of the runs on crossbars, and the reasons for missing data."""
    from analogpc.training.study_data import study_data

    found, missing = {}, {}
    for name, run in runs.items():
        if run.study.substrate.kind == "digital":
            continue
        try:
            found[name] = study_data(run.study, data_dir=data_dir)
        except (ValueError, OSError) as error:
            missing[name] = str(error)
    return found, missing


def _run_table(runs: Mapping[str, Run]) -> tuple[list[dict[str, Any]], list[str]]:
    from analogpc.studies.table import rule_name, substrate_name
    from analogpc.studies.trials import last_values

    rows = []
    for name, run in runs.items():
        listed = {"run": name, "rule": rule_name(run.study), "substrate": substrate_name(run.study), "dataset": run.study.dataset}
        rows.append({**listed, "seed": run.study.seed, **last_values(run.history)})
    found = [name for name in dict.fromkeys(name for row in rows for name in row) if any(row.get(name) for row in rows)]
    # Files keep no column order: put the most important columns first.
    first = [name for name in ("run", "rule", "substrate", "dataset", "seed", "epochs") if name in found]
    judged = [name for name in found if name.startswith(("test_", "validation_", "train_"))]
    return rows, list(dict.fromkeys([*first, *sorted(judged), *found]))


def _bills(runs: Mapping[str, Run] | Mapping[str, LanguageRun]) -> list[Part]:
    """Return the bills of all runs that have one."""
    listings = {name: str(run.bill()) for name, run in runs.items() if hasattr(run, "bill")}
    return [Part("bill", "Bill", listings=listings)] if listings else []


def _command(run: Run | LanguageRun) -> str:
    return shlex.join(["analogpc", "train", "study.toml", "--out", "run.h5"]) + "   # study.toml: the study below"


def _provenance(environment: Mapping[str, Any], command: str, listings: Mapping[str, str]) -> Part:
    facts = {
        **({"command": command} if command else {}),
        **{name.replace("_", " "): value for name, value in environment.items()},
    }
    return Part("reproduce", "Reproduce", facts=facts, listings=listings)
