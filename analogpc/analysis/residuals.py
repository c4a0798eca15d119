"""Distance of a relaxation from its equilibrium."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analogpc.analysis.undisturbed import at_once, batch, undisturbed
from analogpc.dynamics.equilibration import Equilibration
from analogpc.dynamics.recurrent import Force, Recurrent
from analogpc.dynamics.relaxation import output_error
from analogpc.kernels.random.streams import Key
from analogpc.networks.network import Network
from analogpc.rules import EquilibriumPropagation, ErrorBasedPC, HopfieldEP, PredictiveCoding, Rule, as_rule
from analogpc.rules.error_based import ErrorRelaxation
from analogpc.rules.hopfield.hopfield_ep import recurrent


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
    rule : PredictiveCoding, ErrorBasedPC, EquilibriumPropagation or HopfieldEP (or a kind of one of them)
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
        If the rule is of another kind.
    """
    rule = as_rule(rule)
    network = network.to("cpu")
    x, target = batch(network, x, target)
    key = Key(0) if key is None else key
    rule = at_once(rule, key)
    with undisturbed(network, key):
        if isinstance(rule, PredictiveCoding):
            return {"relaxed": _of_states(rule, network, x, target)}
        if isinstance(rule, ErrorBasedPC):
            return {"relaxed": _of_errors(rule, network, x, target)}
        if isinstance(rule, EquilibriumPropagation):
            return _of_nudged(rule, network, x, target)
        if isinstance(rule, HopfieldEP):
            return _of_hopfield(rule, network, x, target)
    raise TypeError(
        f"the rule '{rule.kind}' has no residual; rules with one: 'predictive-coding', 'error-based-pc', 'equilibrium-propagation' and "
        "'hopfield-ep'"
    )


def _of_states(rule: PredictiveCoding, network: Network, x: np.ndarray, target: np.ndarray) -> Residual:
    relaxation = rule.begin(network, x, target)
    rule.relax(relaxation)
    relaxation.differentiate([1.0] * (len(network.layers) - 1) + [rule.output_precision()])
    found = zip(relaxation.gradients[1:-1], relaxation.states[1:-1], strict=True)
    return Residual.of([np.zeros_like(state) if gradient is None else gradient for gradient, state in found])


def _of_errors(rule: ErrorBasedPC, network: Network, x: np.ndarray, target: np.ndarray) -> Residual:
    errors = ErrorRelaxation(network.layers, x)
    held = rule.held(errors.predictions[-1], target)
    rule.relax(errors, held)
    errors.differentiate(rule.top(held, errors.predictions[-1]))
    return Residual.of(errors.gradients)


def _sign(sign: int) -> str:
    return "nudged +" if sign > 0 else "nudged -"


def _of_nudged(rule: EquilibriumPropagation, network: Network, x: np.ndarray, target: np.ndarray) -> dict[str, Residual]:
    free = rule.free(network, x)
    found = {}
    for sign in rule.signs():
        phase = rule.relax(free, target, sign * rule.beta)
        parts = _unit_steps(phase)
        if rule.drive == "nudge":
            strength = target.dtype.type(sign * rule.beta)
            driven = phase.copy()
            driven.pull_output(strength * output_error(rule.output, target, phase.states[-1]))
            parts.append(driven.states[-1] - phase.states[-1])
        found[_sign(sign)] = Residual.of(parts)
    return found


def _unit_steps(phase: Equilibration) -> list[np.ndarray]:
    """Return the change of every hidden state if all moved together; states of equal parity are independent."""
    moved = {}
    for parity in (0, 1):
        after = phase.copy()
        after.sweep(parity)
        moved[parity] = after.states
    return [moved[number % 2][number] - phase.states[number] for number in range(1, len(phase.layers))]


def _of_hopfield(rule: HopfieldEP, network: Network, x: np.ndarray, target: np.ndarray) -> dict[str, Residual]:
    order = recurrent(rule, network, rule.output).order
    free = rule.begin(network, x, target)
    found = {"free": _drift(free, None)}
    for sign in rule.signs():
        phase = rule.phase(network, free, target, sign * rule.beta)
        phase.states.relax(rule.steps, order, phase.force)
        found[_sign(sign)] = _drift(phase.states, phase.force)
    return found


def _drift(states: Recurrent, force: Force | None) -> Residual:
    after = states.copy()
    after.step("synchronous", force)
    last = len(states.states) - int(states.held)
    return Residual.of([after.states[number] - states.states[number] for number in range(1, last)])
