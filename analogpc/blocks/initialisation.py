"""Initial weights, and the pair of weight and bias matrices that the linear blocks share."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from analogpc.blocks.base import Initialisation, MatrixMaker, Product
from analogpc.devices.matrix import Matrix
from analogpc.kernels.streams import Key, normals, uniforms


def initial_weights(init: Initialisation, shape: tuple[int, int], fan_out: int, key: Key) -> tuple[np.ndarray, np.ndarray]:
    """Draw a weight matrix and its bias.

    Drawn in float64 whatever the type of the network, so that networks of both types start from the same numbers.

    Parameters
    ----------
    init : Initialisation
    shape : (n_out, fan_in)
        Of the matrix; a unit has as many inputs as the matrix has columns.
    fan_out : int
        Outputs that one input reaches: n_out, times the window area in a convolution.
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
    variance = 2 / fan_in if init == "kaiming-normal" else 2 / (fan_in + fan_out)
    return math.sqrt(variance) * normals(key.fold("weight"), 0, shape, np.float64), np.zeros(bias_shape)


def _uniform(bound: float, shape: tuple[int, int], key: Key) -> np.ndarray:
    return bound * (2 * uniforms(key, 0, shape, np.float64) - 1)


def make_matrices(
    make: MatrixMaker, init: Initialisation, shape: tuple[int, int], fan_out: int, bias: bool, key: Key, dtype: np.dtype
) -> dict[str, Matrix]:
    """The matrix "weight" (n_out, n_in) and, if asked for, "bias" (n_out, 1)."""
    weight, offset = initial_weights(init, shape, fan_out, key)
    matrices = {"weight": make("weight", weight.astype(dtype))}
    if bias:
        matrices["bias"] = make("bias", offset.astype(dtype))
    return matrices


def read_bias(matrices: dict[str, Matrix], dtype: np.dtype) -> np.ndarray:
    """The bias as a row (1, n_out), by one read with a constant input of 1; zeros if there is none."""
    if "bias" not in matrices:
        return np.zeros((1, matrices["weight"].shape[0]), dtype)
    return matrices["bias"].forward(np.ones((1, 1), dtype))


def bias_products(matrices: dict[str, Matrix], g: np.ndarray) -> Iterator[Product]:
    """The products of the bias, if there is one: its input is 1 for each of the n errors ``g`` (n, n_out)."""
    if "bias" in matrices:
        yield matrices["bias"], np.ones((len(g), 1), g.dtype), g
