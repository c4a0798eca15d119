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
    """Record of a relaxation, before every step and after the last: T steps give T + 1 rows.

    Attributes
    ----------
    energies : (T + 1, layers) float64 array
        Energy of every layer per sample, without precisions: 1/2 ||e||^2, and at the output the loss in ``output`` of the rule.
    error_norms : (T + 1, layers) float64 array
        Norm ||e||, averaged over the samples.
    learnt_from : (layers,) float64 array
        Energies of the errors used for the weight update (see `StepResult`): the last row, except for forward updates, which
        use x(T) - mu(0), and for incremental PC, whose last update precedes the last move.
    """

    energies: np.ndarray
    error_norms: np.ndarray
    learnt_from: np.ndarray

    @property
    def steps(self) -> int:
        """Number T of steps performed; fewer than in the rule if it stopped early."""
        return len(self.energies) - 1

    @property
    def shares(self) -> np.ndarray:
        """Share of each layer in the total energy: (T + 1, layers); zeros if the total is zero."""
        total = self.energies.sum(axis=1, keepdims=True)
        return np.divide(self.energies, total, out=np.zeros_like(self.energies), where=total > 0)

    @property
    def learnt_shares(self) -> np.ndarray:
        """Share of each layer in ``learnt_from``: (layers,)."""
        total = self.learnt_from.sum()
        return self.learnt_from / total if total > 0 else np.zeros_like(self.learnt_from)

    @property
    def arrivals(self) -> np.ndarray:
        """First row with an error in each layer: (layers,) ints; T + 1 for layers without an error."""
        some = self.error_norms > 0
        return np.where(some.any(axis=0), some.argmax(axis=0), len(some))


def energy_profile(
    network: Network, rule: Rule | str, x: np.ndarray, target: np.ndarray, *, key: Key | None = None
) -> RelaxationRecord:
    """Record the relaxation of a rule on one batch. The weights do not change.

    Parameters
    ----------
    network : Network
        Left unchanged.
    rule : PredictiveCoding, IncrementalPC or ErrorBasedPC
        Or any other ``watchable`` rule. For incremental PC the relaxation is recorded with fixed weights.
    x : (n, *input_shape) array
    target : (n, *output_shape) array
    key : Key
        Key of read noise and of random rules; ``Key(0)`` by default.

    Raises
    ------
    TypeError
        If the rule cannot be watched.

    Notes
    -----
    The `train_step` of the rule runs with its own schedule, and shows its states (`Relaxation.show`). This adds at most one read of
    every layer after the last step, and none in between.
    """
    rule = as_rule(rule)
    if not rule.watchable:
        raise TypeError(
            f"the rule '{rule.kind}' cannot be recorded: its train_step takes no watch, unlike those of 'predictive-coding', "
            "'incremental-pc' and 'error-based-pc'"
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
