"""The mean over all pixels of an image."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from typing_extensions import override

from analogpc.blocks.base import Block, BlockSpecification, MatrixMaker, ShapeError
from analogpc.kernels.random.streams import Key


class GlobalMean(BlockSpecification):
    """The mean of every channel of images (height, width, channels) over all pixels: samples of shape (channels,)."""

    kind: Literal["global-mean"] = "global-mean"

    @override
    def build(self, input_shape: tuple[int, ...], make: MatrixMaker, key: Key, dtype: np.dtype) -> GlobalMeanBlock:
        if len(input_shape) != 3:
            raise ShapeError(f"GlobalMean takes samples of shape (height, width, channels), not {input_shape}")
        return GlobalMeanBlock(input_shape, input_shape[2:])


class GlobalMeanBlock(Block):
    """Built from `GlobalMean`; the tape is empty."""

    @override
    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        self._check(x)
        return x.mean(axis=(1, 2)), None

    @override
    def shift(self, tape: Any, dx: np.ndarray, x: np.ndarray | None = None) -> tuple[np.ndarray, Any]:
        return self.forward(dx)

    @override
    def vjp(self, tape: Any, g: np.ndarray) -> np.ndarray:
        rows, columns, _ = self.input_shape
        return np.broadcast_to((g / g.dtype.type(rows * columns))[:, None, None, :], (len(g), *self.input_shape)).copy()
