"""Pooling of images by the maximum, the mean and the soft maximum of windows, and the transposes. Images are channels-last."""

from __future__ import annotations

import numba as nb
import numpy as np

from analogpc.kernels.patches import window_grid


@nb.njit(cache=True, parallel=True)
def _max_pool(x, y, where, size, stride):
    for i in nb.prange(y.shape[0]):
        for oy in range(y.shape[1]):
            for ox in range(y.shape[2]):
                best, found = y[i, oy, ox], where[i, oy, ox]
                best[:] = x[i, oy * stride, ox * stride]
                found[:] = 0
                for k in range(1, size * size):
                    here, mark = x[i, oy * stride + k // size, ox * stride + k % size], where.dtype.type(k)
                    for c in range(len(best)):
                        # A comparison with NaN is false: a NaN among the values is not kept out, and none already found is replaced.
                        # Loads first and no short-circuit, so that the loop over channels vectorises (15 times as fast).
                        value, old, place = here[c], best[c], found[c]
                        keep = (value <= old) | (old != old)
                        best[c] = old if keep else value
                        found[c] = place if keep else mark


@nb.njit(cache=True, parallel=True)
def _max_unpool(g, where, out, size, stride):
    for i in nb.prange(g.shape[0]):
        for oy in range(g.shape[1]):
            for ox in range(g.shape[2]):
                given, found, nothing = g[i, oy, ox], where[i, oy, ox], g.dtype.type(0)
                # Window place by window place, with all channels at once: no index is computed from data, and the loop vectorises.
                for k in range(size * size):
                    here, mark = out[i, oy * stride + k // size, ox * stride + k % size], where.dtype.type(k)
                    for c in range(len(given)):
                        value, place = given[c], found[c]
                        here[c] += value if place == mark else nothing


@nb.njit(cache=True, parallel=True)
def _average_pool(x, y, size, stride, part):
    for i in nb.prange(y.shape[0]):
        for oy in range(y.shape[1]):
            for ox in range(y.shape[2]):
                total = y[i, oy, ox]
                for k in range(size * size):
                    here = x[i, oy * stride + k // size, ox * stride + k % size]
                    for c in range(len(total)):
                        total[c] += here[c]
                for c in range(len(total)):
                    total[c] *= part


@nb.njit(cache=True, parallel=True)
def _average_unpool(g, out, size, stride, part):
    for i in nb.prange(g.shape[0]):
        for oy in range(g.shape[1]):
            for ox in range(g.shape[2]):
                given = g[i, oy, ox]
                for k in range(size * size):
                    here = out[i, oy * stride + k // size, ox * stride + k % size]
                    for c in range(len(given)):
                        here[c] += given[c] * part


@nb.njit(cache=True, parallel=True)
def _soft_pool(x, y, weights, size, stride, rate):
    for i in nb.prange(y.shape[0]):
        top, total = np.empty(y.shape[3], rate.dtype), np.empty_like(y[0, 0, 0])
        for oy in range(y.shape[1]):
            for ox in range(y.shape[2]):
                mean, shares = y[i, oy, ox], weights[i, oy, ox]
                top[:] = x[i, oy * stride, ox * stride].real
                for k in range(1, size * size):
                    here = x[i, oy * stride + k // size, ox * stride + k % size]
                    for c in range(len(top)):
                        top[c] = max(top[c], here[c].real)
                total[:] = 0
                for k in range(size * size):
                    here, share = x[i, oy * stride + k // size, ox * stride + k % size], shares[k]
                    for c in range(len(top)):
                        # Nothing above the largest real part is raised to a power: no overflow, and the ratio does not know of it.
                        share[c] = np.exp((here[c] - top[c]) * rate[0])
                        total[c] += share[c]
                for k in range(size * size):
                    here, share = x[i, oy * stride + k // size, ox * stride + k % size], shares[k]
                    for c in range(len(top)):
                        share[c] /= total[c]
                        mean[c] += share[c] * here[c]


@nb.njit(cache=True, parallel=True)
def _soft_unpool(g, x, y, weights, out, size, stride, rate):
    for i in nb.prange(g.shape[0]):
        for oy in range(g.shape[1]):
            for ox in range(g.shape[2]):
                given, mean, shares = g[i, oy, ox], y[i, oy, ox], weights[i, oy, ox]
                for k in range(size * size):
                    share, row, column = shares[k], oy * stride + k // size, ox * stride + k % size
                    here, back = x[i, row, column], out[i, row, column]
                    for c in range(len(given)):
                        part = given[c] * share[c]
                        back[c] += part + part * ((here[c] - mean[c]) * rate[0])


def max_pool(x: np.ndarray, size: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest value in every window, channel by channel; a window that holds a NaN gives NaN.

    Parameters
    ----------
    x : (batch, height, width, channels) array
    size : int
        Side of the square window, in pixels.
    stride : int
        Pixels from one window to the next; windows overlap if it is below ``size``. Pixels that no window reaches at the lower
        and right edges are left out.

    Returns
    -------
    y : (batch, out_height, out_width, channels) array
        In the type of ``x``.
    where : (batch, out_height, out_width, channels) array of unsigned integers
        Place ``ky * size + kx`` of the first maximum (or of the first NaN) in its window; uint8 for windows up to 16 x 16.

    Raises
    ------
    ValueError
        If the window does not fit.
    """
    rows, columns = window_grid(x.shape, size, stride, 0)
    y = np.empty((x.shape[0], rows, columns, x.shape[3]), x.dtype)
    where = np.empty(y.shape, np.min_scalar_type(size * size - 1))
    _max_pool(np.ascontiguousarray(x), y, where, size, stride)
    return y, where


def max_unpool(g: np.ndarray, where: np.ndarray, input_shape: tuple[int, ...], size: int, stride: int) -> np.ndarray:
    """Add every value of ``g`` to the pixel that won its window: the transpose of `max_pool` at the place where it was taken.

    Parameters
    ----------
    g : (batch, out_height, out_width, channels) array
    where : (batch, out_height, out_width, channels) array
        From `max_pool`.
    input_shape : (batch, height, width, channels)
        Shape of the images.
    size, stride : int
        As for `max_pool`.

    Returns
    -------
    (batch, height, width, channels) array
        In the type of ``g``.

    Raises
    ------
    ValueError
        If the window does not fit, or ``g`` and ``where`` do not have the shape of the pooled images.
    """
    _check_pooled(input_shape, size, stride, g=g, where=where)
    out = np.zeros(input_shape, g.dtype)
    _max_unpool(np.ascontiguousarray(g), np.ascontiguousarray(where), out, size, stride)
    return out


def average_pool(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    """The mean of every window, channel by channel.

    Parameters
    ----------
    x : (batch, height, width, channels) array, real or complex
    size, stride : int
        As for `max_pool`.

    Returns
    -------
    (batch, out_height, out_width, channels) array
        In the type of ``x``.

    Raises
    ------
    ValueError
        If the window does not fit.
    """
    rows, columns = window_grid(x.shape, size, stride, 0)
    y = np.zeros((x.shape[0], rows, columns, x.shape[3]), x.dtype)
    _average_pool(np.ascontiguousarray(x), y, size, stride, x.real.dtype.type(1 / size**2))
    return y


def average_unpool(g: np.ndarray, input_shape: tuple[int, ...], size: int, stride: int) -> np.ndarray:
    """Spread every value of ``g`` over its window, in equal parts: the transpose of `average_pool`.

    Parameters
    ----------
    g : (batch, out_height, out_width, channels) array, real or complex
    input_shape : (batch, height, width, channels)
        Shape of the images.
    size, stride : int
        As for `max_pool`.

    Returns
    -------
    (batch, height, width, channels) array
        In the type of ``g``.

    Raises
    ------
    ValueError
        If the window does not fit, or ``g`` does not have the shape of the pooled images.
    """
    _check_pooled(input_shape, size, stride, g=g)
    out = np.zeros(input_shape, g.dtype)
    _average_unpool(np.ascontiguousarray(g), out, size, stride, g.real.dtype.type(1 / size**2))
    return out


def soft_pool(x: np.ndarray, size: int, stride: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """The mean of every window with weights that grow with the values, sum_k x_k e^(x_k / T) / sum_k e^(x_k / T).

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
        In the type of ``x``; NaN for windows that hold a value that is not finite.
    weights : (batch, out_height, out_width, size * size, channels) array
        Of the places of each window, in reading order; their sum is 1.

    Raises
    ------
    ValueError
        If the window does not fit.
    """
    rows, columns = window_grid(x.shape, size, stride, 0)
    y = np.zeros((x.shape[0], rows, columns, x.shape[3]), x.dtype)
    weights = np.empty((*y.shape[:3], size * size, y.shape[3]), x.dtype)
    _soft_pool(np.ascontiguousarray(x), y, weights, size, stride, _rate(x, temperature))
    return y, weights


def soft_unpool(
    g: np.ndarray, x: np.ndarray, y: np.ndarray, weights: np.ndarray, size: int, stride: int, temperature: float
) -> np.ndarray:
    """The transposed derivative of `soft_pool`, p_k (1 + (x_k - y) / T) at each place, times ``g``; nothing is conjugated.

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
    _check_pooled(x.shape, size, stride, g=g)
    out = np.zeros(x.shape, np.result_type(g, x))
    _soft_unpool(np.ascontiguousarray(g), np.ascontiguousarray(x), y, weights, out, size, stride, _rate(x, temperature))
    return out


def _rate(x: np.ndarray, temperature: float) -> np.ndarray:
    """1 / T in the real type of ``x``, as an array, which tells the kernels that type."""
    return np.array([1 / temperature], x.real.dtype)


def _check_pooled(input_shape: tuple[int, ...], size: int, stride: int, **given: np.ndarray) -> None:
    """Refuse arrays that do not have the shape of the pooled images."""
    rows, columns = window_grid(input_shape, size, stride, 0)
    wanted = (input_shape[0], rows, columns, input_shape[3])
    for name, array in given.items():
        if array.shape != wanted:
            raise ValueError(f"{name} of images of shape {tuple(input_shape)} has the shape {wanted}, not {array.shape}")
