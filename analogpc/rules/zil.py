"""Z-IL: predictive coding that updates every layer when its error equals that of backpropagation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from typing_extensions import override

from analogpc.devices.bounds import Positive
from analogpc.devices.costs.schedule import work
from analogpc.dynamics.relaxation import output_energy
from analogpc.dynamics.repetition import Part, repeated_in_parts
from analogpc.kernels.products import row, scaled
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
        return repeated_in_parts(self, partial(self._batch, network), x, target, apply)

    def _batch(self, network: Network, part: Part, x: np.ndarray, target: np.ndarray, apply: Apply) -> StepResult:
        """Alternate parts, which `_Course` does unless they are repeated from recordings, with weight updates."""
        course, layers = _Course(self, network), network.layers
        outputs, held = part(lambda: course.begin(x, target))
        energies: list[Any] = [0.0] * len(layers)
        for front in range(len(layers) - 1, -1, -1):
            tape, error, unweighted = part(partial(course.reach, front))
            at_output = front == len(layers) - 1
            energies[front] = output_energy(self.output, held, outputs) if at_output else energy(unweighted)
            apply(layers[front].products(tape, error), 1.0 / self.nudging.strength)
        return StepResult(outputs, row(energies, outputs))


class _Course:
    """States of a batch between its weight updates."""

    def __init__(self, rule: ZIL, network: Network) -> None:
        self._rule, self._network, self._layers = rule, network, network.layers
        self._precisions = [1.0] * (len(network.layers) - 1) + [rule.output_precision()]

    def begin(self, x: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Start from feed-forward states, and return the output and the state at which it is clamped."""
        self._relaxation = self._rule.begin(self._network, x, target)
        return self._relaxation.prediction(-1), self._relaxation.states[-1]

    def reach(self, front: int) -> tuple[Any, np.ndarray, np.ndarray]:
        """Move the states, and return what layer ``front`` then learns from: its tape and error before; also the unweighted error."""
        relaxation, sweep = self._relaxation, self._rule.sweep == "all"
        if front < len(self._layers) - 1:
            relaxation.renew(front + 1)
        if sweep and front > 0:
            relaxation.differentiate(self._precisions)
        tape, unweighted = relaxation.tapes[front], relaxation.unweighted(front)
        work("error", unweighted.size)
        precision = self._precisions[front]
        error = unweighted if precision == 1 else scaled(unweighted, precision)
        if sweep and front > 0:
            relaxation.descend(self._rule.step_size)
        elif front > 0:
            back = self._layers[front].vjp(tape, error)
            work("step", back.size)
            relaxation.move(front, scaled(back, self._rule.step_size))
        return tape, error, unweighted
