"""Convolutional networks of VGG type."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from analogpc.architectures.base import ArchitectureBase, Size
from analogpc.blocks import Activation, ActivationName, BlockSpecification, Chain, Conv2d, Dense, Flatten, Initialisation, MaxPool

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
