"""Gradient descent steps in one pass over memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.gpu.cuda_kernel import CudaKernel
from analogpc.kernels.memory import empty, filled
from analogpc.kernels.sharing import over_slices

_PART = 2**16
_MOMENTUM_STEP = CudaKernel("descent", "momentum_step")
_PLAIN_STEP = CudaKernel("descent", "plain_step")
_ADAM_STEP = CudaKernel("descent", "adam_step")


@compiled(error_model="numpy")
def _momentum_part(x, g, v, out, rate, momentum, nesterov):
    for i in range(x.size):
        v[i] = momentum * v[i] + g[i]
        out[i] = x[i] - rate * (g[i] + momentum * v[i] if nesterov else v[i])


@compiled(error_model="numpy")
def _plain_part(x, g, out, rate):
    for i in range(x.size):
        out[i] = x[i] - rate * g[i]


@compiled(error_model="numpy")
def _adam_part(mean, square, g, w, out, rate, correct_mean, correct_square, keep_mean, keep_square, eps, decay):
    for i in range(g.size):
        mean[i] = mean[i] + keep_mean * (g[i] - mean[i])
        square[i] = square[i] + keep_square * (g[i] * g[i] - square[i])
        change = correct_mean * mean[i] / (np.sqrt(correct_square * square[i]) + eps)
        if decay != 0:
            change = change - decay * w[i]
        out[i] = rate * change


@compiled(error_model="numpy")
def _adam_parts(which, starts, mean, square, g, w, out, scale, numbers, keep_mean, keep_square, eps, decay):
    for k in range(len(which)):
        rate, correct_mean, correct_square = numbers[k, 0], numbers[k, 1], numbers[k, 2]
        for i in range(starts[which[k]], starts[which[k] + 1]):
            slope = scale * g[i]
            mean[i] = mean[i] + keep_mean * (slope - mean[i])
            square[i] = square[i] + keep_square * (slope * slope - square[i])
            change = correct_mean * mean[i] / (np.sqrt(correct_square * square[i]) + eps)
            if decay != 0:
                change = change - decay * w[i]
            out[i] = rate * change


def momentum_step(
    x: np.ndarray, gradient: np.ndarray, velocity: np.ndarray, rate: float, momentum: float, nesterov: bool
) -> np.ndarray:
    """Return x - rate v, or with Nesterov momentum x - rate (g + momentum v), after updating v <- momentum v + g in place.

    Parameters
    ----------
    x, gradient, velocity : arrays of one shape and type
    rate, momentum : float
    nesterov : bool

    Returns
    -------
    array
        In the shape and type of ``x``; bit-identical to the NumPy expressions.
    """
    out, kind = empty(x.shape, x.dtype, x), x.dtype.type
    if on_gpu(x):
        _MOMENTUM_STEP(x.size, x, gradient, velocity, out, x.size, rate, momentum, nesterov)
        return out
    arrays = x.reshape(-1), gradient.reshape(-1), velocity.reshape(-1), out.reshape(-1)
    over_slices(_momentum_part, _PART, arrays, kind(rate), kind(momentum), nesterov)
    return out


def plain_step(x: np.ndarray, gradient: np.ndarray, rate: float) -> np.ndarray:
    """Return x - rate gradient, bit-identical to the NumPy expression; both of one shape and type."""
    out, rate = empty(x.shape, x.dtype, x), x.dtype.type(rate)
    if on_gpu(x):
        _PLAIN_STEP(x.size, x, gradient, out, x.size, rate)
        return out
    over_slices(_plain_part, _PART, (x.reshape(-1), gradient.reshape(-1), out.reshape(-1)), rate)
    return out


class AdamFactors(NamedTuple):
    """Constants of a step of Adam.

    Attributes
    ----------
    keep_mean, keep_square : float
        1 - beta of the two moments.
    eps, decay : float
    """

    keep_mean: float
    keep_square: float
    eps: float
    decay: float


def adam_step(
    mean: np.ndarray,
    square: np.ndarray,
    gradient: np.ndarray,
    weights: np.ndarray,
    rate: Any,
    corrections: tuple[Any, Any],
    factors: AdamFactors,
) -> np.ndarray:
    """Compute a step of Adam with decoupled weight decay; updates ``mean`` and ``square`` in place.

    mean <- mean + (1 - beta1) (g - mean), square <- square + (1 - beta2) (g^2 - square); the step is rate (c1 mean / (sqrt(c2 square) +
    eps) - decay w), bit-identical to NumPy.

    Parameters
    ----------
    mean, square, gradient : contiguous arrays of one shape and type
    weights : array of that shape and type
    rate : float, or 0-d device array
    corrections : (c1, c2)
        1 / (1 - beta^t) for the two moments: floats, or 0-d device arrays.
    factors : AdamFactors

    Returns
    -------
    array
        In the shape and type of ``gradient``.

    References
    ----------
    Loshchilov and Hutter, arXiv 1711.05101, Algorithm 2.
    """
    if not gradient.flags.c_contiguous:
        # All arrays are transposed ones, contiguous in the order in which a digital matrix stores its weights.
        return adam_step(mean.T, square.T, gradient.T, weights.T, rate, corrections, factors).T
    # Weights without decay are not read.
    weights = np.ascontiguousarray(weights, like=weights) if factors.decay else gradient
    out, kind = empty(gradient.shape, gradient.dtype, gradient), gradient.dtype.type
    arrays, fixed = (mean, square, gradient, weights, out), tuple(map(kind, factors))
    if on_gpu(gradient):
        moving = [_there(number, gradient) for number in (rate, *corrections)]
        _ADAM_STEP(gradient.size, *arrays, gradient.size, *moving, *fixed)
        return out
    # A list, since Python keeps up to 2,000 tuples that were made from a generator.
    over_slices(_adam_part, _PART, [array.reshape(-1) for array in arrays], *map(kind, (rate, *corrections)), *fixed)
    return out


def adam_step_parts(
    which: np.ndarray,
    starts: np.ndarray,
    mean: np.ndarray,
    square: np.ndarray,
    gradient: np.ndarray,
    weights: np.ndarray,
    change: np.ndarray,
    scale: float,
    numbers: np.ndarray,
    factors: AdamFactors,
) -> None:
    """Compute `adam_step` for some of many small arrays on the CPU, which are parts of one array: the same bits with one call.

    Parameters
    ----------
    which : (k,) int64 array
        Parts to compute.
    starts : (parts + 1,) int64 array
        Part p are the elements from ``starts[p]`` to ``starts[p + 1]``.
    mean, square, gradient, weights : (size,) arrays of one type
        See `adam_step`; the moments are updated in place. Weights without decay are not read.
    change : (size,) array
        Written.
    scale : float
        Factor on the gradient.
    numbers : (k, 3) array in the type of the others
        Learning rate and both corrections of every part.
    factors : AdamFactors
    """
    kind = mean.dtype.type
    _adam_parts(which, starts, mean, square, gradient, weights, change, kind(scale), numbers, *map(kind, factors))


def _there(number: Any, like: np.ndarray) -> Any:
    """Return a number as a 0-d device array, in the type of ``like``."""
    return number.astype(like.dtype) if on_gpu(number) else filled((), number, like.dtype, like)
