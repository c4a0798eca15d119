"""Hopfield networks: states coupled to the layers below and above through the two reads of one matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from analogpc.blocks import Block
from analogpc.devices.costs.schedule import at_once, work
from analogpc.dynamics.readings import Reading
from analogpc.dynamics.state_functions import STATE_FUNCTIONS, StateActivation
from analogpc.kernels.memory import zeros
from analogpc.kernels.products import added, largest

Readout = Literal["linear", "activated", "softmax"]
Order = Literal["synchronous", "asynchronous"]
Array = np.ndarray

Force = Callable[["Recurrent"], Array]
"""Force at the output or a state: the negative gradient of beta times a loss, in the same shape, at the current states."""


def primitive(layers: Sequence[Block], states: Sequence[Array]) -> float:
    """Compute the scalar primitive function Phi = sum_n <s^n, layer_n(s^{n-1})>, summed over the batch, in float64.

    Parameters
    ----------
    layers : sequence of Block
    states : sequence of arrays
        States from the input s^0 on; the sum covers the given states.

    References
    ----------
    Laborieux et al., Front. Neurosci. 15:633674 (2021): every layer is a dense product, or a convolution pooled by its maximum.
    """
    pairs = zip(layers, states, states[1:], strict=False)
    return float(sum((above.astype(np.float64) * layer.forward(below)[0]).sum() for layer, below, above in pairs))


class Recurrent:
    """States of a Hopfield network with a clamped input, and their relaxation s <- f(dPhi/ds).

    dPhi/ds^n is the forward read of layer n at s^{n-1} plus the transposed read of layer n + 1 at s^{n+1}, through the maxima
    of layer n + 1 at the current s^n (for soft pooling, its derivative). Forward reads are repeated only if
    their input changed, and transposed reads of linear layers need none.

    Parameters
    ----------
    layers : sequence of Block
        Layers, linear except for pooling; layer n, from 1, couples the states n - 1 and n.
    activation : StateActivation, or a sequence of them
        Activation of all states, or of each state after the input.
    readout : Readout
        Role of the last layer: it leads to a linear or activated state, or is only read, as logits.
    x : (n, ...) array
        Clamped input.
    feedback : dict of Block by index of a layer (the first is 0)
        Layers whose feedback uses a separate block of the same shapes instead of their transpose: the dynamics are then not the
        gradient of a primitive function, but a general vector field.
    start : sequence of arrays
        Initial states after the input; zeros if empty.
    skips : dict of Block by (number of the state below, number of the state above)
        Couplings past a state: Phi also contains <s^above, block(s^below)> for each.

    Attributes
    ----------
    states : list of arrays
        Input and all states.
    pulls : dict of Force by the number of a state
        Forces at single states, in addition to the output force passed to `step` and `relax`; initially none.
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
        skips: Mapping[tuple[int, int], Block] = MappingProxyType({}),
    ) -> None:
        self.layers, self.readout = layers, readout
        counted = layers if readout != "softmax" else layers[:-1]
        names = [activation] * len(counted) if isinstance(activation, str) else activation
        self._functions = [STATE_FUNCTIONS[name] for name in names]
        self.states = [x, *(start or (zeros((len(x), *layer.output_shape), x.dtype, x) for layer in counted))]
        self.held = False
        self.pulls: dict[int, Force] = {}
        self._readings = [Reading(layer) for layer in layers]
        self._feedback = {index: Reading(block) for index, block in feedback.items()}
        self._skips = {ends: Reading(block) for ends, block in skips.items()}

    def copy(self) -> Recurrent:
        """Return a copy that continues from the current states, with the existing reads."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update({n: v.copy() if isinstance(v, (list, dict)) else v for n, v in self.__dict__.items()})
        twin._readings = [reading.copy() for reading in self._readings]
        twin._feedback = {index: reading.copy() for index, reading in self._feedback.items()}
        twin._skips = {ends: reading.copy() for ends, reading in self._skips.items()}
        return twin

    def read(self, index: int) -> tuple[Array, Any]:
        """Return value and tape of layer ``index`` (from 0) at the current state below it."""
        return self._fresh(self._readings[index], index)

    def feedback(self, index: int) -> tuple[Block, Any]:
        """Return the feedback block of layer ``index``, and its tape at the current state below it."""
        reading = self._feedback.get(index, self._readings[index])
        return reading.layer, self._fresh(reading, index)[1]

    @property
    def separate(self) -> tuple[int, ...]:
        """Indices of the layers with a separate feedback block."""
        return tuple(self._feedback)

    def _fresh(self, reading: Reading, index: int) -> tuple[Array, Any]:
        return reading.refresh(lambda: self._forward(reading.layer, self.states[index]))

    def send_back(self, index: int, g: Array) -> Array:
        """Return the transposed read of layer ``index`` at the current state below it: (n, *output_shape) -> (n, *input_shape)."""
        return self._returned(self._feedback.get(index, self._readings[index]), index, g)

    def _returned(self, reading: Reading, index: int, g: Array) -> Array:
        if reading.value is None or not reading.layer.affine:
            self._fresh(reading, index)
        return self._backward(reading.layer, reading.tape, g)

    def skips(self) -> list[tuple[int, int, Block, Any]]:
        """Return state below, state above, block, and tape at the current state below of all couplings past a state."""
        return [(below, above, one.layer, self._fresh(one, below)[1]) for (below, above), one in self._skips.items()]

    def forget_reads(self) -> None:
        """Mark all reads stale after a weight update."""
        for reading in (*self._readings, *self._feedback.values(), *self._skips.values()):
            reading.stale = True

    def output(self) -> Array:
        """Output state, or logits of the softmax."""
        return self.states[-1] if self.readout != "softmax" else self.read(len(self.layers) - 1)[0]

    def place(self, number: int, state: Array) -> None:
        """Set state ``number``."""
        self.states[number] = state
        past = [reading for (below, _), reading in self._skips.items() if below == number]
        for reading in (*self._readings[number : number + 1], *filter(None, [self._feedback.get(number)]), *past):
            reading.stale = True

    def hold_output(self, output: Array) -> None:
        """Clamp the output state."""
        self.place(len(self.states) - 1, output)
        self.held = True

    def pre_activation(self, number: int, force: Force | None = None) -> Array:
        """Return the argument of the nonlinearity: dPhi/ds of state ``number`` at the current states, plus the forces there."""
        value, _ = self.read(number - 1)
        last = len(self.states) - 1
        if number < last:
            value = _sum(value, self.send_back(number, self.states[number + 1]))
        elif force is not None:
            pulled = force(self)
            value = _sum(value, pulled if self.readout != "softmax" else self.send_back(number, pulled))
        for (below, above), reading in self._skips.items():
            if number == above:
                value = _sum(value, self._fresh(reading, below)[0])
            elif number == below:
                value = _sum(value, self._returned(reading, below, self.states[above]))
        return _sum(value, self.pulls[number](self)) if number in self.pulls else value

    def activated(self, number: int, pre_activation: Array) -> Array:
        """Return the state for a pre-activation."""
        work("step", pre_activation.size)
        return pre_activation if self._linear(number) else self._functions[number - 1].value(pre_activation)

    def slope(self, number: int, pre_activation: Array) -> Array:
        """Return the derivative of `activated`."""
        return np.ones_like(pre_activation) if self._linear(number) else self._functions[number - 1].slope(pre_activation)

    def _linear(self, number: int) -> bool:
        return self.readout == "linear" and number == len(self.states) - 1

    def step(self, order: Order, force: Force | None = None) -> None:
        """Update all states once: together, or odd states and then even states."""
        free = range(1, len(self.states) - int(self.held))
        groups = [list(free)] if order == "synchronous" else [list(free[0::2]), list(free[1::2])]
        for group in groups:
            moved = [self.activated(number, self.pre_activation(number, force)) for number in at_once(group)]
            for number, state in zip(group, moved, strict=True):
                self.place(number, state)

    def relax(self, steps: int, order: Order, force: Force | None = None, tolerance: float = 0.0) -> int:
        """Take up to ``steps`` steps, or until no value changes by more than a positive ``tolerance``; return the number of steps."""
        for done in range(1, steps + 1):
            before = list(self.states)
            self.step(order, force)
            if tolerance > 0 and self.change(before) <= tolerance:
                return done
        return steps

    def change(self, before: Sequence[Array]) -> float:
        """Return the largest change of a state value relative to ``before``."""
        return max(
            (largest(state - old) for state, old in zip(self.states, before, strict=True) if state is not old), default=0.0
        )

    def _forward(self, layer: Block, state: Array) -> tuple[Array, Any]:
        return layer.forward(state)

    def _backward(self, layer: Block, tape: Any, g: Array) -> Array:
        return layer.vjp(tape, g)


def _sum(a: Array, b: Array) -> Array:
    """Return a + b; one of them may be complex."""
    return added(a, b) if a.dtype == b.dtype and a.shape == b.shape else a + b
