"""Z-IL: predictive coding that updates every layer when its error equals that of backpropagation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from typing_extensions import override

from analogpc.devices.bounds import Positive
from analogpc.devices.costs.schedule import work
from analogpc.dynamics.relaxation import output_energy
from analogpc.kernels.products import row
from analogpc.networks.network import Network
from analogpc.rules.base import Apply, StepResult, energy
from analogpc.rules.clamped import ClampedRule
from analogpc.rules.swept import zil_step


class ZIL(ClampedRule):
    """Zero-divergence inference learning: from feed-forward states, with a step size of 1, layer L - t learns at step t.

    At step t = 0, ..., L - 1 layer L - t learns from its error and input before the states move. With a step size of 1, no momentum
    and precisions of 1 that error equals that of backpropagation (Song et al., NeurIPS 2020): the update follows the gradient of the
    loss at the output; with nudging, that of a target at u + beta (y - u), divided by beta.

    Attributes
    ----------
    step_size : float
        Step size of the states; equivalence with backpropagation requires 1.
    sweep : "front" or "all"
        States updated at step t: only the state below the learning layer, as in the reference code of Pinchetti et al., which then
        needs no more reads than backpropagation; or all states, as the rule is written. On exact matrices the updates are equal.

    References
    ----------
    Song et al., "Can the brain do backpropagation? Exact implementation of backpropagation in predictive coding networks",
    NeurIPS 2020; Salvatori et al., ICLR 2024, Algorithm 3 (which counts layers from the output).
    """

    names: ClassVar[Mapping[str, Mapping[str, Any]]] = {"zil": {}}
    sweeps: ClassVar[bool] = True
    kind: Literal["zil"] = "zil"
    step_size: Positive = 1.0
    sweep: Literal["front", "all"] = "front"

    @override
    def repeatable(self, network: Network) -> bool:
        return True

    @override
    def train_step(self, network: Network, x: np.ndarray, target: np.ndarray, apply: Apply) -> StepResult:
        if network.swept:
            return zil_step(self, network, x, target, apply)
        layers = network.layers
        relaxation = self.begin(network, x, target)
        outputs = relaxation.prediction(-1)
        precisions = [1.0] * (len(layers) - 1) + [self.output_precision()]
        energies: list[Any] = [0.0] * len(layers)
        for front in range(len(layers) - 1, -1, -1):
            if self.sweep == "all" and front > 0:
                relaxation.differentiate(precisions)
            tape, error = relaxation.tapes[front], relaxation.unweighted(front)
            at_output = front == len(layers) - 1
            energies[front] = output_energy(self.output, relaxation.states[-1], outputs) if at_output else energy(error)
            work("error", error.size)
            error = error if precisions[front] == 1 else error.dtype.type(precisions[front]) * error
            if self.sweep == "all" and front > 0:
                relaxation.descend(self.step_size)
            elif front > 0:
                back = layers[front].vjp(tape, error)
                work("step", back.size)
                relaxation.move(front, back.dtype.type(self.step_size) * back)
            apply(layers[front].products(tape, error), 1.0 / self.nudging.strength)
            relaxation.renew(front)
        return StepResult(outputs, row(energies, outputs))
