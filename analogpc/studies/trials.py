"""Trials: one study each, and what became of it. A trial is a pure function of what its `Job` holds."""

from __future__ import annotations

import hashlib
import json
import threading
import time
import warnings
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import tomli_w

from analogpc.kernels.gpu.arrays import Backend
from analogpc.training.study import Study

Status = Literal["finished", "pruned", "failed", "lost"]
"""Of a trial: done; ended early because it was hopeless; ended by its own error; ended by the machine, and worth another try."""

CHECKPOINT_SECONDS = 60.0
"""How much of a long trial a kill can cost, at most and apart from the epoch under way."""


@dataclass(frozen=True)
class Limits:
    """When a trial is hopeless.

    Attributes
    ----------
    metric : str
        The column of the history that is looked at.
    maximise : bool
    after : int
        Epochs that every trial gets.
    worst : tuple of float
        By epoch, the last one for all that follow: what the metric must reach. Empty for no limits.
    """

    metric: str = ""
    maximise: bool = True
    after: int = 1
    worst: tuple[float, ...] = ()

    def met(self, history: dict[str, list[Any]]) -> bool:
        """Whether a trial with this history may go on."""
        values = history.get(self.metric, [])
        if not self.worst or len(values) < max(1, self.after):
            return True
        limit = self.worst[min(len(values), len(self.worst)) - 1]
        return values[-1] >= limit if self.maximise else values[-1] <= limit


