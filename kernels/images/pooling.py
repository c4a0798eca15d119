"""Max and mean pooling of images, and their transposes. Images are channels-last."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.gpu.cuda_kernel import CudaKernel
from analogpc.kernels.images.patches import window_grid
from analogpc.kernels.memory import as_real, empty, zeros
from analogpc.kernels.sharing import over_slices

_MAX_POOL, _MAX_POOL_SHIFT, _MAX_UNPOOL, _AVERAGE_POOL, _AVERAGE_UNPOOL = (
    CudaKernel("images/pooling", name) for name in ("max_pool", "max_pool_shift", "max_unpool", "average_pool", "average_unpool")
)
_PART = 2**16
"""Least number of pixels of a part for one thread."""


@compiled
def _max_pool(x, y, where, size, stride):
    for i in range(y.shape[0]):
        for oy in range(y.shape[1]):
            for ox in range(y.shape[2]):
                best, found = y[i, oy, ox], where[i, oy, ox]
                start = x[i, oy * stride, ox * stride]
                for c in range(len(best)):
                    best[c] = start[c]
                    found[c] = 0
                for k in range(1, size * size):
                    here, mark = x[i, oy * stride + k // size, ox * stride + k % size], where.dtype.type(k)
                    for c in range(len(best)):
                        # Comparisons with NaN are false: a NaN among the values is taken over, and one already found is not replaced.
                        # Loads first and no short-circuit evaluation, so that the loop over channels vectorises (15 times as fast).
                        value, old, place = here[c], best[c], found[c]
                        keep = (value <= old) | (old != old)
                        best[c] = old if keep else value
                        found[c] = place if keep else mark


@compiled(allocates=True)
def _max_pool_shift(x, d, y, where, size, stride):
    for i in range(y.shape[0]):
        old, top, own = np.empty_like(y[0, 0, 0]), np.empty_like(y[0, 0, 0]), np.empty_like(y[0, 0, 0])
        for oy in range(y.shape[1]):
            for ox in range(y.shape[2]):
                moved, found = y[i, oy, ox], where[i, oy, ox]
                start, first = x[i, oy * stride, ox * stride], d[i, oy * stride, ox * stride]
                for c in range(len(moved)):
                    old[c] = own[c] = start[c]
                    moved[c] = first[c]
                    top[c] = start[c] + first[c]
                    found[c] = 0
                for k in range(1, size * size):
                    here, mark = x[i, oy * stride + k // size, ox * stride + k % size], where.dtype.type(k)
                    step = d[i, oy * stride + k // size, ox * stride + k % size]
                    for c in range(len(moved)):
                        before, after = here[c], here[c] + step[c]
                        was, is_now, place = old[c], top[c], found[c]
                        old[c] = was if (before <= was) | (was != was) else before
                        keep = (after <= is_now) | (is_now != is_now)
                        top[c] = is_now if keep else after
                        own[c] = own[c] if keep else before
                        moved[c] = moved[c] if keep else step[c]
                        found[c] = place if keep else mark
                for c in range(len(moved)):
                    moved[c] += own[c] - old[c]


@compiled
def _max_unpool(g, where, out, size, stride):
    for i in range(g.shape[0]):
        for oy in range(g.shape[1]):
            for ox in range(g.shape[2]):
                given, found, nothing = g[i, oy, ox], where[i, oy, ox], g.dtype.type(0)
                # Window place by window place, with all channels together: no index is computed from data, and the loop vectorises.
                for k in range(size * size):
                    here, mark = out[i, oy * stride + k // size, ox * stride + k % size], where.dtype.type(k)
                    for c in range(len(given)):
                        value, place = given[c], found[c]
                        here[c] += value if place == mark else nothing


@compiled
def _average_pool(x, y, size, stride, part):
    for i in range(y.shape[0]):
        for oy in range(y.shape[1]):
            for ox in range(y.shape[2]):
                total = y[i, oy, ox]
                for k in range(size * size):
                    here = x[i, oy * stride + k // size, ox * stride + k % size]
                    for c in range(len(total)):
                        total[c] += here[c]
                for c in range(len(total)):
                    total[c] *= part


@compiled
def _average_unpool(g, out, size, stride, part):
    for i in range(g.shape[0]):
        for oy in range(g.shape[1]):
            for ox in range(g.shape[2]):
                given = g[i, oy, ox]
                for k in range(size * size):
                    here = out[i, oy * stride + k // size, ox * stride + k % size]
                    for c in range(len(given)):
                        here[c] += given[c] * part


def max_pool(x: np.ndarray, size: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the maximum of every window, channel by channel; a window with a NaN gives NaN.

    Parameters
    ----------
    x : (batch, height, width, channels) array
    size : int
        Side of the square window, in pixels.
    stride : int
        Distance between windows in pixels; windows overlap if it is below ``size``. Pixels at the lower and right edges that no
        window reaches are ignored.

    Returns
    -------
    y : (batch, out_height, out_width, channels) array
        In the type of ``x``.
    where : (batch, out_height, out_width, channels) array of unsigned integers
        Place ``ky * size + kx`` of the first maximum (or of the first NaN) in its window; uint8 for windows up to 16 x 16,
        uint32 for larger ones.

    Raises
    ------
    ValueError
        If the window does not fit.
    """
    rows, columns = window_grid(x.shape, size, stride, 0)
    y = empty((x.shape[0], rows, columns, x.shape[3]), x.dtype, x)
    where = empty(y.shape, _places(size), x)
    x = np.ascontiguousarray(x, like=x)
    if on_gpu(x):
        given = x, y, where.view(np.uint8), where.itemsize > 1
        launch_windows(_MAX_POOL, y, y.shape, x.shape, size, stride, *given)
    else:
        over_slices(_max_pool, _PART, (x, y, where), size, stride)
    return y, where


