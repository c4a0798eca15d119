"""Training runs: epochs over shuffled batches, with metrics, early stopping, checkpoints and bit-identical resumption."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from analogpc.data import DataDescription, Dataset
from analogpc.devices.costs.ledger import Ledger
from analogpc.devices.costs.meter import total_of
from analogpc.files.atomic import check_writable
from analogpc.kernels.blas_threads import one_blas_thread
from analogpc.kernels.checks import several, whole_number
from analogpc.kernels.gpu.arrays import Backend, in_tree, to_host
from analogpc.kernels.gpu.blas import Precision, precision_in_use, use_precision
from analogpc.kernels.gpu.graphs import working_stream
from analogpc.kernels.memory import POOL
from analogpc.kernels.random.streams import Key, permutation
from analogpc.networks.network import Network
from analogpc.rules.base import StepContext, StepResult
from analogpc.training.batch import Batches, numbers_in, report_of
from analogpc.training.billing import Billing
from analogpc.training.callbacks import Callbacks
from analogpc.training.environment import describe_environment
from analogpc.training.evaluation import answers_of, refuse_small_batches
from analogpc.training.interrupts import Interrupts, Stopped
from analogpc.training.metrics import measured, metric, metrics_for, refuse_missing
from analogpc.training.optimisers import Learner
from analogpc.training.position import Position
from analogpc.training.position import ResumeError as ResumeError
from analogpc.training.predictions import Predictions
from analogpc.training.progress import Progress
from analogpc.training.rollback import DivergenceError as DivergenceError
from analogpc.training.rollback import Rollback, all_or_nothing, naming, refuse_non_finite
from analogpc.training.step import TrainingStep
from analogpc.training.stopping import Best, best_epoch, reason_to_stop, watched_column
from analogpc.training.study import Study
from analogpc.training.study_data import data_again

_REHEARSED = 4
"""Number of samples on which a copy is trained, to check that a technology has every entry."""


class Run(Predictions, Billing):
    """A training run: study, network, optimiser state, history and position.

    Created by `fit` or `Run.load`.

    Attributes
    ----------
    study : Study
    network : Network
    history : dict of lists
        One entry per finished epoch: "train_accuracy" and "train_loss" (of the predictions made before learning from each batch);
        every metric on the available splits, such as "validation_accuracy" and "test_loss"; "energy" (mean per sample, one
        number for each layer); the counts of `Meter` summed over all matrices; and "seconds".
    data : DataDescription
        Description of the data: shapes, normalisation, classes.
    metrics : tuple of names, functions and `Metric`
        Metrics of the study, and those given as functions.
    best : Best or None
        The best epoch so far and its network, if ``keep = "best"``.
    changed_by : list of str
        Names of the callbacks that changed weights or devices.
    environment : dict
        Versions and thread counts at the start of the run.
    saved_in : path or None
        File to which the run was last saved, or from which it was loaded.
    callbacks : Callbacks
        Callbacks of the current part of the run, with their states.
    broken : str
        Position of an interruption inside a batch that could not be rolled back; otherwise empty.
    ledger : Ledger
        Recorded operations, for bills.
    """

    study: Study

    def __init__(self, study: Study, network: Network, data: DataDescription, metrics: Sequence[Any] = ()) -> None:
        self.study = study
        self.network = network
        self.data = data
        self.metrics = (*study.metrics, *metrics)
        self.missing_metrics: list[str] = []
        self.best: Best | None = None
        self.changed_by: list[str] = []
        self.callbacks = Callbacks()
        self.saved_in: Path | None = None
        self.broken = ""
        self._rollback = Rollback()
        self.learner = Learner(study.optimiser, network.matrices())
        self.ledger = Ledger(network.matrices())
        self._training_step = TrainingStep(network, self.learner, self._report, self.ledger.recorder)
        self._batches = Batches(study, network)
        self.history: dict[str, list[Any]] = {}
        self.position = Position(energies=np.zeros(network.energies))
        self.environment = describe_environment(network.backend)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the training data."""
        return self.data.fingerprint

    @property
    def best_network(self) -> Network:
        """Return the network of the best epoch.

        Raises
        ------
        ValueError
            If ``keep`` is not "best".
        """
        if self.best is None:
            raise ValueError("this run has no best network: train with fit(..., keep='best')")
        twin = self.network.copy(trained=True)
        twin.restore(self.best.network)
        return twin

    def optimiser_state(self) -> dict[str, Any]:
        """Return the optimiser state, in main memory."""
        return in_tree(to_host, self.learner.memory)

    def stop(self, reason: str) -> None:
        """End the run after the current batch or epoch; for callbacks."""
        self.position.stopped_early, self.position.stop_reason = True, reason

    @property
    def finished(self) -> bool:
        """Whether all epochs are finished or early stopping ended the run."""
        return self.position.stopped_early or self.position.epoch >= self.study.epochs

    def train(
        self,
        data: Any = None,
        *,
        validation: Any = None,
        test: Any = None,
        epochs: int = 0,
        callbacks: Sequence[Any] | None = None,
        metrics: Sequence[Any] = (),
        batches: int | None = None,
        checkpoint: str | Path | None = None,
        checkpoint_batches: int = 0,
        progress: bool = True,
    ) -> Run:
        """Train until the end of the study, or for the given number of ``batches``.

        Parameters
        ----------
        data : Dataset, (x, y) or str
            Data of the study; by default loaded by name.
        validation, test : (x, y)
            Validation and test parts, if the run started with data given as arrays.
        epochs : int
            Epochs in addition to those of the study, also for a finished run. A schedule over the whole run keeps its length.
        callbacks : sequence of functions (run) and of `Callback`
            Called at the end of every batch and epoch.
        metrics : sequence of functions and `Metric`
            Function metrics of a run loaded from a file: files keep no functions.
        batches : int
            Stop after this many batches; resuming is bit-identical.
        checkpoint : path
            File to save to after every epoch and at the end.
        checkpoint_batches : int
            Number of batches between additional saves; 0: save only after each epoch.
        progress : bool
            Show a progress bar on standard error.

        Raises
        ------
        ResumeError
            If ``data`` differ from the data of the run, or in their normalisation or augmentation; or if the run was interrupted
            inside a batch (see ``broken``).
        DivergenceError
            At the first non-finite state or weight; the run is restored to its state before that batch.
        TechnologyError
            If the technology of the study lacks a required entry; checked before training starts.
        StorageError
            If the checkpoint cannot be written; checked before any computation.
        KeyboardInterrupt
            After Ctrl-C, at the end of the current batch; a second Ctrl-C interrupts immediately. SIGTERM and SIGHUP end the process
            at the same point. Before that, the run is saved if there is a checkpoint. A batch is never trained in part, whatever
            interrupts it.
        """
        batches = None if batches is None else whole_number(batches, "batches")
        checkpoint_batches = whole_number(checkpoint_batches, "checkpoint_batches")
        if checkpoint is not None:
            check_writable(checkpoint)
        self._refuse_broken()
        training = data_again(self.study, self.data, data, validation, test)
        self.callbacks = self.callbacks.resumed(callbacks, self.changed_by if self.position.epoch + self.position.batch else [])
        self._take_metrics(several(metrics))
        self._watched = watched_column(self.study.monitor, metrics_for(self.metrics, self.data.targets.task), training.splits)
        if epochs := whole_number(epochs, "epochs"):
            self._extend(epochs)
        left = math.inf if batches is None else batches
        precise = use_precision(self._precision())
        with Interrupts() as interrupts, one_blas_thread, precise, working_stream(self.network.backend):
            try:
                self._go_on(training, left, checkpoint, checkpoint_batches, progress, interrupts.check)
            except (Stopped, KeyboardInterrupt):
                # The run is between two batches, or restored to the start of the batch.
                self._save_within_epoch(checkpoint)
                raise
            finally:
                POOL.clear()
                self._rollback.clear()
            self._save_within_epoch(checkpoint)
        return self

    def _go_on(
        self,
        data: Dataset,
        left: float,
        checkpoint: str | Path | None,
        checkpoint_batches: int,
        progress: bool,
        check: Callable[[], None],
    ) -> None:
        """Train the remaining batches and epochs, with a ``check`` between them that may end the run."""
        per_epoch = math.ceil(len(data.train_labels) / self.study.batch_size)
        refuse_small_batches(self.network, len(data.train_labels), self.study.batch_size)
        if self.position.batch > per_epoch:
            raise ResumeError(f"the run stands at batch {self.position.batch} of an epoch of {per_epoch}")
        if self.study.technology and not self.finished:
            few = max(_REHEARSED, *(layer.least_samples for layer in self.network.layers))
            some = np.arange(min(few, self.study.batch_size, len(data.train_labels)))
            self._refuse_technology(*self._batches.inputs(data, some, self.position.epoch))
        with Progress(self.study.epochs, per_epoch, show=progress) as bar:
            while not self.finished and left > 0:
                order = permutation(Key(self.study.seed).fold("shuffle"), self.position.epoch, len(data.train_labels))
                while self.position.batch < per_epoch and left > 0 and not self.position.stopped_early:
                    check()
                    self._batch(data, order, per_epoch)
                    self.callbacks.batch_end(self)
                    left -= 1
                    bar.advance(self.position, classes=bool(data.classes))
                    if checkpoint and checkpoint_batches and self.position.batch % checkpoint_batches == 0:
                        self.save(checkpoint)
                check()
                if self.position.batch == per_epoch:
                    self._close_epoch(data, check)
                    bar.epoch(self.history)
                    if checkpoint:
                        self.save(checkpoint)

    def _save_within_epoch(self, checkpoint: str | Path | None) -> None:
        """Save the batches since the last complete epoch, which is already saved."""
        if checkpoint and self.position.batch and not self.broken:
            self.save(checkpoint)

    def _refuse_broken(self) -> None:
        if self.broken:
            raise ResumeError(
                f"the run was interrupted inside {self.broken}, and its network holds part of that batch: resume from the last "
                "checkpoint"
            )

    def _take_metrics(self, given: Sequence[Any]) -> None:
        """Take the function metrics of a run loaded from a file."""
        refuse_missing(self.missing_metrics, given)
        self.metrics, self.missing_metrics = (*self.metrics, *given), []

    def function_metrics(self) -> list[str]:
        """Names of the function metrics, which a file cannot keep."""
        return [metric(one).name for one in self.metrics if not isinstance(one, str)] + self.missing_metrics

    def _extend(self, epochs: int) -> None:
        """Extend the study by a number of epochs."""
        before = self.study
        optimiser = before.optimiser.but(schedule=before.optimiser.schedule.lasting(before.epochs))
        self.study = before.but(epochs=before.epochs + epochs, optimiser=optimiser)
        self.learner.optimiser = optimiser
        self.position.stopped_early, self.position.stop_reason = False, ""

    def _precision(self) -> Precision:
        """Precision of products on the GPU: that of the start of the run, if it started there."""
        return self.environment.get("gpu_precision", precision_in_use())

    def _batch(self, data: Dataset, order: np.ndarray, per_epoch: int) -> None:
        """Train one batch, completely or not at all."""
        here = self.position
        step = here.epoch * per_epoch + here.batch
        place = f"epoch {here.epoch + 1}, batch {here.batch + 1} (step {step + 1})"
        with all_or_nothing(self, self._rollback, place), naming(place, self.saved_in):
            began, study = time.perf_counter(), self.study
            optimiser = study.optimiser
            rate = optimiser.learning_rate * optimiser.schedule.factor(step, study.epochs * per_epoch, per_epoch)
            x, target = self._batches.take(data, order, here.epoch, here.batch)
            rule = study.rule.at(StepContext(Key(study.seed).fold("rule"), here.epoch, step))
            _, report = self._training_step.learn(rule, x, target, rate)
            if self.network.backend == "gpu" and here.batch + 1 < per_epoch:
                # The next inputs are enqueued on the GPU before the results of this batch are fetched.
                self._batches.prepare(data, order, here.epoch, here.batch + 1)
            correct, lost, whole, energies = numbers_in(report, self.network)
            refuse_non_finite(self.network, energies, whole)
            self.ledger.batch(len(x))
            self.position = replace(
                here,
                batch=here.batch + 1,
                seen=here.seen + len(x),
                correct=here.correct + correct,
                loss=here.loss + lost * len(x),
                energies=here.energies + energies * len(x),
                seconds=here.seconds + time.perf_counter() - began,
            )

    def _report(self, result: StepResult, target: np.ndarray) -> np.ndarray:
        return report_of(result, target, self.network, self.output, bool(self.data.targets.classes))

    def _close_epoch(self, data: Dataset, check: Callable[[], None]) -> None:
        here, metrics = self.position, metrics_for(self.metrics, self.data.targets.task)
        row: dict[str, Any] = {"epoch": here.epoch + 1}
        if data.classes:
            row["train_accuracy"] = here.correct / here.seen
        row["train_loss"] = here.loss / here.seen
        key = Key(self.study.seed).fold("evaluate", here.epoch)
        for split in data.splits[1:]:
            answers = answers_of(self.network, data, split, key=key.fold(split), output=self.output, between=check)
            row |= {f"{split}_{name}": value for name, value in measured(answers, metrics).items()}
        row["energy"] = [float(total) / here.seen for total in here.energies]
        meter = total_of(matrix.meter for matrix in self.network.matrices().values())
        before = here.meter.as_dict()
        row |= {name: count - before[name] for name, count in meter.as_dict().items()}
        row["seconds"] = here.seconds
        self.ledger.close_epoch()
        row |= self.priced()
        self.history = {**self.history, **{name: [*self.history.get(name, []), value] for name, value in row.items()}}
        self.position = Position(epoch=here.epoch + 1, energies=np.zeros_like(here.energies), meter=meter)
        self._judge()
        self.callbacks.epoch_end(self)

    def _judge(self) -> None:
        """Keep the best network, and stop early if the criterion is met."""
        column, higher = self._watched
        values = self.history[column]
        if self.study.keep == "best" and best_epoch(values, higher) == len(values) - 1:
            self.best = Best(len(values), float(values[-1]), self.network.snapshot())
        if reason := reason_to_stop(self.history, column, higher, self.study):
            self.stop(reason)

    def save(self, path: str | Path) -> None:
        """Write the run to an HDF5 file from which `Run.load` resumes bit-identically (see ``docs/files.md``).

        Raises
        ------
        StorageError
            If the file cannot be written.
        ResumeError
            If the run was interrupted inside a batch.
        """
        from analogpc.training.run_file import save_run

        self._refuse_broken()
        with self.network.own_session():
            save_run(self, path)
        self.saved_in = Path(path)

    def plot(self, *others: Run) -> Any:
        """Plot this run and others: learning curves, energies by layer and conductances; return a matplotlib figure."""
        from analogpc.plot import runs

        return runs(self, *others)

    def __repr__(self) -> str:
        from analogpc.plot.html import run_text

        return run_text(self)

    def _repr_html_(self) -> str:
        from analogpc.plot.html import run_html

        return run_html(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle a run as the contents of its file."""
        from analogpc.training.run_file import rebuilt, tree_of

        self._refuse_broken()
        return rebuilt, (tree_of(self), self.network.backend)

    @classmethod
    def load(cls, path: str | Path, *, backend: Backend = "cpu") -> Run:
        """Load a run saved by `save`, to resume on the given backend.

        Resuming is bit-identical on the backend on which the run started.
        """
        from analogpc.training.run_file import load_run

        return load_run(path, backend)
