"""Exponentials of rows of numbers in float32, several at once: what softmax and its relatives are made of on the processor.

NumPy and the C library take the exponential of a number at a time on many processors; these loops are written so that the compiler makes
vectors of them.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from analogpc.kernels.compiled import compiled

_ROWS = 64
_ALONE = 2**17
"""Parts of so many rows; arrays up to so many numbers are done by one thread before others are awake."""

_LOG2_E, _LN2_HIGH, _LN2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
_LOWEST = np.float32(-87)
"""Exponentials of smaller numbers are 0."""
# e^f = 1 + f + f^2 (C2 + C3 f + ..) for |f| up to half of ln 2: iterated least squares, relatively off by 3.1e-9 in exact arithmetic.
_C2, _C3, _C4 = np.float32(0.49999994), np.float32(0.16666521), np.float32(0.041668389)
_C5, _C6 = np.float32(0.0083687156), np.float32(0.0013814601)
_HALF, _ONE, _BIAS, _PLACES = np.float32(0.5), np.float32(1), np.int32(127), np.int32(23)

# Sums may be formed in any order; a NaN must stay what it is.
_LOOSE = {"reassoc", "nsz", "contract"}


@compiled(fastmath=_LOOSE, error_model="numpy")
def exponentials(row, top, out, powers):
    """exp(row - top) into ``out``; returns the sum. ``powers`` is memory for int32 numbers, as many as there are columns."""
    scales = powers.view(np.float32)
    for c in range(len(row)):
        t = row[c] - top
        kept = _LOWEST if t < _LOWEST else t
        whole = np.floor(kept * _LOG2_E + _HALF)
        f = (kept - whole * _LN2_HIGH) - whole * _LN2_LOW
        value = ((((_C6 * f + _C5) * f + _C4) * f + _C3) * f + _C2) * f * f + f + _ONE
        out[c] = np.float32(0) if t < _LOWEST else value
        # A power of two, by its exponent bits.
        powers[c] = (np.int32(whole) + _BIAS) << _PLACES
    total = np.float32(0)
    for c in range(len(row)):
        out[c] *= scales[c]
        total += out[c]
    return total


@compiled(fastmath=_LOOSE, error_model="numpy")
def _some_softmax(x, top, out):
    powers = np.empty(x.shape[1], np.int32)
    for r in range(len(x)):
        row = out[r]
        share = _ONE / exponentials(x[r], top[r], row, powers)
        for c in range(len(row)):
            row[c] *= share


@compiled(fastmath=_LOOSE, error_model="numpy")
def _some_entropies(x, top, labels, losses, errors):
    powers = np.empty(x.shape[1], np.int32)
    for r in range(len(x)):
        row, label = errors[r], labels[r]
        if label < 0:
            losses[r] = 0
            row[:] = 0
            continue
        total = exponentials(x[r], top[r], row, powers)
        share = -_ONE / total
        for c in range(len(row)):
            row[c] *= share
        row[label] += _ONE
        losses[r] = np.log(total) + (top[r] - x[r, label])


# What is equal has to cancel: no product is contracted with the difference behind it.
@compiled(fastmath={"reassoc", "nsz"}, error_model="numpy")
def _some_slopes(x, mu, blocked, weight, top, predicted_top, own, error):
    columns = x.shape[1]
    powers, values, predictions = np.empty(columns, np.int32), np.empty(columns, x.dtype), np.empty(columns, x.dtype)
    for r in range(len(x)):
        values[:] = x[r]
        predictions[:] = mu[r]
        if len(blocked):
            for c in range(columns):
                values[c] += blocked[r, c]
                predictions[c] += blocked[r, c]
        p, q = own[r], error[r]
        total = exponentials(values, top[r], p, powers)
        other = exponentials(predictions, predicted_top[r], q, powers)
        share, other_share = _ONE / total, _ONE / other
        # log p - log q, less what is the same for the whole row.
        level = (np.log(other) + predicted_top[r]) - (np.log(total) + top[r])
        divergence = np.float32(0)
        for c in range(columns):
            p[c] *= share
            values[c] = (values[c] - predictions[c]) + level
            divergence += p[c] * values[c]
        for c in range(columns):
            q[c] = p[c] - q[c] * other_share
            p[c] *= values[c] - divergence
        if len(weight):
            for c in range(columns):
                p[c] *= weight[r, c]
                q[c] *= weight[r, c]


@compiled(parallel=True)
def _all_softmax(x, top, out):
    for part in nb.prange((len(x) + _ROWS - 1) // _ROWS):
        own = slice(part * _ROWS, (part + 1) * _ROWS)
        _some_softmax(x[own], top[own], out[own])


@compiled(parallel=True)
def _all_entropies(x, top, labels, losses, errors):
    for part in nb.prange((len(x) + _ROWS - 1) // _ROWS):
        own = slice(part * _ROWS, (part + 1) * _ROWS)
        _some_entropies(x[own], top[own], labels[own], losses[own], errors[own])


def softmax_rows(x: np.ndarray, top: np.ndarray, out: np.ndarray) -> None:
    """Softmax of every row of ``x``, (rows, columns) float32, into ``out``.

    ``top``, (rows,), is subtracted before: the largest number of each row.
    """
    (_some_softmax if x.size <= _ALONE else _all_softmax)(x, top, out)


def cross_entropy_rows(x: np.ndarray, top: np.ndarray, labels: np.ndarray, losses: np.ndarray, errors: np.ndarray) -> None:
    """See `targets.cross_entropy`; rows with a label below 0 are not looked at."""
    (_some_entropies if x.size <= _ALONE else _all_entropies)(x, top, labels, losses, errors)


def divergence_slopes_rows(
    x: np.ndarray,
    mu: np.ndarray,
    blocked: np.ndarray,
    weight: np.ndarray,
    tops: tuple[np.ndarray, np.ndarray],
    own: np.ndarray,
    error: np.ndarray,
) -> None:
    """See `softmax.divergence_slopes`; ``blocked`` and ``weight`` have no rows if there are none."""
    _some_slopes(x, mu, blocked, weight, *tops, own, error)
