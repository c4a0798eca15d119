"""Convolutional blocks, lowered to patches: a convolution is a read of one matrix with one input vector per output position."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from typing_extensions import override

from analogpc.blocks.base import MatrixMaker, Product, ShapeError, moved
from analogpc.blocks.initialisation import LinearBlock, LinearSpecification, bias_products, read_bias
from analogpc.devices.bounds import NonNegativeInteger, PositiveInteger
from analogpc.devices.matrix import Matrix
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.images.patches import fold, output_size, patches
from analogpc.kernels.memory import empty
from analogpc.kernels.random.streams import Key

PATCH_BYTES = 64 * 2**20
"""Memory for patches, in bytes. Patches repeat every pixel kernel**2 times. Samples are processed in chunks whose patches fit, or one
by one if not even one fits. Exact matrices give the same result for any chunks, up to rounding; noisy matrices draw noise per
read, so this number is part of the meaning of a seed."""
_GPU_PATCH_BYTES = 2**30
"""Memory for patches of exact matrices on a GPU, which is used efficiently only by large products."""


class Conv2d(LinearSpecification):
    """A convolution (cross-correlation) of images (height, width, channels) with zero padding.

    Attributes
    ----------
    channels : int
        Channels of the output.
    kernel : int
        Side of the square window, in pixels.
    stride : int
        Distance between windows, in pixels.
    padding : int
        Rings of zeros around the image.
    bias : bool
        Whether every output channel has an offset: a separate matrix (channels, 1) with a constant input of 1.
    gain : float
        Digital factor on the reads of the weights and on their updates, but not on the bias.
    init : str
        Initial weights; see `Initialisation`. fan_in is kernel**2 times the input channels, fan_out kernel**2 times ``channels``.
    init_gain, bias_gain : float
        Factors on the drawn weights and biases.

    Notes
    -----
    The matrix "weight" has the shape (channels, kernel * kernel * input channels), its columns ordered (ky, kx, channel).
    """

    kind: Literal["conv2d"] = "conv2d"
    channels: PositiveInteger
    kernel: PositiveInteger = 3
    stride: PositiveInteger = 1
    padding: NonNegativeInteger = 1

    @override
    def build(self, input_shape: tuple[int, ...], make: MatrixMaker, key: Key, dtype: np.dtype) -> Conv2dBlock:
        if len(input_shape) != 3:
            raise ShapeError(f"Conv2d takes samples of shape (height, width, channels), not {input_shape}")
        rows, columns = (output_size(size, self.kernel, self.stride, self.padding) for size in input_shape[:2])
        if rows == 0 or columns == 0:
            raise ShapeError(
                f"Conv2d with a kernel of {self.kernel} and a padding of {self.padding} needs images of at least "
                f"{max(1, self.kernel - 2 * self.padding)} pixels a side, not samples of shape {input_shape}"
            )
        area = self.kernel**2
        shape = (self.channels, area * input_shape[2])
        matrices = self.make_matrices(make, shape, area * self.channels, key, dtype)
        return Conv2dBlock(self, input_shape, (rows, columns, self.channels), matrices)


class Conv2dBlock(LinearBlock):
    """Built from `Conv2d`; the tape is the input, from which patches are extracted again when needed."""

    def __init__(
        self, window: Conv2d, input_shape: tuple[int, ...], output_shape: tuple[int, ...], matrices: dict[str, Matrix]
    ) -> None:
        super().__init__(input_shape, output_shape, matrices, window.gain)
        self._window = (window.kernel, window.stride, window.padding)

    def _chunks(self, batch: np.ndarray) -> Iterator[slice]:
        """Yield slices of samples; an empty batch is one empty chunk."""
        weight, samples = self.matrices["weight"], len(batch)
        each = math.prod(self.output_shape[:2]) * weight.shape[1] * batch.dtype.itemsize
        size = max(1, (_GPU_PATCH_BYTES if weight.exact and on_gpu(batch) else PATCH_BYTES) // each)
        return (slice(first, min(first + size, samples)) for first in range(0, max(samples, 1), size))

    def _columns(self, g: np.ndarray) -> np.ndarray:
        """Return one row for each output position: (n, rows, columns, channels) -> (n * rows * columns, channels)."""
        return g.reshape(math.prod(g.shape[:3]), g.shape[3])

    @override
    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        self._check(x)
        offset = read_bias(self.matrices, x)
        y = empty((len(x), *self.output_shape), x.dtype, x)
        for chunk in self._chunks(x):
            np.add(self._read(x[chunk]), offset, out=self._columns(y[chunk]))
        return y, x

    def _read(self, x: np.ndarray) -> np.ndarray:
        """Read without the bias, one row for each output position: (n * rows * columns, channels)."""
        return self._scaled(self.matrices["weight"].forward(patches(x, *self._window)))

    @override
    def shift(self, tape: Any, dx: np.ndarray, x: np.ndarray | None = None) -> tuple[np.ndarray, Any]:
        chunks = list(self._chunks(dx))
        if len(chunks) == 1:
            return self._read(dx).reshape(len(dx), *self.output_shape), moved(tape, dx, x)
        dy = empty((len(dx), *self.output_shape), dx.dtype, dx)
        for chunk in chunks:
            self._columns(dy[chunk])[...] = self._read(dx[chunk])
        return dy, moved(tape, dx, x)

    @override
    def vjp(self, tape: Any, g: np.ndarray) -> np.ndarray:
        chunks = list(self._chunks(g))
        if len(chunks) == 1:
            return self._pulled_back(g)
        dx = empty((len(g), *self.input_shape), g.dtype, g)
        for chunk in chunks:
            dx[chunk] = self._pulled_back(g[chunk])
        return dx

    def _pulled_back(self, g: np.ndarray) -> np.ndarray:
        back = self._scaled(self.matrices["weight"].backward(self._columns(g)))
        return fold(back, (len(g), *self.input_shape), *self._window)

    @override
    def products(self, tape: Any, g: np.ndarray) -> Iterator[Product]:
        """See `Block.products`; one product of the weight for each chunk, whose patches are extracted when it is consumed."""
        for chunk in self._chunks(g):
            yield self.matrices["weight"], patches(tape[chunk], *self._window), self._scaled(self._columns(g[chunk]))
        yield from bias_products(self.matrices, self._columns(g))
