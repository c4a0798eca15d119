"""Rows of a table by their indices, and the transpose: products with one-hot vectors."""

from __future__ import annotations

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.gpu.cuda_kernel import CudaKernel
from analogpc.kernels.memory import zeros

_ADD_ROWS = CudaKernel("lookups", "add_rows")


@compiled
def _add_rows(ids, g, out):
    for i in range(len(ids)):
        row, add = out[ids[i]], g[i]
        for c in range(len(add)):
            row[c] += add[c]


def rows_of(table: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return rows of a table: (rows, columns) and (m,) indices -> (m, columns)."""
    return np.take(table, ids, axis=0)


def sum_rows(ids: np.ndarray, g: np.ndarray, count: int, out: np.ndarray | None = None) -> np.ndarray:
    """Add up the rows of ``g`` by index: row v of the result is the sum of all g[i] with ids[i] = v, in the order of i.

    Parameters
    ----------
    ids : (m,) int32 array
        Indices from 0 to ``count`` - 1.
    g : (m, columns) array
    count : int
        Number of rows of the result.
    out : (count, columns) array, contiguous in C order
        Array for the result, by default a new one.

    Returns
    -------
    (count, columns) array
        In the type of ``g``: the product of the transpose of ``one_hot(ids, count)`` with ``g``.
    """
    if out is None:
        out = zeros((count, g.shape[1]), g.dtype, g)
    else:
        out.fill(0)
    g, ids = np.ascontiguousarray(g, like=g), np.ascontiguousarray(ids, like=ids)
    if on_gpu(g):
        _ADD_ROWS(g.size, ids, g, out, *g.shape)
    else:
        _add_rows(ids, g, out)
    return out


def one_hot(ids: np.ndarray, count: int, dtype: np.dtype) -> np.ndarray:
    """Return one-hot vectors: (m,) indices -> (m, count)."""
    return (ids[:, None] == np.arange(count, dtype=np.int32, like=ids)).astype(dtype)
