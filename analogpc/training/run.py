"""Training: epochs over shuffled batches, with metrics, early stopping, checkpoints and exact resumption."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from analogpc.data import Dataset, load_data
from analogpc.devices.costs.meter import Meter
from analogpc.devices.matrix import NonFiniteError
from analogpc.kernels.gpu.arrays import Backend, to_host
from analogpc.kernels.gpu.blas import Precision, precision_in_use, use_precision
from analogpc.kernels.gpu.graphs import working_stream
from analogpc.kernels.memory import POOL
from analogpc.kernels.products import row
from analogpc.kernels.random.streams import Key, permutation
from analogpc.networks.network import Network
from analogpc.rules import Rule
from analogpc.rules.base import Moment
from analogpc.training.environment import describe_environment, pinned_blas
from analogpc.training.evaluation import evaluate
from analogpc.training.optimisers import AnyOptimiser, Learner
from analogpc.training.progress import Progress
from analogpc.training.step import Teaching
from analogpc.training.study import Study


class DivergenceError(ArithmeticError):
    """Training stopped at the first state or weight that is not finite; the sentence says where."""


class ResumeError(ValueError):
    """A run cannot go on with what it was given."""


@dataclass
class Position:
    """Where a run stands: the epoch and batch that come next, and the tally of the epoch under way."""

    epoch: int = 0
    batch: int = 0
    seen: int = 0
    correct: int = 0
    energies: np.ndarray = field(default_factory=lambda: np.zeros(0))
    seconds: float = 0.0
    meter: Meter = field(default_factory=Meter)
    stopped_early: bool = False


class Run:
    """A training run: the study, the network being trained, the memory of the optimiser, the history, and where it stands.

    Made by `fit`, or read from a file by `Run.load`.

    Attributes
    ----------
    study : Study
    network : Network
    history : dict of lists
        One entry per finished epoch: "train_accuracy" (of the predictions made before learning from each batch), "test_accuracy",
        "validation_accuracy" if there is a holdout, "energy" (mean per sample, one number for each layer), the counts of `Meter`
        summed over all matrices, and "seconds".
    environment : dict
        Versions and threads of the first start.
    """

    def __init__(self, study: Study, network: Network, fingerprint: str) -> None:
        self.study = study
        self.network = network
        self.fingerprint = fingerprint
        self.learner = Learner(study.optimiser, network.matrices())
        self._teaching = Teaching(network, self.learner)
        self.history: dict[str, list[Any]] = {}
        self.position = Position(energies=np.zeros(len(network.layers)))
        self.environment = describe_environment(network.backend)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or early stopping ended the run."""
        return self.position.stopped_early or self.position.epoch >= self.study.epochs

    def train(
        self,
        data: Dataset | None = None,
        *,
        batches: int | None = None,
        checkpoint: str | Path | None = None,
        checkpoint_batches: int = 0,
        progress: bool = True,
    ) -> Run:
        """Go on until the end of the study, or for so many ``batches``.

        Parameters
        ----------
        data : Dataset
            The data of the study; loaded by its name if not given.
        batches : int
            Stop after so many batches; the run can go on later, to the same bits.
        checkpoint : path
            Save there after every epoch and at the end.
        checkpoint_batches : int
            Save also after every so many batches; 0 for epochs only.
        progress : bool
            Show a progress bar on standard error.

        Raises
        ------
        ResumeError
            If ``data`` is not the data that the run began with.
        DivergenceError
            At the first non-finite state or weight.
        """
        data = load_data(self.study.dataset, augment=self.study.augment) if data is None else data
        if data.fingerprint != self.fingerprint:
            raise ResumeError(f"the run began with other data than this '{data.name}': the fingerprints differ")
        root = Key(self.study.seed)
        training = data.holdout(self.study.holdout, root.fold("holdout")) if self.study.holdout else data
        per_epoch = math.ceil(len(training.train_labels) / self.study.batch_size)
        left = math.inf if batches is None else batches
        pinned, precise = pinned_blas(self.environment["blas_threads"]), use_precision(self._precision())
        working, shown = working_stream(self.network.backend), Progress(self.study.epochs, per_epoch, show=progress)
        with pinned, precise, working, shown as bar:
            while not self.finished and left > 0:
                order = permutation(root.fold("shuffle"), self.position.epoch, len(training.train_labels))
                while self.position.batch < per_epoch and left > 0:
                    start = self.position.batch * self.study.batch_size
                    self._batch(training, order[start : start + self.study.batch_size], per_epoch, checkpoint)
                    left -= 1
                    bar.advance(self.position)
                    if checkpoint and checkpoint_batches and self.position.batch % checkpoint_batches == 0:
                        self.save(checkpoint)
                if self.position.batch == per_epoch:
                    self._close_epoch(training, data)
                    bar.epoch(self.history)
                    if checkpoint:
                        self.save(checkpoint)
        POOL.clear()
        if checkpoint and self.position.batch:
            self.save(checkpoint)
        return self

    def _precision(self) -> Precision:
        """Of products on the GPU: that with which the run began, if it began there."""
        return self.environment.get("gpu_precision", precision_in_use())

    def _batch(self, data: Dataset, indices: np.ndarray, per_epoch: int, checkpoint: str | Path | None) -> None:
        began = time.perf_counter()
        study, here = self.study, self.position
        step = here.epoch * per_epoch + here.batch
        optimiser = study.optimiser
        rate = optimiser.learning_rate * optimiser.schedule.factor(step, study.epochs * per_epoch)
        augment = Key(study.seed).fold("augment") if study.augment else None
        backend = self.network.backend
        x = data.inputs("train", indices, dtype=study.network.dtype, augment_key=augment, epoch=here.epoch, backend=backend)
        labels = data.labels("train", indices, backend=backend)
        target = (labels[:, None] == np.arange(data.n_classes, like=labels)).astype(self.network.dtype)
        place = f"epoch {here.epoch + 1}, batch {here.batch + 1} (step {step + 1})"
        with _naming(place, checkpoint):
            rule = study.rule.at(Moment(Key(study.seed).fold("rule"), here.epoch, step))
            lesson = self._teaching.teach(rule, self.network.inputs(x), target, rate)
            # All that is asked of a batch comes back from the GPU at once, so that it is waited for once.
            right = (lesson.outputs.argmax(1) == labels).sum()
            finite = [matrix.all_finite() for matrix in self.network.matrices().values()]
            told = to_host(row([right, *finite, *lesson.energies], labels))
            correct, whole, energies = int(told[0]), told[1 : 1 + len(finite)], told[1 + len(finite) :]
            self._refuse_non_finite(energies, whole)
        here.batch += 1
        here.seen += len(labels)
        here.correct += correct
        here.energies = here.energies + energies * len(labels)
        here.seconds += time.perf_counter() - began

    def _refuse_non_finite(self, energies: np.ndarray, whole: np.ndarray) -> None:
        for number, value in enumerate(energies, start=1):
            if not math.isfinite(value):
                raise NonFiniteError(f"the energy of layer {number} is {value}")
        for name, finite in zip(self.network.matrices(), whole, strict=True):
            if not finite:
                raise NonFiniteError(f"{name} holds a weight that is not finite")

    def _close_epoch(self, training: Dataset, data: Dataset) -> None:
        here = self.position
        row: dict[str, Any] = {"epoch": here.epoch + 1, "train_accuracy": here.correct / here.seen}
        key = Key(self.study.seed).fold("evaluate", here.epoch)
        if self.study.holdout:
            row["validation_accuracy"] = evaluate(self.network, training, key=key.fold("validation"))
        row["test_accuracy"] = evaluate(self.network, data, key=key.fold("test"))
        row["energy"] = [float(total) / here.seen for total in here.energies]
        meter = self._total_meter()
        before = here.meter.as_dict()
        row |= {name: count - before[name] for name, count in meter.as_dict().items()}
        row["seconds"] = here.seconds
        for name, value in row.items():
            self.history.setdefault(name, []).append(value)
        watched = self.history["validation_accuracy" if self.study.holdout else "test_accuracy"]
        best = int(np.argmax(watched))
        stop = self.study.patience > 0 and len(watched) - 1 - best >= self.study.patience
        self.position = Position(epoch=here.epoch + 1, energies=np.zeros_like(here.energies), meter=meter, stopped_early=stop)

    def _total_meter(self) -> Meter:
        total = Meter()
        for matrix in self.network.matrices().values():
            total.add(matrix.meter)
        return total

    def save(self, path: str | Path) -> None:
        """Write everything to an HDF5 file, from which `Run.load` goes on to the same bits (see ``docs/files.md``)."""
        from analogpc.files.run_file import save_run

        save_run(self, path)

    @classmethod
    def load(cls, path: str | Path, *, backend: Backend = "cpu") -> Run:
        """Read a run from a file that `save` wrote, to go on on a backend.

        On the backend where it began it goes on to the same bits.
        """
        from analogpc.files.run_file import load_run

        return load_run(path, backend)


