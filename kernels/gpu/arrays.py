"""The GPU and its arrays, which are CuPy's."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, Literal, cast, get_args

import numpy as np

Backend = Literal["cpu", "gpu"]
"""Where arrays live: in main memory, as NumPy's, or on a GPU, as CuPy's."""


class GpuError(OSError):
    """There is no GPU that can be used; the sentence says what is missing."""


@functools.cache
def cupy() -> ModuleType:
    """The module CuPy, with a GPU behind it.

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
    """Whether anything at all is an array that lives on a GPU."""
    if isinstance(value, np.ndarray):
        return False
    # There are none as long as CuPy is not loaded, and asking must not load it.
    module = sys.modules.get("cupy")
    return module is not None and isinstance(value, module.ndarray)


def backend_of(array: Any) -> Backend:
    """Where an array lives."""
    return "gpu" if on_gpu(array) else "cpu"


def to_host(array: Any) -> np.ndarray:
    """The array in main memory: itself, if it is there already."""
    return array.get() if on_gpu(array) else array


def as_backend(value: Any) -> Backend:
    """The name of a backend.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not isinstance(value, str) or value not in get_args(Backend):
        raise ValueError(f"backend = {value!r} is not allowed: it is 'cpu' or 'gpu'")
    return cast(Backend, value)


def copied(array: Any, backend: Backend | None = None) -> Any:
    """A copy of an array, contiguous in C order, in main memory or on the GPU; where the array is, if not said."""
    if (backend or backend_of(array)) == "gpu":
        return cupy().array(array, order="C")
    return np.array(to_host(array), order="C")


def as_type(number: Any, dtype: np.dtype) -> Any:
    """A number as a NumPy scalar of that type, or an array of the GPU without axes in that type."""
    return number.astype(dtype) if on_gpu(number) else np.dtype(dtype).type(number)


def in_tree(change: Callable[[Any], Any], tree: Any) -> Any:
    """Nested dictionaries with every array in them changed, numbers and texts as they are."""
    if isinstance(tree, dict):
        return {name: in_tree(change, value) for name, value in tree.items()}
    return change(tree) if hasattr(tree, "ndim") else tree
