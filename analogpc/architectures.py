"""Architectures: networks as specifications, from which `Network` builds blocks and matrices."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, FiniteFloat, model_validator
from typing_extensions import override

from analogpc.blocks import (
    Activation,
    ActivationName,
    AnyBlock,
    Block,
    BlockSpecification,
    Chain,
    Conv2d,
    Dense,
    Flatten,
    Initialisation,
    MaxPool,
)
from analogpc.devices.specification import Specification
from analogpc.recurrent import Order, Readout, Recurrent, StateActivation
from analogpc.relaxation import softmax

Size = Annotated[int, Field(ge=1)]

# Channels of the convolutions; "P" pools after them. As in the reference code of Pinchetti et al. (PCX, arXiv 2407.01163) and of
# Qi et al. (arXiv 2506.23800); their printed tables disagree with that code in the paddings of VGG5 and the lengths of the lists.
_VGG: dict[int, tuple[int | Literal["P"], ...]] = {
    5: (128, "P", 256, "P", 512, "P", 512, "P"),
    7: (128, "P", 128, 256, "P", 256, 512, "P", 512),
    10: (64, 128, 128, "P", 128, 256, "P", 256, 256, "P", 256, 512, "P"),
    15: (64, 64, "P", 128, 128, "P", 256, 256, 256, "P", 512, 512, 512, "P", 512, 512, 512, "P"),
}
_UNPADDED = {7: (3, 5)}
_HIDDEN_DENSE = {15: (4096,)}


class ArchitectureBase(Specification):
    """What every architecture tells.

    Attributes
    ----------
    dtype : "float32" or "float64"
        Floating type of all weights and states.
    """

    dtype: Literal["float32", "float64"] = "float32"

    @abstractmethod
    def layers(self) -> tuple[BlockSpecification, ...]:
        """One block specification for each layer."""

    def predict(self, layers: Sequence[Block], x: np.ndarray) -> np.ndarray:
        """What built ``layers`` answer to a batch: (n, *input_shape) -> (n, *output_shape). Here one feed-forward pass."""
        for layer in layers:
            x, _ = layer.forward(x)
        return x


class Layers(ArchitectureBase):
    """Any sequence of layers.

    Attributes
    ----------
    input_shape : tuple of int
        Shape of one sample, channels last.
    blocks : tuple of block specifications
        One for each layer; a state lies after each of them.
    """

    kind: Literal["layers"] = "layers"
    input_shape: tuple[Size, ...]
    blocks: Annotated[tuple[AnyBlock, ...], Field(min_length=1)]

    def layers(self) -> tuple[BlockSpecification, ...]:
        """The blocks."""
        return self.blocks


class MLP(ArchitectureBase):
    """Fully connected layers.

    Attributes
    ----------
    widths : tuple of int
        Sizes of the states, input and output included.
    activation : str
        Of the hidden layers; the output is linear.
    convention : "f(Wx)" or "Wf(x)"
        Where the nonlinearity stands: states are what leaves it (as in PCX and in the EP papers) or what enters it (as the
        predictive-coding papers write it; the first layer then acts on the input as it is).
    bias : bool
    init : str
        See `Dense`.
    """

    kind: Literal["mlp"] = "mlp"
    widths: Annotated[tuple[Size, ...], Field(min_length=2)]
    activation: ActivationName = "leaky_relu"
    convention: Literal["f(Wx)", "Wf(x)"] = "f(Wx)"
    bias: bool = True
    init: Initialisation = "kaiming-uniform"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.widths[:1]

    def layers(self) -> tuple[BlockSpecification, ...]:
        """Dense layers with the activation after them, or before."""
        dense = [Dense(features=width, bias=self.bias, init=self.init) for width in self.widths[1:]]
        act = Activation(function=self.activation)
        if self.convention == "f(Wx)":
            return (*(Chain(blocks=(layer, act)) for layer in dense[:-1]), Chain(blocks=(dense[-1],)))
        return (Chain(blocks=(dense[0],)), *(Chain(blocks=(act, layer)) for layer in dense[1:]))


class VGG(ArchitectureBase):
    """The VGG-type networks of the predictive-coding papers: 3x3 convolution, activation, 2x2 max-pooling, then the state.

    Attributes
    ----------
    depth : 5, 7, 10 or 15
        Layers with weights.
    input_shape : (height, width, channels)
    classes : int
    activation : str
    width : float
        Factor on all channel counts.

    References
    ----------
    Pinchetti et al., arXiv 2407.01163 (VGG5, VGG7); Qi et al., arXiv 2506.23800 (VGG10, VGG15), as in their code.
    """

    kind: Literal["vgg"] = "vgg"
    depth: Literal[5, 7, 10, 15] = 5
    input_shape: tuple[Size, Size, Size] = (32, 32, 3)
    classes: Size = 10
    activation: ActivationName = "gelu"
    width: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    init: Initialisation = "kaiming-uniform"

    @model_validator(mode="after")
    def _survives_pooling(self) -> VGG:
        size = min(self.input_shape[:2])
        for entry in self._plan():
            size = size // 2 if entry is None else size - (0 if entry[1] else 2)
            if size < 1:
                raise ValueError(f"input_shape = {self.input_shape} is too small for VGG{self.depth}: nothing is left to pool")
        return self

    def _plan(self) -> list[tuple[int, int] | None]:
        """Channels and padding of the convolutions, and None for a pooling."""
        plan: list[tuple[int, int] | None] = []
        convolution = 0
        for entry in _VGG[self.depth]:
            if entry == "P":
                plan.append(None)
                continue
            plan.append((max(1, math.floor(entry * self.width)), 0 if convolution in _UNPADDED.get(self.depth, ()) else 1))
            convolution += 1
        return plan

    def layers(self) -> tuple[BlockSpecification, ...]:
        """Convolutional layers, each with its pooling, then the dense ones."""
        act = Activation(function=self.activation)
        groups: list[list[BlockSpecification]] = []
        for entry in self._plan():
            if entry is None:
                groups[-1].append(MaxPool(size=2))
            else:
                groups.append([Conv2d(channels=entry[0], padding=entry[1], init=self.init), act])
        tail: list[BlockSpecification] = [Flatten()]
        for features in _HIDDEN_DENSE.get(self.depth, ()):
            groups.append([*tail, Dense(features=features, init=self.init), act])
            tail = []
        groups.append([*tail, Dense(features=self.classes, init=self.init)])
        return tuple(Chain(blocks=tuple(group)) for group in groups)


class Hopfield(ArchitectureBase):
    """A network of Hopfield type: its layers join states symmetrically, and it predicts by relaxing to its free equilibrium.

    The layers are those of any network, without nonlinearities: layer n gives the forward read from state n - 1 to state n and, by
    the transpose of the same matrix, the read back. All states relax from zero by s <- f(dPhi/ds) (see `Recurrent`), where
    Phi = sum_n <s^n, layer_n(s^{n-1})> is the scalar primitive function; a max-pooling within a layer comes before f.

    Attributes
    ----------
    input_shape : tuple of int
        Shape of one sample, channels last.
    blocks : tuple of block specifications
        One for each layer, of `Dense`, `Conv2d`, `MaxPool`, `Flatten` and chains of them.
    activation : str
        f; see `StateActivation`.
    readout : "linear", "activated" or "softmax"
        The last layer leads to a state that is linear (Scellier et al.) or activated (Laborieux et al., squared error); or it is no
        part of the dynamics, but read at the end as the logits of a softmax (Laborieux et al., cross-entropy). The prediction is
        the last state, or the softmax.
    steps : int
        Steps of the free relaxation; of both halves each, if asynchronous.
    order : "synchronous" or "asynchronous"
        All states at once; or those of odd number, then those of even number, which settles in fewer steps.
    tolerance : float
        The free relaxation ends early when no value changes by more; 0 for never.

    Notes
    -----
    ``widths``, with ``bias`` and ``init`` if wanted, stands for ``input_shape`` and dense ``blocks``.

    References
    ----------
    Laborieux et al., Front. Neurosci. 15:633674 (2021); Scellier et al., arXiv 2312.15103, whose even layers are our odd states.

    Examples
    --------
    >>> [block.features for block in Hopfield(widths=(64, 32, 10)).blocks]
    [32, 10]
    """

    kind: Literal["hopfield"] = "hopfield"
    input_shape: tuple[Size, ...]
    blocks: Annotated[tuple[AnyBlock, ...], Field(min_length=1)]
    activation: StateActivation = "hard_sigmoid"
    readout: Readout = "linear"
    steps: Size = 30
    order: Order = "asynchronous"
    tolerance: Annotated[FiniteFloat, Field(ge=0)] = 0.0

    @model_validator(mode="before")
    @classmethod
    def _dense_by_widths(cls, fields: Any) -> Any:
        if not isinstance(fields, dict) or "widths" not in fields:
            return fields
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
                    "conv2d, max-pool and flatten; the nonlinearity is that of the states"
                )
        if self.readout == "softmax" and len(self.blocks) == 1:
            raise ValueError("readout = 'softmax' needs at least two layers: the last one leads to no state")
        return self

    def layers(self) -> tuple[BlockSpecification, ...]:
        """The blocks."""
        return self.blocks

    def free(self, layers: Sequence[Block], x: np.ndarray) -> Recurrent:
        """The states of built ``layers`` after the free relaxation."""
        states = Recurrent(layers, self.activation, self.readout, x)
        states.relax(self.steps, self.order, tolerance=self.tolerance)
        return states

    @override
    def predict(self, layers: Sequence[Block], x: np.ndarray) -> np.ndarray:
        output = self.free(layers, x).output()
        return softmax(output) if self.readout == "softmax" else output


def _foreign(block: AnyBlock) -> str:
    """The kind of the first block that is neither linear nor a max-pooling; empty if there is none."""
    if isinstance(block, Chain):
        return next(filter(None, map(_foreign, block.blocks)), "")
    return "" if isinstance(block, (Dense, Conv2d, MaxPool, Flatten)) else block.kind


Architecture = Annotated[Layers | MLP | VGG | Hopfield, Field(discriminator="kind")]