@dataclass(frozen=True)
class Trial:
    """One row of the table to be.

    Attributes
    ----------
    number : int
        Its place in the table.
    setting : int
        Trials that differ in their seeds alone have the same.
    cells : dict
        What varies, by column.
    study : Study
        None if there is none for these values.
    refusal : str
        Why not, then.
    limits : Limits
    """

    number: int
    setting: int
    cells: dict[str, Any]
    study: Study | None
    refusal: str = ""
    limits: Limits = field(default_factory=Limits)

    @property
    def key(self) -> str:
        """A name of what is computed: trials with equal keys give equal results."""
        if self.study is None:
            said = f"{self.refusal} {self.cells}"
        else:
            limits = json.dumps(asdict(self.limits)) if self.limits.worst else ""
            said = self.study.to_toml() + limits
        return hashlib.sha256(said.encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Result:
    """What became of a trial.

    Attributes
    ----------
    status : Status
    sentence : str
        Why it failed, was lost or was pruned.
    metrics : dict
        The last value of every column of the history that is one number, and the sums of all counts.
    history : dict of lists
    environment : dict
        Versions and threads.
    seconds : float
        All it took, loading of data included.
    """

    status: Status
    sentence: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    history: dict[str, list[Any]] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> str:
        """Text from which `from_json` makes an equal result."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Result:
        """See `to_json`."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Job:
    """What a worker needs to compute a trial.

    Attributes
    ----------
    study, said : str
        TOML of the whole study, and of what was said of it.
    limits : Limits
    backend : "cpu" or "gpu"
    data_dir : str
        Folder of the published files of a data set; empty for the usual places.
    blas_threads : int
        The same for all trials of a table, since another number may round differently.
    checkpoint : str
        A file that a long trial is saved to, and goes on from; empty for none.
    keep : bool
        Whether the run comes back, too.
    """

    study: str
    said: str
    limits: Limits = field(default_factory=Limits)
    backend: Backend = "cpu"
    data_dir: str = ""
    blas_threads: int = 1
    checkpoint: str = ""
    keep: bool = False


def job_of(study: Study, **further: Any) -> Job:
    """The job of a study; ``further`` are fields of `Job`."""
    return Job(study.to_toml(), tomli_w.dumps(study.said()), **further)


_ONE_AT_A_TIME = threading.Lock()
"""Kernels and BLAS have one pool of threads in a process, which two trials would disturb."""


def compute(job: Job) -> tuple[Result, bytes]:
    """Compute a trial.

    Returns
    -------
    result : Result
        Of status "failed" if anything in the trial raised.
    run : bytes
        The file of the run, if it is to be kept.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        began = time.perf_counter()
        try:
            return _computed(job, began)
        except Exception as error:
            status: Status = "lost" if isinstance(error, _of_the_machine()) else "failed"
            return Result(status, _sentence(error), seconds=time.perf_counter() - began), b""


def _of_the_machine() -> tuple[type[Exception], ...]:
    """Errors that another day or another machine may not have."""
    from analogpc.data.dataset import DataError
    from analogpc.kernels.gpu.arrays import GpuError

    return OSError, MemoryError, DataError, GpuError


def _sentence(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return f"there is not enough memory for this trial: {error}".removesuffix(": ")
    told = " ".join(str(error).split()) or "no reason given"
    return told if isinstance(error, (ValueError, ArithmeticError, OSError)) else f"{type(error).__name__}: {told}"


@lru_cache(maxsize=2)
def _data(name: str, augment: bool, train_images: int, test_images: int, data_dir: str) -> Any:
    """Data sets that a worker has at hand: trials of one table mostly share theirs."""
    from analogpc.training.study_data import study_data

    fields = {"dataset": name, "augment": augment, "train_images": train_images, "test_images": test_images}
    wanted = Study.from_dict({"rule": "bp", **fields})
    return study_data(wanted, data_dir=data_dir or None)


def _computed(job: Job, began: float) -> tuple[Result, bytes]:
    from analogpc.training.environment import pinned_blas
    from analogpc.training.fit import begin

    study = Study.recalled(job.study, job.said)
    data = _data(study.dataset, study.augment, study.train_images, study.test_images, job.data_dir)
    with pinned_blas(job.blas_threads):
        run = _resumed(job, data) or begin(study, data, backend=job.backend)
        hopeless = _train(run, data, job)
    result = Result(
        status="pruned" if hopeless else "finished",
        sentence=hopeless,
        metrics=last_values(run.history),
        history={name: list(values) for name, values in run.history.items()},
        environment=run.environment,
        seconds=time.perf_counter() - began,
    )
    if job.checkpoint:
        Path(job.checkpoint).unlink(missing_ok=True)
    return result, _as_bytes(run) if job.keep else b""


def _train(run: Any, data: Any, job: Job) -> str:
    """Train to the end; return why the trial is hopeless, if it ended early for that."""
    from analogpc.training.callbacks import Callback

    told = []

    class Watch(Callback):
        reads_only = True
        saved = time.perf_counter()

        def on_epoch_end(self, run: Any) -> None:
            if not job.limits.met(run.history):
                reached, epochs = run.history[job.limits.metric][-1], len(run.history["epoch"])
                told.append(f"{job.limits.metric} = {reached:.4g} after {epochs} epochs is not worth going on")
                run.stop(told[0])
            elif job.checkpoint and time.perf_counter() - self.saved > CHECKPOINT_SECONDS:
                run.save(job.checkpoint)
                self.saved = time.perf_counter()

    run.train(data, callbacks=[Watch()], progress=False)
    return told[0] if told else ""


def _resumed(job: Job, data: Any) -> Any:
    """The run of a trial that was killed, where it was saved last; None if there is none that fits."""
    from analogpc.training.run import Run

    if not job.checkpoint or not Path(job.checkpoint).exists():
        return None
    try:
        run = Run.load(job.checkpoint, backend=job.backend)
    except ValueError:
        return None  # Of another version, or damaged: the trial begins anew.
    return run if run.study.to_toml() == job.study and run.fingerprint == data.fingerprint else None


def _as_bytes(run: Any) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run.h5"
        run.save(path)
        return path.read_bytes()


def last_values(history: dict[str, list[Any]]) -> dict[str, Any]:
    """What a history comes to: sums of counts and seconds, and of everything else that is one number the last value."""
    from analogpc.devices.costs.meter import Meter

    summed = {*Meter().as_dict(), "seconds"}
    metrics: dict[str, Any] = {}
    for name, values in history.items():
        if values and isinstance(values[-1], (int, float)):
            metrics["epochs" if name == "epoch" else name] = sum(values) if name in summed else values[-1]
    return metrics
