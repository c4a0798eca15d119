"""One pass of Adam over many small matrices, which a call each would cost more than the arithmetic."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from analogpc.devices.costs.digital import count_digital
from analogpc.devices.digital_matrix import DigitalMatrix
from analogpc.devices.matrix import Matrix
from analogpc.kernels.descent import AdamFactors, adam_step_parts
from analogpc.kernels.products import outer, outer_macs

MOST_WEIGHTS = 2**14
"""Largest number of weights of a matrix that is updated together with others."""


class JointAdam:
    """Small digital matrices on the CPU, updated together; the results are those of one matrix after another.

    The moments of all matrices are parts of one array each, in the order in which the matrices store their weights.

    Parameters
    ----------
    matrices : dict of Matrix by name
        Matrices of a network; `eligible` ones are updated together.

    Attributes
    ----------
    memory : dict of dicts of arrays
        "mean", "square" (n_out, n_in) and "count" of every matrix, views of the joint arrays.
    """

    def __init__(self, matrices: dict[str, Matrix]) -> None:
        self._matrices: dict[str, DigitalMatrix] = {}
        for name, matrix in matrices.items():
            first = next(iter(self._matrices.values()), matrix)
            if eligible(matrix) and matrix.dtype == first.dtype:
                assert isinstance(matrix, DigitalMatrix)
                self._matrices[name] = matrix
        sizes = [matrix.shape[0] * matrix.shape[1] for matrix in self._matrices.values()]
        self._starts = np.array([0, *itertools.accumulate(sizes)], np.int64)
        self._places = {name: place for place, name in enumerate(self._matrices)}
        dtype = next((matrix.dtype for matrix in self._matrices.values()), np.dtype(np.float32))
        self._mean, self._square = np.zeros(self._starts[-1], dtype), np.zeros(self._starts[-1], dtype)
        self._gradient, self._change = np.empty_like(self._mean), np.empty_like(self._mean)
        self._weights = np.empty_like(self._mean)
        self.memory = {
            name: {
                "mean": self._part(self._mean, name),
                "square": self._part(self._square, name),
                "count": np.zeros((), np.int64),
            }
            for name in self._matrices
        }
        self._gradients = {name: self._part(self._gradient, name).T for name in self._matrices}
        self._changes = {name: self._part(self._change, name) for name in self._matrices}
        self._pending: list[tuple[str, float]] = []

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def _part(self, joint: np.ndarray, name: str) -> np.ndarray:
        """Return the part of a matrix in a joint array, (n_out, n_in)."""
        place, (n_out, n_in) = self._places[name], self._matrices[name].shape
        return joint[self._starts[place] : self._starts[place + 1]].reshape(n_in, n_out).T

    def restore(self, name: str, memory: dict[str, Any]) -> None:
        """Restore the moments of a matrix, given on any backend."""
        for kind, values in self.memory[name].items():
            values[...] = memory[kind]

    def take(self, name: str, pairs: Iterable[tuple[np.ndarray, np.ndarray]], rate: float) -> None:
        """Compute the gradient of a matrix, which `update` applies at a learning rate."""
        matrix, total, macs, first = self._matrices[name], self._gradients[name], 0, True
        for pre, post in pairs:
            own = outer(pre, post, matrix.shape[1], total if first else None)
            if not first:
                total += own
            macs += outer_macs(pre, post, matrix.shape[1])
            first = False
        assert not first, "a matrix learns from at least one product"
        # Both moments are read, changed by a multiply-add and written.
        count_digital(matrix, macs + 2 * total.size, 6 * total.size)
        self._pending.append((name, rate))

    def update(self, scale: float, factors: AdamFactors, betas: tuple[float, float]) -> None:
        """Update all matrices taken since the last update; ``scale`` multiplies their gradients."""
        if not self._pending:
            return
        kind, count = self._mean.dtype, len(self._pending)
        which = np.empty(count, np.int64)
        numbers = np.empty((count, 3), kind)
        for row, (name, rate) in enumerate(self._pending):
            which[row] = place = self._places[name]
            self.memory[name]["count"] += 1
            steps = int(self.memory[name]["count"])
            numbers[row] = rate, 1 / (1 - betas[0] ** steps), 1 / (1 - betas[1] ** steps)
            if factors.decay:
                self._weights[self._starts[place] : self._starts[place + 1]] = self._matrices[name].stored.reshape(-1)
        adam_step_parts(
            which, self._starts, self._mean, self._square, self._gradient, self._weights, self._change, scale, numbers, factors
        )
        for name, _ in self._pending:
            self._matrices[name].increment(self._changes[name])
        self._pending.clear()


def eligible(matrix: Matrix) -> bool:
    """Whether a matrix can be updated together with others."""
    return isinstance(matrix, DigitalMatrix) and matrix.backend == "cpu" and matrix.shape[0] * matrix.shape[1] <= MOST_WEIGHTS
