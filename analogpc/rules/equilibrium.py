"""Equilibrium propagation on the energies of predictive coding: nudge the output, and learn from the resulting errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from typing_extensions import override

from analogpc.devices.bounds import PositiveInteger
from analogpc.devices.costs.schedule import at_once
from analogpc.devices.matrix import TwoPhases
from analogpc.dynamics.equilibration import Equilibration
from analogpc.dynamics.projections import Projection
from analogpc.dynamics.relaxation import energy, output_error, refuse_target
from analogpc.dynamics.repetition import repeated
from analogpc.kernels.products import row, scaled
from analogpc.networks.network import Network
from analogpc.rules.base import Apply, StepResult
from analogpc.rules.contrast import NudgedRule, phase_name


class EquilibriumPropagation(NudgedRule):
    """Equilibrium propagation in a predictive-coding network.

    The energy is F = 1/2 sum_k ||h_k - f_k(h_{k-1})||^2 + beta C(h_L, y). Without a nudge (beta = 0) its minimum is the feed-forward
    pass, where F and all its derivatives with respect to the weights vanish; so a single nudged phase gives a gradient,
    (1/beta) dF/dW, with an error of O(beta), and two of opposite sign give one with an error of O(beta^2).

    Attributes
    ----------
    iterations : int or "layers"
        Number K of sweeps through even and odd states in each nudged phase; "layers": as many as there are layers. The nudge passes
        two layers per sweep, starting at the output (one in the first sweep if the number of layers is odd).
    projection : "modified" or "plain"
        Projection of the states onto the range of their activation (see `Projection`).
    beta, nudging, drive, output
        See `NudgedRule`. A clamped output reduces the errors relative to backpropagation, by the inverse of
        (I + J J^T + ...) even as beta goes to zero, and the sweeps then settle only if ||J J^T|| < 1.

    References
    ----------
    Kerjan, Hoier and Scellier, "Training a predictive coding network on ImageNet using equilibrium propagation", arXiv 2606.03584.
    The feedback has the sign of gradient descent, + J^T e.
    """

    names: ClassVar[Mapping[str, Mapping[str, Any]]] = {"ep": {}}
    kind: Literal["equilibrium-propagation"] = "equilibrium-propagation"
    iterations: PositiveInteger | Literal["layers"] = "layers"
    projection: Literal["modified", "plain"] = "modified"

    def iteration_count(self, layers: int) -> int:
        """Return the number of sweeps per phase for the given number of layers."""
        return layers if self.iterations == "layers" else self.iterations

    def free(self, network: Network, x: np.ndarray) -> Equilibration:
        """Compute the free equilibrium by one feed-forward pass."""
        modified = self.projection == "modified"
        projections = [Projection(layer, modified) for layer in network.architecture.layers()]
        return Equilibration(network.layers, projections, x)

    def relax(self, free: Equilibration, target: np.ndarray, beta: float) -> Equilibration:
        """Relax the free state for one phase, nudged with ``beta`` (of either sign)."""
        phase, depth = free.copy(), len(free.layers)
        if self.drive == "clamp":
            phase.hold_output(scaled(output_error(self.output, target, phase.states[-1]), beta))

        def nudge() -> None:
            phase.pull_output(scaled(output_error(self.output, target, phase.states[-1]), beta))

        for _ in range(self.iteration_count(depth)):
            for parity in (0, 1):
                # The output is updated with the states of its parity.
                moves: list[Callable[[], None]] = [partial(phase.sweep, parity)]
                if self.drive == "nudge" and parity == depth % 2:
                    moves.append(nudge)
                for move in at_once(moves):
                    move()
        return phase

    @override
    def residuals(self, network: Network, x: np.ndarray, target: np.ndarray) -> dict[str, list[np.ndarray]]:
        """See `Rule.residuals`: the change of every state if all took one unit step together, including projection."""
        free = self.free(network, x)
        found = {}
        for sign in self.signs():
            phase = self.relax(free, target, sign * self.beta)
            found[phase_name(sign)] = steps = phase.unit_steps()
            if self.drive == "nudge":
                driven = phase.copy()
                strength = target.dtype.type(sign * self.beta)
                driven.pull_output(strength * output_error(self.output, target, phase.states[-1]))
                steps.append(driven.states[-1] - phase.states[-1])
        return found

    @property
    @override
    def usual_rate(self) -> float:
        return 0.1

    @override
    def repeatable(self, network: Network) -> bool:
        return True

    @override
    def train_step(self, network: Network, x: np.ndarray, target: np.ndarray, apply: Apply) -> StepResult:
        signs = self.signs()
        outputs, tapes, errors = repeated(self, partial(self._phases, network), x, target)
        for index, layer in at_once(enumerate(network.layers)):
            # The errors carry the sign of the phase, so that no gain is negative.
            one, *other = (layer.products(t[index], e[index]) for t, e in zip(tapes, errors, strict=True))
            if other:
                apply(TwoPhases(one, other[0]), 0.5 / self.beta)
            elif signs == (1,):
                apply(one, 1 / self.beta)
            else:
                apply(layer.products(tapes[0][index], -errors[0][index]), 1 / self.beta)
        return StepResult(outputs, row([sum(map(energy, layer)) / len(layer) for layer in zip(*errors, strict=True)], outputs))

    def _phases(
        self, network: Network, x: np.ndarray, target: np.ndarray
    ) -> tuple[np.ndarray, list[list[Any]], list[list[np.ndarray]]]:
        """Run all phases; return the free output, and tapes and errors of the nudged phases."""
        free = self.free(network, x)
        refuse_target(target, free.states[-1])
        phases = [self.relax(free, target, sign * self.beta) for sign in self.signs()]
        errors = [phase.errors() for phase in phases]
        return free.states[-1], [phase.tapes for phase in phases], errors
