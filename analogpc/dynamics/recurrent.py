"""Networks of Hopfield type: states that see the layer below and the layer above through the two reads of one matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from analogpc.blocks import Block
from analogpc.blocks.chain import ChainBlock
from analogpc.blocks.initialisation import LinearBlock
from analogpc.blocks.pool import AvgPoolBlock
from analogpc.blocks.shape import FlattenBlock
from analogpc.devices.costs.schedule import at_once, work
from analogpc.dynamics.state_functions import STATE_FUNCTIONS, StateActivation
from analogpc.kernels.products import largest

Readout = Literal["linear", "activated", "softmax"]
Order = Literal["synchronous", "asynchronous"]
Array = np.ndarray

Force = Callable[["Recurrent"], Array]
"""What pulls at the output, or at a state: the negative gradient of beta times a loss, in their shape, at the present states."""


def primitive(layers: Sequence[Block], states: Sequence[Array]) -> float:
    """The scalar primitive function Phi = sum_n <s^n, layer_n(s^{n-1})>, summed over the batch, in float64.

    Parameters
    ----------
    layers : sequence of Block
    states : sequence of arrays
        From the input, s^0, on; as many as are given take part.

    References
    ----------
    Laborieux et al., Front. Neurosci. 15:633674 (2021): every layer is a dense product, or a convolution pooled by its maximum.
    """
    pairs = zip(layers, states, states[1:], strict=False)
    return float(sum((above.astype(np.float64) * layer.forward(below)[0]).sum() for layer, below, above in pairs))


def bends(block: Block) -> bool:
    """Whether the transpose of a layer depends on the state that it reads, as that of a pooling by a maximum, hard or soft, does."""
    if isinstance(block, ChainBlock):
        return any(bends(own) for own in block.blocks)
    return not isinstance(block, (LinearBlock, FlattenBlock, AvgPoolBlock))


@dataclass
class Reading:
    """A block, and its latest read of the state below it: none at first, and stale as soon as that moves."""

    block: Block
    value: Array | None = None
    tape: Any = None
    stale: bool = True


class Recurrent:
    """The states of a network of Hopfield type above a held input, and their relaxation s <- f(dPhi/ds).

    dPhi/ds^n is the forward read of layer n at s^{n-1} plus the transposed read of layer n + 1 at s^{n+1}, sent through the maxima
    that layer n + 1 has at the present s^n (or, if it pools softly, the derivative of that). Forward reads are repeated only if
    their input moved, and transposed reads of layers that are linear need none.

    Parameters
    ----------
    layers : sequence of Block
        Linear but for pooling; layer n, from 1 on, joins the states n - 1 and n.
    activation : StateActivation, or a sequence of them
        Of all states, or of each state after the input.
    readout : Readout
        Whether the last layer leads to a state, which is linear or activated like the others, or is only read, as logits.
    x : (n, ...) array
        The input, held.
    feedback : dict of Block by index of a layer (the first is 0)
        Layers that are not sent back through themselves, but through a block of their own of the same shapes: then nothing is the
        gradient of a primitive function, and the states follow a mere vector field.
    start : sequence of arrays
        Where the states after the input start; zeros if empty.

    Attributes
    ----------
    states : list of arrays
        The input, then all states.
    pulls : dict of Force by the number of a state
        Pulls at single states, besides the force at the output that is given to `step` and `relax`; none at first.
    """

    def __init__(
        self,
        layers: Sequence[Block],
        activation: StateActivation | Sequence[StateActivation],
        readout: Readout,
        x: Array,
        *,
        feedback: Mapping[int, Block] = MappingProxyType({}),
        start: Sequence[Array] = (),
    ) -> None:
        self.layers, self.readout = layers, readout
        counted = layers if readout != "softmax" else layers[:-1]
        names = [activation] * len(counted) if isinstance(activation, str) else activation
        self._functions = [STATE_FUNCTIONS[name] for name in names]
        self.states = [x, *(start or (np.zeros((len(x), *layer.output_shape), x.dtype, like=x) for layer in counted))]
        self.held = False
        self.pulls: dict[int, Force] = {}
        self._readings = [Reading(layer) for layer in layers]
        self._feedback = {index: Reading(block) for index, block in feedback.items()}

    def copy(self) -> Recurrent:
        """Another set of states that goes on from here, with the reads that were done."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update({n: v.copy() if isinstance(v, (list, dict)) else v for n, v in self.__dict__.items()})
        twin._readings = [replace(reading) for reading in self._readings]
        twin._feedback = {index: replace(reading) for index, reading in self._feedback.items()}
        return twin

    def read(self, index: int) -> tuple[Array, Any]:
        """The value and the tape of layer ``index`` (the first is 0) at the present state below it."""
        return self._fresh(self._readings[index], index)

    def feedback(self, index: int) -> tuple[Block, Any]:
        """The block through which layer ``index`` is sent back, and its tape at the present state below it."""
        reading = self._feedback.get(index, self._readings[index])
        return reading.block, self._fresh(reading, index)[1]

    @property
    def separate(self) -> tuple[int, ...]:
        """Indices of the layers that are sent back through a block of their own."""
        return tuple(self._feedback)

    def _fresh(self, reading: Reading, index: int) -> tuple[Array, Any]:
        if reading.stale or reading.value is None:
            reading.value, reading.tape = self._forward(reading.block, self.states[index])
            reading.stale = False
        return reading.value, reading.tape

    def send_back(self, index: int, g: Array) -> Array:
        """The transposed read of layer ``index`` at the present state below it: (n, *output_shape) -> (n, *input_shape)."""
        reading = self._feedback.get(index, self._readings[index])
        if reading.value is None or bends(reading.block):
            self._fresh(reading, index)
        return self._backward(reading.block, reading.tape, g)

    def forget_reads(self) -> None:
        """Read every layer anew when it is needed: the matrices have learnt."""
        for reading in (*self._readings, *self._feedback.values()):
            reading.stale = True

    def output(self) -> Array:
        """The output state, or the logits of the softmax."""
        return self.states[-1] if self.readout != "softmax" else self.read(len(self.layers) - 1)[0]

    def place(self, number: int, state: Array) -> None:
        """Set state ``number``."""
        self.states[number] = state
        for reading in (*self._readings[number : number + 1], *filter(None, [self._feedback.get(number)])):
            reading.stale = True

    def hold_output(self, output: Array) -> None:
        """Set the output state, and keep it from moving."""
        self.place(len(self.states) - 1, output)
        self.held = True

    def pre_activation(self, number: int, force: Force | None = None) -> Array:
        """dPhi/ds of state ``number`` at the present states, and what pulls there: inside the nonlinearity."""
        value, _ = self.read(number - 1)
        last = len(self.states) - 1
        if number < last:
            value = value + self.send_back(number, self.states[number + 1])
        elif force is not None:
            pulled = force(self)
            value = value + (pulled if self.readout != "softmax" else self.send_back(number, pulled))
        return value + self.pulls[number](self) if number in self.pulls else value

    def activated(self, number: int, pre_activation: Array) -> Array:
        """The state that a pre-activation leads to."""
        work("step", pre_activation.size)
        return pre_activation if self._linear(number) else self._functions[number - 1].value(pre_activation)

    def slope(self, number: int, pre_activation: Array) -> Array:
        """The derivative of `activated`."""
        return np.ones_like(pre_activation) if self._linear(number) else self._functions[number - 1].slope(pre_activation)

    def _linear(self, number: int) -> bool:
        return self.readout == "linear" and number == len(self.states) - 1

    def step(self, order: Order, force: Force | None = None) -> None:
        """Move all states once, all together or first those of odd and then those of even number."""
        free = range(1, len(self.states) - int(self.held))
        groups = [list(free)] if order == "synchronous" else [list(free[0::2]), list(free[1::2])]
        for group in groups:
            moved = [self.activated(number, self.pre_activation(number, force)) for number in at_once(group)]
            for number, state in zip(group, moved, strict=True):
                self.place(number, state)

    def relax(self, steps: int, order: Order, force: Force | None = None, tolerance: float = 0.0) -> int:
        """Step so many times, or until no value changes by more than a ``tolerance`` above 0; return the steps done."""
        for done in range(1, steps + 1):
            before = list(self.states)
            self.step(order, force)
            if tolerance > 0 and self.change(before) <= tolerance:
                return done
        return steps

    def change(self, before: Sequence[Array]) -> float:
        """The largest change of a value of the states since they were ``before``."""
        return max(
            (largest(state - old) for state, old in zip(self.states, before, strict=True) if state is not old), default=0.0
        )

    def _forward(self, layer: Block, state: Array) -> tuple[Array, Any]:
        return layer.forward(state)

    def _backward(self, layer: Block, tape: Any, g: Array) -> Array:
        return layer.vjp(tape, g)
