"""Fixtures and options shared by all tests."""

from __future__ import annotations

import functools
import gc
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
from analogpc.kernels.words import SIGN
from analogpc.rules.hopfield import teacher as hopfield_teacher

# The same examples in every run; how fast they are drawn says more about the machine than about the test.
settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repeatable")
if "PYTEST_XDIST_WORKER" in os.environ:
    numba.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options for the number of random cases of the destructive tests."""
    parser.addoption("--fuzz", type=int, default=4, help="wrong files that are read, for each kind of network")
    parser.addoption("--interrupts", type=int, default=4, help="runs that are interrupted at a random moment")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Search garbage only among what tests make: the modules of all tests have half a million objects, and live to the end."""
    gc.collect()
    gc.freeze()


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
    """Random generator for test inputs."""
    return np.random.default_rng(20240601)


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clear caches, so that no test finds arrays of another GPU, emulated or real."""
    _words.cache_clear()
    monkeypatch.setattr(hopfield_teacher, "_MOVED", {})
    yield
    _words.cache_clear()


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch, forgotten: None) -> ModuleType:
    """Emulate the backend "gpu" on the CPU: CUDA sources compiled by g++, arrays that never mix with NumPy arrays."""
    if emulated_gpu.COMPILER is None:
        pytest.skip("no g++ on this machine, which compiles the CUDA sources for the processor")
    return _installed(monkeypatch, emulated_gpu.module, emulated_gpu.Blas)


def _gpu(request: pytest.FixtureRequest) -> ModuleType:
    if request.param == "emulated":
        return request.getfixturevalue("emulated")
    try:
        return gpu.cupy()
    except gpu.GpuError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["emulated", "present"])
def device(request: pytest.FixtureRequest, forgotten: None) -> ModuleType:
    """The module with GPU arrays: emulated, and real if there is a GPU."""
    return _gpu(request)


@pytest.fixture(params=["cpu", "emulated", "present"])
def everywhere(request: pytest.FixtureRequest, forgotten: None) -> ModuleType:
    """The module with the arrays of each backend: NumPy, the emulated GPU, and a real one if there is one."""
    return np if request.param == "cpu" else _gpu(request)


@pytest.fixture
def whole_products() -> Iterator[None]:
    """Compute products on the GPU in the precision of the CPU."""
    with blas.use_precision("float32"):
        yield


@pytest.fixture
def exact(device: ModuleType, whole_products: None) -> bool:
    """Whether GPU products are computed by the CPU, as in emulation."""
    return device is emulated_gpu.module


def _one_by_one(state: np.ndarray, rows: Any, columns: Any, *rest: Any) -> Any:
    """Replacement for `apply_batch` that simulates pulses one by one."""
    *given, received, found, turned = rest
    before, received = state.copy(), np.zeros_like(state, np.int32) if received is None else received
    words = getattr(rows, "words", rows)
    pulses = apply_pulses(state, words ^ SIGN if turned else words, getattr(columns, "words", columns), *given, received)
    if found is not None:
        found[:] = (received * before.astype(np.float64)).sum(axis=1)
    return pulses


@pytest.fixture
def no_shortcuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate pulses one by one: the CPU shortcuts draw different noise of the same distribution, and the GPU uses none."""
    monkeypatch.setattr(array, "apply_batch", _one_by_one)
    monkeypatch.setattr(array.Array, "movable", False)


def _installed(monkeypatch: pytest.MonkeyPatch, module: ModuleType, library: Callable[[], Any]) -> ModuleType:
    """Replace CuPy by a module, with separate caches."""
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
