"""Batches that are learnt wholly or not at all, and the sentence for those that diverge."""

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
    """Training stopped at the first state or weight that is not finite; the sentence says where."""


class Rollback:
    """A copy of all that a batch changes, in memory that is used again from one batch to the next."""

    def __init__(self) -> None:
        self._network: Tree = {}
        self._optimiser: Tree = {}

    def keep(self, run: Run) -> None:
        """Copy what a batch changes, over the former copy."""
        self._network = run.network.snapshot(self._network)
        self._optimiser = copied_tree(run.learner.memory, self._optimiser)
        self._position, self._recorded = run.position, run.ledger.recorder.mark()

    def bring_back(self, run: Run) -> None:
        """Bring the run back to where it was when the copy was made."""
        run.network.restore(self._network)
        run.learner.restore(self._optimiser)
        run.ledger.recorder.back_to(self._recorded)
        run.position = self._position

    def clear(self) -> None:
        """Free the memory."""
        self._network, self._optimiser = {}, {}


@contextmanager
def all_or_nothing(run: Run, rollback: Rollback, place: str) -> Iterator[None]:
    """Bring a run back to where it was before this block, if anything at all breaks it off.

    A network on a GPU is not copied before each batch, because that would take as long as the batch: there, and if bringing it back
    is itself interrupted, the run stays marked as ``broken``.
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
    """Say where a number stopped being finite, and where this run's last good state lies."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            yield
    except NonFiniteError as error:
        good = "there is no checkpoint of this run" if saved_in is None else f"the last good checkpoint is {saved_in}"
        raise DivergenceError(f"training diverged in {place}: {error}; {good}") from None


def refuse_non_finite(network: Network, energies: np.ndarray, finite: np.ndarray) -> None:
    """Refuse a batch that left an energy or a weight that is not finite.

    Parameters
    ----------
    network : Network
    energies : (layers,) array
    finite : (matrices,) array of truth values
        Whether all weights of a matrix are finite, in the order of ``network.matrices()``.

    Raises
    ------
    NonFiniteError
        Naming the first layer or matrix.
    """
    for number, value in enumerate(energies, start=1):
        if not math.isfinite(value):
            raise NonFiniteError(f"the energy of layer {number} is {value}")
    for name, whole in zip(network.matrices(), finite, strict=True):
        if not whole:
            raise NonFiniteError(f"{name} holds a weight that is not finite")
