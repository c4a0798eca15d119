"""Read and update QUEUE.md: jobs in order, each with its settings and its state."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, FiniteFloat

from analogpc.devices.specification import Specification
from analogpc.files.atomic import replace_file
from analogpc.kernels.gpu.arrays import Backend
from analogpc.training.study import Seed, Study

State = Literal["open", "begun", "done", "failed"]
"""Not started, or to be restarted; to be continued; finished; failed and not examined yet."""

HEADING = "## Jobs"
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_STATE = re.compile(r"^State: (\w+)(?::? (.*))?$", re.MULTILINE)
_TOML = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class QueueError(ValueError):
    """Raised for an invalid page or an impossible request; the message gives the reason."""


class _Job(Specification):
    """Fields shared by all jobs.

    Attributes
    ----------
    minutes : float
        Minimum budget to start or resume the job.
    backend : "gpu" or "cpu"
    """

    minutes: Annotated[FiniteFloat, Field(ge=0)]
    backend: Backend = "gpu"


class PytestJob(_Job):
    """Run pytest with the given arguments in the root of the repository."""

    kind: Literal["tests"] = "tests"
    arguments: Annotated[tuple[str, ...], Field(min_length=1)]


class BenchJob(_Job):
    """Run Python with the given arguments in the root of the repository; "{out}" stands for the JSON file to write."""

    kind: Literal["bench"] = "bench"
    arguments: Annotated[tuple[str, ...], Field(min_length=1)]


class TrainJob(_Job):
    """Train a study once with each seed.

    Attributes
    ----------
    seeds : tuple of int
    study : dict
        Fields of an `analogpc.training.study.Study`, without the seed.
    images : () or (int, int)
        Numbers of training and test images to use, from the first on; all if empty.
    """

    kind: Literal["train"] = "train"
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    study: dict[str, Any]
    images: tuple[()] | tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = ()

    def with_seed(self, seed: int) -> Study:
        """Return the study of one seed."""
        return Study.from_dict({**self.study, "seed": seed})


Job = PytestJob | BenchJob | TrainJob
_KINDS: dict[str, type[Job]] = {"tests": PytestJob, "bench": BenchJob, "train": TrainJob}


@dataclass(frozen=True)
class Entry:
    """One job of the page.

    Attributes
    ----------
    name : str
    words : str
        Description of the job.
    job : Job
    state : State
    remark : str
        Text after the state.
    """

    name: str
    words: str
    job: Job
    state: State
    remark: str

    @property
    def waits(self) -> bool:
        """Whether the job can be started or resumed."""
        return self.state in ("open", "begun")


def read_page(path: Path) -> list[Entry]:
    """Read all jobs in order.

    Raises
    ------
    QueueError
        If the page is invalid; the message names the job.
    """
    entries = [_entry(name, text) for name, text in _sections(_text(path)).items()]
    if not entries:
        raise QueueError(f"{path.name} has no job below the heading '{HEADING}'")
    return entries


def write_state(path: Path, name: str, state: State, remark: str) -> None:
    """Change the state of one job only; the page is read again first, because it may have been edited in the meantime."""
    text = _text(path)
    section = _sections(text)[name]
    line = f"State: {state}: {' '.join(remark.split())}" if remark else f"State: {state}"
    changed = _STATE.sub(lambda _: line, section, count=1)
    replace_file(path, text.replace(section, changed, 1).encode())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise QueueError(f"the queue {path} cannot be read: {error.strerror}") from None


def _sections(text: str) -> dict[str, str]:
    """Split the page into the text of each job, including its heading."""
    jobs = text.partition(f"\n{HEADING}\n")[2]
    found: dict[str, str] = {}
    for section in re.split(r"^(?=### )", jobs, flags=re.MULTILINE)[1:]:
        name = section.splitlines()[0].removeprefix("### ").strip()
        if not _NAME.fullmatch(name):
            raise QueueError(f"'{name}' cannot be the name of a job: small letters, digits and single hyphens are allowed")
        if name in found:
            raise QueueError(f"there are two jobs with the name '{name}'")
        found[name] = section
    return found


def _entry(name: str, section: str) -> Entry:
    states, settings = list(_STATE.finditer(section)), _TOML.findall(section)
    if len(states) != 1 or len(settings) != 1:
        raise QueueError(
            f"the job '{name}' needs one line 'State: …' and one block of TOML; it has {len(states)} and {len(settings)}"
        )
    state, remark = states[0][1], states[0][2] or ""
    if state not in get_args(State):
        raise QueueError(f"the job '{name}' has the state '{state}', which is not one of {', '.join(get_args(State))}")
    words = _TOML.sub("", _STATE.sub("", section.partition("\n")[2])).split()
    return Entry(name, " ".join(words), _job(name, settings[0]), state, remark)


def _job(name: str, settings: str) -> Job:
    try:
        fields = tomllib.loads(settings)
    except tomllib.TOMLDecodeError as error:
        raise QueueError(f"the settings of the job '{name}' are not TOML: {error}") from None
    kind = fields.get("kind")
    if kind not in _KINDS:
        raise QueueError(f"the job '{name}' has the kind {kind!r}, which is not one of {', '.join(_KINDS)}")
    try:
        job = _KINDS[kind].from_dict(fields)
        if isinstance(job, TrainJob):
            if "seed" in job.study:
                raise ValueError("study.seed has no place beside 'seeds'")
            job.with_seed(job.seeds[0])
    except ValueError as error:
        raise QueueError(f"the job '{name}': {error}") from None
    return job
