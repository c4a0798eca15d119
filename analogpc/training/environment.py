"""Where a run takes place: versions and threads."""

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
    """Keep BLAS at the number of threads that the run began with, since another number may round differently."""
    with threadpool_limits(limits=threads, user_api="blas"):
        yield


def describe_environment(backend: Backend = "cpu") -> dict[str, Any]:
    """Versions, the threads of the kernels and of BLAS, and the GPU if one is used: what a run records of where it began."""
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
