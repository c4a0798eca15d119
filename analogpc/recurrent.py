"""Networks of Hopfield type: states that see the layer below and the layer above through the two reads of one matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from analogpc.blocks import Block
from analogpc.blocks.chain import ChainBlock
from analogpc.blocks.pool import MaxPoolBlock

StateActivation = Literal[
    "hard_sigmoid", "half_hard_sigmoid", "centred_hard_sigmoid", "steep_sigmoid", "soft_half_sigmoid", "tanh"
]
"""Nonlinearities of the states.

- "hard_sigmoid": clip(x, 0, 1).
- "half_hard_sigmoid": clip(x / 2, 0, 1).
- "centred_hard_sigmoid": clip(x, -1/2, 1/2).
- "steep_sigmoid": 1 / (1 + exp(-4 (x - 1/2))).
- "soft_half_sigmoid": (x/2) s(x) + (1 - x/2) s(x - 2) with the logistic function s: a holomorphic clip(x / 2, 0, 1).
- "tanh".

The first four and the last are those of the code of Laborieux et al. (Front. Neurosci. 15:633674, 2021), the fifth is that of
Laborieux and Zenke (NeurIPS 2022). The slope of a clip at its ends counts as that within.
"""
Readout = Literal["linear", "activated", "softmax"]
Order = Literal["synchronous", "asynchronous"]
Array = np.ndarray


@dataclass(frozen=True)
class StateFunction:
    """A nonlinearity and its slope, both of the pre-activation; whether it also takes complex numbers."""

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    holomorphic: bool = False


def _logistic(z: Array) -> Array:
    # By tanh, which overflows nowhere on the real line and takes complex numbers.
    return 0.5 * (1 + np.tanh(0.5 * z))


def _logistic_slope(z: Array) -> Array:
    y = _logistic(z)
    return y * (1 - y)


def _clip(low: float, high: float, factor: float) -> StateFunction:
    return StateFunction(
        lambda x: np.clip(x.dtype.type(factor) * x, low, high),
        lambda x: np.where((factor * x >= low) & (factor * x <= high), x.dtype.type(factor), x.dtype.type(0)),
    )


def _soft_half(z: Array) -> Array:
    return 0.5 * z * _logistic(z) + (1 - 0.5 * z) * _logistic(z - 2)


def _soft_half_slope(z: Array) -> Array:
    rising = 0.5 * _logistic(z) + 0.5 * z * _logistic_slope(z)
    return rising - 0.5 * _logistic(z - 2) + (1 - 0.5 * z) * _logistic_slope(z - 2)


STATE_FUNCTIONS: dict[str, StateFunction] = {
    "hard_sigmoid": _clip(0, 1, 1),
    "half_hard_sigmoid": _clip(0, 1, 0.5),
    "centred_hard_sigmoid": _clip(-0.5, 0.5, 1),
    "steep_sigmoid": StateFunction(lambda x: _logistic(4 * x - 2), lambda x: 4 * _logistic_slope(4 * x - 2), True),
    "soft_half_sigmoid": StateFunction(_soft_half, _soft_half_slope, True),
    "tanh": StateFunction(np.tanh, lambda x: 1 - np.tanh(x) ** 2, True),
}
"""By `StateActivation`."""

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
    return float(sum(np.sum(above.astype(np.float64) * layer.forward(below)[0]) for layer, below, above in pairs))


def pools(block: Block) -> bool:
    """Whether the transpose of a layer depends on where its maxima are."""
    return any(pools(own) for own in block.blocks) if isinstance(block, ChainBlock) else isinstance(block, MaxPoolBlock)


class Recurrent:
    """The states of a network of Hopfield type above a held input, and their relaxation s <- f(dPhi/ds).

    dPhi/ds^n is the forward read of layer n at s^{n-1} plus the transposed read of layer n + 1 at s^{n+1}, sent through the maxima
    that layer n + 1 has at the present s^n. States start at zero. Forward reads are repeated only if their input moved, and
    transposed reads of layers that do not pool need none.

    Parameters
    ----------
    layers : sequence of Block
        Linear but for max-pooling; layer n, from 1 on, joins the states n - 1 and n.
    activation : StateActivation
    readout : Readout
        Whether the last layer leads to a state, which is linear or activated like the others, or is only read, as logits.
    x : (n, ...) array
        The input, held.

    Attributes
    ----------
    states : list of arrays
        The input, then all states.
    pulls : dict of Force by the number of a state
        Pulls at single states, besides the force at the output that is given to `step` and `relax`; none at first.
    """

    def __init__(self, layers: Sequence[Block], activation: StateActivation, readout: Readout, x: Array) -> None:
        self.layers, self.readout = layers, readout
        self.function = STATE_FUNCTIONS[activation]
        counted = layers if readout != "softmax" else layers[:-1]
        self.states = [x, *(np.zeros((len(x), *layer.output_shape), x.dtype) for layer in counted)]
        self.held = False
        self.pulls: dict[int, Force] = {}
        self._values: list[Array] = [x] * len(layers)
        self._tapes: list[Any] = [None] * len(layers)
        self._stale = [True] * len(layers)
        self._read_once = [False] * len(layers)
        self._pools = [pools(layer) for layer in layers]

    def copy(self) -> Recurrent:
        """Another set of states that goes on from here, with the reads that were done."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update({n: v.copy() if isinstance(v, (list, dict)) else v for n, v in self.__dict__.items()})
        return twin

    def read(self, index: int) -> tuple[Array, Any]:
        """The value and the tape of layer ``index`` (the first is 0) at the present state below it."""
        if self._stale[index]:
            self._values[index], self._tapes[index] = self._forward(self.layers[index], self.states[index])
            self._stale[index], self._read_once[index] = False, True
        return self._values[index], self._tapes[index]

    def send_back(self, index: int, g: Array) -> Array:
        """The transposed read of layer ``index`` at the present state below it: (n, *output_shape) -> (n, *input_shape)."""
        if self._pools[index] or not self._read_once[index]:
            self.read(index)
        return self._backward(self.layers[index], self._tapes[index], g)

    def forget_reads(self) -> None:
        """Read every layer anew when it is needed: the matrices have learnt."""
        self._stale = [True] * len(self.layers)

    def output(self) -> Array:
        """The output state, or the logits of the softmax."""
        return self.states[-1] if self.readout != "softmax" else self.read(len(self.layers) - 1)[0]

    def place(self, number: int, state: Array) -> None:
        """Set state ``number``."""
        self.states[number] = state
        if number < len(self.layers):
            self._stale[number] = True

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
        linear = self.readout == "linear" and number == len(self.states) - 1
        return pre_activation if linear else self.function.value(pre_activation)

    def slope(self, number: int, pre_activation: Array) -> Array:
        """The derivative of `activated`."""
        linear = self.readout == "linear" and number == len(self.states) - 1
        return np.ones_like(pre_activation) if linear else self.function.slope(pre_activation)

    def step(self, order: Order, force: Force | None = None) -> float:
        """Move all states once, all together or first those of odd and then those of even number.

        Returns
        -------
        float
            The largest change of a value.
        """
        free = range(1, len(self.states) - int(self.held))
        groups = [list(free)] if order == "synchronous" else [list(free[0::2]), list(free[1::2])]
        largest = 0.0
        for group in groups:
            moved = [self.activated(number, self.pre_activation(number, force)) for number in group]
            for number, state in zip(group, moved, strict=True):
                largest = max(largest, float(np.abs(state - self.states[number]).max(initial=0.0)))
                self.place(number, state)
        return largest

    def relax(self, steps: int, order: Order, force: Force | None = None, tolerance: float = 0.0) -> int:
        """Step so many times, or until no value changes by more than a ``tolerance`` above 0; return the steps done."""
        for done in range(1, steps + 1):
            if self.step(order, force) <= tolerance and tolerance > 0:
                return done
        return steps

    def _forward(self, layer: Block, state: Array) -> tuple[Array, Any]:
        return layer.forward(state)

    def _backward(self, layer: Block, tape: Any, g: Array) -> Array:
        return layer.vjp(tape, g)


