"""QUEUE.md as the runner sees it: jobs in their order, each with its settings and its state."""

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
"""Not begun, or to be begun anew; to be continued; finished; finished without what it was for, until a person has looked at it."""

HEADING = "## Jobs"
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_STATE = re.compile(r"^State: (\w+)(?::? (.*))?$", re.MULTILINE)
_TOML = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class QueueError(ValueError):
    """The page is not as it should be, or what is asked of it cannot be; the sentence says why."""


class _Job(Specification):
    """Shared fields.

    Attributes
    ----------
    minutes : float
        The least budget with which it makes sense to begin or to go on.
    backend : "gpu" or "cpu"
    """

    minutes: Annotated[FiniteFloat, Field(ge=0)]
    backend: Backend = "gpu"


class PytestJob(_Job):
    """A run of pytest with these arguments, in the root of the repository."""

    kind: Literal["tests"] = "tests"
    arguments: Annotated[tuple[str, ...], Field(min_length=1)]


class BenchJob(_Job):
    """A run of Python with these arguments, in the root of the repository; "{out}" is the JSON file that it has to write."""

    kind: Literal["bench"] = "bench"
    arguments: Annotated[tuple[str, ...], Field(min_length=1)]


class TrainJob(_Job):
    """A study, trained once with each seed.

    Attributes
    ----------
    seeds : tuple of int
    study : dict
        The fields of an `analogpc.training.study.Study`, without the seed.
    images : () or (int, int)
        Train and test on the first images alone; all if empty.
    """

    kind: Literal["train"] = "train"
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    study: dict[str, Any]
    images: tuple[()] | tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = ()

    def with_seed(self, seed: int) -> Study:
        """The study of one seed."""
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
        What it does.
    job : Job
    state : State
    remark : str
        What stands behind the state.
    """

    name: str
    words: str
    job: Job
    state: State
    remark: str

    @property
    def waits(self) -> bool:
        """Whether there is something to do."""
        return self.state in ("open", "begun")


def read_page(path: Path) -> list[Entry]:
    """All jobs in their order.

    Raises
    ------
    QueueError
        If the page cannot be understood; the sentence names the job.
    """
    entries = [_entry(name, text) for name, text in _sections(_text(path)).items()]
    if not entries:
        raise QueueError(f"{path.name} has no job below the heading '{HEADING}'")
    return entries


def write_state(path: Path, name: str, state: State, remark: str) -> None:
    """Change the state of one job; nothing else of the page, which is read anew, since a person may have edited it meanwhile."""
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
    """The text of each job, its heading included."""
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
