"""Hopfield networks, for equilibrium propagation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator
from typing_extensions import override

from analogpc.blocks import AnyBlock, Block, BlockSpecification, Chain, Dense, Flatten
from analogpc.devices.bounds import NonNegative, NonNegativeInteger, PositiveInteger
from analogpc.devices.specification import Specification, SpecificationError
from analogpc.dynamics.recurrent import Order, Readout, Recurrent
from analogpc.dynamics.relaxation import softmax
from analogpc.dynamics.state_functions import StateActivation
from analogpc.kernels.random.streams import Key, uniforms
from analogpc.networks.base import ArchitectureBase, usual_width
from analogpc.networks.mlp import MLP


class Skip(Specification):
    """A coupling of two states of a Hopfield network past the states between them: Phi also contains <s^above, block(s^below)>.

    Attributes
    ----------
    below, above : int
        Numbers of the states; 0 is the input.
    block : block specification
        Linear block from the shape of the state below to that of the state above, as a layer of the network: for example a convolution with
        a kernel of 1. Its transposed read drives the state below.
    """

    below: NonNegativeInteger
    above: PositiveInteger
    block: AnyBlock

    @model_validator(mode="after")
    def _goes_past_a_state(self) -> Skip:
        if self.above < self.below + 2:
            raise ValueError(
                f"above = {self.above} must be at least 2 more than below = {self.below}: the layers join other states"
            )
        return self


class Hopfield(ArchitectureBase):
    """A Hopfield network: its layers couple states symmetrically, and it predicts by relaxing to its free equilibrium.

    Layers contain no nonlinearities: layer n gives the forward read from state n - 1 to state n and, by
    the transpose of the same matrix, the read back. All states relax from zero by s <- f(dPhi/ds) (see `Recurrent`), where
    Phi = sum_n <s^n, layer_n(s^{n-1})> is the scalar primitive function; a pooling within a layer comes before f.

    Attributes
    ----------
    input_shape : tuple of int
        Shape of one sample, channels last.
    blocks : tuple of block specifications
        One for each layer, of `Dense`, `Conv2d`, `MaxPool`, `AvgPool`, `SoftPool`, `Flatten` and chains of them.
    activation : str
        Nonlinearity f; see `StateActivation`.
    activations : tuple of str
        Separate f for each state, in place of ``activation``; empty for none.
    readout : "linear", "activated" or "softmax"
        The last layer leads to a state that is linear (Scellier et al.) or activated (Laborieux et al., squared error); or it is not
        part of the dynamics, but read at the end as the logits of a softmax (Laborieux et al., cross-entropy). The prediction is
        the last state, or the softmax.
    steps : int
        Number of steps of the free relaxation; each updates both halves, if asynchronous.
    order : "synchronous" or "asynchronous"
        Update all states together; or odd states, then even states, which converges in fewer steps.
    tolerance : float
        Stop the free relaxation when no value changes by more than this; 0: never.
    start : "zeros" or "uniform"
        Initial states; "uniform" is between 0 and 1, drawn once per unit and equal for all samples and seeds, so that a prediction
        depends neither on the position in a batch nor on earlier predictions.
    feedback : "transposed" or "separate"
        Feedback from the states above: the transposed read of the matrix of the layer; or, for every layer n from 2 on that leads to a
        state, the transposed read of a second block "feedbackN" of the same specification, with separate weights, no bias and separate
        pooling (Laborieux et al., vector fields). The dynamics then have no Phi.
    heads : tuple of int
        Numbers of hidden states (from 1) that are also read by a separate matrix without a bias: the extra "headN" reads the flattened
        state N. Heads are not part of the dynamics; rules with intermediate signals use them.
    head_features : tuple of int
        Number of values of each head; empty: the number of outputs of the network.
    skips : tuple of Skip
        Couplings past states, each an extra block "skipMtoN", as in residual networks (Elayedam and Srinivasan, arXiv 2509.26003).
        They need transposed feedback.

    Notes
    -----
    ``widths``, optionally with ``bias`` and ``init``, is short for ``input_shape`` and dense ``blocks``.

    References
    ----------
    Laborieux et al., Front. Neurosci. 15:633674 (2021); Scellier et al., arXiv 2312.15103, whose even layers are our odd states.

    Examples
    --------
    >>> [block.features for block in Hopfield(widths=(64, 32, 10)).blocks]
    [32, 10]
    """

    kind: Literal["hopfield"] = "hopfield"
    recurrent: ClassVar[bool] = True
    input_shape: tuple[PositiveInteger, ...]
    blocks: Annotated[tuple[AnyBlock, ...], Field(min_length=1)]
    activation: StateActivation = "hard_sigmoid"
    readout: Readout = "linear"
    steps: PositiveInteger = 30
    order: Order = "asynchronous"
    tolerance: NonNegative = 0.0
    start: Literal["zeros", "uniform"] = "zeros"
    feedback: Literal["transposed", "separate"] = "transposed"
    activations: tuple[StateActivation, ...] = ()
    heads: tuple[PositiveInteger, ...] = ()
    head_features: tuple[PositiveInteger, ...] = ()
    skips: tuple[Skip, ...] = ()

    shorthands: ClassVar[Mapping[str, tuple[str, ...]]] = {"widths": ()}

    @override
    @classmethod
    def usual(cls, input_shape: Sequence[int], outputs: int, given: Mapping[str, Any]) -> Self:
        inputs = math.prod(input_shape)
        return cls(widths=(inputs, usual_width(inputs), outputs))

    @override
    @classmethod
    def opened(cls, fields: dict[str, Any]) -> dict[str, Any]:
        if "widths" not in fields:
            return fields
        if twice := [name for name in ("input_shape", "blocks") if name in fields]:
            raise SpecificationError(f"widths replace input_shape and blocks: leave out {' and '.join(twice)}")
        fields = dict(fields)
        mlp = MLP(widths=fields.pop("widths"), **{name: fields.pop(name) for name in ("bias", "init") if name in fields})
        blocks = tuple(Dense(features=width, bias=mlp.bias, init=mlp.init) for width in mlp.widths[1:])
        return {"input_shape": mlp.input_shape, "blocks": blocks, **fields}

    @model_validator(mode="after")
    def _layers_join_states(self) -> Hopfield:
        for number, block in enumerate(self.blocks, start=1):
            if foreign := _foreign(block):
                raise ValueError(
                    f"layer {number} holds a block of kind '{foreign}', but layers of a Hopfield network are made of dense, "
                    "conv2d, max-pool, avg-pool, soft-pool and flatten; the nonlinearity belongs to the states"
                )
        if self.readout == "softmax" and len(self.blocks) == 1:
            raise ValueError("readout = 'softmax' needs at least two layers: the last one leads to no state")
        if self.activations and len(self.activations) != self._count():
            raise ValueError(
                f"activations = {self.activations} must be empty or have one function for each of the {self._count()} states"
            )
        return self

    @model_validator(mode="after")
    def _heads_read_hidden_states(self) -> Hopfield:
        hidden = len(self.blocks) - 1
        if len(set(self.heads)) < len(self.heads) or max(self.heads, default=0) > hidden:
            raise ValueError(f"heads = {self.heads} must be numbers of different hidden states, from 1 to {hidden}")
        if self.head_features and len(self.head_features) != len(self.heads):
            raise ValueError(
                f"head_features = {self.head_features} must be empty or have one number for each of the {len(self.heads)} heads"
            )
        if self.heads and not self.head_features and not _features(self.blocks[-1]):
            raise ValueError("heads need head_features where the last layer does not end in a dense block")
        return self

    @model_validator(mode="after")
    def _skips_join_states(self) -> Hopfield:
        ends = [(skip.below, skip.above) for skip in self.skips]
        if len(set(ends)) < len(ends):
            raise ValueError("skips join two states twice")
        for skip in self.skips:
            if skip.above > self._count():
                raise ValueError(f"a skip ends at state {skip.above}, but the last state is {self._count()}")
            if foreign := _foreign(skip.block):
                raise ValueError(f"a skip holds a block of kind '{foreign}', which is neither linear nor a pooling")
        if self.skips and self.feedback != "transposed":
            raise ValueError("skips need feedback = 'transposed'")
        return self

    def layers(self) -> tuple[BlockSpecification, ...]:
        """The blocks."""
        return self.blocks

    @override
    def extras(self) -> dict[str, tuple[int, BlockSpecification]]:
        widths = self.head_features or (_features(self.blocks[-1]),) * len(self.heads)
        found: dict[str, tuple[int, BlockSpecification]] = {}
        for index in self._separate():
            found[feedback_name(index + 1)] = (index, self.blocks[index].without_bias())
        for number, width in zip(self.heads, widths, strict=True):
            found[head_name(number)] = (number, Chain(blocks=(Flatten(), Dense(features=width, bias=False))))
        for skip in self.skips:
            found[skip_name(skip.below, skip.above)] = (skip.below, skip.block)
        return found

    @property
    def feedback_layers(self) -> tuple[int, ...]:
        """Numbers of the layers with a feedback block, from 1."""
        return tuple(index + 1 for index in self._separate())

    def _count(self) -> int:
        """Return the number of states after the input."""
        return len(self.blocks) - (self.readout == "softmax")

    def _separate(self) -> range:
        """Return the indices of layers with a feedback block, from 0; feedback to the input is never needed."""
        return range(1, self._count() if self.feedback == "separate" else 1)

    def states(
        self,
        layers: Sequence[Block],
        x: np.ndarray,
        extras: Mapping[str, Block] = MappingProxyType({}),
        start: Sequence[np.ndarray] = (),
    ) -> Recurrent:
        """Return the states of built ``layers`` before the free relaxation.

        Parameters
        ----------
        layers : sequence of Block
        x : (n, *input_shape) array
        extras : dict of Block by name
            Built extra blocks, including feedback blocks.
        start : sequence of (n, ...) arrays
            Initial states after the input, in place of `start`.
        """
        if not start and self.start == "uniform":
            start = [_drawn(layers[index].output_shape, index + 1, x) for index in range(self._count())]
        feedback = {number - 1: extras[feedback_name(number)] for number in self.feedback_layers}
        skips = {(skip.below, skip.above): extras[skip_name(skip.below, skip.above)] for skip in self.skips}
        for (below, above), block in skips.items():
            if block.output_shape != layers[above - 1].output_shape:
                raise ValueError(
                    f"the skip from state {below} to state {above} gives values of shape {block.output_shape}, but that state has the "
                    f"shape {layers[above - 1].output_shape}"
                )
        functions = self.activations or self.activation
        return Recurrent(layers, functions, self.readout, x, feedback=feedback, start=start, skips=skips)

    def free(
        self,
        layers: Sequence[Block],
        x: np.ndarray,
        extras: Mapping[str, Block] = MappingProxyType({}),
        start: Sequence[np.ndarray] = (),
    ) -> Recurrent:
        """Return the states of built ``layers`` after the free relaxation; for the parameters see `states`."""
        states = self.states(layers, x, extras, start)
        states.relax(self.steps, self.order, tolerance=self.tolerance)
        return states

    @override
    def predict(self, layers: Sequence[Block], extras: Mapping[str, Block], x: np.ndarray) -> np.ndarray:
        output = self.free(layers, x, extras).output()
        return softmax(output) if self.readout == "softmax" else output


def feedback_name(layer: int) -> str:
    """Return the name of the extra block that is the feedback of layer number ``layer``, from 1."""
    return f"feedback{layer}"


def skip_name(below: int, above: int) -> str:
    """Return the name of the extra block that couples the states number ``below`` and ``above``."""
    return f"skip{below}to{above}"


def head_name(state: int) -> str:
    """Return the name of the extra block that reads the hidden state number ``state``, from 1."""
    return f"head{state}"


def _foreign(block: AnyBlock) -> str:
    """Return the kind of the first block that is neither linear nor a pooling; empty if there is none."""
    return next((leaf.kind for leaf in block.leaves() if not leaf.couples), "")


def _features(block: AnyBlock) -> int:
    """Return the number of outputs of a block that ends in a dense block; 0 for others."""
    last = block.leaves()[-1]
    return last.features if isinstance(last, Dense) else 0


def _drawn(shape: tuple[int, ...], number: int, x: np.ndarray) -> np.ndarray:
    """Return the initial state ``number``, equal for all samples of a batch."""
    drawn = uniforms(Key(0).fold("start", number), 0, (1, *shape), np.float64).astype(x.dtype)
    return np.repeat(drawn, len(x), axis=0)
