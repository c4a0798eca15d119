"""Predictive coding with fixed predictions: errors relax with the Jacobians and predictions of the feed-forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, FiniteFloat
from typing_extensions import override

from analogpc.blocks import Block
from analogpc.devices.bounds import PositiveInteger
from analogpc.devices.costs.schedule import at_once, work
from analogpc.dynamics.relaxation import feed_forward, output_energy, output_error
from analogpc.dynamics.repetition import repeated
from analogpc.kernels.memory import zeros
from analogpc.kernels.products import added, row, scaled
from analogpc.networks.network import Network
from analogpc.rules.base import Apply, StepResult, energy
from analogpc.rules.clamped import ClampedRule


class FixedPrediction(ClampedRule):
    """Predictive coding under the fixed-prediction assumption.

    Predictions mu_l and Jacobians J_l stay those of the feed-forward pass, so every error relaxes independently,

        e_l <- (1 - step_size) e_l + step_size J_{l+1}^T e_{l+1},

    towards that of backpropagation, and the weights learn with the inputs of the feed-forward pass. A step size of 1 and as many
    steps as layers give it exactly. (The reference code calls this 'FixedPred'; its 'Exact' is `Backprop`, and its 'Strict' is
    `PredictiveCoding` with one step less, which pairs the errors with the inputs of the next step.)

    Attributes
    ----------
    steps : int or "layers"
        n >= 1; "layers": as many as there are layers. Weights learn from the errors before step n, as in the reference code, so that
        n = 1 is the delta rule.
    step_size : float
        Step size of the errors, above 0 and at most 1.

    References
    ----------
    Millidge, Tschantz and Buckley, Neural Comput. 34:1329 (2022); Rosenbaum, PLoS ONE 17:e0266102 (2022), with its code Torch2PC.
    """

    names: ClassVar[Mapping[str, Mapping[str, Any]]] = {"fixed": {}}
    kind: Literal["fixed-prediction"] = "fixed-prediction"
    steps: PositiveInteger | Literal["layers"] = "layers"
    step_size: Annotated[FiniteFloat, Field(gt=0, le=1)] = 1.0

    @override
    def repeatable(self, network: Network) -> bool:
        return True

    @override
    def train_step(self, network: Network, x: np.ndarray, target: np.ndarray, apply: Apply) -> StepResult:
        state, held, tapes, errors = repeated(self, partial(self._relaxed, network), x, target)
        for layer, tape, error in at_once(zip(network.layers, tapes, errors, strict=True)):
            apply(layer.products(tape, error), 1.0 / self.nudging.strength)
        return StepResult(state, row([*map(energy, errors[:-1]), output_energy(self.output, held, state)], state))

    def _relaxed(
        self, network: Network, x: np.ndarray, target: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, list[Any], list[np.ndarray]]:
        """Relax, and return the feed-forward output, the clamped one, and the tapes and errors from which the layers learn."""
        layers = network.layers
        predictions, tapes = feed_forward(layers, x)
        state = predictions[-1]
        held = self.held(state, target)
        top = output_error(self.output, held, state)
        top = top if self.output_precision() == 1 else scaled(top, self.output_precision())
        errors: list[np.ndarray | None] = [None] * (len(layers) - 1) + [top]
        for _ in range((len(layers) if self.steps == "layers" else self.steps) - 1):
            self._sweep(layers, tapes, errors)
        found = [zeros(mu.shape, mu.dtype, mu) if e is None else e for e, mu in zip(errors, predictions, strict=True)]
        return state, held, tapes, found

    def _sweep(self, layers: list[Block], tapes: list[Any], errors: list[np.ndarray | None]) -> None:
        """Update all hidden errors simultaneously; None is zero."""
        former = list(errors)
        for j in at_once(range(1, len(layers))):
            above, own = former[j], former[j - 1]
            if above is None:
                continue
            back = layers[j].vjp(tapes[j], above)
            work("step", back.size)
            moved = scaled(back, self.step_size)
            errors[j - 1] = moved if own is None else added(scaled(own, 1 - self.step_size), moved)
