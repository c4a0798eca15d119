"""Training steps: apply a rule and an optimiser to a network; on the GPU as a replayed graph where possible."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analogpc.devices.costs.meter import GraphCounts
from analogpc.devices.costs.schedule import Recorder, recording
from analogpc.dynamics.repetition import Repeater, repeating
from analogpc.kernels.blas_threads import one_blas_thread
from analogpc.kernels.gpu.graphs import Graph
from analogpc.kernels.memory import filled
from analogpc.networks.network import Network
from analogpc.rules.base import Rule, StepResult
from analogpc.training.optimisers import Learner

_MOST_GRAPHS = 4
"""Maximum number of graphs: two signs of the nudge, each for full batches and the last batch of an epoch. The oldest is evicted."""


@dataclass
class _Captured:
    """A batch captured as a graph: inputs, outputs and the counts of each replay."""

    x: np.ndarray
    target: np.ndarray
    rate: np.ndarray
    graph: Graph[tuple[StepResult, Any]]
    counts: GraphCounts
    recorder: Recorder


@dataclass
class TrainingStep:
    """Train a network batch by batch.

    On the GPU the whole batch, relaxation and weight updates, is one CUDA graph from the second batch of the same rule and shape
    on, if nothing in it depends on computed values: neither the rule (`Rule.repeatable`) nor any matrix (`Matrix.repeatable`)
    inspects them. On the CPU rules repeat what lies between two weight updates from a recording (see `dynamics.repetition`), under the
    same condition. Otherwise the batch runs kernel by kernel. The results are the same.

    Attributes
    ----------
    network : Network
    learner : Learner
    report : function
        Maps the result of a rule and the target to the numbers reported for the batch, in one array, without synchronising
        with the GPU: it is part of the graph.
    recorder : Recorder
        Records the order of all operations.
    repeats : bool
        Whether batches are repeated from graphs and recordings where possible; otherwise all are done as written.
    """

    network: Network
    learner: Learner
    report: Callable[[StepResult, np.ndarray], Any] = lambda result, target: None
    recorder: Recorder = field(default_factory=lambda: Recorder({}))
    repeats: bool = True
    _seen: set[Any] = field(default_factory=set)
    _captured: dict[Any, _Captured] = field(default_factory=dict)
    _repeater: Repeater = field(init=False)

    def __post_init__(self) -> None:
        self._matrices = list(self.network.matrices().values())
        self._repeater = Repeater(self._matrices, self.recorder)

    @property
    def graphs(self) -> int:
        """Current number of graphs."""
        return len(self._captured)

    @property
    def recordings(self) -> int:
        """Current number of recordings from which relaxations are repeated."""
        return self._repeater.recordings

    def learn(self, rule: Rule, x: np.ndarray, target: np.ndarray, rate: float) -> tuple[StepResult, Any]:
        """Train the network on one batch.

        Parameters
        ----------
        rule : Rule
            Rule for this step (`Rule.at`).
        x : (n, *input_shape) array
        target : (n, *output_shape) array
            Inputs and targets, on the backend of the network.
        rate : float
            Learning rate.

        Returns
        -------
        StepResult, report
            May be overwritten by the next batch.
        """
        if self.network.backend == "cpu":
            able = self.network.recordable and rule.repeatable(self.network)
            repeats = self.repeats and able and all(matrix.repeatable for matrix in self._matrices)
            with one_blas_thread, repeating(self._repeater if repeats else None):
                return self._once(rule, x, target, rate, self.recorder)
        if not self._repeatable(rule):
            return self._once(rule, x, target, rate, self.recorder)
        kind = (rule, x.shape, target.shape, *(matrix.baked for matrix in self.network.matrices().values()))
        if kind not in self._seen:
            # The first call compiles kernels and prepares what a graph cannot; the rate is on the GPU, as in the graph.
            self._seen.add(kind)
            return self._once(rule, x, target, filled((), rate, np.float64, x), self.recorder)
        if kind not in self._captured:
            while len(self._captured) >= _MOST_GRAPHS:
                self._captured.pop(next(iter(self._captured))).counts.detach()
            self._captured[kind] = self._capture(rule, x, target)
        batch = self._captured[kind]
        batch.x[...] = x
        batch.target[...] = target
        batch.rate.fill(rate)
        result = batch.graph.launch()
        batch.counts.add()
        self.recorder.add(batch.recorder.path, batch.recorder.work)
        self._forget()
        return result

    def _repeatable(self, rule: Rule) -> bool:
        if self.network.backend != "gpu" or not self.repeats or not rule.repeatable(self.network):
            return False
        return all(matrix.repeatable for matrix in self.network.matrices().values())

    def _forget(self) -> None:
        for matrix in self.network.matrices().values():
            matrix.forget()

    def _once(self, rule: Rule, x: np.ndarray, target: np.ndarray, rate: Any, recorder: Recorder) -> tuple[StepResult, Any]:
        samples = self.network.architecture.samples(x, target)
        if not self._repeatable(rule):
            # A rule that synchronises anyway takes the rate as a number.
            samples = int(samples)
        with recording(recorder):
            result = rule.train_step(
                self.network, x, target, lambda products, gain: self.learner.learn(products, rate, samples, gain)
            )
        return result, self.report(result, target)

    def _capture(self, rule: Rule, x: np.ndarray, target: np.ndarray) -> _Captured:
        x, target, rate = x.copy(), target.copy(), np.zeros((), like=x)
        matrices = self.network.matrices().values()
        # Slots are data: the counts of every launch are stored with those of other batches.
        recorder = Recorder(self.recorder.names, self.recorder)
        counts = GraphCounts([self.recorder, *(holder for matrix in matrices for holder in matrix.counting())], x)
        # Read operands belong to the graph, which has to compute them itself.
        self._forget()

        # A reference from the graph to its owner would keep both, and their memory, until a collection of garbage.
        owner = weakref.proxy(self)

        def work() -> tuple[StepResult, Any]:
            result = owner._once(rule, x, target, rate, recorder)
            counts.close()
            return result

        graph = Graph(work, [counter for matrix in matrices for counter in matrix.counters()])
        self._forget()
        return _Captured(x, target, rate, graph, counts, recorder)
