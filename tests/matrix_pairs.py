"""Pairs of equal matrices on the CPU and the GPU, and their comparison."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analogpc.devices.crossbars.crossbar_matrix import CrossbarMatrix
from analogpc.devices.device import Device
from analogpc.devices.responses import SoftBounds
from analogpc.devices.substrate import Analog
from analogpc.kernels.gpu.arrays import on_gpu, to_host
from analogpc.kernels.random.streams import Key

N_IN, N_OUT, BATCH = 13, 9, 6
TILES = {"rows": 5, "columns": 4}
SOFT = SoftBounds(dw_min=0.004, up_down=0.1, w_max_dtod=0.2, w_min_dtod=0.2, dw_min_dtod=0.3, dw_min_std=0.4)
PROGRAMMED = {"kind": "programmable"}


def made(response: Any = SOFT, **fields: Any) -> Device:
    return Device(name="t", response=response, g_min_siemens=1e-6, g_max_siemens=4e-5, **fields)


def pair(substrate: Analog, kind: type = np.float32) -> tuple[CrossbarMatrix, CrossbarMatrix]:
    """Return a matrix and its copy on the GPU."""
    weights = np.random.default_rng(5).normal(0, 0.4, (N_OUT, N_IN)).astype(kind)
    here = CrossbarMatrix(weights, substrate, Key(3))
    there = here.copy("gpu")
    assert (here.backend, there.backend) == ("cpu", "gpu")
    return here, there


def inputs(kind: type, seed: int = 1, n: int = BATCH) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, (n, N_IN)).astype(kind), rng.normal(0, 1, (n, N_OUT)).astype(kind)


def agree(found: Any, expected: np.ndarray, exact: bool, atol: float = 2e-3) -> None:
    """Assert that arrays are bit-identical, or approximately equal: close at nearly all entries and nowhere far off."""
    assert on_gpu(found)
    found = to_host(found)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    if exact:
        np.testing.assert_array_equal(found, expected)
        return
    off = np.abs(found - expected)
    assert np.quantile(off, 0.75) <= atol
    assert off.max() <= 0.1 * (1 + np.abs(expected).max())


def same_counts(found: dict[str, Any], expected: dict[str, Any], rel: float = 1e-6) -> None:
    """Compare meters as dictionaries: integers exactly, sums of conductances up to float32 rounding (backends add in different
    orders, and the CPU squares converter codes where the GPU squares voltages)."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == (pytest.approx(value, rel=rel) if isinstance(value, float) else value), name


def same_state(found: Any, expected: Any, exact: bool, place: str = "state") -> None:
    """Compare the complete states of two matrices."""
    if place.endswith(".meter") and exact:
        same_counts(found, expected)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys(), place
        for name in expected:
            same_state(found[name], expected[name], exact, f"{place}.{name}")
    elif isinstance(expected, np.ndarray):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), place
        if exact:
            np.testing.assert_array_equal(found, expected, err_msg=place)
    elif exact or not isinstance(expected, (int, float)):
        assert found == expected, place
