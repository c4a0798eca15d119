"""Training of language models: batches of a text, regular evaluation of the perplexity, and storage of the best weights."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np

from analogpc.data.text import TextData
from analogpc.data.tokeniser import Tokeniser
from analogpc.devices.costs.ledger import Ledger
from analogpc.devices.costs.meter import total_of
from analogpc.devices.matrix import NonFiniteError
from analogpc.kernels.blas_threads import one_blas_thread
from analogpc.kernels.gpu.arrays import Backend, in_tree, to_host
from analogpc.kernels.gpu.blas import precision_in_use, use_precision
from analogpc.kernels.gpu.graphs import working_stream
from analogpc.kernels.memory import POOL
from analogpc.kernels.random.streams import Key, permutation
from analogpc.networks.network import Network
from analogpc.rules.base import StepContext
from analogpc.training.billing import Billing
from analogpc.training.energy_growth import EnergyWarning, energy_growth
from analogpc.training.environment import describe_environment
from analogpc.training.language_study import LanguageStudy
from analogpc.training.optimisers import Learner
from analogpc.training.perplexity import Perplexity, perplexity
from analogpc.training.position import ResumeError
from analogpc.training.rollback import DivergenceError
from analogpc.training.step import TrainingStep

KIND = "language-run"
"""Kind of the files of these runs."""


class LanguageRun(Billing):
    """A training run of a language model: study, network, optimiser state, history and position.

    Created by `fit_text`, `begin_text` (see `language_fit`) or `LanguageRun.load`.

    Attributes
    ----------
    study : LanguageStudy
    network : Network
        The current network; `best_network` is that of the best evaluation.
    tokeniser : Tokeniser
    history : dict of lists
        One entry for each evaluation: "batch" (number of batches trained), "train_perplexity" (mean output loss at the last weight
        update of each batch since the previous evaluation; for iPC this follows several steps of states and weights),
        "validation_perplexity", "validation_bits_per_character", "energy" (of the last batch: one value per node, and the output),
        "pulses" and "updates" (counts of all matrices since the previous evaluation), and "seconds" of training; with a technology
        also "joules" and "latency_seconds" of the hardware for all training so far.
        For rules with steps of the states, "energy_growth" is the energy after the steps divided by that before, on the next batch
        with fixed weights.
    ledger : Ledger
        Recorded operations, for bills. A sample is one instance of the text.
    best : (batch, perplexity, state of the network), or None
    """

    study: LanguageStudy

    def __init__(self, study: LanguageStudy, network: Network, tokeniser: Tokeniser, fingerprint: str) -> None:
        self.study, self.network, self.tokeniser, self.fingerprint = study, network, tokeniser, fingerprint
        network.tokeniser = tokeniser
        self.learner = Learner(study.optimiser, network.matrices())
        self.ledger = Ledger(network.matrices())
        self._step = TrainingStep(network, self.learner, lambda result, target: result.energies, self.ledger.recorder)
        self.history: dict[str, list[Any]] = {}
        self.best: tuple[int, float, dict[str, Any]] | None = None
        self.batch = 0
        self._order: tuple[int, np.ndarray] | None = None
        self._energies = np.zeros(0)
        self.environment = describe_environment(network.backend)
        self._tally = {"nats": 0.0, "targets": 0, "seconds": 0.0, "pulses": 0, "updates": 0}
        self._warned = False

    @property
    def finished(self) -> bool:
        """Whether all batches are trained."""
        return self.batch >= self.study.batches

    @property
    def best_network(self) -> Network:
        """Return an independent network with the weights of the best evaluation.

        Raises
        ------
        ValueError
            If there was no evaluation yet.
        """
        if self.best is None:
            raise ValueError("there is no best network before the first evaluation")
        twin = self.network.copy(trained=True)
        twin.restore(self.best[2])
        return twin

    def train(
        self,
        data: TextData,
        *,
        batches: int | None = None,
        checkpoint: str | Path | None = None,
        report: Callable[[str], None] = lambda line: None,
        deadline: float = math.inf,
    ) -> LanguageRun:
        """Train until the end of the study, or for the given number of ``batches``.

        Parameters
        ----------
        data : TextData
        batches : int
            Stop after this many batches; resuming is bit-identical.
        checkpoint : path
            File to save to after every evaluation and at the end.
        report : function of str
            Called with a line of text after every evaluation.
        deadline : float
            Stop once ``time.monotonic()`` exceeds this value.

        Raises
        ------
        ResumeError
            If ``data`` are not the training data of the run.
        DivergenceError
            At the first non-finite energy.
        TechnologyError
            If the technology of the study lacks a required entry; checked before training starts.
        """
        if data.fingerprint != self.fingerprint:
            raise ResumeError(f"'{data.name}' is not the text with which the run started: the fingerprints differ")
        end = self.study.batches if batches is None else min(self.study.batches, self.batch + batches)
        precise = use_precision(self.environment.get("gpu_precision", precision_in_use()))
        with one_blas_thread, precise, working_stream(self.network.backend):
            if self.study.technology and not self.finished:
                self._refuse_technology(*self._batch_of(data)[:2])
            while self.batch < end and time.monotonic() < deadline:
                self._train_batch(data)
                if self.batch % self.study.interval == 0 or self.finished:
                    self.evaluate(data)
                    report(self._line())
                    if checkpoint is not None:
                        self.save(checkpoint)
        POOL.clear()
        if checkpoint is not None and self.batch:
            self.save(checkpoint)
        return self

    def _batch_of(self, data: TextData) -> tuple[np.ndarray, np.ndarray, int]:
        """Return ids and targets of the next batch, on the backend of the network, and the number of targets."""
        study, root = self.study, Key(self.study.seed)
        epoch, place = divmod(self.batch, self._per_epoch(data))
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, permutation(root.fold("shuffle"), epoch, len(data.train))
        # Fill the last batch of an epoch from its start, so that all batches have one shape.
        indices = np.take(self._order[1], np.arange(place * study.batch_size, (place + 1) * study.batch_size), mode="wrap")
        ids, target = data.batch("train", indices, study.network.task, root.fold("masks"), self.batch, bert=study.bert)
        return self.network.inputs(ids), self.network.brought(target), int((target[:, 1] >= 0).sum())

    def _per_epoch(self, data: TextData) -> int:
        return math.ceil(len(data.train) / self.study.batch_size)

    def _train_batch(self, data: TextData) -> None:
        began = time.perf_counter()
        study, per_epoch = self.study, self._per_epoch(data)
        ids, target, count = self._batch_of(data)
        optimiser = study.optimiser
        rate = optimiser.learning_rate * optimiser.schedule.factor(self.batch, study.batches, per_epoch)
        rule = study.rule.at(StepContext(Key(study.seed).fold("rule"), self.batch // per_epoch, self.batch))
        with _naming(self.batch):
            _, energies = self._step.learn(rule, ids, target, rate)
            self._energies = np.array(to_host(energies))
            if not np.isfinite(self._energies).all():
                raise NonFiniteError("an energy is not finite")
        self.ledger.batch(len(ids))
        self._tally["nats"] += float(self._energies[-1]) * count
        self._tally["targets"] += count
        self._tally["seconds"] += time.perf_counter() - began
        self.batch += 1
        if self.batch % per_epoch == 0:
            self.ledger.close_epoch()

    def evaluate(self, data: TextData) -> None:
        """Evaluate, append to the history, and keep the weights if they are the best so far."""
        key = Key(self.study.seed).fold("evaluate", self.batch)
        found = perplexity(self.network, data, "validation", instances=self.study.evaluate_on, key=key)
        meter, before = total_of(matrix.meter for matrix in self.network.matrices().values()), self._tally
        row = {
            "batch": self.batch,
            "train_perplexity": Perplexity(before["nats"], int(before["targets"]), 1).value,
            "validation_perplexity": found.value,
            "validation_bits_per_character": found.bits_per_character,
            "energy": [float(value) for value in self._energies],
            "pulses": meter.pulses - before["pulses"],
            "updates": meter.updates - before["updates"],
            "seconds": before["seconds"],
            **self._growth(data, key),
            **self.priced(),
        }
        for name, value in row.items():
            self.history.setdefault(name, []).append(value)
        self._tally = {"nats": 0.0, "targets": 0, "seconds": 0.0, "pulses": meter.pulses, "updates": meter.updates}
        if self.best is None or found.value < self.best[1]:
            self.best = self.batch, found.value, self.network.snapshot()

    def _growth(self, data: TextData, key: Key) -> dict[str, float]:
        """Return the growth of the energy on the next batch, if the rule moves states; warn once if it grows with exact reads."""
        ids, target, _ = self._batch_of(data)
        growth = energy_growth(self.network, self.study.rule, ids, target, key.fold("growth"))
        if growth is None:
            return {}
        # With noise in the reads, energies also grow for other reasons.
        exact = all(matrix.exact for matrix in self.network.matrices().values())
        if exact and not (growth <= 1 or self._warned):
            self._warned = True
            warnings.warn(
                f"the energy of the states grows by a factor of {growth:.3g} during the steps of a batch (batch {self.batch}): the "
                "steps are too large for this network; use a smaller rule.step_size",
                EnergyWarning,
                stacklevel=2,
            )
        return {"energy_growth": growth}

    def _line(self) -> str:
        last = {name: values[-1] for name, values in self.history.items()}
        return (
            f"{last['batch']} of {self.study.batches} batches: training {last['train_perplexity']:.1f}, validation "
            f"{last['validation_perplexity']:.1f} ({last['validation_bits_per_character']:.3f} bits per character)"
        )

    def generate(self, prompt: str = "", *, tokens: int = 30, temperature: float = 1.0, seed: int = 0) -> str:
        """Continue a text with the best network so far; see `Network.generate`."""
        return self.speaking.generate(prompt, tokens=tokens, temperature=temperature, seed=seed)

    def fill(self, text: str) -> str:
        """Fill in the ``<mask>`` tokens of a text with the best network so far; see `Network.fill`."""
        return self.speaking.fill(text)

    @property
    def speaking(self) -> Network:
        """Return the network of the best evaluation, or the current network before the first one."""
        return self.network if self.best is None else self.best_network

    def save(self, path: str | Path) -> None:
        """Write the run to an HDF5 file from which `load` resumes bit-identically."""
        from analogpc.files.storage import write_file

        tree: dict[str, Any] = {
            "study": self.study.to_toml(),
            "tokeniser": self.tokeniser.json,
            "fingerprint": self.fingerprint,
            "environment": self.environment,
            "network": self.network.held(),
            "optimiser": in_tree(to_host, self.learner.memory),
            "batch": self.batch,
            "ledger": self.ledger.state(),
            "tally": dict(self._tally),
            "history": {name: np.array(values) for name, values in self.history.items()},
        }
        if self.best is not None:
            tree["best"] = {"batch": self.best[0], "perplexity": self.best[1], "network": self.best[2]}
        write_file(path, KIND, tree)

    @classmethod
    def load(cls, path: str | Path, *, backend: Backend = "cpu") -> Self:
        """Load a run saved by `save`, to resume on the given backend.

        Raises
        ------
        StorageError
            If the file is missing, damaged, of another kind, or not supported by this version.
        """
        from analogpc.files.storage import StorageError, read_file

        tree = read_file(path, KIND)
        try:
            study = LanguageStudy.from_toml(tree["study"])
            specified = {"architecture": study.network, "substrate": study.substrate, "seed": study.network_seed}
            network = Network.from_snapshot(specified, tree["network"], backend)
            run = cls(study, network, Tokeniser(tree["tokeniser"]), tree["fingerprint"])
            run.environment, run.batch, run._tally = tree["environment"], tree["batch"], dict(tree["tally"])
            run.learner.restore(tree["optimiser"])
            # Files of earlier versions have no ledger; the number of instances, which determines an epoch, is that of the text.
            kept = tree.get("ledger")
            run.ledger.restore(kept, 0 if kept is None else len(kept["samples"]) - 1)
            run.history = {name: values.tolist() for name, values in tree["history"].items()}
            if "best" in tree:
                run.best = tree["best"]["batch"], tree["best"]["perplexity"], tree["best"]["network"]
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            raise StorageError(f"{path} is not compatible with this version of analogpc: {error}") from error
        return run


@contextmanager
def _naming(batch: int) -> Iterator[None]:
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            yield
    except NonFiniteError as error:
        raise DivergenceError(f"training diverged in batch {batch + 1}: {error}") from None
