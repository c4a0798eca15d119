"""Softmax over the last axis, and its logarithm."""

from __future__ import annotations

import numpy as np

from analogpc.kernels.exponentials import divergence_slopes_rows, softmax_rows
from analogpc.kernels.memory import empty

BLOCKED = -1e9
"""Score that is masked out: its exponential is 0 in every floating-point type."""


def softmax(x: np.ndarray) -> np.ndarray:
    """Return exp(x) / sum exp(x) over the last axis, in the type of ``x``, without overflow."""
    if in_rows(x):
        return softmax_rows(rows_along(x)).reshape(x.shape)
    out = empty(x.shape, x.dtype, x)
    np.subtract(x, x.max(axis=-1, keepdims=True), out=out)
    np.exp(out, out=out)
    out /= out.sum(axis=-1, keepdims=True)
    return out


def log_softmax(x: np.ndarray) -> np.ndarray:
    """Return log softmax(x) over the last axis, in the type of ``x``."""
    out = empty(x.shape, x.dtype, x)
    np.subtract(x, x.max(axis=-1, keepdims=True), out=out)
    out -= np.log(np.exp(out).sum(axis=-1, keepdims=True))
    return out


def softmax_product(p: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Apply the transposed Jacobian of softmax, which is symmetric, to ``g``: p (g - sum p g) over the last axis."""
    out = p * g
    out -= p * out.sum(axis=-1, keepdims=True)
    return out


def divergence_slopes(x: np.ndarray, mu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return derivatives of the divergence sum p (log p - log q), with p = softmax(x) and q = softmax(mu) over the last axis.

    Parameters
    ----------
    x, mu : arrays of one shape and type

    Returns
    -------
    own, error : arrays
        Derivative with respect to ``x``, p (log p - log q - sum p (log p - log q)), and minus that with respect to ``mu``, p - q.
    """
    if in_rows(x):
        own, error = divergence_slopes_rows(rows_along(x), rows_along(mu))
        return own.reshape(x.shape), error.reshape(x.shape)
    logs, predicted = log_softmax(x), log_softmax(mu)
    p = np.exp(logs)
    own = p * (logs - predicted)
    own -= p * own.sum(axis=-1, keepdims=True)
    return own, p - np.exp(predicted)


def in_rows(x: np.ndarray) -> bool:
    """Whether there are kernels for an array: float32 with nonempty rows."""
    return x.dtype == np.float32 and x.size > 0


def rows_along(x: np.ndarray) -> np.ndarray:
    """Arrange the last axis as contiguous rows: (..., values) -> (rows, values)."""
    return np.ascontiguousarray(x, like=x).reshape(-1, x.shape[-1])
