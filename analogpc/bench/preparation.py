"""Preparation of workloads: their calls, and training steps with the products they consist of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analogpc.bench.floors import products_of
from analogpc.dynamics.repetition import UNRECORDED
from analogpc.networks.network import Network
from analogpc.rules import Rule
from analogpc.training.optimisers import SGD, Learner
from analogpc.training.step import TrainingStep


@dataclass(frozen=True)
class Calls:
    """Prepared calls of a workload.

    Attributes
    ----------
    floor : function
    work : dict of functions
        Variants of the work; the aim refers to the first.
    items : dict of int
        Items per call by variant or "floor", where a time per item is of interest.
    """

    floor: Callable[[], Any]
    work: Mapping[str, Callable[[], Any]]
    items: dict[str, int] = field(default_factory=dict)


def rule_step(network: Network, rule: Rule, batch: int, rate: float = 1e-3) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return one training step on random samples with plain SGD, and all its matrix products in order."""
    rng = np.random.default_rng(0)
    x = rng.random((batch, *network.input_shape)).astype(network.dtype)
    target = np.eye(network.output_shape[0], dtype=network.dtype)[rng.integers(0, network.output_shape[0], batch)]
    x, target = network.brought(x), network.brought(target)
    at_work = TrainingStep(network, Learner(SGD(learning_rate=rate), network.matrices()))

    def step() -> None:
        at_work.learn(rule, x, target, rate)

    products = products_of(network.copy(), lambda twin, teach: rule.train_step(twin, x, target, teach))
    # As in the course of a training: relaxations are repeated from recordings, if they can be.
    for _ in range(UNRECORDED):
        step()
    return step, products
