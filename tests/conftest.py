"""Shared by all tests."""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
import pytest


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
