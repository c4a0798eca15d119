"""Matrix products, wherever the arrays are."""

from __future__ import annotations

import numpy as np

from analogpc.kernels.gpu import on_gpu


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(m, k) times (k, n) -> (m, n), of one type: BLAS in main memory, cuBLAS on the GPU (see `blas`)."""
    if on_gpu(a):
        from analogpc.kernels.blas import gemm

        return gemm(a, b)
    return a @ b
