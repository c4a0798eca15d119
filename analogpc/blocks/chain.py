"""Sequences of blocks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from typing_extensions import override

from analogpc.blocks.base import AnyBlock, Block, BlockSpecification, MatrixMaker, Product, ShapeError
from analogpc.blocks.sweep_state import Sweep
from analogpc.blocks.value_node import ValueNodeBlock
from analogpc.kernels.gpu.arrays import Backend
from analogpc.kernels.random.streams import Key


class Chain(BlockSpecification):
    """A sequence of blocks; the output of each is the input of the next.

    Attributes
    ----------
    blocks : tuple of block specifications
        At least one block; chains may be nested.

    Examples
    --------
    >>> layer = Chain(blocks=(Conv2d(channels=8), Activation(function="relu"), MaxPool()))
    >>> Chain.from_toml(layer.to_toml()) == layer
    True
    """

    kind: Literal["chain"] = "chain"
    blocks: Annotated[tuple[AnyBlock, ...], Field(min_length=1)]

    @override
    def leaves(self) -> list[BlockSpecification]:
        return [leaf for block in self.blocks for leaf in block.leaves()]

    @property
    @override
    def has_nodes(self) -> bool:
        return any(block.has_nodes for block in self.blocks)

    @override
    def without_bias(self) -> Chain:
        return Chain(blocks=tuple(block.without_bias() for block in self.blocks))

    @override
    def build(self, input_shape: tuple[int, ...], make: MatrixMaker, key: Key, dtype: np.dtype) -> ChainBlock:
        built: list[Block] = []
        shape = input_shape
        index = 0
        for block in self.blocks:
            try:
                built.append(block.build(shape, make, key.fold(index), dtype))
            except ShapeError as error:
                raise ShapeError(f"block {index} of the chain: {error}") from None
            index += block.numbered
            shape = built[-1].output_shape
        return ChainBlock(built)


class ChainBlock(Block):
    """Built from `Chain`; the tape is the list of the tapes.

    Parameters
    ----------
    blocks : sequence of Block
        At least one block; each takes the output shape of the previous one. Matrices and buffers are named by position, value nodes
        not counted: "0.weight", "0.bias", "2.weight" and so on.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = list(blocks)
        numbered = [block for block in self.blocks if block.numbered]
        named = {f"{index}.{name}": m for index, block in enumerate(numbered) for name, m in block.matrices.items()}
        kept = {f"{index}.{name}": array for index, block in enumerate(numbered) for name, array in block.buffers.items()}
        super().__init__(self.blocks[0].input_shape, self.blocks[-1].output_shape, named, kept)
        self.precision = self.blocks[-1].precision

    @override
    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        self._check(x)
        tapes = []
        for block in self.blocks:
            x, tape = block.forward(x)
            tapes.append(tape)
        return x, tapes

    @override
    def infer(self, x: np.ndarray) -> np.ndarray:
        self._check(x)
        for block in self.blocks:
            x = block.infer(x)
        return x

    @property
    @override
    def exact(self) -> bool:
        return all(block.exact for block in self.blocks)

    @property
    @override
    def recordable(self) -> bool:
        # Further matrices would be read backwards between the updates of others.
        return all(block.recordable for block in self.blocks) and sum(bool(block.matrices) for block in self.blocks) <= 1

    @property
    @override
    def steady(self) -> bool:
        return all(block.steady for block in self.blocks)

    @property
    @override
    def affine(self) -> bool:  # type: ignore[override]
        return all(block.affine for block in self.blocks)

    @override
    def shift(self, tape: Any, dx: np.ndarray, x: np.ndarray | None = None) -> tuple[np.ndarray, Any]:
        tapes = []
        for block, own in zip(self.blocks, tape, strict=True):
            dx, there = block.shift(own, dx, x)
            tapes.append(there)
            x = None
        return dx, tapes

    @override
    def shift_in_steps(self, tape: Any, dx: np.ndarray, x: np.ndarray | None = None) -> tuple[np.ndarray, Any, list[np.ndarray]]:
        tapes, steps = [], []
        for block, own in zip(self.blocks, tape, strict=True):
            dx, there, within = block.shift_in_steps(own, dx, x)
            tapes.append(there)
            steps += within
            x = None
        return dx, tapes, steps

    @override
    def leaves(self) -> list[Block]:
        return [leaf for block in self.blocks for leaf in block.leaves()]

    @override
    def leaf_tapes(self, tape: Any) -> list[Any]:
        return [leaf for block, own in zip(self.blocks, tape, strict=True) for leaf in block.leaf_tapes(own)]

    @override
    def tangent(self, tape: Any, dx: np.ndarray) -> tuple[np.ndarray, Any]:
        tapes = []
        for block, own in zip(self.blocks, tape, strict=True):
            dx, there = block.tangent(own, dx)
            tapes.append(there)
        return dx, tapes

    @override
    def again(self, tape: Any) -> None:
        for block, own in zip(self.blocks, tape, strict=True):
            block.again(own)

    @override
    def vjp(self, tape: Any, g: np.ndarray) -> np.ndarray:
        for block, own in zip(reversed(self.blocks), reversed(tape), strict=True):
            g = block.vjp(own, g)
        return g

    @override
    def products(self, tape: Any, g: np.ndarray) -> Iterator[Product]:
        """See `Block.products`.

        All transposed reads are performed at the call, not as the products are consumed: the consumer may update a matrix once it has its
        product, and errors must not be propagated through updated weights. Reads stop at the lowest block with matrices.
        """
        learning = [index for index, block in enumerate(self.blocks) if block.matrices]
        pending: list[Iterator[Product]] = []
        for index in range(len(self.blocks) - 1, min(learning, default=len(self.blocks)) - 1, -1):
            block = self.blocks[index]
            if block.matrices:
                pending.append(block.products(tape[index], g))
            if index > learning[0]:
                g = block.vjp(tape[index], g)
        return itertools.chain.from_iterable(reversed(pending))

    @property
    @override
    def least_samples(self) -> int:
        return max(block.least_samples for block in self.blocks)

    @override
    def nodes(self) -> Iterable[ValueNodeBlock]:
        return itertools.chain.from_iterable(block.nodes() for block in self.blocks)

    @override
    def pass_forward(self, x: np.ndarray, sweep: Sweep) -> tuple[np.ndarray, Any]:
        tapes = []
        for block in self.blocks:
            x, tape = block.pass_forward(x, sweep)
            tapes.append(tape)
        return x, tapes

    @override
    def pass_back(
        self, tape: Any, g: np.ndarray, sweep: Sweep, onward: bool = True
    ) -> tuple[np.ndarray | None, list[Iterable[Product]]]:
        """See `Block.pass_back`; errors stop at the lowest block with a matrix or a node, unless ``onward``."""
        wanted = [index for index, block in enumerate(self.blocks) if block.matrices or any(True for _ in block.nodes())]
        lowest = 0 if onward else min(wanted, default=len(self.blocks))
        products: list[Iterable[Product]] = []
        back: np.ndarray | None = g
        for index in range(len(self.blocks) - 1, lowest - 1, -1):
            if back is None:
                break
            back, own = self.blocks[index].pass_back(tape[index], back, sweep, onward or index > lowest)
            products = own + products
        return (back if onward else None), products

    @override
    def copy(self, backend: Backend | None = None) -> ChainBlock:
        return ChainBlock([block.copy(backend) for block in self.blocks])
