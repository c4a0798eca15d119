"""Run the pending jobs of QUEUE.md that fit into the available time, in order, until the time is over.

    python tools/gpu/run_next.py --minutes 9 [--out DIR] [--list] [--job NAME] [--dry-run]
        [--checkpoints DIR] [--data-dir DIR] [--queue FILE]

QUEUE.md documents the jobs, their requirements, and how to resume on another machine.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pooch
from queue_machine import Budget
from queue_page import BenchJob, Entry, PytestJob, QueueError, TrainJob, read_page, write_state
from queue_programs import Outcome, run_program, run_tests
from queue_training import run_training

from analogpc.data import DataError
from analogpc.files.atomic import replace_file
from analogpc.kernels.gpu import arrays as gpu

HERE = Path(__file__).resolve().parent
_GRACE = 0.1
"""Tolerance of a budget in minutes: some of it has already elapsed when it is checked."""


def fits(entry: Entry, minutes: float) -> bool:
    """Whether a job fits into the given number of minutes."""
    return entry.job.minutes <= minutes + _GRACE


def next_job(entries: list[Entry], minutes: float, passed_over: set[str], wanted: str | None = None) -> Entry | None:
    """Return the first pending job that fits into the given number of minutes; None if nothing is pending.

    Raises
    ------
    QueueError
        If no pending job fits, or the wanted job does not fit, is done, or does not exist.
    """
    if wanted is not None:
        return _wanted(entries, minutes, wanted)
    waiting = [entry for entry in entries if entry.waits and entry.name not in passed_over]
    fitting = [entry for entry in waiting if fits(entry, minutes)]
    if waiting and not fitting:
        least = min(waiting, key=lambda entry: entry.job.minutes)
        raise QueueError(
            f"{minutes:.1f} minutes are too few: of the pending jobs, '{least.name}' needs the least, {least.job.minutes:g} minutes"
        )
    return fitting[0] if fitting else None


def _wanted(entries: list[Entry], minutes: float, wanted: str) -> Entry:
    named = {entry.name: entry for entry in entries}
    if wanted not in named:
        raise QueueError(f"there is no job '{wanted}'; the jobs are {', '.join(named)}")
    entry = named[wanted]
    if entry.state == "done":
        raise QueueError(f"the job '{wanted}' is done: set its state to open to run it again")
    if not fits(entry, minutes):
        raise QueueError(f"{minutes:.1f} minutes are too few: '{wanted}' needs {entry.job.minutes:g} minutes")
    return entry


class Results:
    """Destination of results: beside the queue, and optionally a second folder.

    Parameters
    ----------
    queue : path
        Path of the page; results are written to ``results/`` beside it.
    out : path or None
    """

    def __init__(self, queue: Path, out: Path | None) -> None:
        self.queue, self.out = queue, out
        self.folder = queue.parent / "results"

    def former(self, name: str) -> dict[str, Any]:
        """Return the record of the previous run; empty if there is none."""
        path = self.folder / f"{name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def keep(self, name: str, outcome: Outcome) -> None:
        """Write the record, and the state of the job with a link to it."""
        text = json.dumps({"job": name, "date": _today(), **outcome.record}, indent=1) + "\n"
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_file(self.folder / f"{name}.json", text.encode())
        remark = f"{_today()}, {outcome.remark.rstrip('.')}; [results/{name}.json](results/{name}.json)"
        write_state(self.queue, name, outcome.state, remark)
        if self.out is not None:
            self.out.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.folder / f"{name}.json", self.out / f"{name}.json")
            shutil.copy(self.queue, self.out / self.queue.name)

    def carry(self, checkpoints: list[Path]) -> None:
        """Copy checkpoints to the second folder."""
        if self.out is not None:
            for checkpoint in checkpoints:
                folder = self.out / "checkpoints"
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(checkpoint, folder / checkpoint.name)


def _today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")


def work(entry: Entry, budget: Budget, results: Results, checkpoints: Path, data_dir: Path | None) -> Outcome:
    """Run one job and store its results.

    Raises
    ------
    GpuError
        If the job needs a GPU and there is none.
    DataError
        If the data of the job are missing.
    """
    job = entry.job
    if job.backend == "gpu":
        gpu.cupy()
    if isinstance(job, PytestJob):
        outcome = run_tests(job, budget)
    elif isinstance(job, BenchJob):
        outcome = run_program(job, budget)
    else:
        outcome = _train(entry, job, budget, results, checkpoints, data_dir)
    results.keep(entry.name, outcome)
    return outcome


def _train(entry: Entry, job: TrainJob, budget: Budget, results: Results, checkpoints: Path, data_dir: Path | None) -> Outcome:
    files = [checkpoints / f"{entry.name}-{seed}.h5" for seed in job.seeds]
    before = {file: file.stat().st_mtime_ns for file in files if file.exists()}

    def keep(outcome: Outcome) -> None:
        results.keep(entry.name, outcome)

    try:
        return run_training(entry, job, budget, checkpoints, results.former(entry.name), keep, data_dir)
    finally:
        results.carry([file for file in files if file.exists() and file.stat().st_mtime_ns != before.get(file)])


def take_turns(minutes: float, chosen: argparse.Namespace, clock: Callable[[], float] | None = None) -> int:
    """Run jobs until the time is over; return the number of jobs that failed or could not run."""
    budget = Budget(60 * minutes) if clock is None else Budget(60 * minutes, clock)
    results, passed_over, troubles, ran = Results(chosen.queue, chosen.out), set[str](), 0, 0
    while True:
        entries = read_page(chosen.queue)
        try:
            entry = next_job(entries, budget.left / 60, passed_over, chosen.job)
        except QueueError:
            if ran or troubles:
                break
            raise
        if entry is None:
            if not ran and not troubles:
                print("No pending jobs: every job is done or has failed.")
            break
        print(f"{entry.name} ({entry.job.kind}), {budget.left / 60:.1f} minutes are left", file=sys.stderr)
        passed_over.add(entry.name)
        try:
            outcome = work(entry, budget, results, chosen.checkpoints, chosen.data_dir)
        except DataError as error:
            print(f"{entry.name} is skipped: {error}", file=sys.stderr)
            troubles += 1
        else:
            print(f"{entry.name}: {outcome.state}: {outcome.remark}")
            ran += 1
            troubles += outcome.state == "failed"
        if chosen.job is not None:
            break
    return troubles


def show(entries: list[Entry], minutes: float | None) -> None:
    """Print the jobs; with a budget, only those that would run, in order."""
    for entry in entries:
        if minutes is None or (entry.waits and fits(entry, minutes)):
            words = textwrap.shorten(entry.words, 100, placeholder=" …")
            print(f"{entry.name:18} {entry.job.kind:6} {entry.state:7} from {entry.job.minutes:g} min  {words}")


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.0, help="available time; reserve one minute for starting and copying")
    parser.add_argument("--out", type=Path, help="also write all files to this folder")
    parser.add_argument("--list", action="store_true", help="list all jobs and exit")
    parser.add_argument("--job", help="run only this job")
    parser.add_argument("--dry-run", action="store_true", help="list the jobs that would run and exit")
    parser.add_argument("--checkpoints", type=Path, default=Path(pooch.os_cache("analogpc")) / "queue", help="of training runs")
    parser.add_argument("--data-dir", type=Path, help="folder with the published data files")
    parser.add_argument("--queue", type=Path, default=HERE / "QUEUE.md")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 with an error message if a job failed or could not run."""
    chosen = parsed(arguments)
    try:
        entries = read_page(chosen.queue)
        if chosen.list:
            show(entries, None)
            return 0
        if not chosen.minutes > 0:
            raise QueueError(f"--minutes = {chosen.minutes:g} is not allowed: it must be positive")
        if chosen.dry_run:
            entry = next_job(entries, chosen.minutes, set(), chosen.job)
            show(entries if chosen.job is None else [entry] if entry else [], chosen.minutes)
            return 0
        return int(take_turns(chosen.minutes, chosen) > 0)
    except (ValueError, OSError, gpu.GpuError) as error:
        print(f"run_next: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
