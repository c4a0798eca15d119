"""Soft max pooling of images, and its transpose. Images are channels-last."""

from __future__ import annotations

import functools

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.gpu.cuda_kernel import CudaKernel
from analogpc.kernels.images.patches import window_grid
from analogpc.kernels.images.pooling import check_pooled, launch_windows
from analogpc.kernels.memory import as_real, zeros
from analogpc.kernels.sharing import over_slices

_SOFT_POOL, _SOFT_UNPOOL = (
    {"f": CudaKernel("images/soft_pooling", name), "c": CudaKernel("images/soft_pooling", f"complex_{name}")}
    for name in ("soft_pool", "soft_unpool")
)
"""Kernels by kind of the numbers, real or complex."""
_PART = 2**13
"""Least number of pixels of a part for one thread."""


@compiled(allocates=True)
def _soft_pool(x, y, weights, size, stride, rate):
    for i in range(y.shape[0]):
        top, total = np.empty(y.shape[3], rate.dtype), np.empty_like(y[0, 0, 0])
        for oy in range(y.shape[1]):
            for ox in range(y.shape[2]):
                mean, shares = y[i, oy, ox], weights[i, oy, ox]
                start = x[i, oy * stride, ox * stride]
                for c in range(len(top)):
                    top[c] = start[c].real
                for k in range(1, size * size):
                    here = x[i, oy * stride + k // size, ox * stride + k % size]
                    for c in range(len(top)):
                        top[c] = max(top[c], here[c].real)
                total[:] = 0
                for k in range(size * size):
                    here, share = x[i, oy * stride + k // size, ox * stride + k % size], shares[k]
                    for c in range(len(top)):
                        # Exponents are relative to the largest real part: no overflow, and the ratio is unaffected.
                        share[c] = np.exp((here[c] - top[c]) * rate[0])
                        total[c] += share[c]
                for k in range(size * size):
                    here, share = x[i, oy * stride + k // size, ox * stride + k % size], shares[k]
                    for c in range(len(top)):
                        share[c] /= total[c]
                        mean[c] += share[c] * here[c]


@compiled
def _soft_unpool(g, x, y, weights, out, size, stride, rate):
    for i in range(g.shape[0]):
        for oy in range(g.shape[1]):
            for ox in range(g.shape[2]):
                given, mean, shares = g[i, oy, ox], y[i, oy, ox], weights[i, oy, ox]
                for k in range(size * size):
                    share, row, column = shares[k], oy * stride + k // size, ox * stride + k % size
                    here, back = x[i, row, column], out[i, row, column]
                    for c in range(len(given)):
                        part = given[c] * share[c]
                        back[c] += part + part * ((here[c] - mean[c]) * rate[0])


def soft_pool(x: np.ndarray, size: int, stride: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of every window with weights that grow with the values, sum_k x_k e^(x_k / T) / sum_k e^(x_k / T).

    For complex ``x`` this is the holomorphic continuation, which has poles where the denominator vanishes.

    Parameters
    ----------
    x : (batch, height, width, channels) array, real or complex
    size, stride : int
        As for `max_pool`.
    temperature : float
        T, in the units of ``x``.

    Returns
    -------
    y : (batch, out_height, out_width, channels) array
        In the type of ``x``; NaN for windows with a value that is not finite.
    weights : (batch, out_height, out_width, size * size, channels) array
        Weights of the places of each window, in row-major order; their sum is 1.

    Raises
    ------
    ValueError
        If the window does not fit.
    """
    rows, columns = window_grid(x.shape, size, stride, 0)
    y = zeros((x.shape[0], rows, columns, x.shape[3]), x.dtype, x)
    weights = np.empty((*y.shape[:3], size * size, y.shape[3]), x.dtype, like=x)
    if on_gpu(x):
        _launch(_SOFT_POOL, y, y.shape, x.shape, size, stride, temperature, x, y, weights)
    else:
        over_slices(_soft_pool, _PART, (np.ascontiguousarray(x), y, weights), size, stride, _rate(x, temperature))
    return y, weights


def soft_pool_shift(
    x: np.ndarray, y: np.ndarray, weights: np.ndarray, d: np.ndarray, size: int, stride: int, temperature: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return `soft_pool` of x + d less that of x, to the relative precision of ``d``; and the weights at x + d.

    With weights p before and q after, this is sum_k q_k d_k + sum_k (q_k - p_k) (x_k - y), with q_k - p_k from exp(d_k / T) - 1.

    Parameters
    ----------
    x, d : (batch, height, width, channels) arrays
    y, weights
        Results of `soft_pool` at x.
    size, stride, temperature
        As for `soft_pool`.
    """
    height, width = (stride * (length - 1) + 1 for length in y.shape[1:3])

    def seen(image: np.ndarray, k: int) -> np.ndarray:
        top, left = divmod(k, size)
        return image[:, top : top + height : stride, left : left + width : stride]

    places = range(size * size)
    most = functools.reduce(np.maximum, (seen(d, k) for k in places))
    grown = [np.expm1((seen(d, k) - most) * x.dtype.type(1 / temperature)) for k in places]
    mean = sum(weights[:, :, :, k] * grown[k] for k in places)
    dy, now = np.zeros_like(y), np.empty_like(weights)
    for k in places:
        change = weights[:, :, :, k] * (grown[k] - mean) / (1 + mean)
        now[:, :, :, k] = weights[:, :, :, k] + change
        dy += now[:, :, :, k] * seen(d, k) + change * (seen(x, k) - y)
    return dy, now


def soft_unpool(
    g: np.ndarray, x: np.ndarray, y: np.ndarray, weights: np.ndarray, size: int, stride: int, temperature: float
) -> np.ndarray:
    """Apply the transposed derivative of `soft_pool`, p_k (1 + (x_k - y) / T) at each place, to ``g``, without conjugation.

    Parameters
    ----------
    g : (batch, out_height, out_width, channels) array
    x : (batch, height, width, channels) array
    y, weights
        From `soft_pool`.
    size, stride, temperature
        As for `soft_pool`.

    Returns
    -------
    (batch, height, width, channels) array
        In the common type of ``g`` and ``x``.

    Raises
    ------
    ValueError
        If the window does not fit, or ``g`` does not have the shape of the pooled images.
    """
    check_pooled(x.shape, size, stride, g=g)
    kind = np.result_type(g.dtype, x.dtype)
    out = np.zeros(x.shape, kind, like=x)
    if on_gpu(x):
        given = (array.astype(kind, copy=False) for array in (g, x, y, weights))
        _launch(_SOFT_UNPOOL, out, g.shape, x.shape, size, stride, temperature, *given, out)
    else:
        g, x, y, weights = (np.ascontiguousarray(array) for array in (g, x, y, weights))
        over_slices(_soft_unpool, _PART, (g, x, y, weights, out), size, stride, _rate(x, temperature))
    return out


def _launch(
    twins: dict[str, CudaKernel],
    written: np.ndarray,
    pooled_shape: tuple[int, ...],
    input_shape: tuple[int, ...],
    size: int,
    stride: int,
    temperature: float,
    *arrays: np.ndarray,
) -> None:
    given = *map(as_real, arrays), 1 / temperature
    launch_windows(twins[written.dtype.kind], written, pooled_shape, input_shape, size, stride, *given)


def _rate(x: np.ndarray, temperature: float) -> np.ndarray:
    """Return 1 / T in the real type of ``x``, as an array, from which kernels infer that type."""
    return np.array([1 / temperature], x.real.dtype)
