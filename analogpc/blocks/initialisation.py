"""Initial weights, and the common base of linear blocks: weight and bias matrices, and the gain."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import model_validator
from typing_extensions import override

from analogpc.blocks.base import Block, BlockSpecification, Initialisation, MatrixMaker, Product
from analogpc.devices.bounds import NonNegative, Positive
from analogpc.devices.matrix import Matrix
from analogpc.kernels.checks import refuse_beyond_memory
from analogpc.kernels.memory import filled
from analogpc.kernels.random.streams import Key, normals, uniforms


def initial_weights(init: Initialisation, shape: tuple[int, int], fan_out: int, key: Key) -> tuple[np.ndarray, np.ndarray]:
    """Draw a weight matrix and its bias.

    Weights are drawn in float64 for all floating types, so that networks of both types start from equal numbers.

    Parameters
    ----------
    init : Initialisation
    shape : (n_out, fan_in)
        Shape of the matrix; the number of inputs of a unit is the number of columns.
    fan_out : int
        Number of outputs connected to one input: n_out, times the window area in a convolution.
    key : Key

    Returns
    -------
    weight : (n_out, fan_in) float64 array
    bias : (n_out, 1) float64 array
    """
    fan_in, bias_shape = shape[1], (shape[0], 1)
    if init == "kaiming-uniform":
        bound = 1 / math.sqrt(fan_in)
        return _uniform(bound, shape, key.fold("weight")), _uniform(bound, bias_shape, key.fold("bias"))
    if init == "xavier-uniform":
        return _uniform(math.sqrt(6 / (fan_in + fan_out)), shape, key.fold("weight")), np.zeros(bias_shape)
    variances = {
        "kaiming-normal": 2 / fan_in,
        "kaiming-normal-fan-out": 2 / fan_out,
        "xavier-normal": 2 / (fan_in + fan_out),
        "normal": 1.0,
    }
    return math.sqrt(variances[init]) * normals(key.fold("weight"), 0, shape, np.float64), np.zeros(bias_shape)


def _uniform(bound: float, shape: tuple[int, int], key: Key) -> np.ndarray:
    return bound * (2 * uniforms(key, 0, shape, np.float64) - 1)


class LinearSpecification(BlockSpecification):
    """Base class of dense and convolutional blocks: y = gain * W x + b.

    Attributes
    ----------
    bias : bool
        Whether there is a bias b: a separate matrix (n_out, 1) with a constant input of 1.
    gain : float
        Digital factor on the reads of W, forward and transposed, and on its updates, but not on the bias.
    init : Initialisation
    init_gain : float
        Factor on the drawn weights.
    bias_gain : float
        Factor on the drawn biases. Scellier et al. (arXiv 2312.15103) draw weights within +-g / sqrt(fan_in) and biases within
        +-0.5 / sqrt(fan_in): "kaiming-uniform" with an ``init_gain`` of g and a ``bias_gain`` of 0.5.
    """

    couples: ClassVar[bool] = True
    bias: bool = True
    gain: Positive = 1.0
    init: Initialisation = "kaiming-uniform"
    init_gain: NonNegative = 1.0
    bias_gain: NonNegative = 1.0

    @model_validator(mode="after")
    def _bias_gain_has_a_bias(self) -> LinearSpecification:
        if self.bias_gain != 1 and not (self.bias and self.init == "kaiming-uniform"):
            start = f"with init = '{self.init}' biases start at zero" if self.bias else "there is no bias"
            raise ValueError(f"bias_gain = {self.bias_gain:g} has no effect: {start}")
        return self

    @override
    def without_bias(self) -> Self:
        return self.but(bias=False, bias_gain=1.0)

    def make_matrices(
        self, make: MatrixMaker, shape: tuple[int, int], fan_out: int, key: Key, dtype: np.dtype
    ) -> dict[str, Matrix]:
        """Create the matrix "weight" (n_out, n_in) and, if requested, "bias" (n_out, 1)."""
        refuse_beyond_memory(math.prod(shape), np.float64, f"a matrix of {shape[0]} x {shape[1]} weights")
        drawn = cache(lambda: initial_weights(self.init, shape, fan_out, key))
        matrices = {"weight": make("weight", shape, lambda: (self.init_gain * drawn()[0]).astype(dtype))}
        if self.bias:
            matrices["bias"] = make("bias", (shape[0], 1), lambda: (self.bias_gain * drawn()[1]).astype(dtype))
        return matrices


class LinearBlock(Block):
    """A block with one weight matrix, an optional bias, and a gain.

    Parameters
    ----------
    input_shape, output_shape, matrices
        See `Block`.
    gain : float
        See `LinearSpecification`.
    """

    affine = True

    def __init__(
        self, input_shape: tuple[int, ...], output_shape: tuple[int, ...], matrices: dict[str, Matrix], gain: float = 1.0
    ) -> None:
        super().__init__(input_shape, output_shape, matrices)
        self._gain = gain

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        """Return ``values`` times the gain, in their type."""
        return values if self._gain == 1 else values * self._gain

    @override
    def tangent(self, tape: Any, dx: np.ndarray) -> tuple[np.ndarray, Any]:
        value, there = self.forward(dx)
        return value - read_bias(self.matrices, dx), there


def read_bias(matrices: dict[str, Matrix], like: np.ndarray) -> np.ndarray:
    """Read the bias as a row (1, n_out), with a constant input of 1, in the type and on the backend of ``like``; zeros without bias."""
    if "bias" not in matrices:
        return np.zeros((1, matrices["weight"].shape[0]), like.dtype, like=like)
    return matrices["bias"].forward_constant(like)


def bias_products(matrices: dict[str, Matrix], g: np.ndarray) -> Iterator[Product]:
    """Yield the products of the bias, if there is one: its input is 1 for each of the n errors ``g`` (n, n_out)."""
    if "bias" in matrices:
        yield matrices["bias"], filled((len(g), 1), 1, g.dtype, g), g
