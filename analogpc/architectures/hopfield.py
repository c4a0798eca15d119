"""Networks of Hopfield type, for equilibrium propagation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, FiniteFloat, model_validator
from typing_extensions import override

from analogpc.architectures.base import ArchitectureBase, Size
from analogpc.architectures.mlp import MLP
from analogpc.blocks import AnyBlock, Block, BlockSpecification, Chain, Conv2d, Dense, Flatten, MaxPool
from analogpc.recurrent import Order, Readout, Recurrent, StateActivation
from analogpc.relaxation import softmax


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
    def predict(self, layers: Sequence[Block], extras: Mapping[str, Block], x: np.ndarray) -> np.ndarray:
        output = self.free(layers, x).output()
        return softmax(output) if self.readout == "softmax" else output


def _foreign(block: AnyBlock) -> str:
    """The kind of the first block that is neither linear nor a max-pooling; empty if there is none."""
    if isinstance(block, Chain):
        return next(filter(None, map(_foreign, block.blocks)), "")
    return "" if isinstance(block, (Dense, Conv2d, MaxPool, Flatten)) else block.kind
