"""Batches of a training run: the inputs of each, and the numbers reported for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from analogpc.data import Dataset
from analogpc.dynamics.relaxation import Output, output_energy
from analogpc.kernels.gpu.arrays import to_host
from analogpc.kernels.products import row
from analogpc.kernels.random.streams import Key
from analogpc.networks.network import Network
from analogpc.rules.base import StepResult
from analogpc.training.study import Study

Pair = tuple[np.ndarray, np.ndarray]
"""Inputs (n, *input_shape) and targets (n, *output_shape) of a batch."""


class Batches:
    """The batches of a study, on the backend of a network; one of them may be prepared in advance.

    Parameters
    ----------
    study : Study
    network : Network
    """

    def __init__(self, study: Study, network: Network) -> None:
        self._study, self._network = study, network
        self._prepared: tuple[tuple[int, int], Pair] | None = None

    def inputs(self, data: Dataset, indices: np.ndarray, epoch: int) -> Pair:
        """Return inputs and targets of the training samples at ``indices``, augmented as in an epoch."""
        study, backend = self._study, self._network.backend
        key = Key(study.seed).fold("augment") if study.augment else None
        x = data.inputs("train", indices, dtype=study.network.dtype, augment_key=key, epoch=epoch, backend=backend)
        return self._network.inputs(x), data.targets("train", indices, dtype=self._network.dtype, backend=backend)

    def _of(self, data: Dataset, order: np.ndarray, epoch: int, batch: int) -> Pair:
        size = self._study.batch_size
        return self.inputs(data, order[batch * size : (batch + 1) * size], epoch)

    def prepare(self, data: Dataset, order: np.ndarray, epoch: int, batch: int) -> None:
        """Prepare a batch, which the next call of `take` may return."""
        self._prepared = (epoch, batch), self._of(data, order, epoch, batch)

    def take(self, data: Dataset, order: np.ndarray, epoch: int, batch: int) -> Pair:
        """Return a batch of an epoch whose samples have the given order."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None and prepared[0] == (epoch, batch):
            return prepared[1]
        return self._of(data, order, epoch, batch)


def report_of(result: StepResult, target: np.ndarray, network: Network, output: Output, classes: bool) -> np.ndarray:
    """Return all numbers reported for a batch in one array: one transfer, one synchronisation.

    These are the number of correct samples, the loss, whether each matrix is finite, and the energies of the layers.
    """
    outputs = result.outputs
    right = (outputs.argmax(1) == target.argmax(1)).sum() if classes else 0.0
    finite = [matrix.all_finite() for matrix in network.matrices().values()]
    return row([right, output_energy(output, target, outputs), *finite, *result.energies], target)


def numbers_in(report: np.ndarray, network: Network) -> tuple[int, float, Any, Any]:
    """Return the numbers of a report in main memory: correct samples, loss, whether each matrix is finite, energies."""
    numbers, first = to_host(report), 2 + len(network.matrices())
    return int(numbers[0]), float(numbers[1]), numbers[2:first], numbers[first:]
