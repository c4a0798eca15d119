"""Train within a time budget: in slices of batches of predictable duration, from checkpoint to checkpoint."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from queue_machine import Budget, described
from queue_page import Entry, QueueError, TrainJob
from queue_programs import Outcome

from analogpc.data import Dataset, load_data
from analogpc.devices.crossbars.crossbar_matrix import CrossbarMatrix
from analogpc.kernels.gpu.arrays import Backend
from analogpc.training.fit import begin
from analogpc.training.run import DivergenceError, Run
from analogpc.training.study import Study

FIRST_BATCHES = 2
"""Batches of the first slice, whose duration is unknown because it compiles the kernels."""
SLICE_SECONDS = 20.0
SAVE_SECONDS = 60.0
CAUTION = 1.3
"""Factor by which a slice may exceed its expected duration."""
RESERVE = 5.0
"""Seconds reserved for writing the results."""


@dataclass
class Pace:
    """Durations of the parts of a training at their last execution, in seconds; zero if unknown.

    Attributes
    ----------
    batch, closing, saving : float
        One batch, the end of an epoch without its last batch, and a checkpoint.
    """

    batch: float = 0.0
    closing: float = 0.0
    saving: float = 0.0

    def slice(self, to_end: int, seconds: float, test_batches: int) -> int:
        """Return the number of batches of the next slice: as many as fit, and the last one of an epoch alone; 0 if none fits.

        Parameters
        ----------
        to_end : int
            Batches left in the epoch.
        seconds : float
            Time left for them, and for ending the epoch.
        test_batches : int
            Batches of the evaluation; until measured, each is assumed to take as long as a training batch.
        """
        if seconds <= 0:
            return 0
        if self.batch == 0:
            return min(FIRST_BATCHES, max(1, to_end - 1))
        if to_end == 1:
            closing = self.closing or test_batches * self.batch
            return int(CAUTION * (self.batch + closing) <= seconds)
        return min(to_end - 1, max(1, int(SLICE_SECONDS / self.batch)), int(seconds / (CAUTION * self.batch)))

    def note(self, batches: int, seconds: float, closed: bool) -> None:
        """Record the duration of a slice."""
        if closed and self.batch:
            self.closing = max(seconds - batches * self.batch, 1e-9)
        else:
            self.batch = max(seconds / batches, 1e-9)


def advance(
    run: Run,
    data: Dataset,
    budget: Budget,
    checkpoint: Path,
    report: Callable[[str], None] = lambda line: None,
) -> bool:
    """Train until the end of the study or of the budget, and write a checkpoint.

    Returns
    -------
    bool
        Whether the run is finished.

    Raises
    ------
    DivergenceError
        At the first non-finite state or weight.
    """
    study, pace = run.study, Pace()
    held_out = round(study.holdout * len(data.train_labels))
    per_epoch = math.ceil((len(data.train_labels) - held_out) / study.batch_size)
    test_batches = math.ceil((len(data.test_labels) + held_out) / study.batch_size)

    def save() -> float:
        began = budget.clock()
        run.save(checkpoint)
        pace.saving = budget.clock() - began
        epoch, batch = run.position.epoch, run.position.batch
        tests = [f", test {accuracy:.2%}" for accuracy in run.history.get("test_accuracy", [])[-1:]]
        report(f"{epoch} of {study.epochs} epochs and {batch} batches{''.join(tests)}; {budget.left:.0f} s are left")
        return budget.clock()

    saved = save()
    while not run.finished:
        to_end = per_epoch - run.position.batch
        count = pace.slice(to_end, budget.left - RESERVE - CAUTION * pace.saving, test_batches)
        if count == 0:
            break
        began = budget.clock()
        run.train(data, batches=count, progress=False)
        pace.note(count, budget.clock() - began, closed=count == to_end)
        if budget.clock() - saved > SAVE_SECONDS:
            saved = save()
    save()
    return run.finished


def run_training(
    entry: Entry,
    job: TrainJob,
    budget: Budget,
    checkpoints: Path,
    former: dict[str, Any],
    keep: Callable[[Outcome], None],
    data_dir: Path | None = None,
) -> Outcome:
    """Start or resume a study, seed by seed.

    Parameters
    ----------
    entry, job : Entry, TrainJob
        The job starts from scratch unless the entry is "begun".
    budget : Budget
    checkpoints : path
        Folder with a file NAME-SEED.h5 for every seed.
    former : dict
        Record of the previous call; empty if there is none.
    keep : function of Outcome
        Called before every seed to store the intermediate result.
    data_dir : path
        See `load_data`.

    Raises
    ------
    QueueError
        If the settings have changed since the job was started.
    DataError
        If the data are missing.
    """
    settings = json.loads(json.dumps({"study": job.study, "images": job.images}))
    going_on = entry.state == "begun"
    if going_on and former.get("settings", settings) != settings:
        raise QueueError(f"the settings of '{entry.name}' have changed since it was started: set its state to open to restart it")
    study = job.with_seed(job.seeds[0])
    data = load_data(study.dataset, data_dir=data_dir, augment=study.augment)
    data = data.take(*job.images) if job.images else data
    runs: dict[str, Any] = former.get("runs", {}) if going_on else {}
    record = {"settings": settings, "machine": described(job.backend), "runs": runs}
    checkpoints.mkdir(parents=True, exist_ok=True)
    files = {seed: checkpoints / f"{entry.name}-{seed}.h5" for seed in job.seeds}
    if not going_on:
        for file in files.values():
            file.unlink(missing_ok=True)
    for seed, checkpoint in files.items():
        former_run = runs.get(str(seed), {})
        if former_run.get("finished"):
            continue
        # From here on, the job always resumes from its checkpoints.
        keep(Outcome("begun", _remark(job, runs), record))
        runs[str(seed)] = _one(entry.name, job, seed, data, budget, checkpoint, expected=bool(former_run))
        if not runs[str(seed)]["finished"]:
            return Outcome("begun", _remark(job, runs), record)
    return Outcome("done", _remark(job, runs), record)


def _one(
    name: str, job: TrainJob, seed: int, data: Dataset, budget: Budget, checkpoint: Path, *, expected: bool
) -> dict[str, Any]:
    """Train one seed as far as the budget allows, and return its record."""
    study = job.with_seed(seed)

    def report(line: str) -> None:
        print(f"{name}, seed {seed}: {line}", file=sys.stderr)

    if expected and not checkpoint.exists():
        report(f"restarts, because there is no checkpoint {checkpoint.name} here")
    run = _resumed(study, job.backend, checkpoint) if checkpoint.exists() else begin(study, data, backend=job.backend)
    try:
        finished = advance(run, data, budget, checkpoint, report)
    except DivergenceError as error:
        # Drop the last clause, about a checkpoint: a diverged run is not resumed.
        where = str(error).partition(";")[0]
        report(where)
        return {**_record(run), "finished": True, "diverged": where}
    return {**_record(run), "finished": finished}


def _resumed(study: Study, backend: Backend, checkpoint: Path) -> Run:
    run = Run.load(checkpoint, backend=backend)
    if run.study != study:
        raise QueueError(f"the checkpoint {checkpoint.name} is of another study: remove it, or set the job's state to open")
    return run


def pulses_per_weight(run: Run) -> float:
    """Return the number of pulses sent to the devices of a weight, averaged over all weights on crossbars; 0 if there are none."""
    crossbars = [matrix for matrix in run.network.matrices().values() if isinstance(matrix, CrossbarMatrix)]
    weights = sum(matrix.shape[0] * matrix.shape[1] for matrix in crossbars)
    return sum(matrix.meter.pulses for matrix in crossbars) / weights if weights else 0.0


def _record(run: Run) -> dict[str, Any]:
    return {
        "study": run.study.to_toml(),
        "environment": run.environment,
        "epochs": run.position.epoch,
        "batches_of_the_next": run.position.batch,
        "pulses_per_weight": pulses_per_weight(run),
        "history": run.history,
    }


def _remark(job: TrainJob, runs: dict[str, Any]) -> str:
    """Summarise the progress and the results of the job in one line."""
    finished = [run for run in runs.values() if run["finished"]]
    diverged = sum("diverged" in run for run in finished)
    last = [run["history"]["test_accuracy"][-1] for run in finished if "diverged" not in run]
    parts = [f"{len(finished)} of {len(job.seeds)} seeds"]
    if last:
        parts.append(f"test accuracy of the last epoch {np.mean(last):.2%} on average")
    if diverged:
        parts.append(f"{diverged} diverged")
    parts += [f"seed {seed} after {run['epochs']} epochs" for seed, run in runs.items() if not run["finished"]]
    return ", ".join(parts)
