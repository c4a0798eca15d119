"""The contract of the architectures: networks as specifications, from which `Network` builds blocks and matrices."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, get_args

import numpy as np
from pydantic import Field
from typing_extensions import override

from analogpc.blocks import AnyBlock, Block, BlockSpecification, Sweep
from analogpc.devices.families import Member
from analogpc.devices.specification import SpecificationError

Size = Annotated[int, Field(ge=1)]


def usual_width(inputs: int) -> int:
    """Units of a hidden layer that are usual for so many inputs: 64 below 256 inputs, 256 from there on."""
    return 64 if inputs < 256 else 256


class ArchitectureBase(Member):
    """What every architecture tells.

    Attributes
    ----------
    dtype : "float32" or "float64"
        Floating type of all weights and states.
    input_shape : tuple of int
        Shape of one sample.
    """

    family_name: ClassVar[str] = "architecture"
    dtype: Literal["float32", "float64"] = "float32"

    if TYPE_CHECKING:
        # A field in some architectures, derived from the sizes of the layers in others.
        @property
        def input_shape(self) -> tuple[int, ...]:
            """Shape of one sample."""

    @property
    def tied(self) -> bool:
        """Whether two blocks read one matrix; see `join`."""
        return False

    def join(self, layers: Sequence[Block]) -> None:
        """Let blocks know of each other that share a matrix; called whenever layers have been built or copied."""
        return

    @classmethod
    def short_names(cls) -> dict[str, dict[str, Any]]:
        """Names that stand for networks of this kind, each with its fields: the kind, and with a depth behind it if it has one."""
        kind = cls.model_fields["kind"].default
        depths = get_args(cls.model_fields["depth"].annotation) if "depth" in cls.model_fields else ()
        return {kind: {"kind": kind}, **{f"{kind}{depth}": {"kind": kind, "depth": depth} for depth in depths}}

    @classmethod
    def usual(cls, input_shape: Sequence[int], outputs: int, given: Mapping[str, Any]) -> Self | None:
        """The network of this kind that is usual for data of a shape; None if there is none.

        Here the network that the defaults of all fields but ``input_shape`` and ``classes`` make, for kinds that have these two.

        Parameters
        ----------
        input_shape : sequence of int
            Of one sample.
        outputs : int
            Classes, or numbers to be predicted.
        given : mapping
            Fields that are going to be laid over those of this network.

        Raises
        ------
        SpecificationError
            If such a network cannot read samples of that shape.
        """
        if not {"input_shape", "classes"} <= cls.model_fields.keys():
            return None
        ends: dict[str, Any] = {"input_shape": tuple(input_shape), "classes": outputs}
        try:
            return cls(**ends)
        except SpecificationError:
            # Another depth, or no pooling, may be what makes the network small enough.
            return cls(**{**ends, **{name: value for name, value in given.items() if name != "kind"}})

    @property
    def swept(self) -> bool:
        """Whether states are value nodes inside the layers, relaxed by `SweepRelaxation`; otherwise one lies after each layer."""
        return False

    @property
    def tokens(self) -> int:
        """How many tokens there are, if inputs and targets are tokens: whole numbers. 0 if they are not."""
        return 0

    @property
    def predicted_shape(self) -> tuple[int, ...]:
        """Shape of the prediction of one sample, if it is another than that of the last layer; otherwise empty."""
        return ()

    def sweep(self, x: np.ndarray, target: np.ndarray | None, cut: bool) -> Sweep:
        """What the blocks of a network with value nodes share while a batch is swept."""
        return Sweep(cut=cut)

    def samples(self, x: np.ndarray, target: np.ndarray) -> Any:
        """Over how many samples the gradients of a batch are a mean: a number, or an array of the GPU without axes."""
        return len(x)

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

    @property
    @override
    def swept(self) -> bool:
        """Whether any block is a `ValueNode`, or holds one; then the nodes are the only states."""
        return any(_has_nodes(block.to_dict()) for block in self.blocks)


def _has_nodes(fields: Any) -> bool:
    """Whether a block, given by its fields, has value nodes."""
    if isinstance(fields, dict):
        inside = fields.get("kind") == "value-node" or (fields.get("kind") == "attention" and fields.get("nodes") != "none")
        return inside or any(map(_has_nodes, fields.values()))
    return isinstance(fields, (list, tuple)) and any(map(_has_nodes, fields))
