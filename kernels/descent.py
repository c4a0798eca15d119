"""Steps down a gradient in one pass over memory."""

from __future__ import annotations

import numba as nb
import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.gpu.arrays import launch, on_gpu
from analogpc.kernels.memory import empty

_PART = 8192
_ALONE = 8


@compiled(error_model="numpy")
def _some(x, g, v, out, rate, momentum, nesterov):
    for i in range(x.size):
        v[i] = momentum * v[i] + g[i]
        out[i] = x[i] - rate * (g[i] + momentum * v[i] if nesterov else v[i])


@compiled(error_model="numpy")
def _some_plain(x, g, out, rate):
    for i in range(x.size):
        out[i] = x[i] - rate * g[i]


@compiled(parallel=True)
def _all_plain(x, g, out, rate):
    for part in nb.prange((x.size + _PART - 1) // _PART):
        own = slice(part * _PART, (part + 1) * _PART)
        _some_plain(x[own], g[own], out[own], rate)


@compiled(parallel=True)
def _all(x, g, v, out, rate, momentum, nesterov):
    for part in nb.prange((x.size + _PART - 1) // _PART):
        own = slice(part * _PART, (part + 1) * _PART)
        _some(x[own], g[own], v[own], out[own], rate, momentum, nesterov)


def momentum_step(
    x: np.ndarray, gradient: np.ndarray, velocity: np.ndarray, rate: float, momentum: float, nesterov: bool
) -> np.ndarray:
    """x - rate v, or with Nesterov's look ahead x - rate (g + momentum v), after v <- momentum v + g in place.

    Parameters
    ----------
    x, gradient, velocity : arrays of one shape and type
    rate, momentum : float
    nesterov : bool

    Returns
    -------
    array
        Of the shape and type of ``x``; its values are those of the NumPy expressions, bit for bit.
    """
    out, kind = empty(x.shape, x.dtype, x), x.dtype.type
    if on_gpu(x):
        arrays, settings = (x, gradient, velocity, out), (np.int64(x.size), kind(rate), kind(momentum), np.int32(nesterov))
        launch("descent", "momentum_step", x.dtype, x.size, *arrays, *settings)
        return out
    # One thread is done with few parts before others are awake.
    kernel = _some if x.size <= _ALONE * _PART else _all
    kernel(x.reshape(-1), gradient.reshape(-1), velocity.reshape(-1), out.reshape(-1), kind(rate), kind(momentum), nesterov)
    return out


def plain_step(x: np.ndarray, gradient: np.ndarray, rate: float) -> np.ndarray:
    """x - rate gradient, bit for bit that of the NumPy expression; both of one shape and type."""
    out, rate = empty(x.shape, x.dtype, x), x.dtype.type(rate)
    if on_gpu(x):
        launch("descent", "plain_step", x.dtype, x.size, x, gradient, out, np.int64(x.size), rate)
        return out
    kernel = _some_plain if x.size <= _ALONE * _PART else _all_plain
    kernel(x.reshape(-1), gradient.reshape(-1), out.reshape(-1), rate)
    return out
