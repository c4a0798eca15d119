"""Exact writes within the bounds of every device."""

from __future__ import annotations

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.gpu.cuda_kernel import CudaKernel
from analogpc.kernels.threads import over_slices

_PART = 2**15
_MOVE_WITHIN = CudaKernel("pulses/writes", "move_within")


@compiled(error_model="numpy")
def _move_within(state, change, low, high, touched):
    for i in range(state.size):
        value = state[i] + change[i]
        value = low[i] if value < low[i] else value
        state[i] = high[i] if value > high[i] else value
        touched[i] = change[i] != 0


def move_within(state: np.ndarray, change: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Add ``change`` to ``state`` in place and clip it to its bounds; NaNs are kept.

    Parameters
    ----------
    state, change, low, high : (rows, columns) arrays of one type, the first contiguous in C order

    Returns
    -------
    (rows, columns) bool array
        True where the change is not 0.
    """
    touched = np.empty(state.shape, bool, like=state)
    change, low, high = (np.ascontiguousarray(array, like=array) for array in (change, low, high))
    if on_gpu(state):
        _MOVE_WITHIN(state.size, state, change, low, high, touched, state.size)
    else:
        over_slices(_move_within, _PART, tuple(array.reshape(-1) for array in (state, change, low, high, touched)))
    return touched
