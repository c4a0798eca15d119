"""Softmax over the last axis, and its logarithm."""

from __future__ import annotations

import numpy as np

from analogpc.kernels.exponentials import divergence_slopes_rows, softmax_rows
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.memory import empty

BLOCKED = -1e9
"""What is added to a score that must not count: its exponential is 0 in every floating type."""


def softmax(x: np.ndarray) -> np.ndarray:
    """exp(x) / sum exp(x) over the last axis, in the type of ``x``; no value overflows."""
    out = empty(x.shape, x.dtype, x)
    if in_rows(x):
        rows = _rows(x)
        softmax_rows(rows, rows.max(axis=1), _rows(out))
        return out
    np.subtract(x, x.max(axis=-1, keepdims=True), out=out)
    np.exp(out, out=out)
    out /= out.sum(axis=-1, keepdims=True)
    return out


def log_softmax(x: np.ndarray) -> np.ndarray:
    """log softmax(x) over the last axis, in the type of ``x``."""
    out = empty(x.shape, x.dtype, x)
    np.subtract(x, x.max(axis=-1, keepdims=True), out=out)
    out -= np.log(np.exp(out).sum(axis=-1, keepdims=True))
    return out


def softmax_product(p: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The transposed Jacobian of softmax, which is symmetric, times ``g``: p (g - sum p g) over the last axis."""
    out = p * g
    out -= p * out.sum(axis=-1, keepdims=True)
    return out


def divergence_slopes(
    x: np.ndarray, mu: np.ndarray, weight: np.ndarray | None, blocked: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Of the divergence sum p (log p - log q), with p = softmax(x) and q = softmax(mu) over the last axis.

    Parameters
    ----------
    x, mu : arrays of one shape and type
    weight, blocked : arrays that fit that shape, or None
        What the divergence of every row is multiplied by, and what is added to ``x`` and ``mu`` before.

    Returns
    -------
    own, error : arrays
        The derivative with respect to ``x``, p (log p - log q - sum p (log p - log q)), and minus that with respect to ``mu``, p - q.
    """
    if in_rows(x):
        return _slopes_by_rows(x, mu, weight, blocked)
    logs, predicted = (log_softmax(values if blocked is None else values + blocked) for values in (x, mu))
    p = np.exp(logs)
    own = p * (logs - predicted)
    own -= p * own.sum(axis=-1, keepdims=True)
    error = p - np.exp(predicted)
    if weight is not None:
        own *= weight
        error *= weight
    return own, error


def _slopes_by_rows(
    x: np.ndarray, mu: np.ndarray, weight: np.ndarray | None, blocked: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    own, error = empty(x.shape, x.dtype, x), empty(x.shape, x.dtype, x)
    added, factor = (
        np.empty((0, 0), x.dtype) if one is None else _rows(np.broadcast_to(one.astype(x.dtype, copy=False), x.shape))
        for one in (blocked, weight)
    )
    tops = [_rows(values if blocked is None else values + blocked).max(axis=1) for values in (x, mu)]
    divergence_slopes_rows(_rows(x), _rows(mu), added, factor, (tops[0], tops[1]), _rows(own), _rows(error))
    return own, error


def in_rows(x: np.ndarray) -> bool:
    """Whether there is a kernel for it: float32 in main memory, with something in every row."""
    return not on_gpu(x) and x.dtype == np.float32 and x.shape[-1] > 0


def _rows(x: np.ndarray) -> np.ndarray:
    """One row for each place along the last axis: (..., values) -> (rows, values), contiguous."""
    return np.ascontiguousarray(x).reshape(-1, x.shape[-1])
