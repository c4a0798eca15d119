"""Exponentials of rows of float32 numbers, for softmax and related functions, in one pass over memory.

Both backends compute the same polynomial with the same rounding, and sum in float64, where the order of summation changes the rounded
sum in about one of ten million cases.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.gpu.cuda_kernel import CudaKernel
from analogpc.kernels.memory import empty
from analogpc.kernels.sharing import over_slices

_EXPONENTIALS, _FINISH = CudaKernel("exponentials", "exponentials"), CudaKernel("exponentials", "finish")
_PART = 2**15
"""Least number of elements for one thread."""

_LOG2_E, _LN2_HIGH, _LN2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
_LOWEST = np.float32(-87)
"""Smallest argument; exponentials of smaller numbers are 0."""
# e^f = 1 + f + f^2 (C2 + C3 f + ..) for |f| up to half of ln 2: iterated least squares, relative error 3.1e-9 in exact arithmetic.
_C2, _C3, _C4 = np.float32(0.49999994), np.float32(0.16666521), np.float32(0.041668389)
_C5, _C6 = np.float32(0.0083687156), np.float32(0.0013814601)
_NEAR = np.float32(-0.34)
_HALF, _ONE, _BIAS, _PLACES = np.float32(0.5), np.float32(1), np.int32(127), np.int32(23)


@compiled(fastmath={"reassoc"}, error_model="numpy")
def total_of(row):
    """Return the sum in float64; the order of summation is arbitrary."""
    total = 0.0
    for c in range(len(row)):
        total += np.float64(row[c])
    return total


@compiled(fastmath={"reassoc"}, error_model="numpy")
def total_of_products(p, x):
    """Return the sum of products in float64; the order of summation is arbitrary."""
    total = 0.0
    for c in range(len(p)):
        total += np.float64(p[c] * x[c])
    return total


# For a row with a NaN the maximum may be any number: the sum of its exponentials is NaN in any case.
@compiled(fastmath={"nnan", "nsz"}, error_model="numpy")
def _largest(row):
    a = b = c = d = e = f = g = h = row[0]
    whole = len(row) // 8 * 8
    # Eight maxima side by side fit one register of the processor.
    for i in range(0, whole, 8):
        a, b, c, d = max(a, row[i]), max(b, row[i + 1]), max(c, row[i + 2]), max(d, row[i + 3])
        e, f, g, h = max(e, row[i + 4]), max(f, row[i + 5]), max(g, row[i + 6]), max(h, row[i + 7])
    for i in range(whole, len(row)):
        a = max(a, row[i])
    return max(max(max(a, b), max(c, d)), max(max(e, f), max(g, h)))


@compiled(forceinline=True, error_model="numpy")
def exponential(t):
    """Return the exponential of a float32 number up to 0."""
    kept = _LOWEST if t < _LOWEST else t
    whole = np.floor(kept * _LOG2_E + _HALF)
    f = (kept - whole * _LN2_HIGH) - whole * _LN2_LOW
    value = ((((_C6 * f + _C5) * f + _C4) * f + _C3) * f + _C2) * (f * f) + f + _ONE
    # Times a power of two, by its exponent bits.
    value *= np.int32((np.int32(whole) + _BIAS) << _PLACES).view(np.float32)
    return np.float32(0) if t < _LOWEST else value


@compiled(forceinline=True, error_model="numpy")
def exponential_less_one(t):
    """Return the exponential of a float32 number up to 0, less 1, to the relative precision of the type."""
    near = ((((_C6 * t + _C5) * t + _C4) * t + _C3) * t + _C2) * (t * t) + t
    return near if t > _NEAR else exponential(t) - _ONE


@compiled(error_model="numpy")
def _exponentials(row, out):
    """Write exp(row - top) to ``out``, where top is the largest number; return top and the sum."""
    top = _largest(row)
    for c in range(len(row)):
        out[c] = exponential(row[c] - top)
    return top, total_of(out)


@compiled(error_model="numpy")
def _softmax_rows(x, out):
    for r in range(len(x)):
        row = out[r]
        _, total = _exponentials(x[r], row)
        share = _ONE / np.float32(total)
        for c in range(len(row)):
            row[c] *= share


@compiled(error_model="numpy")
def _entropy_rows(x, labels, losses, errors):
    for r in range(len(x)):
        row, label = errors[r], labels[r]
        if label < 0:
            losses[r] = 0
            row[:] = 0
            continue
        top, total = _exponentials(x[r], row)
        share = -_ONE / np.float32(total)
        for c in range(len(row)):
            row[c] *= share
        row[label] += _ONE
        losses[r] = (np.log(total) + np.float64(top)) - np.float64(x[r, label])


@compiled(allocates=True, error_model="numpy")
def _slope_rows(x, mu, own, error):
    columns = x.shape[1]
    ratio = np.empty(columns, x.dtype)
    for r in range(len(x)):
        p, q = own[r], error[r]
        top, total = _exponentials(x[r], p)
        predicted_top, other = _exponentials(mu[r], q)
        share, other_share = _ONE / np.float32(total), _ONE / np.float32(other)
        # log p - log q, up to a constant for the row.
        level = np.float32((np.log(other) + np.float64(predicted_top)) - (np.log(total) + np.float64(top)))
        for c in range(columns):
            p[c] *= share
            ratio[c] = (x[r, c] - mu[r, c]) + level
        divergence = np.float32(total_of_products(p, ratio))
        for c in range(columns):
            q[c] = p[c] - q[c] * other_share
            p[c] *= ratio[c] - divergence


def softmax_rows(x: np.ndarray) -> np.ndarray:
    """Return the softmax of every row of ``x``, (rows, columns) float32."""
    out = empty(x.shape, x.dtype, x)
    if on_gpu(x):
        out *= 1 / _there(x, out)[2]
    else:
        over_slices(_softmax_rows, _PART, (x, out))
    return out


def cross_entropy_rows(x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """See `targets.cross_entropy`; ``x`` is (rows, columns) float32, and rows with a negative label are skipped."""
    errors, losses = empty(x.shape, x.dtype, x), empty((len(x),), x.dtype, x)
    if on_gpu(x):
        top, total, divisor = _there(x, errors)
        # Rows without a target are multiplied by zero, all others by minus one over their sum.
        errors *= -(labels >= 0).astype(x.dtype)[:, None] / divisor
        _FINISH(len(x), x, labels, np.log(total) + top, errors, losses, *x.shape)
    else:
        over_slices(_entropy_rows, _PART, (x, labels, losses, errors))
    return losses, errors


def divergence_slopes_rows(x: np.ndarray, mu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """See `softmax.divergence_slopes`; both are (rows, columns) float32."""
    own, error = empty(x.shape, x.dtype, x), empty(x.shape, x.dtype, x)
    if on_gpu(x):
        (top, total, divisor), (other_top, other, other_divisor) = _there(x, own), _there(mu, error)
        level = ((np.log(other) + other_top) - (np.log(total) + top)).astype(x.dtype)
        own *= 1 / divisor
        ratio = (x - mu) + level
        divergence = (own * ratio).sum(axis=1, keepdims=True, dtype=np.float64).astype(x.dtype)
        error *= 1 / other_divisor
        np.subtract(own, error, out=error)
        own *= ratio - divergence
    else:
        over_slices(_slope_rows, _PART, (x, mu, own, error))
    return own, error


def _there(x: np.ndarray, out: np.ndarray) -> tuple[Any, Any, Any]:
    """Write exp(x - top) to ``out`` on the GPU; return the maxima top (rows, 1), and the sums in float64 and in the type of ``x``."""
    top = x.max(axis=1, keepdims=True)
    _EXPONENTIALS(x.size, x, top, out, x.size, x.shape[1])
    total = out.sum(axis=1, keepdims=True, dtype=np.float64)
    return top, total, total.astype(x.dtype)
