"""Interface of the architectures: networks as specifications, from which `Network` builds blocks and matrices."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, get_args

import numpy as np
from pydantic import Field
from typing_extensions import override

from analogpc.blocks import AnyBlock, Block, BlockSpecification, Sweep
from analogpc.devices.bounds import PositiveInteger
from analogpc.devices.families import Member
from analogpc.devices.specification import SpecificationError


def usual_width(inputs: int) -> int:
    """Return the default number of hidden units: 64 below 256 inputs, otherwise 256."""
    return 64 if inputs < 256 else 256


class ArchitectureBase(Member):
    """Base class of architectures.

    Attributes
    ----------
    dtype : "float32" or "float64"
        Floating type of all weights and states.
    input_shape : tuple of int
        Shape of one sample.
    recurrent : bool, of the class
        Whether a prediction is an equilibrium of the states, instead of one feed-forward pass.
    state_per_layer : bool, of the class
        Whether rules may keep a state after every layer.
    """

    family_name: ClassVar[str] = "architecture"
    recurrent: ClassVar[bool] = False
    state_per_layer: ClassVar[bool] = True
    dtype: Literal["float32", "float64"] = "float32"

    if TYPE_CHECKING:
        # A field in some architectures; in others derived from the layer sizes.
        @property
        def input_shape(self) -> tuple[int, ...]:
            """Shape of one sample."""

    @property
    def tied(self) -> bool:
        """Whether two blocks share one matrix; see `join`."""
        return False

    def join(self, layers: Sequence[Block]) -> None:
        """Connect blocks that share a matrix; called after layers are built or copied."""
        return

    @classmethod
    def short_names(cls) -> dict[str, dict[str, Any]]:
        """Return the short names of networks of this kind with their fields: the kind, followed by the depth if there is one."""
        kind = cls.model_fields["kind"].default
        depths = get_args(cls.model_fields["depth"].annotation) if "depth" in cls.model_fields else ()
        return {kind: {"kind": kind}, **{f"{kind}{depth}": {"kind": kind, "depth": depth} for depth in depths}}

    @classmethod
    def usual(cls, input_shape: Sequence[int], outputs: int, given: Mapping[str, Any]) -> Self | None:
        """Return the default network of this kind for data of a shape; None if there is none.

        The base class uses the defaults of all fields except ``input_shape`` and ``classes``, for kinds with these two.

        Parameters
        ----------
        input_shape : sequence of int
            Shape of one sample.
        outputs : int
            Number of classes or regression targets.
        given : mapping
            Fields that will override those of the network.

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
            # Another depth, or no pooling, may make the network small enough.
            return cls(**{**ends, **{name: value for name, value in given.items() if name != "kind"}})

    @property
    def swept(self) -> bool:
        """Whether states are value nodes inside the layers, relaxed by `SweepRelaxation`, instead of one state after each layer."""
        return False

    @property
    def tokens(self) -> int:
        """Number of tokens if inputs and targets are tokens (integers); otherwise 0."""
        return 0

    @property
    def predicted_shape(self) -> tuple[int, ...]:
        """Shape of the prediction of one sample if it differs from that of the last layer; otherwise empty."""
        return ()

    def sweep(self, x: np.ndarray, target: np.ndarray | None, cut: bool) -> Sweep:
        """Return the shared state of the blocks of a network with value nodes during the sweeps of a batch."""
        return Sweep(cut=cut)

    def samples(self, x: np.ndarray, target: np.ndarray) -> Any:
        """Return the number of samples over which gradients are averaged: a number, or a 0-d device array."""
        return len(x)

    @abstractmethod
    def layers(self) -> tuple[BlockSpecification, ...]:
        """One block specification for each layer."""

    def extras(self) -> dict[str, tuple[int, BlockSpecification]]:
        """Return additional blocks by name: the number of the state that each reads (0 is the input), and its specification."""
        return {}

    def predict(self, layers: Sequence[Block], extras: Mapping[str, Block], x: np.ndarray) -> np.ndarray:
        """Compute the prediction for a batch: (n, *input_shape) -> (n, *output_shape). By default one feed-forward pass."""
        for layer in layers:
            x = layer.infer(x)
        return x


class Layers(ArchitectureBase):
    """An arbitrary sequence of layers.

    Attributes
    ----------
    input_shape : tuple of int
        Shape of one sample, channels last.
    blocks : tuple of block specifications
        One for each layer; each layer is followed by a state.
    """

    kind: Literal["layers"] = "layers"
    input_shape: tuple[PositiveInteger, ...]
    blocks: Annotated[tuple[AnyBlock, ...], Field(min_length=1)]

    def layers(self) -> tuple[BlockSpecification, ...]:
        """The blocks."""
        return self.blocks

    @property
    @override
    def swept(self) -> bool:
        """Whether any block is or contains a `ValueNode`; then the nodes are the only states."""
        return any(block.has_nodes for block in self.blocks)
