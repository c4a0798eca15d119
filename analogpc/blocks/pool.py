"""Pooling blocks."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from typing_extensions import override

from analogpc.blocks.base import Block, BlockSpecification, MatrixMaker, ShapeError, moved
from analogpc.devices.bounds import NonNegativeInteger, Positive, PositiveInteger
from analogpc.devices.costs.schedule import work
from analogpc.kernels.images.patches import fold, output_size
from analogpc.kernels.images.pooling import average_pool, average_unpool, max_pool, max_pool_shift, max_unpool
from analogpc.kernels.images.soft_pooling import soft_pool, soft_pool_shift, soft_unpool
from analogpc.kernels.products import added
from analogpc.kernels.random.streams import Key


class MaxPool(BlockSpecification):
    """Maximum over every window of images (height, width, channels), per channel.

    The derivative goes to the first maximum of a window, in reading order.

    Attributes
    ----------
    size : int
        Side of the square window, in pixels.
    stride : int
        Distance between windows, in pixels; 0 means ``size``. Pixels at the lower and right edges outside of all windows are
        ignored.
    """

    kind: Literal["max-pool"] = "max-pool"
    commutes: ClassVar[bool] = True
    couples: ClassVar[bool] = True
    size: PositiveInteger = 2
    stride: NonNegativeInteger = 0

    @override
    def build(self, input_shape: tuple[int, ...], make: MatrixMaker, key: Key, dtype: np.dtype) -> MaxPoolBlock:
        return MaxPoolBlock(input_shape, self.size, self.stride or self.size)


class AvgPool(BlockSpecification):
    """Mean over every window of images (height, width, channels), per channel; also for complex images.

    Attributes
    ----------
    size, stride : int
        As for `MaxPool`.
    """

    kind: Literal["avg-pool"] = "avg-pool"
    couples: ClassVar[bool] = True
    size: PositiveInteger = 2
    stride: NonNegativeInteger = 0

    @override
    def build(self, input_shape: tuple[int, ...], make: MatrixMaker, key: Key, dtype: np.dtype) -> AvgPoolBlock:
        return AvgPoolBlock(input_shape, self.size, self.stride or self.size)


class SoftPool(BlockSpecification):
    """Soft maximum over every window of images (height, width, channels), per channel: the mean with softmax weights,

        y = sum_k v_k e^(v_k / T) / sum_k e^(v_k / T)

    It is between the mean (T to infinity) and the maximum (T to 0), and is smooth. On complex images it is holomorphic, away from the
    zeros of the denominator: `Block.vjp` is the transpose of the complex derivative, without any conjugation.

    Attributes
    ----------
    size, stride : int
        As for `MaxPool`.
    temperature : float
        T, in the units of the images.

    References
    ----------
    Stergiou, Poppe and Kalliatakis, "Refining activation downsampling with SoftPool", ICCV 2021; in holomorphic equilibrium
    propagation (T = 1) Laborieux and Zenke, NeurIPS 2022.
    """

    kind: Literal["soft-pool"] = "soft-pool"
    couples: ClassVar[bool] = True
    size: PositiveInteger = 2
    stride: NonNegativeInteger = 0
    temperature: Positive = 1.0

    @override
    def build(self, input_shape: tuple[int, ...], make: MatrixMaker, key: Key, dtype: np.dtype) -> SoftPoolBlock:
        return SoftPoolBlock(input_shape, self.size, self.stride or self.size, self.temperature)


class PoolBlock(Block):
    """Base class of pooling blocks.

    Attributes
    ----------
    window : (int, int)
        Side of the window, and distance between windows, in pixels.
    """

    def __init__(self, input_shape: tuple[int, ...], size: int, stride: int) -> None:
        name = type(self).__name__.removesuffix("Block")
        if len(input_shape) != 3:
            raise ShapeError(f"{name} takes samples of shape (height, width, channels), not {input_shape}")
        rows, columns = (output_size(side, size, stride, 0) for side in input_shape[:2])
        if rows == 0 or columns == 0:
            raise ShapeError(f"{name} of size {size} needs images of at least {size} pixels a side, not samples of {input_shape}")
        super().__init__(input_shape, (rows, columns, input_shape[2]))
        self.window = (size, stride)

    def _windows(self, x: np.ndarray) -> np.ndarray:
        """Return every window with its positions in reading order: (n, out_height, out_width, size * size, channels)."""
        size, stride = self.window
        windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))[:, ::stride, ::stride]
        return np.moveaxis(windows, 3, -1).reshape(*windows.shape[:3], size * size, windows.shape[3])


class MaxTape(NamedTuple):
    """Tape of `MaxPoolBlock`.

    Attributes
    ----------
    where : (n, out_height, out_width, channels) array of unsigned integers
        Position of each maximum in its window.
    x : array or None
        Input; None if `shift` is not needed.
    """

    where: np.ndarray
    x: np.ndarray | None


class MaxPoolBlock(PoolBlock):
    """Built from `MaxPool`; the tape is a `MaxTape`."""

    @override
    def forward(self, x: np.ndarray) -> tuple[np.ndarray, MaxTape]:
        self._check(x)
        work("pooling", x.size)
        y, where = max_pool(x, *self.window)
        return y, MaxTape(where, x)

    @override
    def shift(self, tape: MaxTape, dx: np.ndarray, x: np.ndarray | None = None) -> tuple[np.ndarray, MaxTape]:
        work("pooling", dx.size)
        assert tape.x is not None
        dy, where = max_pool_shift(tape.x, dx, *self.window)
        return dy, MaxTape(where, None)

    @override
    def tangent(self, tape: MaxTape, dx: np.ndarray) -> tuple[np.ndarray, Any]:
        there = tape.where[:, :, :, None].astype(np.intp)
        return np.take_along_axis(self._windows(dx), there, axis=3)[:, :, :, 0], tape

    @override
    def vjp(self, tape: MaxTape, g: np.ndarray) -> np.ndarray:
        work("pooling", g.size)
        return max_unpool(g, tape.where, (len(g), *self.input_shape), *self.window)


class AvgPoolBlock(PoolBlock):
    """Built from `AvgPool`; the tape is empty."""

    affine = True

    @override
    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        self._check(x)
        work("pooling", x.size)
        return average_pool(x, *self.window), None

    @override
    def shift(self, tape: Any, dx: np.ndarray, x: np.ndarray | None = None) -> tuple[np.ndarray, Any]:
        return self.forward(dx)

    @override
    def tangent(self, tape: Any, dx: np.ndarray) -> tuple[np.ndarray, Any]:
        return self.forward(dx)

    @override
    def vjp(self, tape: Any, g: np.ndarray) -> np.ndarray:
        work("pooling", g.size)
        return average_unpool(g, (len(g), *self.input_shape), *self.window)


class SoftTape(NamedTuple):
    """Tape of `SoftPoolBlock`.

    Attributes
    ----------
    x, y : arrays
        Input and output.
    weights : (n, out_height, out_width, size * size, channels) array
        Softmax weights of the positions in each window.
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray


