"""Sweeps: computation of all trials of a study file by workers, their storage and the table."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analogpc.files.atomic import replace_file
from analogpc.kernels.gpu.arrays import Backend
from analogpc.studies.extras import need
from analogpc.studies.plan import Plan
from analogpc.studies.trials import Job, Result, Trial, job_of

LIBRARIES = ("optuna", "distributed", "pandas", "pyarrow")
"""Optional libraries of a sweep: the extra [sweep]."""


class SweepError(ValueError):
    """Raised if a sweep cannot start; the message gives the reason."""


@dataclass(frozen=True)
class Means:
    """Resources of a sweep; they do not affect the numbers in the table.

    Attributes
    ----------
    workers : int
        Number of worker processes on this machine; 0: compute in this process.
    scheduler : str
        Address of a Dask scheduler whose workers are used instead; empty for none.
    storage : str
        Address of a database for the trials; empty for a file in the folder.
    backend : "cpu" or "gpu"
    data_dir : str
        Folder with the published files of the data sets; empty for the default places.
    """

    workers: int = 1
    scheduler: str = ""
    storage: str = ""
    backend: Backend = "cpu"
    data_dir: str = ""


@dataclass
class Outcome:
    """State of a sweep: trials and their results, by number."""

    plan: Plan
    folder: Path
    trials: dict[int, Trial] = field(default_factory=dict)
    results: dict[int, Result] = field(default_factory=dict)

    def kept(self, number: int) -> Path:
        """Return the path of the run of a trial, if it is kept."""
        return self.folder / "runs" / f"{number:04d}.h5"


def run_sweep(plan: Plan, folder: Path, means: Means, *, progress: bool = True, command: str = "") -> Outcome:
    """Compute the trials that are not stored, and write the tables, also after an interruption.

    Parameters
    ----------
    plan : Plan
    folder : Path
        Folder of the sweep, created if missing; stored results in it are used.
    means : Means
    progress : bool
    command : str
        Command that reproduces the sweep, for its report.

    Raises
    ------
    AxesError
        If no setting allows a value of an axis; checked before the first trial.
    SweepError, MemoryLostError, WorkersError
        If the sweep cannot start or continue; finished trials are kept.
    """
    need("a sweep", "sweep", *LIBRARIES)
    from analogpc.studies.trial_store import Memory
    from analogpc.studies.values import refuse_impossible_values

    refuse_impossible_values(plan)
    _prepare(plan, folder)
    with _alone(folder):
        memory = Memory(plan, folder, means.storage)
        outcome = Outcome(plan, folder)
        try:
            _Driver(outcome, memory, means, progress).run()
        finally:
            _write(outcome, command)
    return outcome


def _prepare(plan: Plan, folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / "study.toml").exists())):
        raise SweepError(f"{folder} exists and is not the folder of a sweep: name another folder with --out")
    try:
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        replace_file(folder / "study.toml", plan.text.encode())
    except OSError as error:
        raise SweepError(f"{folder} cannot be written: {error.strerror or error}") from None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Refuse a folder in use by another process."""
    try:
        import fcntl
    except ImportError:  # Not available on this platform: two sweeps in one folder only duplicate work.
        yield
        return
    with open(folder / ".lock", "a", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SweepError(f"another process is computing the sweep in {folder}: wait for it, or name another folder") from None
        yield


class _Driver:
    """Pass trials from the settings to the workers, and results back."""

    def __init__(self, outcome: Outcome, memory: Any, means: Means, progress: bool) -> None:
        from analogpc.studies.search import conversations

        self.outcome, self.memory, self.means, self.show = outcome, memory, means, progress
        self._talks = dict(enumerate(conversations(outcome.plan)))
        self._open: dict[int, list[Trial]] = {}
        self._talk_of: dict[int, int] = {}
        self._answered: deque[int] = deque()
        self._waiting: deque[Trial] = deque()
        self._under_way: set[int] = set()

    def run(self) -> None:
        """Compute all trials."""
        from analogpc.studies.progress import SweepProgress

        plan = self.outcome.plan
        with SweepProgress(plan.trials, max(1, self.means.workers), show=self.show) as self._progress:
            for number in list(self._talks):
                self._ask(number, None)
            self._settle()
            if self._waiting or self._missing_runs():
                with self._workers() as workers:
                    self._work(workers)
                    # The runs to keep are known only at the end; a missing run is recomputed bit-identically.
                    self._waiting.extend(self._missing_runs())
                    self._work(workers)
            self._drop_runs()

    def _workers(self) -> Any:
        from analogpc.studies.workers import Here, LocalWorkers, OnDask

        gpu = self.means.backend == "gpu"
        if self.means.scheduler:
            cluster = OnDask(self.means.scheduler, gpu=gpu)
            cluster.check()
            return cluster
        return LocalWorkers(self.means.workers, self.outcome.folder, gpu=gpu) if self.means.workers else Here()

    def _ask(self, talk: int, results: list[Result] | None) -> None:
        """Send a setting its results, and take its next trials."""
        conversation = self._talks[talk]
        try:
            trials = next(conversation) if results is None else conversation.send(results)
        except StopIteration:
            return
        self._open[talk] = trials
        for trial in trials:
            self.outcome.trials[trial.number] = trial
            self._talk_of[trial.number] = talk
        for trial in trials:
            self._take(trial)

    def _settle(self) -> None:
        """Send results to all settings with finished trials, until the rest have trials to compute."""
        while self._answered:
            talk = self._answered.popleft()
            self._ask(talk, [self.outcome.results[one.number] for one in self._open.pop(talk)])

    def _take(self, trial: Trial) -> None:
        known = self.memory.get(trial)
        if known is not None:
            self._over(trial, known, remembered=True)
        elif trial.study is None:
            result = Result("failed", trial.refusal)
            self.memory.record(trial, result)
            self._over(trial, result, remembered=False)
        else:
            self._waiting.append(trial)

    def _work(self, workers: Any) -> None:
        while self._waiting or self._under_way:
            while self._waiting and len(self._under_way) < workers.slots:
                trial = self._waiting.popleft()
                workers.submit(trial.number, self._job(trial))
                self._under_way.add(trial.number)
            done = workers.next(0.5)
            if done is None:
                self._progress.show()
                continue
            number, result, run = done
            self._under_way.discard(number)
            trial, again = self.outcome.trials[number], number in self.outcome.results
            if run:
                replace_file(self.outcome.kept(number), run)
            if not again:
                self.memory.record(trial, result)
                self._over(trial, result, remembered=False)
                self._settle()

    def _job(self, trial: Trial) -> Job:
        assert trial.study is not None
        means = self.means
        saved = "" if means.scheduler else str((self.outcome.folder / f".{trial.key}.h5").absolute())
        return job_of(
            trial.study,
            limits=trial.limits,
            backend=means.backend,
            data_dir=means.data_dir,
            checkpoint=saved,
            keep=self.outcome.plan.sweep.keep == "all" or trial.number in self.outcome.results,
        )

    def _over(self, trial: Trial, result: Result, *, remembered: bool) -> None:
        self.outcome.results[trial.number] = result
        self._progress.over(trial, result, remembered=remembered)
        metric = self.outcome.plan.metric
        if result.status == "finished" and metric not in result.metrics:
            raise SweepError(f"there is no metric '{metric}'; the trials of this study have {', '.join(result.metrics)}")
        talk = self._talk_of[trial.number]
        if all(one.number in self.outcome.results for one in self._open[talk]):
            self._answered.append(talk)

    def _wanted_runs(self) -> set[int]:
        """Return the numbers of the trials whose run is kept."""
        from analogpc.studies.comparison import best_setting, settings
        from analogpc.studies.table import table_row

        keep, results = self.outcome.plan.sweep.keep, self.outcome.results
        finished = {number for number, result in results.items() if result.status == "finished"}
        if keep == "none":
            return set()
        if keep == "all":
            return finished
        plan = self.outcome.plan
        rows = [table_row(self.outcome.trials[one], result) for one, result in results.items()]
        best = best_setting(settings(rows, plan.metric, plan.columns), plan.maximise)
        return finished & set(best.numbers) if best else set()

    def _missing_runs(self) -> list[Trial]:
        if self._waiting or self._open:
            return []
        return [self.outcome.trials[one] for one in sorted(self._wanted_runs()) if not self.outcome.kept(one).exists()]

    def _drop_runs(self) -> None:
        wanted = self._wanted_runs()
        for number in self.outcome.trials:
            if number not in wanted and self.outcome.plan.sweep.keep != "none":
                self.outcome.kept(number).unlink(missing_ok=True)


def _write(outcome: Outcome, command: str) -> None:
    """Write the tables of the available results."""
    from analogpc._version import __version__
    from analogpc.studies.table import table_row, write_record, write_tables

    numbers = sorted(outcome.results)
    if not numbers:
        return
    rows = [table_row(outcome.trials[one], outcome.results[one]) for one in numbers]
    studies = {str(one): trial.study.to_toml() for one, trial in outcome.trials.items() if trial.study is not None}
    details = {
        "histories": {str(one): outcome.results[one].history for one in numbers},
        "studies": {name: text for name, text in studies.items() if int(name) in outcome.results},
        "environment": next((outcome.results[one].environment for one in numbers if outcome.results[one].environment), {}),
        "command": command,
        "analogpc": __version__,
    }
    try:
        write_tables(rows, outcome.plan, outcome.folder)
        write_record(outcome.folder / "sweep.json", outcome.plan, rows, details)
    except OSError as error:
        raise SweepError(
            f"the tables in {outcome.folder} cannot be written: {error.strerror or error}; finished trials are kept: run the same "
            "command again to write them"
        ) from None
