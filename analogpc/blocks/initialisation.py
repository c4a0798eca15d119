"""Initial weights, and the common base of linear blocks: weight and bias matrices, and the gain."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import model_validator
from typing_extensions import override

from analogpc.blocks.base import Block, BlockSpecification, Initialisation, MatrixMaker, Product
from analogpc.devices.bounds import NonNegative, Positive
from analogpc.devices.matrix import Matrix
from analogpc.kernels.checks import refuse_beyond_memory
from analogpc.kernels.memory import filled
from analogpc.kernels.products import scaled
from analogpc.kernels.random.streams import Key, normals, uniforms

_BLOCK = 2**15
"""Number of weights drawn together."""


def initial_weights(
    init: Initialisation,
    shape: tuple[int, int],
    fan_out: int,
    key: Key,
    gains: tuple[float, float] = (1.0, 1.0),
    dtype: Any = np.float64,
) -> tuple[np.ndarray, np.ndarray]:
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
    gains : two floats
        Factors on the drawn weights and biases.
    dtype : numpy.dtype
        Type of the result.

    Returns
    -------
    weight : (n_out, fan_in) array
    bias : (n_out, 1) array
    """
    fan_in, bias_shape = shape[1], (shape[0], 1)
    bounds = {
        "kaiming-uniform": 1 / math.sqrt(fan_in),
        "kaiming-uniform-fan-out": 1 / math.sqrt(fan_out),
        "xavier-uniform": math.sqrt(6 / (fan_in + fan_out)),
    }
    if init in bounds:
        weight = _in_blocks(partial(_uniform, bounds[init], key.fold("weight")), shape, gains[0], dtype)
        if init == "xavier-uniform":
            return weight, np.zeros(bias_shape, dtype)
        bias = partial(_uniform, bounds["kaiming-uniform"], key.fold("bias"))
        return weight, _in_blocks(bias, bias_shape, gains[1], dtype)
    variances = {
        "kaiming-normal": 2 / fan_in,
        "kaiming-normal-fan-out": 2 / fan_out,
        "xavier-normal": 2 / (fan_in + fan_out),
        "normal": 1.0,
    }
    draw = partial(_normal, math.sqrt(variances[init]), key.fold("weight"))
    return _in_blocks(draw, shape, gains[0], dtype), np.zeros(bias_shape, dtype)


def _uniform(bound: float, key: Key, shape: tuple[int, int], first: int) -> np.ndarray:
    return bound * (2 * uniforms(key, 0, shape, np.float64, first=first) - 1)


def _normal(deviation: float, key: Key, shape: tuple[int, int], first: int) -> np.ndarray:
    return deviation * normals(key, 0, shape, np.float64, first=first)


def _in_blocks(
    draw: Callable[[tuple[int, int], int], np.ndarray], shape: tuple[int, int], gain: float, dtype: np.dtype
) -> np.ndarray:
    """Draw an array in float64, some rows at a time, and convert it."""
    drawn = np.empty(shape, dtype)
    rows = max(1, _BLOCK // max(1, shape[1]))
    for top in range(0, shape[0], rows):
        part = drawn[top : top + rows]
        part[...] = gain * draw((len(part), shape[1]), top * shape[1])
    return drawn


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
        gains = self.init_gain, self.bias_gain
        drawn = cache(lambda: initial_weights(self.init, shape, fan_out, key, gains, dtype))
        matrices = {"weight": make("weight", shape, lambda: drawn()[0])}
        if self.bias:
            matrices["bias"] = make("bias", (shape[0], 1), lambda: drawn()[1])
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
        return values if self._gain == 1 else scaled(values, self._gain)

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
