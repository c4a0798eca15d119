"""Trials: one study and its result each. A trial is a pure function of its `Job`."""

from __future__ import annotations

import hashlib
import json
import threading
import time
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import tomli_w
from pydantic import TypeAdapter

from analogpc.devices.texts import parse_json
from analogpc.kernels.gpu.arrays import Backend
from analogpc.studies.kinds import AnyStudy, Kind, recalled
from analogpc.training.energy_growth import EnergyWarning

Status = Literal["finished", "pruned", "failed", "lost"]
"""Status of a trial: finished; pruned; failed with its own error; or lost with its machine, to be retried."""

CHECKPOINT_SECONDS = 60.0
"""Maximum loss of work by a kill, in seconds, apart from the current epoch."""


@dataclass(frozen=True)
class Limits:
    """Criteria to end a trial early.

    Attributes
    ----------
    metric : str
        Monitored column of the history.
    maximise : bool
    after : int
        Number of epochs granted to every trial.
    worst : tuple of float
        Metric to reach, by epoch; the last value applies to all later epochs. Empty for no limits.
    """

    metric: str = ""
    maximise: bool = True
    after: int = 1
    worst: tuple[float, ...] = ()

    def met(self, history: dict[str, list[Any]]) -> bool:
        """Return whether a trial with this history may continue."""
        values = history.get(self.metric, [])
        if not self.worst or len(values) < max(1, self.after):
            return True
        limit = self.worst[min(len(values), len(self.worst)) - 1]
        return values[-1] >= limit if self.maximise else values[-1] <= limit


