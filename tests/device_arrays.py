"""Arrays of both backends for the tests of kernels: layouts in device memory, and comparison with host arrays."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from analogpc.kernels.gpu.arrays import to_host

KINDS = [np.float32, np.float64]
COMPLEX = [np.complex64, np.complex128]


def drawn(rng: np.random.Generator, shape: tuple[int, ...], kind: type) -> np.ndarray:
    """Draw normal numbers, real or complex."""
    real = rng.normal(size=shape)
    return (real + 1j * rng.normal(size=shape) if np.dtype(kind).kind == "c" else real).astype(kind)


def same(found: Any, expected: np.ndarray) -> bool:
    """Whether arrays have the same type, shape and bits, up to the payload of NaN; zeros of different sign differ."""
    back = to_host(found)
    if back.dtype != expected.dtype or back.shape != expected.shape or not np.array_equal(back, expected, equal_nan=True):
        return False
    some = expected == expected
    parts = ("real", "imag") if np.iscomplexobj(expected) else ("real",)
    return all(np.array_equal(np.signbit(getattr(back[some], p)), np.signbit(getattr(expected[some], p))) for p in parts)


def layouts(device: ModuleType, x: np.ndarray) -> list:
    """Return copies in device memory: contiguous, reversed, every other entry of a wider array, and not aligned to 16 bytes."""
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    shifted = device.array(np.concatenate([np.zeros(1, x.dtype), x.reshape(-1)]))[1:].reshape(x.shape)
    assert shifted.flags.c_contiguous
    return [device.array(x), device.array(x[::-1])[::-1], device.array(wide)[..., ::2], shifted]


def odd_numbers(rng: np.random.Generator, shape: tuple[int, ...], kind: type) -> np.ndarray:
    """Draw numbers of which many leave the range; among many vectors also zeros, infinities and NaN."""
    x = (3 * rng.normal(size=shape)).astype(kind)
    if len(x) > 5 and x.size > 0:
        x[1] = 0
        x[:5, 0] = np.nan, np.inf, -np.inf, -0.0, 1e-30
    return x
