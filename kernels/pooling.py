"""Max-pooling of images that remembers where each maximum was, and its transpose. Images are channels-last."""

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
    rows, columns = window_grid(input_shape, size, stride, 0)
    wanted = (input_shape[0], rows, columns, input_shape[3])
    if g.shape != wanted or where.shape != wanted:
        raise ValueError(
            f"g and where of images of shape {tuple(input_shape)} have the shape {wanted}, not {g.shape} and {where.shape}"
        )
    out = np.zeros(input_shape, g.dtype)
    _max_unpool(np.ascontiguousarray(g), np.ascontiguousarray(where), out, size, stride)
    return out
