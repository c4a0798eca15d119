"""The contract of the learning rules: schedules over layers that say when to read, and which products to learn."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

from analogpc.blocks import Product
from analogpc.devices.specification import Specification
from analogpc.kernels.streams import Key
from analogpc.network import Network
from analogpc.relaxation import energy

__all__ = ["Apply", "Lesson", "Moment", "Rule", "energy"]

Apply = Callable[[Iterable[Product], float], None]
"""Takes the products of one layer and a gain, and lets the matrices learn from them at once."""


@dataclass(frozen=True)
class Moment:
    """When in a run a batch is taught: for rules that change from epoch to epoch, or that draw.

    Attributes
    ----------
    key : Key
        Of the draws of the rule in this run.
    epoch : int
        Epochs finished before.
    step : int
        Batches taught before, in all epochs.
    """

    key: Key
    epoch: int = 0
    step: int = 0


@dataclass(frozen=True)
class Lesson:
    """What a rule reports of one batch.

    Attributes
    ----------
    outputs : (n, *output_shape) array
        The feed-forward prediction before anything was learnt.
    energies : (layers,) float64 array
        Energy of each layer, mean over the batch, at the moment of learning: the sum of squared errors over two, and for the output
        layer under cross-entropy the cross-entropy.
    """

    outputs: np.ndarray
    energies: np.ndarray


class Rule(Specification):
    """A learning rule. It relaxes states and hands out products; on which substrate a matrix lives it never asks."""

    kind: str

    def refuse(self, architecture: str) -> str:
        """Why networks of an architecture of that kind cannot be taught; empty if they can."""
        if architecture == "hopfield":
            return f"the rule '{self.kind}' teaches predictive networks, not networks of the architecture 'hopfield'"
        return ""

    def at(self, moment: Moment) -> Self:
        """The rule as it is at one moment of a run; the rule itself unless it changes from epoch to epoch, or draws.

        Training teaches every batch by the rule of its moment.
        """
        return self

    @abstractmethod
    def teach(self, network: Network, x: np.ndarray, target: np.ndarray, apply: Apply) -> Lesson:
        """Learn from one batch.

        Parameters
        ----------
        network : Network
        x : (n, *input_shape) array
        target : (n, *output_shape) array
            What the outputs should be.
        apply
            Called with products whose sum post pre^T over the batch is the direction of learning (the negative gradient of the
            energy), once or as often as the rule wants.
        """
