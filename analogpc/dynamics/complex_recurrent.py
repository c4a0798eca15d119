"""Complex states of Hopfield networks, for holomorphic equilibrium propagation."""

from __future__ import annotations

from typing import Any

import numpy as np
from typing_extensions import override

from analogpc.blocks import Block, Product
from analogpc.blocks.chain import ChainBlock
from analogpc.dynamics.recurrent import Array, Reading, Recurrent


class ComplexRecurrent(Recurrent):
    """Complex states; matrices are read with real and imaginary parts side by side.

    Blocks without matrices, such as pooling, process complex arrays directly and must be holomorphic. The tape of a block with
    matrices is that of both parts: a batch of twice the length, after one sample of zeros.
    """

    @override
    def _forward(self, layer: Block, state: Array) -> tuple[Array, Any]:
        if isinstance(layer, ChainBlock):
            tapes = []
            for block in layer.blocks:
                state, tape = self._forward(block, state)
                tapes.append(tape)
            return state, tapes
        if not layer.matrices:
            return layer.forward(state)
        value, tape = layer.forward(_parts(state))
        n = len(state)
        # The sample of zeros gives the bias, which is real.
        return value[1 : n + 1] + 1j * (value[n + 1 :] - value[:1]), tape

    @override
    def _backward(self, layer: Block, tape: Any, g: Array) -> Array:
        if isinstance(layer, ChainBlock):
            for block, own in zip(reversed(layer.blocks), reversed(tape), strict=True):
                g = self._backward(block, own, g)
            return g
        if not layer.matrices:
            return layer.vjp(tape, g)
        back = layer.vjp(tape, _parts(g))
        return back[1 : len(g) + 1] + 1j * back[len(g) + 1 :]

    @classmethod
    def continued(cls, real: Recurrent) -> ComplexRecurrent:
        """Create complex states from real ones."""
        twin = cls.__new__(cls)
        twin.__dict__.update(real.copy().__dict__)
        twin.states = [state.astype(np.result_type(state.dtype, np.complex64)) for state in real.states]
        twin._readings = [Reading(layer) for layer in real.layers]
        twin._feedback = {index: Reading(reading.block) for index, reading in real._feedback.items()}
        return twin

    def products(self, index: int, post: Array) -> list[Product]:
        """Return the products of layer ``index``, whose sums are the real part of post pre^T, without conjugation.

        Parameters
        ----------
        index : int
            Index of the layer, from 0.
        post : (n, *output_shape) complex array
        """
        return self._products(self.layers[index], self.read(index)[1], post)

    def _products(self, layer: Block, tape: Any, post: Array) -> list[Product]:
        if not isinstance(layer, ChainBlock):
            return list(layer.products(tape, _doubled(post))) if layer.matrices else []
        learning = [index for index, block in enumerate(layer.blocks) if block.matrices]
        learnt: list[list[Product]] = []
        for index in range(len(layer.blocks) - 1, min(learning, default=len(layer.blocks)) - 1, -1):
            learnt.append(self._products(layer.blocks[index], tape[index], post))
            if index > learning[0]:
                post = self._backward(layer.blocks[index], tape[index], post)
        return [product for products in reversed(learnt) for product in products]


def _parts(values: Array) -> Array:
    return np.concatenate([np.zeros_like(values.real[:1]), values.real, values.imag])


def _doubled(post: Array) -> Array:
    """Return postsynaptic values for the tape of a read, whose products are the real part of post pre^T.

    (p + ip') (q + iq') has the real part pq - p'q'. The bias, whose input is the same 1 for all samples, must not learn from
    imaginary parts; the sample of zeros, which affects nothing else, compensates them.
    """
    return np.concatenate([post.imag.sum(axis=0, keepdims=True), post.real, -post.imag])
