"""``apc.sweep``: a sweep from Python, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from analogpc.kernels.gpu.arrays import Backend
from analogpc.studies.comparison import Setting, best_setting, settings
from analogpc.studies.plan import Plan, read_plan
from analogpc.studies.sweep import Means, Outcome, run_sweep
from analogpc.studies.table import Row, columns, frame, table_row
from analogpc.studies.workers import available_processors
from analogpc.training.study import Study


@dataclass(frozen=True, eq=False)
class SweepResult:
    """What a sweep gave.

    Attributes
    ----------
    plan : Plan
    folder : Path
        Where tables, kept runs and the memory of the sweep are.
    rows : list of dict
        The table as plain data.
    """

    plan: Plan
    folder: Path
    rows: list[Row]
    outcome: Outcome

    @cached_property
    def table(self) -> Any:
        """The table as a pandas data frame: one row for each trial."""
        return frame(self.rows, columns(self.rows, self.plan))

    @cached_property
    def settings(self) -> list[Setting]:
        """The trials grouped by what varies besides the seeds."""
        return settings(self.rows, self.plan.metric, self.plan.columns)

    @property
    def best(self) -> Setting | None:
        """The setting with the best mean over its seeds; None if none finished."""
        return best_setting(self.settings, self.plan.maximise)

    def study(self, trial: int) -> Study:
        """The study of a trial, by its number in the table.

        Raises
        ------
        ValueError
            If there is none for its values.
        """
        found = self.outcome.trials[trial]
        if found.study is None:
            raise ValueError(f"trial {trial} has no study: {found.refusal}")
        return found.study

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw the metric of every setting with all its seeds; a matplotlib figure, saved if a path is given."""
        from analogpc.report.sweeps import draw_settings

        figure = draw_settings(self.settings, self.plan.metric)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure

    def __repr__(self) -> str:
        best = self.best
        told = f"; best {self.plan.metric} {best.mean:.4g} with {best.title}" if best else ""
        return f"<sweep '{self.plan.name}': {len(self.rows)} of {self.plan.trials} trials in {self.folder}{told}>"


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
    blas_threads: int = 1,
    progress: bool = True,
    command: str = "",
) -> SweepResult:
    """Compute every trial of a study with axes.

    The same call goes on where an earlier one stopped, however it stopped.

    Parameters
    ----------
    study : path or dict
        A study file with axes (see ``docs/studies.md``), or what would be in one.
    axes : dict
        Further axes, or other values for those of the file.
    out : path
        Folder for the tables, kept runs and the memory of the sweep; the name of the file with "-sweep" in the current folder if not
        given.
    workers : int
        Worker processes; one for each processor if not given, and 0 to compute in this process.
    scheduler : str
        Address of a Dask scheduler whose workers are used instead.
    storage : str
        Address of a database that remembers the trials, such as ``postgresql+psycopg://user@host/name``.
    backend : "cpu" or "gpu"
    data_dir : path
        Folder with the published files of the data sets.
    blas_threads : int
        Of every trial; another number may round differently.
    progress : bool
        Tell on standard error how far it is.
    command : str
        What reproduces the sweep, for its report.

    Raises
    ------
    ValueError, OSError, ImportError
        In one sentence, if it cannot begin or go on; nothing finished is lost.

    Examples
    --------
    >>> found = sweep({"epochs": 1, "axes": {"rule": ["bp", "s+f"]}}, out=folder, workers=0)  # doctest: +SKIP
    >>> found.table[["rule", "test_accuracy"]]  # doctest: +SKIP
    """
    plan = read_plan(study, {"axes": axes} if axes else None)
    count = available_processors() if workers is None else workers
    means = Means(min(count, plan.trials), scheduler, storage, backend, str(data_dir or ""), blas_threads)
    folder = Path(out) if out is not None else Path(f"{plan.name}-sweep")
    return run_plan(plan, folder, means, progress=progress, command=command)


def run_plan(plan: Plan, folder: Path, means: Means, *, progress: bool = True, command: str = "") -> SweepResult:
    """Compute the trials of a plan, by any means; see `sweep`."""
    outcome = run_sweep(plan, folder, means, progress=progress, command=command)
    rows = [table_row(outcome.trials[one], outcome.results[one]) for one in sorted(outcome.results)]
    return SweepResult(plan, folder, rows, outcome)
