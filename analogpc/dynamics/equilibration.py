"""Equilibration of a predictive-coding network whose output is nudged: even states, then odd ones, in steps of unit size."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from analogpc.blocks import Activation, AnyBlock, Block, BlockSpecification, Chain, Flatten, MaxPool
from analogpc.blocks.activation import FUNCTIONS
from analogpc.blocks.chain import ChainBlock
from analogpc.devices.costs.schedule import at_once, work
from analogpc.dynamics.relaxation import feed_forward
from analogpc.kernels.memory import zeros
from analogpc.kernels.products import added, difference, negative

_RANGES = {
    "relu": (0.0, np.inf),
    "hard_sigmoid": (0.0, 1.0),
    "hard_tanh": (-1.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
}
_UNKNOWN = object()
_PROJECTIONS = ("relu", "hard_sigmoid", "hard_tanh")


class Projection:
    """Unit step of the state after a layer, with projection onto the range of its activation.

    The activation is the last operation of the layer, except max-pooling and reshaping, which commute with it. With the
    prediction mu = f(a), the pre-activation a and the feedback D, the moved state is

    - mu + D, clipped to the closed range of f where that is bounded (plain);
    - f(a + D) if f is itself such a projection: relu, hard_sigmoid or hard_tanh (modified). Units that are off stay off under
      small feedback. For any other f this would count its slope twice, so the step is plain.

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
        self._name, self._modified = name, modified and name in _PROJECTIONS

    def begin(self, layer: Block, tape: Any) -> tuple[np.ndarray, list[Any]] | None:
        """Return the pre-activation after pooling at a tape, and the tapes of the pooling; None for plain steps."""
        if not self._modified:
            return None
        blocks, place = self._placed(layer, tape)
        value, tapes = blocks[place][1], []
        for block, _ in blocks[place + 1 :]:
            value, there = block.forward(value)
            tapes.append(there)
        return value, tapes

    def shift(
        self,
        layer: Block,
        start: tuple[np.ndarray, list[Any]] | None,
        first: np.ndarray,
        gain: np.ndarray | None,
        before: np.ndarray | None,
        feedback: np.ndarray,
    ) -> np.ndarray:
        """Return the deviation of the moved state from the first one, to the relative precision of the change.

        Parameters
        ----------
        layer : Block
        start
            Result of `begin` at the first prediction.
        first : (n, *output_shape) array
            First prediction, equal to the initial state.
        gain : array or None
            Change of the prediction since then; None if unchanged.
        before : array or None
            Change of the pre-activation (see `before`).
        feedback : (n, *output_shape) array
        """
        if start is None:
            step = feedback if gain is None else added(gain, feedback)
            bounded = self._low > -np.inf or self._high < np.inf
            # Both the first and the moved state are within the range.
            return np.clip(step, self._low - first, self._high - first) if bounded else step
        value, tapes = start
        if before is not None:
            behind = _leaf_blocks(layer)[-self._after :] if self._after else []
            for block, own in zip(behind, tapes, strict=True):
                before, _ = block.shift(own, before)
            feedback = added(before, feedback)
        return FUNCTIONS[self._name].shift(value, added(value, feedback), feedback)

    def before(self, steps: Sequence[np.ndarray]) -> np.ndarray | None:
        """Select the step of the pre-activation from the steps before each block of a layer; None for plain steps."""
        return steps[len(steps) - self._after - 1] if self._modified else None

    def move(self, layer: Block, prediction: np.ndarray, tape: Any, feedback: np.ndarray) -> np.ndarray:
        """Return the state after one unit step, (n, *output_shape), given ``prediction`` and ``tape`` of the last read."""
        moved = (self._pre_activation(layer, tape) if self._modified else prediction) + feedback
        bounded = self._low > -np.inf or self._high < np.inf
        return np.clip(moved, self._low, self._high, out=moved) if bounded else moved

    def _pre_activation(self, layer: Block, tape: Any) -> np.ndarray:
        blocks, place = self._placed(layer, tape)
        value = blocks[place][1]
        for block, _ in blocks[place + 1 :]:
            value, _ = block.forward(value)
        return value

    def _placed(self, layer: Block, tape: Any) -> tuple[list[tuple[Block, Any]], int]:
        """Return the blocks of the layer with their tapes, and the index of the activation."""
        blocks = _built_leaves(layer, tape)
        return blocks, len(blocks) - self._after - 1


def _leaves(layer: BlockSpecification) -> list[BlockSpecification | AnyBlock]:
    return [leaf for block in layer.blocks for leaf in _leaves(block)] if isinstance(layer, Chain) else [layer]


def _built_leaves(layer: Block, tape: Any) -> list[tuple[Block, Any]]:
    if not isinstance(layer, ChainBlock):
        return [(layer, tape)]
    return [leaf for block, own in zip(layer.blocks, tape, strict=True) for leaf in _built_leaves(block, own)]


