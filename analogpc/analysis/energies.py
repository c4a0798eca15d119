"""Energies and errors of every layer at every step of a relaxation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analogpc.analysis.undisturbed import at_once, batch, undisturbed
from analogpc.kernels.random.streams import Key
from analogpc.networks.network import Network
from analogpc.rules import Rule, as_rule


@dataclass(frozen=True)
class RelaxationRecord:
    """A relaxation, seen before every step and after the last: T steps make T + 1 rows.

    Attributes
    ----------
    energies : (T + 1, layers) float64 array
        What every layer pays per sample, whatever its precision: 1/2 ||e||^2, and at the output what the rule's ``output`` says.
    error_norms : (T + 1, layers) float64 array
        ||e||, mean over the samples.
    learnt_from : (layers,) float64 array
        The energies of the errors that the weights would learn from (see `StepResult`): the last row, but for forward updates, which
        learn from x(T) - mu(0), and for incremental PC, whose last update comes before the last move.
    """

    energies: np.ndarray
    error_norms: np.ndarray
    learnt_from: np.ndarray

    @property
    def steps(self) -> int:
        """T, the steps that were done: fewer than those of the rule if it stopped early."""
        return len(self.energies) - 1

    @property
    def shares(self) -> np.ndarray:
        """The part of the energy of all layers that each one has: (T + 1, layers); zeros where there is no energy at all."""
        total = self.energies.sum(axis=1, keepdims=True)
        return np.divide(self.energies, total, out=np.zeros_like(self.energies), where=total > 0)

    @property
    def learnt_shares(self) -> np.ndarray:
        """The same of ``learnt_from``: (layers,)."""
        total = self.learnt_from.sum()
        return self.learnt_from / total if total > 0 else np.zeros_like(self.learnt_from)

    @property
    def arrivals(self) -> np.ndarray:
        """The first row in which a layer has any error: (layers,) ints, T + 1 for a layer that never has."""
        some = self.error_norms > 0
        return np.where(some.any(axis=0), some.argmax(axis=0), len(some))


def energy_profile(
    network: Network, rule: Rule | str, x: np.ndarray, target: np.ndarray, *, key: Key | None = None
) -> RelaxationRecord:
    """Watch a rule relax on one batch; nothing learns.

    Parameters
    ----------
    network : Network
        Left without a trace.
    rule : PredictiveCoding, IncrementalPC or ErrorBasedPC
        Or any rule that declares itself ``watchable``. Of incremental PC this is the relaxation under weights that stand still.
    x : (n, *input_shape) array
    target : (n, *output_shape) array
    key : Key
        Of read noise, and of a rule that draws; ``Key(0)`` if not given.

    Raises
    ------
    TypeError
        If the rule cannot be watched.

    Notes
    -----
    The rule's own `train_step` runs, with its own schedule, and shows its states (`Relaxation.show`). Watching adds one read at most of
    every layer after the last step, and none in between.
    """
    rule = as_rule(rule)
    if not rule.watchable:
        raise TypeError(
            f"the rule '{rule.kind}' cannot be watched: its train_step takes no watch, as those of 'predictive-coding', "
            "'incremental-pc' and 'error-based-pc' do"
        )
    network = network.to("cpu")
    x, target = batch(network, x, target)
    key = Key(0) if key is None else key
    energies: list[np.ndarray] = []
    norms: list[list[float]] = []

    def watch(paid: np.ndarray, errors: list[np.ndarray]) -> None:
        energies.append(paid)
        norms.append([float(np.linalg.norm(error.reshape(len(error), -1).astype(np.float64), axis=1).mean()) for error in errors])

    with undisturbed(network, key):
        result = at_once(rule, key).train_step(network, x, target, lambda products, gain: None, watch)  # type: ignore[call-arg]
    return RelaxationRecord(np.array(energies), np.array(norms), result.energies)
