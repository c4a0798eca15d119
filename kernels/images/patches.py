"""Patches of images, which convert a convolution to a matrix read, and their transpose.

Images are channels-last. A patch is one row, ordered (ky, kx, channel), so that a convolution with weights W (n_out, kernel * kernel *
channels) is ``patches(x) @ W.T``, and a row of the result is one output position with its channels side by side.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.gpu.cuda_kernel import CudaKernel
from analogpc.kernels.memory import as_real, empty, zeros
from analogpc.kernels.sharing import over_slices

_QUAD = 16
_PART = 2**16
_PATCHES = CudaKernel("images/patches", "patches")
_PATCHES_BY_QUADS = CudaKernel("images/patches", "patches_by_quads")
_FOLD = CudaKernel("images/patches", "fold")


def output_size(size: int, kernel: int, stride: int, padding: int) -> int:
    """Return the number of positions of a window along an axis of ``size`` with ``padding`` zeros at both ends; 0 if it does not fit."""
    return max(0, (size + 2 * padding - kernel) // stride + 1)


def window_grid(shape: tuple[int, ...], kernel: int, stride: int, padding: int) -> tuple[int, int]:
    """Return the rows and columns of window positions on images of ``shape`` (batch, height, width, channels).

    Raises
    ------
    ValueError
        If the shape or the window is not allowed, or the window does not fit.
    """
    if len(shape) != 4:
        raise ValueError(f"images have four axes (batch, height, width, channels), not the shape {shape}")
    if kernel < 1 or stride < 1 or padding < 0:
        raise ValueError(
            f"a window needs kernel >= 1, stride >= 1 and padding >= 0, not kernel {kernel}, stride {stride} and padding {padding}"
        )
    rows, columns = (output_size(size, kernel, stride, padding) for size in shape[1:3])
    if rows == 0 or columns == 0:
        raise ValueError(f"a window of {kernel} x {kernel} with padding {padding} does not fit into images of shape {shape}")
    return rows, columns


# In channels-last order the pixels of one window row are contiguous, both in the image and in the patch: the kernels treat an image as
# (height, width * channels) and a patch as (kernel, kernel * channels), and copy one run of numbers per window row.


@compiled
def _patches(x, out, width, channels, stride, padding):
    kernel = out.shape[3]
    for i in range(out.shape[0]):
        for oy in range(out.shape[1]):
            for ox in range(out.shape[2]):
                left = ox * stride - padding
                first, last = max(0, -left) * channels, max(0, min(kernel, width - left)) * channels
                for ky in range(kernel):
                    y = oy * stride - padding + ky
                    patch = out[i, oy, ox, ky]
                    if y < 0 or y >= x.shape[1] or first >= last:
                        patch[:] = 0
                        continue
                    patch[:first] = 0
                    patch[last:] = 0
                    inside, pixels = patch[first:last], x[i, y, left * channels + first : left * channels + last]
                    for j in range(len(inside)):
                        inside[j] = pixels[j]


@compiled
def _fold(p, out, width, channels, stride, padding):
    kernel = p.shape[3]
    for i in range(p.shape[0]):
        for oy in range(p.shape[1]):
            for ox in range(p.shape[2]):
                left = ox * stride - padding
                first, last = max(0, -left) * channels, max(0, min(kernel, width - left)) * channels
                for ky in range(kernel):
                    y = oy * stride - padding + ky
                    if y < 0 or y >= out.shape[1] or first >= last:
                        continue
                    inside, pixels = p[i, oy, ox, ky, first:last], out[i, y, left * channels + first : left * channels + last]
                    for j in range(len(inside)):
                        pixels[j] += inside[j]


def patches(x: np.ndarray, kernel: int, stride: int = 1, padding: int = 0) -> np.ndarray:
    """Extract all windows from all images.

    Parameters
    ----------
    x : (batch, height, width, channels) array
    kernel : int
        Side of the square window, in pixels.
    stride : int
        Distance between windows in pixels.
    padding : int
        Number of rings of zeros around every image.

    Returns
    -------
    (batch * out_height * out_width, kernel * kernel * channels) array
        In the type of ``x``; columns ordered (ky, kx, channel), sizes by `output_size`.

    Raises
    ------
    ValueError
        If the window does not fit.
    """
    rows, columns = window_grid(x.shape, kernel, stride, padding)
    batch, height, width, channels = x.shape
    out = empty((batch, rows, columns, kernel, kernel * channels), x.dtype, x)
    if on_gpu(x):
        _patches_on_gpu(as_real(x), as_real(out), stride, padding)
    else:
        rows_of = np.ascontiguousarray(x).reshape(batch, height, width * channels)
        over_slices(_patches, _PART, (rows_of, out), width, channels, stride, padding)
    return out.reshape(batch * rows * columns, kernel * kernel * channels)


def _patches_on_gpu(x: np.ndarray, out: np.ndarray, stride: int, padding: int) -> None:
    batch, rows, columns, kernel, _ = out.shape
    _, height, width, channels = x.shape
    by_quads = channels * x.itemsize % _QUAD == 0 and _aligned(x) and _aligned(out)
    units = channels * x.itemsize // _QUAD if by_quads else channels
    sizes = rows, columns, height, width, units, kernel, stride, padding
    twin = _PATCHES_BY_QUADS if by_quads else _PATCHES
    twin.along_rows(batch * rows * columns, kernel * kernel * units, x, out, *sizes)


def _aligned(array: Any) -> bool:
    return array.data.ptr % _QUAD == 0


def fold(p: np.ndarray, input_shape: tuple[int, ...], kernel: int, stride: int = 1, padding: int = 0) -> np.ndarray:
    """Add every patch back to its place in the images: the exact transpose of `patches`.

    Parameters
    ----------
    p : (batch * out_height * out_width, kernel * kernel * channels) array
    input_shape : (batch, height, width, channels)
        Shape of the images.
    kernel, stride, padding : int
        As for `patches`.

    Returns
    -------
    (batch, height, width, channels) array
        In the type of ``p``.

    Raises
    ------
    ValueError
        If the window does not fit, or ``p`` does not have the shape returned by `patches`.
    """
    rows, columns = window_grid(input_shape, kernel, stride, padding)
    batch, height, width, channels = input_shape
    wanted = (batch * rows * columns, kernel * kernel * channels)
    if p.shape != wanted:
        raise ValueError(f"patches of images of shape {tuple(input_shape)} have the shape {wanted}, not {p.shape}")
    if on_gpu(p):
        return _fold_on_gpu(p, input_shape, rows, columns, kernel, stride, padding)
    out = zeros((batch, height, width * channels), p.dtype, p)
    cut = np.ascontiguousarray(p).reshape(batch, rows, columns, kernel, kernel * channels)
    over_slices(_fold, _PART, (cut, out), width, channels, stride, padding)
    return out.reshape(batch, height, width, channels)


def _fold_on_gpu(
    p: np.ndarray, input_shape: tuple[int, ...], rows: int, columns: int, kernel: int, stride: int, padding: int
) -> np.ndarray:
    folded = empty(input_shape, p.dtype, p)
    out = as_real(folded)
    batch, height, width, channels = out.shape
    sizes = (rows, columns, height, width, channels, kernel, stride, padding)
    _FOLD.along_rows(batch * height * width, channels, as_real(p), out, *sizes)
    return folded