@dataclass(frozen=True)
class Trial:
    """A trial, one row of the table.

    Attributes
    ----------
    number : int
        Row number in the table.
    setting : int
        Number of the setting; trials that differ only in their seeds share it.
    cells : dict
        Values of the varied columns.
    study : Study or LanguageStudy
        Study of the trial; None if its values are invalid.
    refusal : str
        Reason for the invalid study.
    limits : Limits
    """

    number: int
    setting: int
    cells: dict[str, Any]
    study: AnyStudy | None
    refusal: str = ""
    limits: Limits = field(default_factory=Limits)

    @property
    def key(self) -> str:
        """Key of the computation: trials with equal keys give equal results."""
        if self.study is None:
            said = f"{self.refusal} {self.cells}"
        else:
            limits = json.dumps(asdict(self.limits)) if self.limits.worst else ""
            said = self.study.to_toml() + limits
        return hashlib.sha256(said.encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Result:
    """Result of a trial.

    Attributes
    ----------
    status : Status
    sentence : str
        Reason for failure, loss or pruning.
    metrics : dict
        Last value of every scalar column of the history, and the sums of all counts; of a language model, the perplexities of its best
        weights.
    history : dict of lists
    environment : dict
        Versions and thread counts.
    seconds : float
        Total time, including loading of data.
    """

    status: Status
    sentence: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    history: dict[str, list[Any]] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> str:
        """Return a JSON string for `from_json`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Result:
        """Restore a result from `to_json`.

        Raises
        ------
        ValueError
            If the text is not that of a result.
        """
        try:
            return TypeAdapter(cls).validate_python(parse_json(text))
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"it holds a result that no sweep has written ({reason})") from None


@dataclass(frozen=True)
class Job:
    """Input of a worker to compute a trial.

    Attributes
    ----------
    study, said : str
        TOML of the complete study, and of the fields that were given.
    limits : Limits
    backend : "cpu" or "gpu"
    data_dir : str
        Folder of the published files of a data set; empty for the default places.
    checkpoint : str
        File to save a long trial to and resume it from; empty for none.
    keep : bool
        Whether to return the run as well.
    """

    study: str
    said: str
    limits: Limits = field(default_factory=Limits)
    backend: Backend = "cpu"
    data_dir: str = ""
    checkpoint: str = ""
    keep: bool = False


def job_of(study: AnyStudy, **further: Any) -> Job:
    """Return the job of a study; ``further`` are fields of `Job`."""
    return Job(study.to_toml(), tomli_w.dumps(study.said()), **further)


_ONE_AT_A_TIME = threading.Lock()
"""Threads of one process share its processors, so trials run one at a time."""


def compute(job: Job) -> tuple[Result, bytes]:
    """Compute a trial.

    Returns
    -------
    result : Result
        Has the status "failed" if the trial raised an exception.
    run : bytes
        File of the run, if it is kept.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        # The table has the column "energy_growth".
        warnings.simplefilter("ignore", EnergyWarning)
        began = time.perf_counter()
        try:
            return _computed(job, began)
        except Exception as error:
            status: Status = "lost" if isinstance(error, _of_the_machine()) else "failed"
            return Result(status, _sentence(error), seconds=time.perf_counter() - began), b""


def _of_the_machine() -> tuple[type[Exception], ...]:
    """Return the types of errors that a retry or another machine may avoid."""
    from analogpc.data.dataset import DataError
    from analogpc.kernels.gpu.arrays import GpuError

    return OSError, MemoryError, DataError, GpuError


def _sentence(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return f"not enough memory for this trial: {error}".removesuffix(": ")
    message = " ".join(str(error).split()) or "no reason given"
    return message if isinstance(error, (ValueError, ArithmeticError, OSError)) else f"{type(error).__name__}: {message}"


def _computed(job: Job, began: float) -> tuple[Result, bytes]:
    from analogpc.kernels.blas_threads import one_blas_thread

    kind, study = recalled(job.study, job.said)
    data = kind.data(study, job.data_dir)
    with one_blas_thread:
        run = _resumed(kind, job, data) or kind.begin(study, data, job.backend)
        hopeless = _train(kind, run, data, job)
        tested = {} if hopeless else kind.results(run, data)
    result = Result(
        status="pruned" if hopeless else "finished",
        sentence=hopeless,
        metrics=last_values(run.history) | tested,
        history={name: list(values) for name, values in run.history.items()},
        environment=run.environment,
        seconds=time.perf_counter() - began,
    )
    if job.checkpoint:
        Path(job.checkpoint).unlink(missing_ok=True)
    return result, _as_bytes(run) if job.keep else b""


def _train(kind: Kind, run: Any, data: Any, job: Job) -> str:
    """Train to the end; return the reason if the trial was pruned."""
    saved, reason = time.perf_counter(), ""

    def between(run: Any) -> str:
        nonlocal saved, reason
        if not job.limits.met(run.history):
            values = run.history[job.limits.metric]
            reason = (
                f"{job.limits.metric} = {values[-1]:.4g} after {len(values)} {kind.unit} does not meet the limit for continuing"
            )
        elif job.checkpoint and time.perf_counter() - saved > CHECKPOINT_SECONDS:
            run.save(job.checkpoint)
            saved = time.perf_counter()
        return reason

    kind.train(run, data, between)
    return reason


def _resumed(kind: Kind, job: Job, data: Any) -> Any:
    """Return the saved run of a killed trial; None if there is no matching one."""
    if not job.checkpoint or not Path(job.checkpoint).exists():
        return None
    try:
        run = kind.load(job.checkpoint, job.backend)
    except ValueError:
        return None  # Of another version, or damaged: restart the trial.
    return run if run.study.to_toml() == job.study and run.fingerprint == data.fingerprint else None


def _as_bytes(run: Any) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run.h5"
        run.save(path)
        return path.read_bytes()


def last_values(history: dict[str, list[Any]]) -> dict[str, Any]:
    """Summarise a history: sums of counts and seconds, and last values of all other scalar columns."""
    from analogpc.devices.costs.meter import Meter

    summed = {*Meter().as_dict(), "seconds"}
    metrics: dict[str, Any] = {}
    for name, values in history.items():
        if values and isinstance(values[-1], (int, float)):
            metrics["epochs" if name == "epoch" else name] = sum(values) if name in summed else values[-1]
    return metrics
