"""Relaxation of the states of a network whose input and output are held."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analogpc.blocks import Block


class Relaxation:
    """States, predictions and errors between a held input and a held output, initialised by a feed-forward pass.

    States and predictions are held digitally, between the converters. So a prediction is read again only if its input moved, and
    an error that is zero by construction, before the wave from the output has arrived, is neither formed nor sent back. For exact
    matrices this changes not a bit; noisy ones are spared reads that would only bring other noise.

    Parameters
    ----------
    layers : sequence of Block
        Layer i maps ``states[i]`` to ``predictions[i]``, the prediction of ``states[i + 1]``.
    x : (n, ...) array
        The input, held.
    target : (n, ...) array
        The output, held.

    Attributes
    ----------
    states : list of arrays
        ``states[0]`` is the input, ``states[-1]`` the target.
    predictions, tapes : lists
        Of the latest read of every layer.
    """

    def __init__(self, layers: Sequence[Block], x: np.ndarray, target: np.ndarray) -> None:
        self.layers = layers
        self.states = [x]
        self.predictions: list[np.ndarray] = []
        self.tapes: list[Any] = []
        for layer in layers:
            prediction, tape = layer.forward(self.states[-1])
            self.predictions.append(prediction)
            self.tapes.append(tape)
            self.states.append(prediction)
        if target.shape != self.states[-1].shape:
            raise ValueError(f"the target must have the shape of the output, {self.states[-1].shape}, not {target.shape}")
        self.states[-1] = target
        self._velocities: list[np.ndarray | None] = [None] * len(self.states)
        self._moved = [False] * len(self.states)
        self._live = [False] * (len(layers) - 1) + [True]

    def place(self, index: int, state: np.ndarray) -> None:
        """Set the state ``index``, as if it had moved there by itself."""
        self.states[index] = state
        self._moved[index] = True

    def predict(self, precisions: Sequence[float]) -> None:
        """Bring the predictions of all layers of nonzero precision up to date with the states."""
        for i, layer in enumerate(self.layers):
            self._live[i] |= self._moved[i + 1]
            if precisions[i] != 0 and self._moved[i]:
                self.predictions[i], self.tapes[i] = layer.forward(self.states[i])
                self._moved[i] = False
                self._live[i] = True

    def step(self, precisions: Sequence[float], step_size: float, momentum: float = 0.0, nesterov: bool = False) -> None:
        """Move all hidden states at once, down the gradient of 1/2 sum_i precisions[i] ||states[i + 1] - predictions[i]||^2.

        Parameters
        ----------
        precisions : (layers,) floats
        step_size, momentum, nesterov
            Of the descent: v <- momentum v + g, then x <- x - step_size v, or with Nesterov's x <- x - step_size (g + momentum v).
        """
        self.predict(precisions)
        errors = [self._error(i, precision) for i, precision in enumerate(precisions)]
        for j in range(1, len(self.layers)):
            gradient = errors[j - 1]
            above = errors[j]
            if above is not None:
                back = self.layers[j].vjp(self.tapes[j], above)
                gradient = -back if gradient is None else gradient - back
            self._descend(j, gradient, step_size, momentum, nesterov)

    def _error(self, i: int, precision: float) -> np.ndarray | None:
        """The weighted error of layer i, or None where it is zero by construction."""
        if precision == 0 or not self._live[i]:
            return None
        error = self.states[i + 1] - self.predictions[i]
        return error if precision == 1 else error.dtype.type(precision) * error

    def _descend(self, j: int, gradient: np.ndarray | None, step_size: float, momentum: float, nesterov: bool) -> None:
        velocity = self._velocities[j]
        kind = self.states[j].dtype.type
        if velocity is not None:
            velocity = kind(momentum) * velocity
            gradient = np.zeros_like(velocity) if gradient is None else gradient
            velocity += gradient
        else:
            velocity = gradient
        if velocity is None:
            return
        if momentum != 0:
            self._velocities[j] = velocity
        direction = gradient + kind(momentum) * velocity if nesterov else velocity
        self.states[j] = self.states[j] - kind(step_size) * direction
        self._moved[j] = True
