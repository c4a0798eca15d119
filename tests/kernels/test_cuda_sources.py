"""Every CUDA source compiles for a real GPU if a CUDA compiler is installed; nothing is run."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from analogpc.kernels.gpu import cuda_kernel

NAMES = sorted(
    str(path.relative_to(cuda_kernel.SOURCES).with_suffix("").as_posix()) for path in cuda_kernel.SOURCES.rglob("*.cu")
)


def test_there_are_sources() -> None:
    assert "random/streams" in NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_it_compiles(tmp_path, name, kind) -> None:
    compiler = shutil.which("nvcc")
    if compiler is None:
        pytest.skip("no compiler of CUDA (nvcc) on this machine")
    file = tmp_path / "code.cu"
    file.write_text(cuda_kernel.source(name))
    options = [*cuda_kernel.OPTIONS, *cuda_kernel.definitions(np.dtype(kind)), "-Werror", "all-warnings", "-arch=sm_90", "-ptx"]
    done = subprocess.run(
        [compiler, *options, "-o", str(tmp_path / "code.ptx"), str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "code.ptx").stat().st_size > 0
