"""Last reads of layers, repeated only if the input or the weights of a layer changed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from analogpc.blocks import Block
from analogpc.kernels.memory import zeros
from analogpc.kernels.products import added, difference, negative


@dataclass
class Reading:
    """A layer and its last read of the state below: initially none.

    Attributes
    ----------
    layer : Block
    value : array or None
        Output of the last read.
    tape
        Tape of the last read.
    stale : bool
        Whether the layer has to be read again: its input or its weights changed.
    """

    layer: Block
    value: np.ndarray | None = None
    tape: Any = None
    stale: bool = True

    def copy(self) -> Self:
        """Return an independent copy with the same read."""
        return copy.copy(self)

    def refresh(self, read: Callable[[], tuple[np.ndarray, Any]]) -> tuple[np.ndarray, Any]:
        """Return value and tape of the present input, by ``read`` if the last ones are stale."""
        if self.stale or self.value is None:
            self.value, self.tape = read()
            self.stale = False
        return self.value, self.tape


class ShiftedReading(Reading):
    """A layer and its last read, stored as a change since the feed-forward pass wherever the layer is `Block.exact`.

    Parameters
    ----------
    layer : Block
    first, tape
        Output and tape of the layer in the feed-forward pass.
    select : function
        Takes the steps before each block of the layer (see `Block.shift_in_steps`) and returns what is kept of them as ``selected``.

    Attributes
    ----------
    first, first_tape
        As given.
    gain : array or None
        Change of the output since the feed-forward pass; None if unchanged or unknown.
    value : array or None
        Output, where the layer was read again as a whole; otherwise None.
    learnt : bool
        Whether the weights changed since the feed-forward pass.
    """

    def __init__(
        self,
        layer: Block,
        first: np.ndarray,
        tape: Any,
        select: Callable[[Sequence[np.ndarray]], np.ndarray | None] | None = None,
    ) -> None:
        super().__init__(layer, None, tape, False)
        self.first, self.first_tape, self._select = first, tape, select
        self._exact, self.steady = layer.exact, layer.steady
        self.learnt = False
        self.gain: np.ndarray | None = None
        self.selected: np.ndarray | None = None

    def rewind(self) -> None:
        """Return to the output and tape of the feed-forward pass, as another evaluation."""
        self.tape, self.gain, self.value, self.selected = self.first_tape, None, None, None
        self.layer.again(self.tape)

    def update(self, state: np.ndarray, deviation: np.ndarray | None) -> None:
        """Read the layer at an input whose deviation from the feed-forward pass is given; None if it is unchanged."""
        if not (self._exact and not self.learnt and deviation is not None):
            self.value, self.tape = self.layer.forward(state)
        elif self._select is None:
            self.gain, self.tape = self.layer.shift(self.first_tape, deviation, state)
        else:
            self.gain, self.tape, steps = self.layer.shift_in_steps(self.first_tape, deviation, state)
            self.selected = self._select(steps)
        self.stale = False

    @property
    def prediction(self) -> np.ndarray:
        """Output of the last read."""
        if self.value is not None:
            return self.value
        return self.first if self.gain is None else added(self.first, self.gain)

    def error(self, state: np.ndarray, deviation: np.ndarray | None) -> np.ndarray:
        """Return the difference between the state that the layer predicts and its output.

        Parameters
        ----------
        state : (n, *output_shape) array
        deviation : array or None
            Deviation of the state from the feed-forward pass; None if it is unchanged.
        """
        if self.value is not None:
            return difference(state, self.value)
        if self.gain is None:
            return zeros(self.first.shape, self.first.dtype, self.first) if deviation is None else deviation
        return negative(self.gain) if deviation is None else difference(deviation, self.gain)
