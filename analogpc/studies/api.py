"""``apc.sweep``: run a sweep from Python, and access its results."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from analogpc.kernels.gpu.arrays import Backend
from analogpc.studies.comparison import Setting, best_setting, settings
from analogpc.studies.kinds import AnyStudy
from analogpc.studies.plan import Plan, read_plan
from analogpc.studies.sweep import Means, Outcome, run_sweep
from analogpc.studies.table import Row, columns, frame, table_row
from analogpc.studies.workers import available_processors


@dataclass(frozen=True, eq=False)
class SweepResult:
    """Results of a sweep.

    Attributes
    ----------
    plan : Plan
    folder : Path
        Folder of the tables, the saved runs and the trial storage.
    rows : list of dict
        Rows of the table, as plain data.
    """

    plan: Plan
    folder: Path
    rows: list[Row]
    outcome: Outcome

    @cached_property
    def table(self) -> Any:
        """Table as a pandas data frame with one row per trial."""
        return frame(self.rows, columns(self.rows, self.plan))

    @cached_property
    def settings(self) -> list[Setting]:
        """Trials grouped by setting, that is, by all varied fields except the seed."""
        return settings(self.rows, self.plan.metric, self.plan.columns)

    @property
    def best(self) -> Setting | None:
        """Setting with the best mean over seeds; None if no setting finished."""
        return best_setting(self.settings, self.plan.maximise)

    def study(self, trial: int) -> AnyStudy:
        """Return the study of a trial, by its number in the table.

        Raises
        ------
        ValueError
            If the values of the trial are invalid.
        """
        found = self.outcome.trials[trial]
        if found.study is None:
            raise ValueError(f"trial {trial} has no study: {found.refusal}")
        return found.study

    def plot(self, path: str | Path | None = None) -> Any:
        """Plot the metric of every setting with all seeds; return a matplotlib figure, saved if ``path`` is given."""
        from analogpc.report.sweeps import draw_settings

        figure = draw_settings(self.settings, self.plan.metric)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure

    def __repr__(self) -> str:
        best = self.best
        best_text = f"; best {self.plan.metric} {best.mean:.4g} with {best.title}" if best else ""
        return f"<sweep '{self.plan.name}': {len(self.rows)} of {self.plan.trials} trials in {self.folder}{best_text}>"


def sweep(
    study: str | Path | dict[str, Any],
    *,
    axes: dict[str, Any] | None = None,
    out: str | Path | None = None,
    workers: int | None = None,
    scheduler: str = "",
    storage: str = "",
    backend: Backend = "cpu",
    data_dir: str | Path = "",
    progress: bool = True,
    command: str = "",
) -> SweepResult:
    """Compute every trial of a study with axes.

    A repeated call resumes an interrupted sweep.

    Parameters
    ----------
    study : path or dict
        A study file with axes (see ``docs/studies.md``), or its contents.
    axes : dict
        Additional axes, or values that replace those of the file.
    out : path
        Folder for the tables, the saved runs and the trial storage; by default a folder in the current directory with the name of the
        file and "-sweep".
    workers : int
        Number of worker processes; by default one per processor; 0: compute in this process.
    scheduler : str
        Address of a Dask scheduler whose workers are used instead.
    storage : str
        Address of a database for the trials, such as ``postgresql+psycopg://user@host/name``.
    backend : "cpu" or "gpu"
    data_dir : path
        Folder with the published files of the data sets.
    progress : bool
        Show the progress on standard error.
    command : str
        Command that reproduces the sweep, for its report.

    Raises
    ------
    ValueError, OSError, ImportError
        If the sweep cannot start or continue; finished trials are kept.

    Examples
    --------
    >>> found = sweep({"epochs": 1, "axes": {"rule": ["bp", "s+f"]}}, out=folder, workers=0)  # doctest: +SKIP
    >>> found.table[["rule", "test_accuracy"]]  # doctest: +SKIP
    """
    plan = read_plan(study, {"axes": axes} if axes else None)
    count = available_processors() if workers is None else workers
    means = Means(min(count, plan.trials), scheduler, storage, backend, str(data_dir or ""))
    folder = Path(out) if out is not None else Path(f"{plan.name}-sweep")
    return run_plan(plan, folder, means, progress=progress, command=command)


def run_plan(plan: Plan, folder: Path, means: Means, *, progress: bool = True, command: str = "") -> SweepResult:
    """Compute the trials of a plan with the given resources; see `sweep`."""
    outcome = run_sweep(plan, folder, means, progress=progress, command=command)
    rows = [table_row(outcome.trials[one], outcome.results[one]) for one in sorted(outcome.results)]
    return SweepResult(plan, folder, rows, outcome)
