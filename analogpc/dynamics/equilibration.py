"""Equilibration of a predictive-coding network whose output is nudged: even states, then odd ones, in steps of unit size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analogpc.blocks import Activation, AnyBlock, Block, BlockSpecification, Chain, Flatten, MaxPool
from analogpc.blocks.chain import ChainBlock
from analogpc.dynamics.relaxation import feed_forward

_RANGES = {
    "relu": (0.0, np.inf),
    "hard_sigmoid": (0.0, 1.0),
    "hard_tanh": (-1.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
}
_PROJECTIONS = ("relu", "hard_sigmoid", "hard_tanh")


class Projection:
    """How the state after one layer is moved by a unit step, and kept among the values that its activation can take.

    The activation is the last thing that the layer does, but for max-pooling and changes of shape, which commute with it. With the
    prediction mu = f(a), the pre-activation a and the feedback D, the moved state is

    - mu + D, clipped to the closed range of f where that is bounded (plain);
    - f(a + D) where f is itself such a projection: relu, hard_sigmoid or hard_tanh (modified). Units that are off stay off under
      small feedback. With any other f this would count its slope twice, and the step is the plain one.

    Parameters
    ----------
    layer : block specification
    modified : bool
    """

    def __init__(self, layer: BlockSpecification, modified: bool) -> None:
        leaves = _leaves(layer)
        self._after = 0
        while leaves and isinstance(leaves[-1], (MaxPool, Flatten)):
            leaves.pop()
            self._after += 1
        last = leaves[-1] if leaves else None
        name = last.function if isinstance(last, Activation) else ""
        self._low, self._high = _RANGES.get(name, (-np.inf, np.inf))
        self._modified = modified and name in _PROJECTIONS

    def move(self, layer: Block, prediction: np.ndarray, tape: Any, feedback: np.ndarray) -> np.ndarray:
        """The state after one unit step: (n, *output_shape) of the layer, whose latest read gave ``prediction`` and ``tape``."""
        moved = (self._pre_activation(layer, tape) if self._modified else prediction) + feedback
        bounded = self._low > -np.inf or self._high < np.inf
        return np.clip(moved, self._low, self._high, out=moved) if bounded else moved

    def _pre_activation(self, layer: Block, tape: Any) -> np.ndarray:
        blocks = _built_leaves(layer, tape)
        place = len(blocks) - self._after - 1
        value = blocks[place][1]
        for block, _ in blocks[place + 1 :]:
            value, _ = block.forward(value)
        return value


def _leaves(layer: BlockSpecification) -> list[BlockSpecification | AnyBlock]:
    return [leaf for block in layer.blocks for leaf in _leaves(block)] if isinstance(layer, Chain) else [layer]


def _built_leaves(layer: Block, tape: Any) -> list[tuple[Block, Any]]:
    if not isinstance(layer, ChainBlock):
        return [(layer, tape)]
    return [leaf for block, own in zip(layer.blocks, tape, strict=True) for leaf in _built_leaves(block, own)]


class Equilibration:
    """States between a held input and a nudged or held output, at first those of a feed-forward pass (the free equilibrium).

    With energy F = 1/2 sum_k ||e_k||^2 + beta C(h_L), e_k = h_k - f_k(h_{k-1}), one iteration moves all states of even number and
    then all those of odd number (the input being number 0):

        h_k <- projection of f_k(h_{k-1}) + J_{k+1}^T e_{k+1};    h_L <- f_L(h_{L-1}) - beta dC/dh_L

    As in `Relaxation`, a layer is read again only if its input moved, and errors that are zero by construction are not sent back.

    Parameters
    ----------
    layers : sequence of Block
    projections : sequence of Projection
        One for each layer.
    x : (n, ...) array
        The input, held.

    Attributes
    ----------
    states : list of arrays
        From the input to the output.
    predictions, tapes : lists
        Of the latest read of every layer.

    References
    ----------
    Kerjan, Hoier and Scellier, arXiv 2606.03584, appendix A.
    """

    def __init__(self, layers: Sequence[Block], projections: Sequence[Projection], x: np.ndarray) -> None:
        self.layers, self.projections = layers, projections
        self.predictions, self.tapes = feed_forward(layers, x)
        self.states = [x, *self.predictions]
        self._moved = [False] * len(self.states)
        self._live = [False] * len(layers)

    def copy(self) -> Equilibration:
        """Another equilibration that goes on from here, with the reads that were done."""
        twin = Equilibration.__new__(Equilibration)
        twin.layers, twin.projections = self.layers, self.projections
        twin.states, twin.predictions, twin.tapes = list(self.states), list(self.predictions), list(self.tapes)
        twin._moved, twin._live = list(self._moved), list(self._live)
        return twin

    def place_output(self, output: np.ndarray) -> None:
        """Set the output; it stays there until it is set again."""
        self._place(len(self.layers), output)

    def sweep(self, parity: int) -> None:
        """Move all hidden states of even (0) or of odd (1) number, which do not see each other."""
        for number in range(2 - parity, len(self.layers), 2):
            self._move(number)

    def predict(self, index: int) -> np.ndarray:
        """The prediction of layer ``index`` (the first is 0), brought up to date with its input."""
        if self._moved[index]:
            self.predictions[index], self.tapes[index] = self.layers[index].forward(self.states[index])
            self._moved[index] = False
        return self.predictions[index]

    def errors(self) -> list[np.ndarray]:
        """The error e_k of every layer at the present states."""
        return [state - self.predict(index) for index, state in enumerate(self.states[1:])]

    def _place(self, number: int, state: np.ndarray) -> None:
        self.states[number] = state
        self._moved[number] = True
        for index in (number - 1, number):
            if index < len(self.layers):
                self._live[index] = True

    def _move(self, number: int) -> None:
        """One unit step of hidden state ``number``, which layer ``number`` - 1 predicts and layer ``number`` takes."""
        if not (self._live[number] or self._moved[number - 1]):
            return
        prediction = self.predict(number - 1)
        if self._live[number]:
            error = self.states[number + 1] - self.predict(number)
            feedback = self.layers[number].vjp(self.tapes[number], error)
        else:
            feedback = np.zeros_like(prediction)
        self._place(
            number, self.projections[number - 1].move(self.layers[number - 1], prediction, self.tapes[number - 1], feedback)
        )
