"""Equilibration of a predictive-coding network whose output is nudged: even states, then odd ones, in steps of unit size."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from analogpc.blocks import Block
from analogpc.devices.costs.schedule import at_once, work
from analogpc.dynamics.projections import Projection
from analogpc.dynamics.readings import ShiftedReading
from analogpc.dynamics.relaxation import feed_forward
from analogpc.kernels.memory import zeros
from analogpc.kernels.products import added, difference

_UNKNOWN = object()


class Equilibration:
    """States between a clamped input and a nudged or clamped output, initially those of a feed-forward pass (the free equilibrium).

    With energy F = 1/2 sum_k ||e_k||^2 + beta C(h_L), e_k = h_k - f_k(h_{k-1}), one iteration updates all even states and
    then all odd states (the input is state 0):

        h_k <- projection of f_k(h_{k-1}) + J_{k+1}^T e_{k+1};    h_L <- f_L(h_{L-1}) - beta dC/dh_L

    As in `Relaxation`, a layer is read again only if its input changed, and errors that are zero by construction are not propagated;
    also as there, the deviations of the states from the feed-forward pass are stored, so that errors keep the
    relative precision of the floating type in networks of any depth.

    Parameters
    ----------
    layers : sequence of Block
    projections : sequence of Projection
        One for each layer.
    x : (n, ...) array
        Clamped input.

    Attributes
    ----------
    states : list of arrays
        States from input to output.
    deviations : list of arrays or None
        Deviation of every state from the feed-forward pass; None if unchanged.

    References
    ----------
    Kerjan, Hoier and Scellier, arXiv 2606.03584, appendix A.
    """

    def __init__(self, layers: Sequence[Block], projections: Sequence[Projection], x: np.ndarray) -> None:
        self.layers, self.projections = layers, projections
        first, tapes = feed_forward(layers, x)
        self._readings = [
            ShiftedReading(layer, output, tape, projection.before)
            for layer, output, tape, projection in zip(layers, first, tapes, projections, strict=True)
        ]
        self._starts: list[Any] = [_UNKNOWN] * len(layers)
        self.states = [x, *first]
        self.deviations: list[np.ndarray | None] = [None] * len(self.states)
        self._live = [False] * len(layers)

    @property
    def tapes(self) -> list[Any]:
        """Tapes of the last read of every layer."""
        return [reading.tape for reading in self._readings]

    def copy(self) -> Equilibration:
        """Return a copy that continues from the current states, with the existing reads."""
        twin = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, list) and name not in ("layers", "projections", "_starts"):
                setattr(twin, name, list(value))
        twin._readings = [reading.copy() for reading in self._readings]
        return twin

    def hold_output(self, step: np.ndarray) -> None:
        """Clamp the output at its initial value plus ``step``."""
        self._settle(len(self.layers), step)

    def pull_output(self, force: np.ndarray) -> None:
        """Set the output to its prediction plus ``force``."""
        last = len(self.layers) - 1
        self.predict(last)
        reading = self._readings[last]
        if reading.value is not None:
            self._place(last + 1, added(reading.value, force))
        else:
            self._settle(last + 1, force if reading.gain is None else added(reading.gain, force))

    def sweep(self, parity: int) -> None:
        """Update all even (0) or odd (1) hidden states, which are independent of each other."""
        for number in at_once(range(2 - parity, len(self.layers), 2)):
            self._move(number)

    def unit_steps(self) -> list[np.ndarray]:
        """Return the change of every hidden state if all moved together; states of equal parity are independent."""
        moved = {}
        for parity in (0, 1):
            after = self.copy()
            after.sweep(parity)
            moved[parity] = after.states
        return [moved[number % 2][number] - self.states[number] for number in range(1, len(self.layers))]

    def predict(self, index: int) -> None:
        """Update the prediction of layer ``index`` (from 0) for its current input."""
        if self._readings[index].stale:
            self._readings[index].update(self.states[index], self.deviations[index])

    def errors(self) -> list[np.ndarray]:
        """Return the error e_k of every layer at the current states."""
        return [self._error(index) for index in at_once(range(len(self.layers)))]

    def _error(self, index: int) -> np.ndarray:
        self.predict(index)
        work("error", self.states[index + 1].size)
        return self._readings[index].error(self.states[index + 1], self.deviations[index + 1])

    def _settle(self, number: int, deviation: np.ndarray) -> None:
        self._put(number, deviation, added(self._readings[number - 1].first, deviation))

    def _place(self, number: int, state: np.ndarray) -> None:
        self._put(number, difference(state, self._readings[number - 1].first), state)

    def _put(self, number: int, deviation: np.ndarray, state: np.ndarray) -> None:
        self.deviations[number], self.states[number] = deviation, state
        self._live[number - 1] = True
        if number < len(self.layers):
            self._live[number] = self._readings[number].stale = True

    def _move(self, number: int) -> None:
        """Take a unit step of hidden state ``number``, the output of layer ``number`` - 1 and input of layer ``number``."""
        below = number - 1
        if not (self._live[number] or self._readings[below].stale):
            return
        # Both layers are read forward in parallel.
        for index in at_once((below, number) if self._live[number] else (below,)):
            self.predict(index)
        feedback = self._feedback(number) if self._live[number] else None
        layer, projection, reading = self.layers[below], self.projections[below], self._readings[below]
        first = reading.first
        work("step", first.size)
        feedback = zeros(first.shape, first.dtype, first) if feedback is None else feedback
        if reading.value is not None:
            self._place(number, projection.move(layer, reading.value, reading.tape, feedback))
            return
        if self._starts[below] is _UNKNOWN:
            self._starts[below] = projection.begin(layer, reading.first_tape)
        self._settle(number, projection.shift(layer, self._starts[below], first, reading.gain, reading.selected, feedback))

    def _feedback(self, number: int) -> np.ndarray:
        """Return the error of layer ``number`` propagated to its input."""
        error = self._error(number)
        return self.layers[number].vjp(self._readings[number].tape, error)