class SoftPoolBlock(PoolBlock):
    """Built from `SoftPool`; the tape is a `SoftTape`.

    Attributes
    ----------
    temperature : float
    """

    curved = True

    def __init__(self, input_shape: tuple[int, ...], size: int, stride: int, temperature: float) -> None:
        super().__init__(input_shape, size, stride)
        self.temperature = temperature

    @override
    def forward(self, x: np.ndarray) -> tuple[np.ndarray, SoftTape]:
        self._check(x)
        work("pooling", x.size)
        y, weights = soft_pool(x, *self.window, self.temperature)
        return y, SoftTape(x, y, weights)

    @override
    def shift(self, tape: SoftTape, dx: np.ndarray, x: np.ndarray | None = None) -> tuple[np.ndarray, SoftTape]:
        work("pooling", dx.size)
        dy, weights = soft_pool_shift(*tape, dx, *self.window, self.temperature)
        return dy, SoftTape(moved(tape.x, dx, x), added(tape.y, dy), weights)

    @override
    def vjp(self, tape: SoftTape, g: np.ndarray) -> np.ndarray:
        work("pooling", g.size)
        return soft_unpool(g, *tape, *self.window, self.temperature)

    @override
    def tangent(self, tape: SoftTape, dx: np.ndarray) -> tuple[np.ndarray, Any]:
        return (self._softly(tape)[0] * self._windows(dx)).sum(axis=3), tape

    def _softly(self, tape: SoftTape) -> tuple[np.ndarray, np.ndarray]:
        """Return the derivatives of a soft maximum at the positions of each window, p (1 + (v - y) / T), and p."""
        rate = tape.x.dtype.type(1 / self.temperature)
        return tape.weights * (1 + rate * (self._windows(tape.x) - tape.y[:, :, :, None])), tape.weights

    @override
    def curvature(self, tape: SoftTape, dx: np.ndarray, g: np.ndarray) -> np.ndarray:
        """See `Block.curvature`.

        With j = f'(x) it is g / T (j (dx - sum p dx) + p (dx - sum j dx)) at the positions of each window.
        """
        slopes, p = self._softly(tape)
        along = self._windows(dx)
        means = [(weights * along).sum(axis=3, keepdims=True) for weights in (p, slopes)]
        bent = g[:, :, :, None] * (slopes * (along - means[0]) + p * (along - means[1])) * g.dtype.type(1 / self.temperature)
        # Scatter back to the windows: patches of `fold` have the same order.
        return fold(bent.reshape(math.prod(bent.shape[:3]), math.prod(bent.shape[3:])), dx.shape, *self.window)