def fit(
    network: Network,
    rule: Rule,
    data: Dataset,
    *,
    epochs: int = 5,
    batch_size: int = 128,
    seed: int = 0,
    optimiser: AnyOptimiser | None = None,
    holdout: float = 0.0,
    patience: int = 0,
    batches: int | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_batches: int = 0,
    progress: bool = True,
    backend: Backend | None = None,
) -> Run:
    """Train a copy of a network; the given one stays as it is.

    Parameters
    ----------
    network : Network
    rule : Rule
    data : Dataset
    epochs, batch_size, seed, holdout, patience
        See `Study`.
    optimiser : SGD or AdamW
        If not given, AdamW where every matrix can take digitally formed increments, otherwise plain SGD, which learns in place.
    batches, checkpoint, checkpoint_batches, progress
        See `Run.train`.
    backend : "cpu" or "gpu"
        Where to train; where the network is, if not said.

    Returns
    -------
    Run
        With the trained network in ``run.network`` and the history in ``run.history``.

    Raises
    ------
    DivergenceError
        At the first non-finite state or weight.
    UnsupportedUpdateError
        If the optimiser and the update scheme of the substrate do not go together.
    GpuError
        If there is no GPU, and one is asked for.
    """
    study = Study(
        dataset=data.name,
        augment=data.augmentation.active,
        network=network.architecture,
        substrate=network.substrate,
        rule=rule,
        **({} if optimiser is None else {"optimiser": optimiser}),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        network_seed=network.seed,
        holdout=holdout,
        patience=patience,
    )
    run = begin(study, data, network, backend=backend)
    return run.train(data, batches=batches, checkpoint=checkpoint, checkpoint_batches=checkpoint_batches, progress=progress)


