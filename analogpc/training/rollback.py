"""Batches that are learnt wholly or not at all, and the sentence for those that diverge."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analogpc.devices.matrix import NonFiniteError

if TYPE_CHECKING:
    from analogpc.networks.network import Network
    from analogpc.training.run import Run


class DivergenceError(ArithmeticError):
    """Training stopped at the first state or weight that is not finite; the sentence says where."""


@contextmanager
def all_or_nothing(run: Run, place: str) -> Iterator[None]:
    """Bring a run back to where it was before this block, if anything at all breaks it off.

    A network on a GPU is not copied before each batch, because that would take as long as the batch: there, and if bringing it back
    is itself interrupted, the run stays marked as ``broken``.
    """
    position, kept = run.position, held(run) if run.network.backend == "cpu" else None
    run.broken = place
    try:
        yield
    except BaseException:
        if kept is not None:
            run.network.restore(kept["network"])
            run.learner.restore(kept["optimiser"])
            run.ledger.recorder.back_to(kept["recorded"])
            run.position, run.broken = position, ""
        raise
    run.broken = ""


def held(run: Run) -> dict[str, Any]:
    """A copy of all that a batch changes. The parameters of devices are drawn once and stay, so that they need none."""
    state = {"network": copied_state(run.network.state()), "optimiser": copied_state(run.learner.memory)}
    return {**state, "recorded": run.ledger.recorder.mark()}


def copied_state(tree: Any) -> Any:
    """A state that stays as it is while the network goes on."""
    if isinstance(tree, dict):
        return {name: value if name == "parameters" else copied_state(value) for name, value in tree.items()}
    return tree.copy() if isinstance(tree, np.ndarray) else tree


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
