"""GPU detection, and CuPy arrays."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, Literal, cast, get_args

import numpy as np

Backend = Literal["cpu", "gpu"]
"""Location of arrays: main memory (NumPy) or a GPU (CuPy)."""


class GpuError(OSError):
    """There is no usable GPU; the message says what is missing."""


@functools.cache
def cupy() -> ModuleType:
    """Return the module CuPy, after checking that there is a GPU.

    Raises
    ------
    GpuError
        If CuPy is not installed, or finds no GPU.
    """
    try:
        module = importlib.import_module("cupy")
    except ImportError as error:
        raise GpuError(f"the backend 'gpu' needs CuPy: install analogpc[gpu] ({error})") from None
    try:
        count = module.cuda.runtime.getDeviceCount()
    except module.cuda.runtime.CUDARuntimeError as error:
        raise GpuError(f"the backend 'gpu' finds no GPU: {error}") from None
    if count == 0:
        raise GpuError("the backend 'gpu' finds no GPU on this machine")
    return module


def on_gpu(value: Any) -> bool:
    """Whether a value of any type is an array on a GPU."""
    if isinstance(value, np.ndarray):
        return False
    # Without CuPy loaded there are none, and the check must not load it.
    module = sys.modules.get("cupy")
    return module is not None and isinstance(value, module.ndarray)


def backend_of(array: Any) -> Backend:
    """Return the backend of an array."""
    return "gpu" if on_gpu(array) else "cpu"


def to_host(array: Any) -> np.ndarray:
    """Return the array in main memory, without a copy if it is there already."""
    return array.get() if on_gpu(array) else array


def as_backend(value: Any) -> Backend:
    """Check and return the name of a backend.

    Raises
    ------
    ValueError
        If there is no such backend.
    """
    if not isinstance(value, str) or value not in get_args(Backend):
        raise ValueError(f"backend = {value!r} is not allowed: give 'cpu' or 'gpu'")
    return cast(Backend, value)


def copied(array: Any, backend: Backend | None = None) -> Any:
    """Return a copy of an array, contiguous in C order, on the given backend; by default on its own."""
    if (backend or backend_of(array)) == "gpu":
        return cupy().array(array, order="C")
    return np.array(to_host(array), order="C")


def as_type(number: Any, dtype: np.dtype) -> Any:
    """Return a number as a NumPy scalar of that type, or a 0-d device array in that type."""
    return number.astype(dtype) if on_gpu(number) else np.dtype(dtype).type(number)


def in_tree(change: Callable[[Any], Any], tree: Any) -> Any:
    """Apply a function to every array of nested dictionaries, keeping numbers and texts."""
    if isinstance(tree, dict):
        return {name: in_tree(change, value) for name, value in tree.items()}
    return change(tree) if hasattr(tree, "ndim") else tree