def _leaf_blocks(layer: Block) -> list[Block]:
    return [leaf for block in layer.blocks for leaf in _leaf_blocks(block)] if isinstance(layer, ChainBlock) else [layer]


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
    tapes : list
        Tapes of the last read of every layer.

    References
    ----------
    Kerjan, Hoier and Scellier, arXiv 2606.03584, appendix A.
    """

    def __init__(self, layers: Sequence[Block], projections: Sequence[Projection], x: np.ndarray) -> None:
        self.layers, self.projections = layers, projections
        self._first, self._first_tapes = feed_forward(layers, x)
        self._starts: list[Any] = [_UNKNOWN] * len(layers)
        self.tapes, self.states = list(self._first_tapes), [x, *self._first]
        self.deviations: list[np.ndarray | None] = [None] * len(self.states)
        # Change of each prediction and its pre-activation since the feed-forward pass; or the prediction, where it was read again.
        self._gains: list[np.ndarray | None] = [None] * len(layers)
        self._before: list[np.ndarray | None] = [None] * len(layers)
        self._reread: list[np.ndarray | None] = [None] * len(layers)
        self._moved = [False] * len(self.states)
        self._live = [False] * len(layers)

    def copy(self) -> Equilibration:
        """Return a copy that continues from the current states, with the existing reads."""
        twin = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, list) and name not in ("layers", "projections", "_first", "_first_tapes", "_starts"):
                setattr(twin, name, list(value))
        return twin

    def hold_output(self, step: np.ndarray) -> None:
        """Clamp the output at its initial value plus ``step``."""
        self._settle(len(self.layers), step)

    def pull_output(self, force: np.ndarray) -> None:
        """Set the output to its prediction plus ``force``."""
        last = len(self.layers) - 1
        self.predict(last)
        reread, gain = self._reread[last], self._gains[last]
        if reread is not None:
            self._place(last + 1, reread + force)
        else:
            self._settle(last + 1, force if gain is None else added(gain, force))

    def sweep(self, parity: int) -> None:
        """Update all even (0) or odd (1) hidden states, which are independent of each other."""
        for number in at_once(range(2 - parity, len(self.layers), 2)):
            self._move(number)

    def predict(self, index: int) -> None:
        """Update the prediction of layer ``index`` (from 0) for its current input."""
        if not self._moved[index]:
            return
        layer, deviation = self.layers[index], self.deviations[index]
        if layer.exact and deviation is not None:
            steps: list[np.ndarray] = []
            first, there = self._first_tapes[index], self.states[index]
            if isinstance(layer, ChainBlock):
                self._gains[index], self.tapes[index] = layer.shift(first, deviation, there, steps)
            else:
                self._gains[index], self.tapes[index] = layer.shift(first, deviation, there)
                steps.append(deviation)
            self._before[index] = self.projections[index].before(steps)
        else:
            self._reread[index], self.tapes[index] = layer.forward(self.states[index])
        self._moved[index] = False

    def errors(self) -> list[np.ndarray]:
        """Return the error e_k of every layer at the current states."""
        return [self._error(index) for index in at_once(range(len(self.layers)))]

    def _error(self, index: int) -> np.ndarray:
        self.predict(index)
        work("error", self.states[index + 1].size)
        reread, gain, deviation = self._reread[index], self._gains[index], self.deviations[index + 1]
        if reread is not None:
            return difference(self.states[index + 1], reread)
        if gain is None:
            return np.zeros_like(self._first[index]) if deviation is None else deviation
        return negative(gain) if deviation is None else difference(deviation, gain)

    def _settle(self, number: int, deviation: np.ndarray) -> None:
        self._put(number, deviation, added(self._first[number - 1], deviation))

    def _place(self, number: int, state: np.ndarray) -> None:
        self._put(number, difference(state, self._first[number - 1]), state)

    def _put(self, number: int, deviation: np.ndarray, state: np.ndarray) -> None:
        self.deviations[number], self.states[number] = deviation, state
        self._moved[number] = True
        for index in (number - 1, number):
            if index < len(self.layers):
                self._live[index] = True

    def _move(self, number: int) -> None:
        """Take a unit step of hidden state ``number``, the output of layer ``number`` - 1 and input of layer ``number``."""
        below = number - 1
        if not (self._live[number] or self._moved[below]):
            return
        # Both layers are read forward in parallel.
        for index in at_once((below, number) if self._live[number] else (below,)):
            self.predict(index)
        feedback = self._feedback(number) if self._live[number] else None
        layer, projection, reread, first = self.layers[below], self.projections[below], self._reread[below], self._first[below]
        work("step", first.size)
        feedback = zeros(first.shape, first.dtype, first) if feedback is None else feedback
        if reread is not None:
            self._place(number, projection.move(layer, reread, self.tapes[below], feedback))
            return
        if self._starts[below] is _UNKNOWN:
            self._starts[below] = projection.begin(layer, self._first_tapes[below])
        start, gain, before = self._starts[below], self._gains[below], self._before[below]
        self._settle(number, projection.shift(layer, start, first, gain, before, feedback))

    def _feedback(self, number: int) -> np.ndarray:
        """Return the error of layer ``number`` propagated to its input."""
        error = self._error(number)
        return self.layers[number].vjp(self.tapes[number], error)
