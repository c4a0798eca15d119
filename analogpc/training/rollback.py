"""Atomic training of batches, and the error for batches that diverge."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analogpc.devices.matrix import NonFiniteError
from analogpc.devices.state import Tree, copied_tree

if TYPE_CHECKING:
    from analogpc.networks.network import Network
    from analogpc.training.run import Run


class DivergenceError(ArithmeticError):
    """Raised at the first non-finite state or weight; the message gives the position."""


class Rollback:
    """A copy of all state that a batch changes, in memory reused from batch to batch."""

    def __init__(self) -> None:
        self._network: Tree = {}
        self._optimiser: Tree = {}

    def keep(self, run: Run) -> None:
        """Copy the state that a batch changes, replacing the previous copy."""
        self._network = run.network.snapshot(self._network)
        self._optimiser = copied_tree(run.learner.memory, self._optimiser)
        self._position, self._recorded = run.position, run.ledger.recorder.mark()

    def bring_back(self, run: Run) -> None:
        """Restore the run from the copy."""
        run.network.restore(self._network)
        run.learner.restore(self._optimiser)
        run.ledger.recorder.back_to(self._recorded)
        run.position = self._position

    def clear(self) -> None:
        """Free the memory."""
        self._network, self._optimiser = {}, {}


@contextmanager
def all_or_nothing(run: Run, rollback: Rollback, place: str) -> Iterator[None]:
    """Restore a run to its state before this block if the block raises any exception.

    A network on a GPU is not copied before each batch, because that would take as long as the batch: there, and if restoring is
    interrupted, the run stays marked as ``broken``.
    """
    kept = run.network.backend == "cpu"
    if kept:
        rollback.keep(run)
    run.broken = place
    try:
        yield
    except BaseException:
        if kept:
            rollback.bring_back(run)
            run.broken = ""
        raise
    run.broken = ""


@contextmanager
def naming(place: str, saved_in: Path | None) -> Iterator[None]:
    """Name the batch in which a number became non-finite, and the last good checkpoint."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            yield
    except NonFiniteError as error:
        good = "there is no checkpoint of this run" if saved_in is None else f"the last good checkpoint is {saved_in}"
        raise DivergenceError(f"training diverged in {place}: {error}; {good}") from None


def refuse_non_finite(network: Network, energies: np.ndarray, finite: np.ndarray) -> None:
    """Raise an error after a batch with a non-finite energy or weight.

    Parameters
    ----------
    network : Network
    energies : (layers,) array
    finite : (matrices,) bool array
        Whether all weights of a matrix are finite, in the order of ``network.matrices()``.

    Raises
    ------
    NonFiniteError
        With the name of the first such layer or matrix.
    """
    for number, value in enumerate(energies, start=1):
        if not math.isfinite(value):
            raise NonFiniteError(f"the energy of layer {number} is {value}")
    for name, whole in zip(network.matrices(), finite, strict=True):
        if not whole:
            raise NonFiniteError(f"{name} holds a weight that is not finite")
