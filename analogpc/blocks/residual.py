"""Residual blocks: a body in parallel with a shortcut."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
from typing_extensions import override

from analogpc.blocks.activation import Activation
from analogpc.blocks.base import AnyBlock, Block, BlockSpecification, MatrixMaker, Product, ShapeError
from analogpc.blocks.sweep_state import Sweep
from analogpc.blocks.value_node import ValueNodeBlock
from analogpc.devices.costs.schedule import at_once
from analogpc.kernels.gpu.arrays import Backend
from analogpc.kernels.random.streams import Key


class Residual(BlockSpecification):
    """Sum of two blocks of the same input, within one layer: y = shortcut(x) + body(x).

    In a predictive network there is no state between the two; to give each branch its own states, see `Parallel`.

    Attributes
    ----------
    body, shortcut : block specifications
        Blocks with outputs of the same shape. The default shortcut is the identity.

    Notes
    -----
    Matrices and buffers are named by position: "body.0.weight", "body.1.running_mean", "shortcut.weight" and so on.

    References
    ----------
    He et al., arXiv 1512.03385.

    Examples
    --------
    >>> from analogpc.blocks import Chain, Conv2d
    >>> body = Chain(blocks=(Conv2d(channels=8), Activation(function="relu"), Conv2d(channels=8)))
    >>> widening = Residual(body=body, shortcut=Conv2d(channels=8, kernel=1, padding=0))
    >>> Residual.from_toml(widening.to_toml()) == widening
    True
    """

    kind: Literal["residual"] = "residual"
    body: AnyBlock
    shortcut: AnyBlock = Activation(function="identity")

    @property
    @override
    def has_nodes(self) -> bool:
        return self.body.has_nodes or self.shortcut.has_nodes

    @override
    def build(self, input_shape: tuple[int, ...], make: MatrixMaker, key: Key, dtype: np.dtype) -> ResidualBlock:
        built: dict[str, Block] = {}
        for name, branch in (("body", self.body), ("shortcut", self.shortcut)):
            try:
                built[name] = branch.build(input_shape, make, key.fold(name), dtype)
            except ShapeError as error:
                raise ShapeError(f"{name} of the residual: {error}") from None
        body, shortcut = built["body"], built["shortcut"]
        if body.output_shape != shortcut.output_shape:
            raise ShapeError(
                f"Residual adds a body and a shortcut of the same shape, but samples of shape {input_shape} give the body output "
                f"{body.output_shape} and the shortcut output {shortcut.output_shape}"
            )
        return ResidualBlock(body, shortcut)


class ResidualBlock(Block):
    """Built from `Residual`; the tape is the pair of the tapes of body and shortcut.

    Parameters
    ----------
    body, shortcut : Block
        Blocks with the same input and output shapes.
    """

    def __init__(self, body: Block, shortcut: Block) -> None:
        self.body, self.shortcut = body, shortcut
        branches = {"body": body, "shortcut": shortcut}
        named = {f"{place}.{name}": matrix for place, branch in branches.items() for name, matrix in branch.matrices.items()}
        kept = {f"{place}.{name}": array for place, branch in branches.items() for name, array in branch.buffers.items()}
        super().__init__(body.input_shape, body.output_shape, named, kept)

    @override
    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        self._check(x)
        (y, tape), (around, own) = [branch.forward(x) for branch in at_once((self.body, self.shortcut))]
        return around + y, (tape, own)

    @override
    def infer(self, x: np.ndarray) -> np.ndarray:
        self._check(x)
        return self.shortcut.infer(x) + self.body.infer(x)

    @property
    @override
    def exact(self) -> bool:
        return all(branch.exact for branch in (self.body, self.shortcut))

    @property
    @override
    def steady(self) -> bool:
        return all(branch.steady for branch in (self.body, self.shortcut))

    @override
    def shift(self, tape: Any, dx: np.ndarray, x: np.ndarray | None = None) -> tuple[np.ndarray, Any]:
        dy, there = self.body.shift(tape[0], dx, x)
        around, own = self.shortcut.shift(tape[1], dx, x)
        return around + dy, (there, own)

    @override
    def again(self, tape: Any) -> None:
        self.body.again(tape[0])
        self.shortcut.again(tape[1])

    @override
    def vjp(self, tape: Any, g: np.ndarray) -> np.ndarray:
        around, back = [branch.vjp(own, g) for branch, own in at_once(((self.shortcut, tape[1]), (self.body, tape[0])))]
        return around + back

    @override
    def products(self, tape: Any, g: np.ndarray) -> Iterator[Product]:
        """See `Block.products`; transposed reads within both branches are performed at the call, as in `Chain`."""
        return itertools.chain.from_iterable([self.body.products(tape[0], g), self.shortcut.products(tape[1], g)])

    @property
    @override
    def least_samples(self) -> int:
        return max(block.least_samples for block in (self.body, self.shortcut))

    @override
    def nodes(self) -> Iterable[ValueNodeBlock]:
        return itertools.chain(self.body.nodes(), self.shortcut.nodes())

    @override
    def pass_forward(self, x: np.ndarray, sweep: Sweep) -> tuple[np.ndarray, Any]:
        y, tape = self.body.pass_forward(x, sweep)
        around, own = self.shortcut.pass_forward(x, sweep)
        return around + y, (tape, own)

    @override
    def pass_back(
        self, tape: Any, g: np.ndarray, sweep: Sweep, onward: bool = True
    ) -> tuple[np.ndarray | None, list[Iterable[Product]]]:
        around, products = self.shortcut.pass_back(tape[1], g, sweep, onward)
        through, own = self.body.pass_back(tape[0], g, sweep, onward)
        back = around if through is None else through if around is None else around + through
        return back, own + products

    @override
    def copy(self, backend: Backend | None = None) -> ResidualBlock:
        return ResidualBlock(self.body.copy(backend), self.shortcut.copy(backend))
