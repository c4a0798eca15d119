"""Traces that the layers of a Hopfield network keep of a phase, and learning from two phases."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analogpc.blocks import Block, Product
from analogpc.devices.costs.schedule import at_once
from analogpc.devices.matrix import TwoPhases
from analogpc.dynamics.recurrent import Recurrent
from analogpc.rules.base import Apply


@dataclass
class Traces:
    """Data of one phase from which every layer learns.

    Attributes
    ----------
    layers : list of Block
    parts : list of (tape, post)
        Tape of every layer, and the state above it, or the error of a read-out; None for layers that do not learn.
    returns : dict of (block, tape) by index of the layer
        Separate feedback block of a layer, and its tape at the state below.
    """

    layers: list[Block]
    parts: list[tuple[Any, np.ndarray] | None]
    returns: dict[int, tuple[Block, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, states: Recurrent, pulled: np.ndarray | None) -> Traces:
        """Return the traces of the current states; ``pulled`` is the force at a softmax read-out, if there is one."""
        posts: list[np.ndarray | None] = [*states.states[1:]]
        if states.readout == "softmax":
            posts.append(pulled)
        parts = [None if post is None else (states.read(index)[1], post) for index, post in enumerate(posts)]
        layers = list(states.layers)
        for _, above, block, tape in states.skips():
            layers.append(block)
            parts.append((tape, states.states[above]))
        return cls(layers, parts, {index: states.feedback(index) for index in states.separate})

    def part(self, index: int) -> tuple[Any, np.ndarray]:
        """Return tape and post of one layer that learns."""
        part = self.parts[index]
        if part is None:
            raise ValueError(f"layer {index + 1} has nothing to learn from in this phase")
        return part

    def products(self, index: int, sign: float = 1) -> Iterable[Product]:
        """Return the products of one layer, with post times ``sign``; empty for layers that do not learn."""
        if self.parts[index] is None:
            return ()
        tape, post = self.part(index)
        return self.layers[index].products(tape, post if sign == 1 else post.dtype.type(sign) * post)

    def returned(self, index: int, above: np.ndarray) -> Iterable[Product]:
        """Return the products of the feedback block of one layer, with the current state below and the state ``above``."""
        block, tape = self.returns[index]
        return block.products(tape, above)


def learn_contrast(apply: Apply, plus: Traces, minus: Traces, gain: float) -> None:
    """Update every layer by dPhi/dW of ``plus`` minus that of ``minus``, times ``gain``."""
    for index in at_once(range(len(plus.layers))):
        _learn_layer(apply, plus, minus, index, gain)


def _learn_layer(apply: Apply, plus: Traces, minus: Traces, index: int, gain: float) -> None:
    if minus.parts[index] is None:
        apply(plus.products(index), gain)
    elif plus.parts[index] is None:
        apply(minus.products(index, -1), gain)
    else:
        apply(TwoPhases(plus.products(index), minus.products(index)), gain)


def learn_vector_field(apply: Apply, plus: Traces, minus: Traces, base: Traces, joined: int, gain: float) -> None:
    """Update the layers without a primitive function: presynaptic states of ``base`` times differences of postsynaptic states.

    Forward weights learn pre(base) x (post(plus) - post(minus)), where post is the state above. Backward weights learn the reverse,
    where pre is the state above, with the pooling maxima at which the state below has them in either phase.

    Parameters
    ----------
    plus, minus : Traces
        Traces of the two phases.
    base : Traces
        Traces of the phase of the presynaptic states.
    joined : int
        Number of layers that lead to a state; the others learn from their errors as usual.
    gain : float

    References
    ----------
    Scellier et al., arXiv 1808.04873 (vector fields); ``VF_CNN`` of Laborieux et al., Front. Neurosci. 15:633674 (2021).
    """
    for index, layer in at_once(enumerate(plus.layers)):
        if index >= joined:
            _learn_layer(apply, plus, minus, index, gain)
            continue
        tape, above = base.part(index)
        apply(layer.products(tape, plus.part(index)[1] - minus.part(index)[1]), gain)
        if index in plus.returns:
            apply(TwoPhases(plus.returned(index, above), minus.returned(index, above)), gain)


def learn_averaged(apply: Apply, plus: Traces, minus: Traces, gain: float) -> None:
    """Update forward and backward weights by the mean of their contrasts, so that with weight decay they become equal.

    Both contrasts are equal wherever both phases pool at the same maxima.

    References
    ----------
    ``VF_CNN`` with ``same_update`` of Laborieux et al., Front. Neurosci. 15:633674 (2021).
    """
    for index, layer in at_once(enumerate(plus.layers)):
        if index not in plus.returns:
            _learn_layer(apply, plus, minus, index, gain)
            continue
        sides = []
        for phase in (plus, minus):
            learnt = list(phase.products(index)) + list(phase.returned(index, phase.part(index)[1]))
            sides.append({id(matrix): [(pre, post) for m, pre, post in learnt if m is matrix] for matrix, _, _ in learnt})
        backward = plus.returns[index][0].matrices
        for name, matrix in layer.matrices.items():
            pair = (matrix, backward[name]) if name in backward else (matrix,)
            for learner in pair:
                phases = ([(learner, *product) for m in pair for product in side[id(m)]] for side in sides)
                apply(TwoPhases(*phases), gain / len(pair))
