"""Softmax over the last axis, and its logarithm."""

from __future__ import annotations

import numpy as np

from analogpc.kernels.memory import empty

BLOCKED = -1e9
"""What is added to a score that must not count: its exponential is 0 in every floating type."""


def softmax(x: np.ndarray) -> np.ndarray:
    """exp(x) / sum exp(x) over the last axis, in the type of ``x``; no value overflows."""
    out = empty(x.shape, x.dtype, x)
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
