"""Embeddings: integers are mapped to vectors by a table read row by row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
from typing_extensions import override

from analogpc.blocks.base import Block, BlockSpecification, MatrixMaker, Product, ShapeError
from analogpc.blocks.initialisation import bias_products, read_bias
from analogpc.blocks.sweep_state import Sweep
from analogpc.devices.bounds import Positive, PositiveInteger
from analogpc.devices.matrix import Matrix
from analogpc.kernels.checks import refuse_beyond_memory
from analogpc.kernels.lookups import rows_of, sum_rows
from analogpc.kernels.random.streams import Key, normals


class Embedding(BlockSpecification):
    """Tokens to vectors: y[s] = E[ids[s]] + P[s], for integer samples of shape (positions,).

    Reading E is a product with one-hot vectors: on a crossbar one word line is driven per token, and no other row sees a voltage. The
    products contain row indices, and repeated tokens add up. There is no error to the input. The table P of the positions is digital
    on every substrate, as biases are.

    Attributes
    ----------
    vocabulary : int
        Number of tokens; ids are 0 to ``vocabulary`` - 1.
    features : int
    std : float
        Standard deviation of the initial normal values of E and P.
    """

    kind: Literal["embedding"] = "embedding"
    vocabulary: PositiveInteger
    features: PositiveInteger
    std: Positive = 0.1

    @override
    def build(self, input_shape: tuple[int, ...], make: MatrixMaker, key: Key, dtype: np.dtype) -> EmbeddingBlock:
        if len(input_shape) != 1:
            raise ShapeError(f"Embedding takes samples of shape (positions,), not {input_shape}")

        def made(name: str, role: str, columns: int) -> Matrix:
            shape = self.features, columns
            refuse_beyond_memory(math.prod(shape), np.float64, f"an embedding of {columns} x {self.features} numbers")
            return make(role, shape, lambda: (self.std * normals(key.fold(name), 0, shape, np.float64)).astype(dtype))

        matrices = {
            "weight": made("weight", "weight", self.vocabulary),
            "positions": made("positions", "bias", input_shape[0]),
        }
        return EmbeddingBlock(input_shape, (input_shape[0], self.features), matrices)


class EmbeddingBlock(Block):
    """Built from `Embedding`; the tape is the ids."""

    @override
    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """See `Block.forward`; ``x`` is an int32 array, (n, positions).

        Raises
        ------
        ShapeError
            Also for other data types.
        """
        if x.shape[1:] != self.input_shape:
            raise ShapeError(f"Embedding was built for batches of shape (n, {self.input_shape[0]}), not {x.shape}")
        if x.dtype != np.int32:
            raise ShapeError(f"Embedding takes integers of type int32, not {x.dtype}")
        y = self.matrices["weight"].look_up(x.reshape(-1)).reshape(len(x), *self.output_shape)
        return y + self.matrices["positions"].look_up(self._order(x)), x

    def _order(self, like: np.ndarray) -> np.ndarray:
        return np.arange(self.input_shape[0], dtype=np.int32, like=like)

    @override
    def vjp(self, tape: Any, g: np.ndarray) -> np.ndarray:
        """Not defined.

        Raises
        ------
        ShapeError
            Always: the inputs are integers.
        """
        raise ShapeError("Embedding has no transpose: its inputs are integers, so there is no derivative")

    @override
    def products(self, tape: Any, g: np.ndarray) -> Iterator[Product]:
        yield self.matrices["weight"], tape.reshape(-1), g.reshape(-1, self.output_shape[1])
        yield self.matrices["positions"], self._order(tape), g.sum(axis=0)

    @override
    def pass_back(
        self, tape: Any, g: np.ndarray, sweep: Sweep, onward: bool = True
    ) -> tuple[np.ndarray | None, list[Iterable[Product]]]:
        return None, [self.products(tape, g)]


class TiedDecoder(BlockSpecification):
    """Decoder of features to token logits by the table of an `Embedding`: z = E h + b, for samples of shape (features,).

    The array is read row by row for input tokens, and in full in the other direction for logits. It learns from both, once per batch,
    by the sum of sparse and full products. The network connects the two blocks (`ArchitectureBase.join`).

    Attributes
    ----------
    vocabulary : int
    """

    kind: Literal["tied-decoder"] = "tied-decoder"
    vocabulary: PositiveInteger

    @override
    def build(self, input_shape: tuple[int, ...], make: MatrixMaker, key: Key, dtype: np.dtype) -> TiedDecoderBlock:
        if len(input_shape) != 1:
            raise ShapeError(f"TiedDecoder takes samples of shape (features,), not {input_shape}")
        shape = self.vocabulary, 1
        return TiedDecoderBlock(input_shape, (self.vocabulary,), {"bias": make("bias", shape, lambda: np.zeros(shape, dtype))})


class TiedDecoderBlock(Block):
    """Built from `TiedDecoder`; the tape is the input.

    Attributes
    ----------
    embedding : EmbeddingBlock
        Embedding with the shared table; set when the network is built.
    """

    embedding: EmbeddingBlock

    @property
    def _table(self) -> Matrix:
        return self.embedding.matrices["weight"]

    @override
    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        self._check(x)
        y = self._table.backward(x)
        y += read_bias(self.matrices, y)
        return y, x

    @override
    def vjp(self, tape: Any, g: np.ndarray) -> np.ndarray:
        return self._table.forward(g)

    @override
    def products(self, tape: Any, g: np.ndarray) -> Iterator[Product]:
        yield self._table, g, tape
        yield from bias_products(self.matrices, g)


class AtTargets(BlockSpecification):
    """Selection of the positions with a target: (positions, features) -> (features,), one row for each of them.

    Outside of sweeps, or in a sweep without ``places``, all positions of all samples are selected, in order.
    """

    kind: Literal["at-targets"] = "at-targets"

    @override
    def build(self, input_shape: tuple[int, ...], make: MatrixMaker, key: Key, dtype: np.dtype) -> AtTargetsBlock:
        if len(input_shape) != 2:
            raise ShapeError(f"AtTargets takes samples of shape (positions, features), not {input_shape}")
        return AtTargetsBlock(input_shape, input_shape[1:])


class AtTargetsBlock(Block):
    """Built from `AtTargets`; the tape is the number of samples."""

    @override
    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        self._check(x)
        return x.reshape(-1, *self.output_shape), len(x)

    @override
    def vjp(self, tape: Any, g: np.ndarray) -> np.ndarray:
        return g.reshape(tape, *self.input_shape)

    @override
    def pass_forward(self, x: np.ndarray, sweep: Sweep) -> tuple[np.ndarray, Any]:
        rows, samples = self.forward(x)
        return (rows if sweep.places is None else rows_of(rows, sweep.places)), samples

    @override
    def pass_back(
        self, tape: Any, g: np.ndarray, sweep: Sweep, onward: bool = True
    ) -> tuple[np.ndarray | None, list[Iterable[Product]]]:
        if sweep.places is not None:
            g = sum_rows(sweep.places, g, tape * self.input_shape[0])
        return self.vjp(tape, g), []
