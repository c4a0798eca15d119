"""Parallel blocks, by which one state can hold several tensors: branches, and their sum."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator
from typing_extensions import override

from analogpc.blocks.base import AnyBlock, Block, BlockSpecification, MatrixMaker, Product, ShapeError
from analogpc.blocks.sweep_state import Sweep
from analogpc.blocks.value_node import ValueNodeBlock
from analogpc.devices.bounds import Positive, PositiveInteger
from analogpc.devices.costs.schedule import at_once
from analogpc.kernels.gpu.arrays import Backend, copied
from analogpc.kernels.memory import zeros
from analogpc.kernels.products import beside
from analogpc.kernels.random.streams import Key

Shape = tuple[PositiveInteger, ...]


class Parallel(BlockSpecification):
    """Parallel branches; each computes its part of one flat sample.

    With empty ``shapes`` every branch takes the whole sample, of any shape (a fork). Otherwise samples are flat concatenations of
    parts, and every branch takes its part, in its own shape. The flattened outputs are concatenated.

    Attributes
    ----------
    branches : tuple of block specifications
        At least two.
    shapes : tuple of tuples of int
        Input shapes of the branches; empty for a fork.
    precisions : tuple of float
        Weights of the energies of the values that each branch predicts, if this is the last block of a layer; empty for 1 each. They
        weight errors, as do the precisions of a schedule (see `Block.precision`). Only branches without matrices may have a value
        other than 1, so that no product has to be weighted.

    Examples
    --------
    A convolution beside an identity, which delays the image by one layer:

    >>> from analogpc.blocks import Conv2d, Flatten, Sum
    >>> fork = Parallel(branches=(Conv2d(channels=4), Flatten()))
    >>> meet = Sum(shape=(8, 8, 4))
    """

    kind: Literal["parallel"] = "parallel"
    branches: Annotated[tuple[AnyBlock, ...], Field(min_length=2)]
    shapes: tuple[Shape, ...] = ()
    precisions: tuple[Positive, ...] = ()

    @model_validator(mode="after")
    def _one_each(self) -> Parallel:
        for name, given in (("shapes", self.shapes), ("precisions", self.precisions)):
            if given and len(given) != len(self.branches):
                raise ValueError(f"{name} = {given} must be empty or one for each of the {len(self.branches)} branches")
        return self

    @property
    @override
    def has_nodes(self) -> bool:
        return any(block.has_nodes for block in self.branches)

    @override
    def build(self, input_shape: tuple[int, ...], make: MatrixMaker, key: Key, dtype: np.dtype) -> ParallelBlock:
        shapes = self.shapes or (input_shape,) * len(self.branches)
        if self.shapes and input_shape != (expected := (sum(map(math.prod, shapes)),)):
            raise ShapeError(f"Parallel with parts of shapes {shapes} takes samples of shape {expected}, not {input_shape}")
        built: list[Block] = []
        for index, (branch, shape) in enumerate(zip(self.branches, shapes, strict=True)):
            try:
                built.append(branch.build(shape, make, key.fold(index), dtype))
            except ShapeError as error:
                raise ShapeError(f"branch {index}: {error}") from None
        for index, (block, weight) in enumerate(zip(built, self.precisions, strict=False)):
            if weight != 1 and block.matrices:
                raise ShapeError(
                    f"branch {index} has matrices, but a precision of {weight:g}; only branches without matrices may have one other than 1"
                )
        return ParallelBlock(built, bool(self.shapes), _per_value(built, self.precisions, dtype))


def _per_value(built: Sequence[Block], precisions: Sequence[float], dtype: np.dtype) -> np.ndarray | None:
    """Return the precision of every output value of the branches; None if all are 1."""
    if all(weight == 1 for weight in precisions):
        return None
    sizes = [math.prod(branch.output_shape) for branch in built]
    return np.repeat(np.array(precisions, dtype), sizes)


class ParallelBlock(Block):
    """Built from `Parallel`; the tape is the list of the tapes of the branches.

    Parameters
    ----------
    branches : sequence of Block
        Branches; their matrices and buffers are named by position: "0.weight", "1.2.bias" and so on.
    split : bool
        Whether each branch takes its own part of flat samples; otherwise all take the whole sample.
    precision : array or None
        See `Block.precision`.
    """

    def __init__(self, branches: Sequence[Block], split: bool, precision: np.ndarray | None = None) -> None:
        self.branches = list(branches)
        self.split = split
        named = {f"{i}.{name}": matrix for i, branch in enumerate(self.branches) for name, matrix in branch.matrices.items()}
        kept = {f"{i}.{name}": array for i, branch in enumerate(self.branches) for name, array in branch.buffers.items()}
        self._ends_in = _ends([branch.input_shape for branch in self.branches]) if split else []
        self._ends_out = _ends([branch.output_shape for branch in self.branches])
        shape = (self._ends_in[-1],) if split else self.branches[0].input_shape
        super().__init__(shape, (self._ends_out[-1],), named, kept)
        self.precision = precision

    def _inputs(self, x: np.ndarray) -> list[np.ndarray]:
        if not self.split:
            return [x] * len(self.branches)
        return _cut(x, self._ends_in, [branch.input_shape for branch in self.branches])

    def _outputs(self, g: np.ndarray) -> list[np.ndarray]:
        return _cut(g, self._ends_out, [branch.output_shape for branch in self.branches])

    @override
    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        self._check(x)
        results = [branch.forward(part) for branch, part in at_once(zip(self.branches, self._inputs(x), strict=True))]
        return _side_by_side([y for y, _ in results]), [tape for _, tape in results]

    @override
    def infer(self, x: np.ndarray) -> np.ndarray:
        self._check(x)
        return _side_by_side([branch.infer(part) for branch, part in zip(self.branches, self._inputs(x), strict=True)])

    @property
    @override
    def exact(self) -> bool:
        return all(branch.exact for branch in self.branches)

    @property
    @override
    def steady(self) -> bool:
        return all(branch.steady for branch in self.branches)

    @override
    def shift(self, tape: Any, dx: np.ndarray, x: np.ndarray | None = None) -> tuple[np.ndarray, Any]:
        places = [None] * len(self.branches) if x is None else self._inputs(x)
        parts = zip(self.branches, tape, self._inputs(dx), places, strict=True)
        results = [branch.shift(own, part, place) for branch, own, part, place in parts]
        return _side_by_side([dy for dy, _ in results]), [there for _, there in results]

    @override
    def again(self, tape: Any) -> None:
        for branch, own in zip(self.branches, tape, strict=True):
            branch.again(own)

    @override
    def vjp(self, tape: Any, g: np.ndarray) -> np.ndarray:
        parts = zip(self.branches, tape, self._outputs(g), strict=True)
        backs = [branch.vjp(own, part) for branch, own, part in at_once(parts)]
        if self.split:
            return _side_by_side(backs)
        total = backs[0] + backs[1]
        for back in backs[2:]:
            total += back
        return total

    @override
    def products(self, tape: Any, g: np.ndarray) -> Iterator[Any]:
        """See `Block.products`; transposed reads within branches are performed at the call, as in `Chain`."""
        parts = zip(self.branches, tape, self._outputs(g), strict=True)
        return itertools.chain.from_iterable([branch.products(own, part) for branch, own, part in parts if branch.matrices])

    @property
    @override
    def least_samples(self) -> int:
        return max(block.least_samples for block in self.branches)

    @override
    def nodes(self) -> Iterable[ValueNodeBlock]:
        return itertools.chain.from_iterable(branch.nodes() for branch in self.branches)

    @override
    def pass_forward(self, x: np.ndarray, sweep: Sweep) -> tuple[np.ndarray, Any]:
        results = [branch.pass_forward(part, sweep) for branch, part in zip(self.branches, self._inputs(x), strict=True)]
        return _side_by_side([y for y, _ in results]), [tape for _, tape in results]

    @override
    def pass_back(
        self, tape: Any, g: np.ndarray, sweep: Sweep, onward: bool = True
    ) -> tuple[np.ndarray | None, list[Iterable[Product]]]:
        parts = zip(self.branches, tape, self._outputs(g), strict=True)
        results = [branch.pass_back(own, part, sweep, onward) for branch, own, part in parts]
        products = [product for _, own in results for product in own]
        backs = [back for back, _ in results]
        if all(back is None for back in backs):
            return None, products
        if self.split:
            shapes = [(len(g), *branch.input_shape) for branch in self.branches]
            return _side_by_side(
                [zeros(shape, g.dtype, g) if back is None else back for back, shape in zip(backs, shapes, strict=True)]
            ), products
        first, *others = [back for back in backs if back is not None]
        for other in others:
            first = first + other
        return first, products

    @override
    def copy(self, backend: Backend | None = None) -> ParallelBlock:
        precision = None if self.precision is None else copied(self.precision, backend)
        return ParallelBlock([branch.copy(backend) for branch in self.branches], self.split, precision)


class Sum(BlockSpecification):
    """The sum of the equal parts of a flat sample, as `Parallel` makes them.

    Attributes
    ----------
    shape : tuple of int
        Shape of each part and of the sum; samples are flat, with a multiple of its size.
    """

    kind: Literal["sum"] = "sum"
    shape: Annotated[Shape, Field(min_length=1)]

    @override
    def build(self, input_shape: tuple[int, ...], make: MatrixMaker, key: Key, dtype: np.dtype) -> SumBlock:
        size = math.prod(self.shape)
        if len(input_shape) != 1 or input_shape[0] % size:
            raise ShapeError(
                f"Sum of parts of shape {self.shape} takes flat samples of a multiple of {size} values, not {input_shape}"
            )
        return SumBlock(input_shape, self.shape)


class SumBlock(Block):
    """Built from `Sum`; the tape is empty."""

    @override
    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        self._check(x)
        return x.reshape(len(x), self._parts, *self.output_shape).sum(axis=1), None

    @override
    def shift(self, tape: Any, dx: np.ndarray, x: np.ndarray | None = None) -> tuple[np.ndarray, Any]:
        return self.forward(dx)

    @override
    def vjp(self, tape: Any, g: np.ndarray) -> np.ndarray:
        return np.tile(g.reshape(len(g), math.prod(self.output_shape)), (1, self._parts))

    @property
    def _parts(self) -> int:
        return self.input_shape[0] // math.prod(self.output_shape)


def _ends(shapes: Sequence[tuple[int, ...]]) -> list[int]:
    """Return the end of each part in a flat sample."""
    return list(itertools.accumulate(map(math.prod, shapes)))


def _cut(x: np.ndarray, ends: Sequence[int], shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Return the parts of flat samples, each contiguous and in its own shape."""
    parts = np.split(x, ends[:-1], axis=1)
    return [np.ascontiguousarray(part, like=part).reshape(len(x), *shape) for part, shape in zip(parts, shapes, strict=True)]


def _side_by_side(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Flatten the parts of samples and concatenate them."""
    sizes = [math.prod(part.shape[1:]) for part in parts]
    return beside([part.reshape(len(part), size) for part, size in zip(parts, sizes, strict=True)])
