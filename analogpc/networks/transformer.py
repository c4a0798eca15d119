"""Transformers: language models of the BERT type, masked or causal, with value nodes in several places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator
from typing_extensions import override

from analogpc.blocks import (
    Activation,
    ActivationName,
    AtTargets,
    Attention,
    Block,
    BlockSpecification,
    Chain,
    Dense,
    Embedding,
    Initialisation,
    LayerNorm,
    Residual,
    Sweep,
    TiedDecoder,
    ValueNode,
)
from analogpc.blocks.chain import ChainBlock
from analogpc.blocks.embedding import EmbeddingBlock, TiedDecoderBlock
from analogpc.blocks.value_node import NodeEnergyName
from analogpc.devices.bounds import Positive, PositiveInteger
from analogpc.networks.base import ArchitectureBase

PAD, UNKNOWN, START, END, MASK = range(5)
"""The special tokens, ``<pad> <unk> <s> </s> <mask>``."""

Task = Literal["masked", "conditional"]
Placement = Literal["none", "nonlinear", "residual", "scores+residual", "levels"]


class Transformer(ArchitectureBase):
    """A language model: tokens (n, positions) to the logits of the next token, or of masked ones.

    An embedding of tokens and positions; blocks of self-attention and a perceptron of one hidden layer, each with a skip followed by a
    `LayerNorm` (post-LN, as in BERT); and a head, one hidden layer and the decoder, at the positions with a target. Token 0
    is padding, which is ignored by attention.

    Attributes
    ----------
    vocabulary : int
        Number of tokens, special ones included.
    task : "masked" or "conditional"
        Fill in masked tokens, with bidirectional attention; or predict the next token, with causal attention.
    positions : int
        Longest sequence.
    features : int
    hidden : int
        Number of units of the hidden layers of the perceptrons.
    blocks, heads : int
    activation : str
        Activation of the perceptrons and of the head.
    layer_norm : bool
        Layer normalisation after the embedding, after every skip and in the head.
    nodes : str
        Positions of value nodes, besides the output.

        - "none": none; only backpropagation trains such networks.
        - "nonlinear": on the scores of the attention before the softmax, on the hidden layers of the perceptrons and on that of the head,
          each after its nonlinearity. The residual stream has no states, so an error reaches all of these nodes together: every
          matrix has a gradient after three sweeps, whatever the number of blocks.
        - "residual": on the embedding, after both skips of every block, on the hidden layers of the perceptrons and of the head;
          2 blocks + 3 sweeps.
        - "scores+residual": both of these.
        - "levels": everywhere, with delay states on the skips, so that all paths between two nodes are equally long; 6 blocks + 3 sweeps.
          With squared errors, Z-IL then equals backpropagation.
    score_energy : "softmax" or "squared-error"
        Energy of the nodes on the scores; see `ValueNode`.
    tied_decoder : bool
        Whether the decoder reads the table of the embedding in place of a separate matrix; see `TiedDecoder`. Z-IL, which updates every
        matrix at a different sweep, cannot train such models.
    embedding_std : float
        Standard deviation of the initial embeddings.
    init : Initialisation
        Initialisation of all other matrices.

    References
    ----------
    Devlin et al., arXiv 1810.04805 (BERT); Salvatori et al., ICLR 2024, Section 5 and D.3, whose public script has the nodes of
    "nonlinear".

    Examples
    --------
    >>> Transformer(vocabulary=1000, task="conditional").predicted_shape
    (32, 1000)
    """

    kind: Literal["transformer"] = "transformer"
    state_per_layer: ClassVar[bool] = False
    vocabulary: Annotated[int, Field(ge=6)]
    task: Task = "conditional"
    positions: Annotated[int, Field(ge=2)] = 32
    features: Annotated[int, Field(ge=2)] = 64
    hidden: PositiveInteger = 128
    blocks: PositiveInteger = 2
    heads: PositiveInteger = 1
    activation: ActivationName = "tanh"
    layer_norm: bool = True
    nodes: Placement = "nonlinear"
    score_energy: NodeEnergyName = "softmax"
    tied_decoder: bool = False
    embedding_std: Positive = 0.1
    init: Initialisation = "kaiming-uniform"

    @model_validator(mode="after")
    def _heads_share_the_features(self) -> Transformer:
        if self.features % self.heads:
            raise ValueError(f"heads = {self.heads} must divide features = {self.features}")
        return self

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return (self.positions,)

    @property
    @override
    def predicted_shape(self) -> tuple[int, ...]:
        return (self.positions, self.vocabulary)

    @property
    @override
    def swept(self) -> bool:
        return True

    @property
    @override
    def tokens(self) -> int:
        return self.vocabulary

    @override
    def layers(self) -> tuple[BlockSpecification, ...]:
        """Return the embedding, the blocks and the head."""
        embedding = Embedding(vocabulary=self.vocabulary, features=self.features, std=self.embedding_std)
        first = Chain(blocks=(embedding, *self._norm(), *self._node("embedding", "residual")))
        return (first, *(self._block(f"block{number}") for number in range(1, self.blocks + 1)), self._head())

    def _block(self, name: str) -> Chain:
        scores, levels = self.nodes in ("nonlinear", "scores+residual"), self.nodes == "levels"
        attention = Attention(
            heads=self.heads,
            causal=self.task == "conditional",
            init=self.init,
            name=name,
            nodes="levels" if levels else "scores" if scores else "none",
            score_energy=self.score_energy,
        )
        hidden = (
            Dense(features=self.hidden, init=self.init),
            self._act(),
            *self._node(f"{name}.hidden", "residual", "nonlinear"),
        )
        perceptron = Chain(blocks=(*hidden, Dense(features=self.features, init=self.init)))
        return Chain(
            blocks=(
                Residual(body=attention, shortcut=self._delay(f"{name}.input", 3)),
                *self._norm(),
                *self._node(f"{name}.middle", "residual"),
                Residual(body=perceptron, shortcut=self._delay(f"{name}.middle", 1)),
                *self._norm(),
                *self._node(f"{name}.output", "residual"),
            )
        )

    def _head(self) -> Chain:
        node = self._node("head", "residual", "nonlinear", extent="targets")
        hidden = (Dense(features=self.features, init=self.init), self._act(), *self._norm(), *node)
        tied = TiedDecoder(vocabulary=self.vocabulary)
        return Chain(
            blocks=(AtTargets(), *hidden, tied if self.tied_decoder else Dense(features=self.vocabulary, init=self.init))
        )

    @property
    @override
    def tied(self) -> bool:
        return self.tied_decoder

    @override
    def join(self, layers: Sequence[Block]) -> None:
        if not self.tied_decoder:
            return
        first, last = layers[0], layers[-1]
        assert isinstance(first, ChainBlock)
        assert isinstance(last, ChainBlock)
        embedding, decoder = first.blocks[0], last.blocks[-1]
        assert isinstance(embedding, EmbeddingBlock)
        assert isinstance(decoder, TiedDecoderBlock)
        decoder.embedding = embedding

    def _node(self, name: str, *placements: str, extent: Literal["positions", "targets"] = "positions") -> tuple[ValueNode, ...]:
        """Return a node, if it belongs to the current placement; "levels" has all."""
        present = self.nodes == "levels" or any(one in placements for one in self._placements())
        return (ValueNode(name=name, extent=extent),) if present else ()

    def _placements(self) -> tuple[str, ...]:
        return ("nonlinear", "residual") if self.nodes == "scores+residual" else (self.nodes,)

    def _delay(self, name: str, steps: int) -> BlockSpecification:
        """Return a skip with as many delay states as there are nodes on the parallel path."""
        if self.nodes != "levels":
            return Activation(function="identity")
        return Chain(blocks=tuple(ValueNode(name=f"{name} delayed {step}", extent="positions") for step in range(1, steps + 1)))

    def _act(self) -> Activation:
        return Activation(function=self.activation)

    def _norm(self) -> tuple[LayerNorm, ...]:
        return (LayerNorm(),) if self.layer_norm else ()

    @override
    def sweep(self, x: np.ndarray, target: np.ndarray | None, cut: bool) -> Sweep:
        """Return the shared state of a sweep: padding, and the positions of the targets, (p, 2) int32 (see `samples`)."""
        if target is None:
            return Sweep(real=x != PAD, cut=cut)
        places = np.ascontiguousarray(target[:, 0], like=target)
        return Sweep(real=x != PAD, places=places, counted=target[:, 1] >= 0, cut=cut)

    @override
    def samples(self, x: np.ndarray, target: np.ndarray) -> Any:
        """Return the number of targets.

        Parameters
        ----------
        x : (n, positions) int32 array
        target : (p, 2) int32 array
            Position (position + positions * sample) and token of each target. Rows with token -1 do not count.
        """
        return np.maximum((target[:, 1] >= 0).sum(), 1)

    @override
    def predict(self, layers: Sequence[Block], extras: Mapping[str, Block], x: np.ndarray) -> np.ndarray:
        """Compute the logits at all positions: (n, positions) -> (n, positions, vocabulary)."""
        sweep = self.sweep(x, None, cut=False)
        y = x
        for layer in layers:
            y, _ = layer.pass_forward(y, sweep)
        return y.reshape(len(x), *self.predicted_shape)
