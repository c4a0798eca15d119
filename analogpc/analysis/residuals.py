"""Distance of a relaxation from its equilibrium."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analogpc.analysis.undisturbed import at_once, batch, undisturbed
from analogpc.kernels.random.streams import Key
from analogpc.networks.network import Network
from analogpc.rules import Rule, as_rule
from analogpc.rules.base import named_rules


@dataclass(frozen=True)
class Residual:
    """Residual at the end of a relaxation.

    Attributes
    ----------
    largest : float
        Largest absolute component, over all samples.
    rms : float
        Root mean square over all components and samples.
    states : (states,) float64 array
        Largest absolute component for every free state, from input to output.
    """

    largest: float
    rms: float
    states: np.ndarray

    @classmethod
    def of(cls, parts: Sequence[np.ndarray]) -> Residual:
        """Compute the residual from one array per state."""
        if not parts:
            return cls(0.0, 0.0, np.zeros(0))
        states = np.array([float(np.abs(part).max(initial=0)) for part in parts])
        squares = sum(float(np.sum(np.square(part, dtype=np.float64))) for part in parts)
        return cls(float(states.max()), float(np.sqrt(squares / sum(part.size for part in parts))), states)


def residual(
    network: Network, rule: Rule | str, x: np.ndarray, target: np.ndarray, *, key: Key | None = None
) -> dict[str, Residual]:
    """Compute the residual at the end of every phase of a rule on one batch. The weights do not change.

    Parameters
    ----------
    network : Network
        Left unchanged.
    rule : Rule or str
        A rule with `Rule.residuals`: PredictiveCoding, ErrorBasedPC, EquilibriumPropagation, HopfieldEP, or a kind of one of them.
    x : (n, *input_shape) array
    target : (n, *output_shape) array
    key : Key
        Key of read noise and of random rules; ``Key(0)`` by default.

    Returns
    -------
    dict of Residual by phase
        - `PredictiveCoding`, "relaxed": the gradient of the energy with respect to the hidden states. Precisions are 1, except that
          of the output under nudging by precision, so that schedules are measured against the same equilibrium as the standard rule.
        - `ErrorBasedPC`, "relaxed": the gradient with respect to the hidden errors, which vanishes at the same points.
        - `EquilibriumPropagation`, "nudged +" or "nudged -" or both: change of every state if all took one unit
          step together, including projection.
        - `HopfieldEP`, "free" and the nudged phases: s - f(dPhi/ds), the distance of every state from its target.

        Clamped states are excluded.

    Raises
    ------
    TypeError
        If the rule has no residual.
    """
    rule = as_rule(rule)
    network = network.to("cpu")
    x, target = batch(network, x, target)
    key = Key(0) if key is None else key
    if type(rule).residuals is Rule.residuals:
        known = {one.kind for one in named_rules().values() if type(one).residuals is not Rule.residuals}
        raise TypeError(f"the rule '{rule.kind}' has no residual; rules with one: {', '.join(map(repr, sorted(known)))}")
    rule = at_once(rule, key)
    with undisturbed(network, key):
        return {phase: Residual.of(parts) for phase, parts in rule.residuals(network, x, target).items()}
