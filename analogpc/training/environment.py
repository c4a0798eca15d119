"""The environment of a run: versions and threads."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from analogpc._version import __version__
from analogpc.kernels.gpu.arrays import Backend
from analogpc.kernels.gpu.blas import describe_gpu


@contextmanager
def pinned_blas(threads: int) -> Iterator[None]:
    """Keep BLAS at the thread count of the start of the run; another count may round differently."""
    with threadpool_limits(limits=threads, user_api="blas"):
        yield


def describe_environment(backend: Backend = "cpu") -> dict[str, Any]:
    """Return versions, thread counts of kernels and BLAS, and the GPU if one is used, as recorded at the start of a run."""
    import numba

    blas = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
    return {
        "analogpc": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "machine": platform.machine(),
        "blas_threads": max(blas, default=1),
        "kernel_threads": numba.get_num_threads(),
        "backend": backend,
    } | (describe_gpu() if backend == "gpu" else {})
