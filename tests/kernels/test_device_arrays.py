"""Arrays on both backends: copies between them, and messages where one is missing."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

from analogpc.kernels.gpu import arrays as gpu


def test_copies_go_to_and_fro(device) -> None:
    values = np.arange(6.0).reshape(2, 3).T
    there = gpu.copied(values, "gpu")
    assert gpu.on_gpu(there)
    assert not gpu.on_gpu(values)
    assert not any(map(gpu.on_gpu, (1, 0.5, True, np.float32(1))))
    assert (gpu.backend_of(there), gpu.backend_of(values)) == ("gpu", "cpu")
    assert np.array_equal(gpu.to_host(there), values)
    assert gpu.to_host(values) is values
    back = gpu.copied(there, "cpu")
    assert back.flags.c_contiguous
    assert np.array_equal(back, values)


def test_a_missing_gpu_is_one_sentence() -> None:
    if "cupy" in sys.modules or importlib.util.find_spec("cupy"):
        pytest.skip("CuPy is installed here")
    with pytest.raises(gpu.GpuError, match=r"^the backend 'gpu' needs CuPy: install analogpc\[gpu\]"):
        gpu.cupy()
