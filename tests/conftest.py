"""Shared by all tests."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

# Workers that share the cores have one thread each: threads of BLAS wait actively, and would take the cores from one another. The libraries
# look at this when they are loaded, and so do processes that tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import emulated_gpu
import numba
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from analogpc.data.augmentation import _words
from analogpc.devices.arrays import array
from analogpc.kernels.gpu import arrays as gpu
from analogpc.kernels.gpu import blas, cuda_kernel, graphs
from analogpc.kernels.pulses import updates
from analogpc.kernels.pulses.updates import apply_pulses
from analogpc.kernels.random import streams
from analogpc.rules.hopfield import teacher as hopfield_teacher

# The same examples in every run; how fast they are drawn says more about the machine than about the test.
settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repeatable")
if "PYTEST_XDIST_WORKER" in os.environ:
    numba.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much chance there is to be in the tests that break things at random."""
    parser.addoption("--fuzz", type=int, default=6, help="wrong files that are read, for each kind of network")
    parser.addoption("--interrupts", type=int, default=4, help="runs that are interrupted at a random moment")


@pytest.fixture
def with_threads() -> Callable:
    """Call a function with 1 and with 2 kernel threads and return both results."""
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("this machine offers only one kernel thread")

    def both(function: Callable) -> list:
        before = numba.get_num_threads()
        results = []
        try:
            for threads in (1, 2):
                numba.set_num_threads(threads)
                results.append(function())
        finally:
            numba.set_num_threads(before)
        return results

    return both


@pytest.fixture
def rng() -> np.random.Generator:
    """Numbers for test inputs."""
    return np.random.default_rng(20240601)


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No array of one GPU is found by a test of another, emulated or true."""
    _words.cache_clear()
    monkeypatch.setattr(hopfield_teacher, "_MOVED", {})
    yield
    _words.cache_clear()


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch, forgotten: None) -> ModuleType:
    """The backend "gpu" on the processor: CUDA sources compiled by g++, arrays that never mix with NumPy's."""
    if emulated_gpu.COMPILER is None:
        pytest.skip("no g++ on this machine, which compiles the CUDA sources for the processor")
    return _installed(monkeypatch, emulated_gpu.module, emulated_gpu.Blas)


@pytest.fixture(params=["emulated", "present"])
def device(request: pytest.FixtureRequest, forgotten: None) -> ModuleType:
    """The module whose arrays live on a GPU: emulated, and true where there is one."""
    if request.param == "emulated":
        return request.getfixturevalue("emulated")
    try:
        return gpu.cupy()
    except gpu.GpuError as error:
        pytest.skip(str(error))


@pytest.fixture
def whole_products() -> Iterator[None]:
    """Products on the GPU in no coarser type than the processor's."""
    with blas.use_precision("float32"):
        yield


@pytest.fixture
def exact(device: ModuleType, whole_products: None) -> bool:
    """Whether products on the GPU are the processor's own, as they are when it is emulated."""
    return device is emulated_gpu.module


def _one_by_one(state: np.ndarray, rows: np.ndarray, columns: Any, *rest: Any) -> Any:
    """Take `apply_batch`'s place: pulses one by one."""
    *given, received, found = rest
    before = state.copy()
    pulses = apply_pulses(state, rows, getattr(columns, "words", columns), *given, received)
    if found is not None:
        found[:] = (received * before.astype(np.float64)).sum(axis=1)
    return pulses


@pytest.fixture
def no_shortcuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pulses one by one: the shortcuts of the processor draw other noise of the same distribution, and the GPU takes none."""
    monkeypatch.setattr(
        array,
        "apply_batch",
        _one_by_one,
    )


def _installed(monkeypatch: pytest.MonkeyPatch, module: ModuleType, library: Callable[[], Any]) -> ModuleType:
    """Put a module in the place of CuPy, with caches of its own."""
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr(gpu, "cupy", lambda: module)
    for where, name in (
        (cuda_kernel, "_module"),
        (cuda_kernel, "_function"),
        (blas, "_session"),
        (graphs, "_stream"),
        (streams, "_unmoved"),
        (updates, "_constants_there"),
    ):
        monkeypatch.setattr(where, name, functools.cache(getattr(where, name).__wrapped__))
    monkeypatch.setattr(blas, "_library", library)
    return module
