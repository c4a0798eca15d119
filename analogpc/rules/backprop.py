"""Backpropagation on the same blocks as the other rules: the reference rule."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from typing_extensions import override

from analogpc.devices.costs.schedule import at_once, work
from analogpc.dynamics.relaxation import Output, feed_forward, output_energy, output_error
from analogpc.dynamics.repetition import repeated
from analogpc.kernels.products import row
from analogpc.networks.network import Network
from analogpc.rules.base import Apply, Rule, StepResult, energy
from analogpc.rules.swept import backprop_step


class Backprop(Rule):
    """Gradient descent on the loss at the output layer, by transposed reads from the output to the first layer.

    The reported energies are those of the backpropagated errors of each layer, and the loss at the output.

    Attributes
    ----------
    output : "squared-error" or "cross-entropy"
        Loss: 1/2 ||target - output||^2, or the cross-entropy of the softmax of the output.
    """

    names: ClassVar[Mapping[str, Mapping[str, Any]]] = {"bp": {}}
    sweeps: ClassVar[bool] = True
    kind: Literal["backprop"] = "backprop"
    output: Output = "squared-error"

    @override
    def repeatable(self, network: Network) -> bool:
        return True

    @override
    def train_step(self, network: Network, x: np.ndarray, target: np.ndarray, apply: Apply) -> StepResult:
        if network.swept:
            return backprop_step(self, network, x, target, apply)
        outputs, tapes, errors = repeated(self, partial(self._passes, network), x, target)
        # Compute all errors first: a matrix must not be updated before its transpose is read.
        for layer, tape, error in at_once(zip(network.layers, tapes, errors, strict=True)):
            apply(layer.products(tape, error), 1.0)
        hidden = [energy(error) for error in errors[:-1]]
        return StepResult(outputs[-1], row([*hidden, output_energy(self.output, target, outputs[-1])], target))

    def _passes(
        self, network: Network, x: np.ndarray, target: np.ndarray
    ) -> tuple[list[np.ndarray], list[Any], list[np.ndarray]]:
        """Return output, tape and error of every layer."""
        outputs, tapes = feed_forward(network.layers, x)
        errors = [output_error(self.output, target, outputs[-1])]
        work("error", target.size)
        for layer, tape in zip(network.layers[:0:-1], tapes[:0:-1], strict=True):
            errors.append(layer.vjp(tape, errors[-1]))
            work("gradient", errors[-1].size)
        return outputs, tapes, errors[::-1]
