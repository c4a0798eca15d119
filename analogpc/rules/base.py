"""The contract of the learning rules: schedules over layers that say when to read, and which products to learn."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from analogpc.blocks import Product
from analogpc.devices.specification import Specification
from analogpc.network import Network

Apply = Callable[[Iterable[Product], float], None]
"""Takes the products of one layer and a gain, and lets the matrices learn from them at once."""


@dataclass(frozen=True)
class Lesson:
    """What a rule reports of one batch.

    Attributes
    ----------
    outputs : (n, *output_shape) array
        The feed-forward prediction before anything was learnt.
    energies : (layers,) float64 array
        Energy of each layer, sum of squared errors over two, mean over the batch, at the moment of learning.
    """

    outputs: np.ndarray
    energies: np.ndarray


class Rule(Specification):
    """A learning rule. It relaxes states and hands out products; on which substrate a matrix lives it never asks."""

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


def energy(error: np.ndarray) -> float:
    """Half the sum of squares per sample, in float64."""
    flat = error.reshape(-1)
    return 0.5 * float(np.dot(flat, flat)) / len(error)
