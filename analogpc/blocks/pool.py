"""Pooling blocks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from typing_extensions import override

from analogpc.blocks.base import Block, BlockSpecification, MatrixMaker, ShapeError
from analogpc.kernels.patches import output_size
from analogpc.kernels.pooling import max_pool, max_unpool
from analogpc.kernels.streams import Key


class MaxPool(BlockSpecification):
    """The largest value of every window of images (height, width, channels), channel by channel.

    The derivative goes to the first maximum of a window, in reading order.

    Attributes
    ----------
    size : int
        Side of the square window, in pixels.
    stride : int
        Pixels from one window to the next; 0 means ``size``. Pixels that no window reaches at the lower and right edges are left
        out.
    """

    kind: Literal["max-pool"] = "max-pool"
    size: Annotated[int, Field(ge=1)] = 2
    stride: Annotated[int, Field(ge=0)] = 0

    @override
    def build(self, input_shape: tuple[int, ...], make: MatrixMaker, key: Key, dtype: np.dtype) -> MaxPoolBlock:
        if len(input_shape) != 3:
            raise ShapeError(f"MaxPool takes samples of shape (height, width, channels), not {input_shape}")
        return MaxPoolBlock(input_shape, self.size, self.stride or self.size)


class MaxPoolBlock(Block):
    """Built from `MaxPool`; the tape says where in its window each maximum was."""

    def __init__(self, input_shape: tuple[int, ...], size: int, stride: int) -> None:
        rows, columns = (output_size(side, size, stride, 0) for side in input_shape[:2])
        if rows == 0 or columns == 0:
            raise ShapeError(
                f"MaxPool of size {size} needs images of at least {size} pixels a side, not samples of {input_shape}"
            )
        super().__init__(input_shape, (rows, columns, input_shape[2]))
        self._window = (size, stride)

    @override
    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        self._check(x)
        return max_pool(x, *self._window)

    @override
    def vjp(self, tape: Any, g: np.ndarray) -> np.ndarray:
        return max_unpool(g, tape, (len(g), *self.input_shape), *self._window)
