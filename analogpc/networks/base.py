"""The contract of the architectures: networks as specifications, from which `Network` builds blocks and matrices."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from analogpc.blocks import AnyBlock, Block, BlockSpecification
from analogpc.devices.specification import Specification

Size = Annotated[int, Field(ge=1)]


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

    def extras(self) -> dict[str, tuple[int, BlockSpecification]]:
        """Blocks besides the layers, by name: the number of the state that each reads (0 is the input), and what it is."""
        return {}

    def predict(self, layers: Sequence[Block], extras: Mapping[str, Block], x: np.ndarray) -> np.ndarray:
        """What built blocks answer to a batch: (n, *input_shape) -> (n, *output_shape). Here one feed-forward pass."""
        for layer in layers:
            x = layer.infer(x)
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