def max_pool_shift(x: np.ndarray, d: np.ndarray, size: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `max_pool` of x + d less that of x, to the relative precision of ``d``: the step of the new maximum less its former lag.

    Parameters
    ----------
    x, d : (batch, height, width, channels) arrays
    size, stride : int
        As for `max_pool`.

    Returns
    -------
    dy : (batch, out_height, out_width, channels) array
    where : (batch, out_height, out_width, channels) array of unsigned integers
        Maxima of x + d, as from `max_pool`.
    """
    rows, columns = window_grid(x.shape, size, stride, 0)
    y = empty((x.shape[0], rows, columns, x.shape[3]), x.dtype, x)
    where = empty(y.shape, _places(size), x)
    x, d = np.ascontiguousarray(x, like=x), np.ascontiguousarray(d, like=x)
    if on_gpu(x):
        given = x, d, y, where.view(np.uint8), where.itemsize > 1
        launch_windows(_MAX_POOL_SHIFT, y, y.shape, x.shape, size, stride, *given)
    else:
        over_slices(_max_pool_shift, _PART, (x, d, y, where), size, stride)
    return y, where


def max_unpool(g: np.ndarray, where: np.ndarray, input_shape: tuple[int, ...], size: int, stride: int) -> np.ndarray:
    """Add every value of ``g`` to the pixel of the maximum of its window: the transpose of the derivative of `max_pool`.

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
    check_pooled(input_shape, size, stride, g=g, where=where)
    g, where = np.ascontiguousarray(g, like=g), np.ascontiguousarray(where, like=where).astype(_places(size), copy=False)
    if on_gpu(g):
        out = empty(input_shape, g.dtype, g)
        given = g, where.view(np.uint8), out, where.itemsize > 1
        launch_windows(_MAX_UNPOOL, out, g.shape, input_shape, size, stride, *given)
        return out
    out = zeros(input_shape, g.dtype, g)
    over_slices(_max_unpool, _PART, (g, where, out), size, stride)
    return out


def average_pool(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    """Return the mean of every window, channel by channel.

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
    y, part = zeros((x.shape[0], rows, columns, x.shape[3]), x.dtype, x), x.real.dtype.type(1 / size**2)
    if on_gpu(x):
        pairs, pooled = as_real(x), as_real(y)
        launch_windows(_AVERAGE_POOL, pooled, y.shape, x.shape, size, stride, pairs, pooled, part)
    else:
        over_slices(_average_pool, _PART, (np.ascontiguousarray(x), y), size, stride, part)
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
    check_pooled(input_shape, size, stride, g=g)
    out, part = zeros(input_shape, g.dtype, g), g.real.dtype.type(1 / size**2)
    if on_gpu(g):
        spread = as_real(out)
        launch_windows(_AVERAGE_UNPOOL, spread, g.shape, input_shape, size, stride, as_real(g), spread, part)
    else:
        over_slices(_average_unpool, _PART, (np.ascontiguousarray(g), out), size, stride, part)
    return out


def _places(size: int) -> type[np.unsignedinteger]:
    """Return a type for the places of a window."""
    return np.uint8 if size <= 16 else np.uint32


def launch_windows(
    kernel: CudaKernel,
    written: np.ndarray,
    pooled_shape: tuple[int, ...],
    input_shape: tuple[int, ...],
    size: int,
    stride: int,
    *arguments: Any,
) -> None:
    """Launch a kernel over the channels of every pixel of its output array, with all sizes after its own arguments."""
    sizes = (*pooled_shape[1:3], *input_shape[1:3], size, stride)
    kernel.along_rows(math.prod(written.shape[:3]), written.shape[3], *arguments, *sizes)


def check_pooled(input_shape: tuple[int, ...], size: int, stride: int, **given: np.ndarray) -> None:
    """Reject arrays that do not have the shape of the pooled images.

    Raises
    ------
    ValueError
        If an array has another shape, or the window does not fit.
    """
    rows, columns = window_grid(input_shape, size, stride, 0)
    wanted = (input_shape[0], rows, columns, input_shape[3])
    for name, array in given.items():
        if array.shape != wanted:
            raise ValueError(f"{name} of images of shape {tuple(input_shape)} has the shape {wanted}, not {array.shape}")
