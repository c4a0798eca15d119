"""Fully connected blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from typing_extensions import override

from analogpc.blocks.base import MatrixMaker, Product, ShapeError, moved
from analogpc.blocks.initialisation import LinearBlock, LinearSpecification, bias_products, read_bias
from analogpc.devices.bounds import PositiveInteger
from analogpc.kernels.products import raise_by
from analogpc.kernels.random.streams import Key


class Dense(LinearSpecification):
    """Fully connected layer y = gain * W x + b, on samples of shape (n_in,), or at every position of samples of shape (positions, n_in).

    Attributes
    ----------
    features : int
        Number of outputs.
    bias : bool
        Whether there is a bias b: a separate matrix (features, 1) with a constant input of 1.
    gain : float
        Digital factor on the reads of W and on its updates, but not on the bias.
    init : str
        Initial weights; see `Initialisation`.
    init_gain, bias_gain : float
        Factors on the drawn weights and biases.
    """

    kind: Literal["dense"] = "dense"
    features: PositiveInteger

    @override
    def build(self, input_shape: tuple[int, ...], make: MatrixMaker, key: Key, dtype: np.dtype) -> DenseBlock:
        if len(input_shape) not in (1, 2):
            raise ShapeError(
                f"Dense takes samples of shape (n_in,), not {input_shape}: add Flatten before it. It also takes (positions, n_in)"
            )
        matrices = self.make_matrices(make, (self.features, input_shape[-1]), self.features, key, dtype)
        return DenseBlock(input_shape, (*input_shape[:-1], self.features), matrices, self.gain)


class DenseBlock(LinearBlock):
    """Built from `Dense`; the tape is the input."""

    @property
    @override
    def recordable(self) -> bool:
        return True

    @override
    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        self._check(x)
        y = self._scaled(self.matrices["weight"].forward(_rows(x)))
        if "bias" in self.matrices:
            raise_by(y, read_bias(self.matrices, y))
        return y.reshape(len(x), *self.output_shape), x

    @override
    def shift(self, tape: Any, dx: np.ndarray, x: np.ndarray | None = None) -> tuple[np.ndarray, Any]:
        return self._scaled(self.matrices["weight"].forward(dx)), moved(tape, dx, x)

    @override
    def vjp(self, tape: Any, g: np.ndarray) -> np.ndarray:
        return self._scaled(self.matrices["weight"].backward(_rows(g))).reshape(len(g), *self.input_shape)

    @override
    def products(self, tape: Any, g: np.ndarray) -> Iterator[Product]:
        g = _rows(g)
        yield self.matrices["weight"], _rows(tape), self._scaled(g)
        yield from bias_products(self.matrices, g)


def _rows(x: np.ndarray) -> np.ndarray:
    """Return one row for each position of each sample: (n, ..., values) -> (n * positions, values)."""
    return x.reshape(-1, x.shape[-1]) if x.ndim > 2 else x