class ComplexRecurrent(Recurrent):
    """Complex states over matrices that are read with their real and imaginary parts, one beside the other.

    Layers must not pool. The tape is that of the two parts, of the same batch twice as long with one sample of zeros in front.
    """

    def _forward(self, layer: Block, state: Array) -> tuple[Array, Any]:
        parts = np.concatenate([np.zeros_like(state.real[:1]), state.real, state.imag])
        value, tape = layer.forward(parts)
        n = len(state)
        # The sample of zeros gives the bias, which is real.
        return value[1 : n + 1] + 1j * (value[n + 1 :] - value[:1]), tape

    def _backward(self, layer: Block, tape: Any, g: Array) -> Array:
        back = layer.vjp(tape, np.concatenate([np.zeros_like(g.real[:1]), g.real, g.imag]))
        return back[1 : len(g) + 1] + 1j * back[len(g) + 1 :]

    @classmethod
    def continued(cls, real: Recurrent) -> ComplexRecurrent:
        """Complex states that start from real ones."""
        twin = cls.__new__(cls)
        twin.__dict__.update(real.copy().__dict__)
        twin.states = [state.astype(np.result_type(state.dtype, np.complex64)) for state in real.states]
        twin.forget_reads()
        twin._read_once = [False] * len(real.layers)
        return twin

    def doubled(self, post: Array) -> Array:
        """Postsynaptic values for the tape of a read, whose products are the real part of post pre^T.

        (p + ip') (q + iq') has the real part pq - p'q'. The bias, whose input is the same 1 for all samples, must not learn from the
        imaginary parts; the sample of zeros, from which nothing else learns, makes up for them.
        """
        return np.concatenate([post.imag.sum(axis=0, keepdims=True), post.real, -post.imag])
