"""Errors of Gaussian value nodes in one pass over memory."""

from __future__ import annotations

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.memory import empty
from analogpc.kernels.products import difference
from analogpc.kernels.sharing import over_slices

_PART = 2**16
"""Least number of elements for one thread."""


@compiled(error_model="numpy")
def _rows(x, mu, g, gradient, error, weight):
    for r in range(len(x)):
        for c in range(x.shape[1]):
            e = (x[r, c] - mu[r, c]) * weight[r, 0]
            error[r, c] = e
            gradient[r, c] = e - g[r, c]


def squared_error_slopes(
    x: np.ndarray, mu: np.ndarray, g: np.ndarray, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the derivatives of the energy 1/2 sum w (x - mu)^2 of a state and of the energies after it.

    Parameters
    ----------
    x, mu, g : (..., values) arrays of one shape and type
        State, prediction, and minus the derivative of the energies after the state.
    weight : (..., 1) array or None
        Weight w of each row, in the same type; 1 if None.

    Returns
    -------
    gradient : array
        w (x - mu) - g, in the shape of ``x``: derivative with respect to the state.
    error : array
        w (x - mu): minus the derivative with respect to the prediction.
    """
    if on_gpu(x) or weight is None or weight.shape != (*x.shape[:-1], 1):
        error = difference(x, mu)
        if weight is not None:
            error *= weight
        return difference(error, g), error
    gradient, error = empty(x.shape, x.dtype, x), empty(x.shape, x.dtype, x)
    tables = [np.ascontiguousarray(array).reshape(-1, x.shape[-1]) for array in (x, mu, g, gradient, error)]
    over_slices(_rows, _PART, [*tables, np.ascontiguousarray(weight).reshape(-1, 1)])
    return gradient, error
