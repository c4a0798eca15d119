"""Softmax cross-entropy of rows of logits with integer labels, and its derivative."""

from __future__ import annotations

import numpy as np

from analogpc.kernels.exponentials import cross_entropy_rows
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.gpu.cuda_kernel import CudaKernel
from analogpc.kernels.memory import empty
from analogpc.kernels.softmax import in_rows, rows_along

_FINISH = CudaKernel("targets", "finish")


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss of every row, and minus its derivative with respect to the logits.

    Parameters
    ----------
    logits : (rows, columns) array
    labels : (rows,) int32 array
        Indices of the correct columns; rows with a negative label have zero loss.

    Returns
    -------
    losses : (rows,) array
        - log softmax(logits)[label], in the type of ``logits``.
    errors : (rows, columns) array
        One-hot vector of the label, minus softmax(logits).
    """
    if in_rows(logits):
        return cross_entropy_rows(rows_along(logits), labels)
    errors = empty(logits.shape, logits.dtype, logits)
    top = logits.max(axis=1, keepdims=True)
    np.subtract(logits, top, out=errors)
    np.exp(errors, out=errors)
    total = errors.sum(axis=1, keepdims=True)
    # Rows without a target are multiplied by zero, all others by minus one over their sum.
    errors *= -(labels >= 0).astype(logits.dtype)[:, None] / total
    losses = (np.log(total) + top)[:, 0]
    _finish(logits, labels, errors, losses)
    return losses, errors


def _finish(logits: np.ndarray, labels: np.ndarray, errors: np.ndarray, losses: np.ndarray) -> None:
    """Subtract the logit of the label from the losses, and add one to its error; rows without a target get zero loss."""
    if on_gpu(logits):
        _FINISH(len(logits), logits, labels, errors, losses, *logits.shape)
        return
    counted = np.flatnonzero(labels >= 0)
    at = labels[counted]
    errors[counted, at] += 1
    losses[counted] -= logits[counted, at]
    losses[labels < 0] = 0
