"""Fully connected networks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from analogpc.architectures.base import ArchitectureBase, Size
from analogpc.blocks import Activation, ActivationName, BlockSpecification, Chain, Dense, Initialisation


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
