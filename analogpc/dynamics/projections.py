"""Unit steps of states, projected onto the range of the activation of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analogpc.blocks import Block, BlockSpecification
from analogpc.blocks.activation import FUNCTIONS
from analogpc.kernels.activations import clip
from analogpc.kernels.products import added

_RANGES = {
    "relu": (0.0, np.inf),
    "hard_sigmoid": (0.0, 1.0),
    "hard_tanh": (-1.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
}
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
        leaves = layer.leaves()
        self._after = 0
        while leaves and leaves[-1].commutes:
            leaves.pop()
            self._after += 1
        name = leaves[-1].nonlinearity if leaves else ""
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
            behind = layer.leaves()[-self._after :] if self._after else []
            for block, own in zip(behind, tapes, strict=True):
                before, _ = block.shift(own, before)
            feedback = added(before, feedback)
        return FUNCTIONS[self._name].shift(value, added(value, feedback), feedback)

    def before(self, steps: Sequence[np.ndarray]) -> np.ndarray | None:
        """Select the step of the pre-activation from the steps before each block of a layer; None for plain steps."""
        return steps[len(steps) - self._after - 1] if self._modified else None

    def move(self, layer: Block, prediction: np.ndarray, tape: Any, feedback: np.ndarray) -> np.ndarray:
        """Return the state after one unit step, (n, *output_shape), given ``prediction`` and ``tape`` of the last read."""
        moved = added(self._pre_activation(layer, tape) if self._modified else prediction, feedback)
        bounded = self._low > -np.inf or self._high < np.inf
        return clip(moved, self._low, self._high) if bounded else moved

    def _pre_activation(self, layer: Block, tape: Any) -> np.ndarray:
        blocks, place = self._placed(layer, tape)
        value = blocks[place][1]
        for block, _ in blocks[place + 1 :]:
            value, _ = block.forward(value)
        return value

    def _placed(self, layer: Block, tape: Any) -> tuple[list[tuple[Block, Any]], int]:
        """Return the blocks of the layer with their tapes, and the index of the activation."""
        blocks = list(zip(layer.leaves(), layer.leaf_tapes(tape), strict=True))
        return blocks, len(blocks) - self._after - 1
