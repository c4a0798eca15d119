"""Teaching batches: a rule and an optimiser at work on a network, on the GPU by replaying a graph wherever nothing forbids it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analogpc.devices.costs.meter import Meter
from analogpc.devices.substrate import Digital
from analogpc.kernels.gpu.graphs import Graph
from analogpc.kernels.memory import filled
from analogpc.networks.network import Network
from analogpc.rules.base import Lesson, Rule
from analogpc.training.optimisers import Learner

_MOST_GRAPHS = 4
"""Graphs that are kept: two signs of a nudge, for whole batches and the last one of an epoch. The oldest goes first."""


@dataclass
class _Captured:
    """A batch as a graph: what goes in, what comes out, and what every replay counts."""

    x: np.ndarray
    target: np.ndarray
    rate: np.ndarray
    graph: Graph[Lesson]
    counts: dict[str, Meter]


@dataclass
class Teaching:
    """Teaches a network batch by batch.

    On the GPU the whole batch, relaxation and learning, is one CUDA graph from the second batch of the same rule and shape on,
    as long as nothing in it depends on numbers that only the host knows: matrices are digital, and the rule does not look at what it
    computes (`Rule.repeatable`). All else runs kernel by kernel. The results are the same.

    Attributes
    ----------
    network : Network
    learner : Learner
    """

    network: Network
    learner: Learner
    _seen: set[Any] = field(default_factory=set)
    _captured: dict[Any, _Captured] = field(default_factory=dict)

    @property
    def graphs(self) -> int:
        """How many graphs there are at present."""
        return len(self._captured)

    def teach(self, rule: Rule, x: np.ndarray, target: np.ndarray, rate: float) -> Lesson:
        """Let the network learn one batch.

        Parameters
        ----------
        rule : Rule
            As it is at this moment (`Rule.at`).
        x : (n, *input_shape) array
        target : (n, *output_shape) array
            Both on the backend of the network.
        rate : float
            Learning rate.

        Returns
        -------
        Lesson
            Which the next batch may overwrite.
        """
        if not self._repeatable(rule):
            return self._once(rule, x, target, rate)
        kind = (rule, x.shape)
        if kind not in self._seen:
            # The first time compiles, and makes ready what a graph cannot: with a rate on the GPU, as the graph will have it.
            self._seen.add(kind)
            return self._once(rule, x, target, filled((), rate, np.float64, x))
        if kind not in self._captured:
            while len(self._captured) >= _MOST_GRAPHS:
                del self._captured[next(iter(self._captured))]
            self._captured[kind] = self._capture(rule, x, target)
        batch = self._captured[kind]
        batch.x[...] = x
        batch.target[...] = target
        batch.rate.fill(rate)
        for name, matrix in self.network.matrices().items():
            matrix.meter.add(batch.counts[name])
        return batch.graph.launch()

    def _repeatable(self, rule: Rule) -> bool:
        return self.network.backend == "gpu" and isinstance(self.network.substrate, Digital) and rule.repeatable(self.network)

    def _once(self, rule: Rule, x: np.ndarray, target: np.ndarray, rate: Any) -> Lesson:
        return rule.teach(self.network, x, target, lambda products, gain: self.learner.learn(products, rate, len(x), gain))

    def _capture(self, rule: Rule, x: np.ndarray, target: np.ndarray) -> _Captured:
        x, target, rate = x.copy(), target.copy(), np.zeros((), like=x)
        matrices = self.network.matrices()
        before = {name: Meter(**matrix.meter.as_dict()) for name, matrix in matrices.items()}
        graph = Graph(lambda: self._once(rule, x, target, rate))
        # Nothing has been done yet, only recorded: what was counted is what each replay will do.
        counts = {}
        for name, matrix in matrices.items():
            now = matrix.meter.as_dict()
            counts[name] = Meter(**{field: now[field] - count for field, count in before[name].as_dict().items()})
            matrix.meter = before[name]
        return _Captured(x, target, rate, graph, counts)
