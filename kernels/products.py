"""Products and sums of arrays, wherever these are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analogpc.kernels.gpu import on_gpu
from analogpc.kernels.memory import empty, filled


def matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """(m, k) times (k, n) -> (m, n), of one type: BLAS in main memory, cuBLAS on the GPU (see `blas`)."""
    if on_gpu(a):
        from analogpc.kernels.blas import gemm

        return gemm(a, b, out)
    return np.matmul(a, b, out=empty((a.shape[0], b.shape[1]), a.dtype, a) if out is None else out)


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a - b, of one shape."""
    return np.subtract(a, b, out=empty(a.shape, np.result_type(a.dtype, b.dtype), a))


def negative(a: np.ndarray) -> np.ndarray:
    """-a."""
    return np.negative(a, out=empty(a.shape, a.dtype, a))


def inner(a: np.ndarray, b: np.ndarray) -> Any:
    """The sum of a b over all elements, of one shape: a number, or on the GPU an array without axes, for which nobody waits.

    It is summed up in the type of the arrays by BLAS, in float64 on the GPU.
    """
    if on_gpu(a):
        return (a * b).sum(dtype=np.float64)
    return float(np.dot(a.reshape(-1), b.reshape(-1)))


def row(numbers: Sequence[Any], like: np.ndarray) -> np.ndarray:
    """Numbers, or arrays without axes, in one float64 array (numbers,) where ``like`` is."""
    if on_gpu(like):
        return np.stack([number if on_gpu(number) else filled((), number, np.float64, like) for number in numbers])
    return np.array(numbers, np.float64)


def largest(x: np.ndarray) -> float:
    """The largest magnitude of all elements; 0 if there are none. Waits for the GPU."""
    return float(np.abs(x).max()) if x.size else 0.0