def begin(study: Study, data: Dataset, network: Network | None = None, *, backend: Backend | None = None) -> Run:
    """A run at its beginning.

    Parameters
    ----------
    study : Study
    data : Dataset
    network : Network
        Copied; built from the study if not given.
    backend : "cpu" or "gpu"
        Where to train; where the network is, if not said.

    Raises
    ------
    ValueError
        If the network does not have one output for each class of the data.
    UnsupportedUpdateError
        If the optimiser and the update scheme of the substrate do not go together.
    """
    if network is None:
        network = Network(study.network, study.substrate, study.network_seed)
    if network.output_shape != (data.n_classes,):
        raise ValueError(
            f"the network has outputs of shape {network.output_shape}, but '{data.name}' has {data.n_classes} classes"
        )
    trained = network.copy(trained=True, backend=backend)
    trained.key_streams(Key(study.seed).fold("run"))
    return Run(study, trained, data.fingerprint)


@contextmanager
def _naming(place: str, checkpoint: str | Path | None) -> Iterator[None]:
    """Say where a number stopped being finite, and where the last good state lies."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            yield
    except NonFiniteError as error:
        saved = checkpoint is not None and Path(checkpoint).exists()
        good = f"the last good checkpoint is {checkpoint}" if saved else "there is no checkpoint"
        raise DivergenceError(f"training diverged in {place}: {error}; {good}") from None
