"""The environment of a run: versions and threads."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np

from analogpc._version import __version__
from analogpc.kernels.gpu.arrays import Backend
from analogpc.kernels.gpu.blas import describe_gpu


def describe_environment(backend: Backend = "cpu") -> dict[str, Any]:
    """Return versions, the thread count, and the GPU if one is used, as recorded at the start of a run."""
    import numba

    return {
        "analogpc": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "machine": platform.machine(),
        "kernel_threads": numba.get_num_threads(),
        "backend": backend,
    } | (describe_gpu() if backend == "gpu" else {})
