"""Complex states of Hopfield networks, for holomorphic equilibrium propagation."""

from __future__ import annotations

from typing import Any

import numpy as np
from typing_extensions import override

from analogpc.blocks import Block, Product
from analogpc.dynamics.readings import Reading
from analogpc.dynamics.recurrent import Array, Recurrent


class ComplexRecurrent(Recurrent):
    """Complex states; matrices are read with real and imaginary parts side by side.

    Blocks without matrices, such as pooling, process complex arrays directly and must be holomorphic. The tape of a block with
    matrices is that of both parts: a batch of twice the length, after one sample of zeros.
    """

    @override
    def _forward(self, layer: Block, state: Array) -> tuple[Array, Any]:
        tapes = []
        for block in layer.leaves():
            state, tape = _forward(block, state)
            tapes.append(tape)
        return state, tapes

    @override
    def _backward(self, layer: Block, tape: Any, g: Array) -> Array:
        for block, own in zip(reversed(layer.leaves()), reversed(tape), strict=True):
            g = _backward(block, own, g)
        return g

    @classmethod
    def continued(cls, real: Recurrent) -> ComplexRecurrent:
        """Create complex states from real ones."""
        twin = cls.__new__(cls)
        twin.__dict__.update(real.copy().__dict__)
        twin.states = [state.astype(np.result_type(state.dtype, np.complex64)) for state in real.states]
        twin._readings = [Reading(layer) for layer in real.layers]
        twin._feedback = {index: Reading(reading.layer) for index, reading in real._feedback.items()}
        twin._skips = {ends: Reading(reading.layer) for ends, reading in real._skips.items()}
        return twin

    def products(self, index: int, post: Array) -> list[Product]:
        """Return the products of layer ``index``, whose sums are the real part of post pre^T, without conjugation.

        Parameters
        ----------
        index : int
            Index of the layer, from 0.
        post : (n, *output_shape) complex array
        """
        blocks, tapes = self.layers[index].leaves(), self.read(index)[1]
        lowest = next((place for place, block in enumerate(blocks) if block.matrices), len(blocks))
        learnt: list[list[Product]] = []
        for place in range(len(blocks) - 1, lowest - 1, -1):
            block, tape = blocks[place], tapes[place]
            if block.matrices:
                learnt.append(list(block.products(tape, _doubled(post))))
            if place > lowest:
                post = _backward(block, tape, post)
        return [product for products in reversed(learnt) for product in products]


def _forward(block: Block, state: Array) -> tuple[Array, Any]:
    if not block.matrices:
        return block.forward(state)
    value, tape = block.forward(_parts(state))
    n = len(state)
    # The sample of zeros gives the bias, which is real.
    return value[1 : n + 1] + 1j * (value[n + 1 :] - value[:1]), tape


def _backward(block: Block, tape: Any, g: Array) -> Array:
    if not block.matrices:
        return block.vjp(tape, g)
    back = block.vjp(tape, _parts(g))
    return back[1 : len(g) + 1] + 1j * back[len(g) + 1 :]


def _parts(values: Array) -> Array:
    return np.concatenate([np.zeros_like(values.real[:1]), values.real, values.imag])


def _doubled(post: Array) -> Array:
    """Return postsynaptic values for the tape of a read, whose products are the real part of post pre^T.

    (p + ip') (q + iq') has the real part pq - p'q'. The bias, whose input is the same 1 for all samples, must not learn from
    imaginary parts; the sample of zeros, which affects nothing else, compensates them.
    """
    return np.concatenate([post.imag.sum(axis=0, keepdims=True), post.real, -post.imag])
