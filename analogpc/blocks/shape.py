"""Blocks that only change shapes."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import numpy as np
from typing_extensions import override

from analogpc.blocks.base import Block, BlockSpecification, MatrixMaker
from analogpc.kernels.random.streams import Key


class Flatten(BlockSpecification):
    """Flattening of samples, in C order: an image in the order (row, column, channel)."""

    kind: Literal["flatten"] = "flatten"
    commutes: ClassVar[bool] = True
    couples: ClassVar[bool] = True

    @override
    def build(self, input_shape: tuple[int, ...], make: MatrixMaker, key: Key, dtype: np.dtype) -> FlattenBlock:
        return FlattenBlock(input_shape, (math.prod(input_shape),))


class FlattenBlock(Block):
    """Built from `Flatten`; the tape is empty."""

    affine = True

    @property
    @override
    def recordable(self) -> bool:
        return True

    @override
    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        self._check(x)
        return x.reshape(len(x), *self.output_shape), None

    @override
    def shift(self, tape: Any, dx: np.ndarray, x: np.ndarray | None = None) -> tuple[np.ndarray, Any]:
        return self.forward(dx)

    @override
    def tangent(self, tape: Any, dx: np.ndarray) -> tuple[np.ndarray, Any]:
        return self.forward(dx)

    @override
    def vjp(self, tape: Any, g: np.ndarray) -> np.ndarray:
        return g.reshape(len(g), *self.input_shape)
