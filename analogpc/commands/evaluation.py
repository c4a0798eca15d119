"""The command ``eval``: evaluate a saved run under other conditions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from analogpc.commands.language import TEXT, holds_language_model
from analogpc.commands.output import BackendOption, Json, print_json, print_table

Compensation = Literal["as-is", "on", "off", "both"]


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run file (run.h5).")],
    after: Annotated[
        list[str] | None,
        typer.Option(help="Time elapsed before evaluation, for example 30d (s, min, h, d, w, mo, y); may be repeated."),
    ] = None,
    compensation: Annotated[
        Compensation | None,
        typer.Option(help="Global drift compensation: as-is, on, off or both; default with --after: both."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="First program the weights onto new crossbars of this device.")] = None,
    noise_samples: Annotated[
        int, typer.Option(help="Number of evaluations, each with new noise (and new devices with --device).", min=1)
    ] = 1,
    data: Annotated[
        str | None,
        typer.Option(help="Evaluate on other data: name of a data set, or an HDF5 file with test/x and test/y (or x and y)."),
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder with the published files of the data set.")] = None,
    confusion: Annotated[bool, typer.Option("--confusion", help="Also print the confusion matrix.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of noise and new devices.", min=0)] = 0,
    backend: BackendOption = "cpu",
    as_json: Json = False,
) -> None:
    """Evaluate a saved run (accuracy, loss, calibration, confusion): as saved, after time, on other hardware or data.

    For a language model: perplexity and bits per character on the test part of its text.
    """
    from analogpc.analysis.conditions import evaluate_conditions, evaluate_text, seconds_of
    from analogpc.devices.substrate import substrate
    from analogpc.training.run import Run

    times = [seconds_of(text) for text in after or ["0"]]
    conditions: dict[str, Any] = {
        "after": times,
        "compensation": _compensations(compensation or ("both" if any(times) else "as-is")),
        "substrate": substrate(device) if device is not None else None,
        "samples": noise_samples,
        "seed": seed,
    }
    if holds_language_model(run):
        if confusion or data_dir is not None:
            raise ValueError("--confusion and --data-dir apply to labelled samples, but the run holds a language model")
        found = evaluate_text(*_model_and_text(run, data, backend), **conditions)
    else:
        loaded = Run.load(run, backend=backend)
        found = evaluate_conditions(loaded, _data(loaded, data, data_dir), **conditions)
    if as_json:
        print_json({"command": "eval", "run": str(run), "device": device, "evaluations": [_plain(one) for one in found]})
        return
    print_table(_table(found))
    if confusion and found[0].confusion is not None:
        for one in found:
            print(f"\n{_when(one.after_seconds)}{', compensated' if one.compensated else ''}:\n{one.confusion!r}")


def _compensations(said: Compensation) -> tuple[bool, ...] | None:
    return {"as-is": None, "on": (True,), "off": (False,), "both": (False, True)}[said]


def _data(run: Any, data: str | None, data_dir: Path | None) -> Any:
    from analogpc.data import load_data
    from analogpc.training.study_data import study_data

    if data is None:
        return study_data(run.study, data_dir=data_dir)
    if not Path(data).suffix:
        return load_data(data, data_dir=data_dir)
    return _arrays(Path(data))


def _model_and_text(run: Path, data: str | None, backend: Any) -> tuple[Any, Any]:
    """Load a language model and its training text, which may have moved."""
    from analogpc.training.language import LanguageRun
    from analogpc.training.language_study import text_of
    from analogpc.training.position import ResumeError

    loaded = LanguageRun.load(run, backend=backend)
    text = text_of(loaded.study if data is None else loaded.study.but(text=data.removeprefix(TEXT)))
    if text.fingerprint != loaded.fingerprint:
        raise ResumeError(f"'{text.name}' is not the training text of this run: the fingerprints differ")
    return loaded, text


def _arrays(path: Path) -> tuple[Any, Any]:
    """Read raw samples and labels from an HDF5 file."""
    import h5py

    from analogpc.data.own_files import whole_data

    if not path.exists():
        raise ValueError(f"--data {path}: file not found")
    try:
        with h5py.File(path) as file:
            for x, y in (("test/x", "test/y"), ("x", "y")):
                if x in file and y in file:
                    return whole_data(path, x), whole_data(path, y)
    except OSError as error:
        raise ValueError(f"--data {path} is not an HDF5 file: {error}") from None
    raise ValueError(f"--data {path} contains neither test/x and test/y nor x and y")


def _when(seconds: float) -> str:
    """Format a time in its most readable unit."""
    if not seconds:
        return "as saved"
    for unit, length in (("years", 31557600.0), ("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= length:
            return f"after {seconds / length:.3g} {unit}"
    return f"after {seconds:.3g} seconds"


def _number(name: str, value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2%}" if name.endswith(("accuracy", "calibration")) else f"{value:.4g}"


def _table(found: list[Any]) -> Any:
    from rich.table import Table

    table = Table()
    table.add_column("when")
    table.add_column("drift compensation")
    for name in found[0].values:
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        cells = []
        for name in one.values:
            spread = _number(name, one.deviation(name))
            cells.append(_number(name, one.mean(name)) + (f" ± {spread}" if spread else ""))
        table.add_row(_when(one.after_seconds), "on" if one.compensated else "off", *cells)
    return table


def _plain(one: Any) -> dict[str, Any]:
    summary = {"after_seconds": one.after_seconds, "drift_compensation": one.compensated, "values": one.values}
    summary["mean"] = {name: one.mean(name) for name in one.values}
    if one.confusion is not None:
        summary |= {"confusion": one.confusion.counts, "classes": one.confusion.classes}
    return summary
