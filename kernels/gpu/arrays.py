"""The GPU: its arrays, which are CuPy's, and the launch of the CUDA twins that lie beside the kernels of the CPU.

A twin is a ``.cu`` file of the same name. It is compiled on first use, once for each floating type, without fused multiply-adds, so
that all arithmetic outside of matrix products is rounded as on the CPU.
"""

from __future__ import annotations

import functools
import importlib
import math
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast, get_args

import numpy as np

Backend = Literal["cpu", "gpu"]
"""Where arrays live: in main memory, as NumPy's, or on a GPU, as CuPy's."""

SOURCES = Path(__file__).parents[1]
OPTIONS = ("--std=c++17", "--fmad=false")
_THREADS = 256
_MOST_BLOCKS = 2**16 - 1
_INCLUDE = re.compile(r'^#include "([\w./]+)"$', re.MULTILINE)


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


def on_gpu(array: Any) -> bool:
    """Whether an array lives on a GPU; numbers do not."""
    return not isinstance(array, (np.ndarray, np.generic, int, float, complex))


def is_gpu_array(value: Any) -> bool:
    """Whether anything at all is an array of the GPU."""
    if isinstance(value, (np.ndarray, np.generic, int, float, complex, str, list, tuple)):
        return False
    try:
        return isinstance(value, cupy().ndarray)
    except GpuError:
        return False


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


def source(name: str) -> str:
    """The text of a CUDA source, what it includes put in place, each file once."""
    seen: set[str] = set()

    def read(file: str) -> str:
        if file in seen:
            return ""
        seen.add(file)
        text = (SOURCES / file).read_text(encoding="utf-8").replace("#pragma once\n", "")
        return _INCLUDE.sub(lambda match: read(match[1]), text)

    return read(f"{name}.cu")


def definitions(dtype: np.dtype) -> tuple[str, ...]:
    """The options that choose the floating type of a source.

    Raises
    ------
    TypeError
        If it is neither float32 nor float64.
    """
    names = {"float32": "float", "float64": "double"}
    if np.dtype(dtype).name not in names:
        raise TypeError(f"the kernels of the GPU take float32 and float64, not {np.dtype(dtype)}")
    return (f"-DREAL={names[np.dtype(dtype).name]}",)


@functools.cache
def _module(name: str, dtype: np.dtype) -> Any:
    return cupy().RawModule(code=source(name), options=OPTIONS + definitions(dtype))


@functools.cache
def _function(name: str, kernel: str, dtype: np.dtype) -> Any:
    return _module(name, dtype).get_function(kernel)


def launch(name: str, kernel: str, dtype: np.dtype | type, items: int, *arguments: Any) -> None:
    """Start a kernel of the source ``name`` on the current stream, one thread for each item (up to a limit, beyond which they take turns).

    Parameters
    ----------
    name, kernel : str
    dtype : numpy.dtype
        What the source calls ``real``.
    items : int
        Nothing is started for none.
    arguments : arrays of the GPU, or NumPy scalars of the very types of the kernel

    Raises
    ------
    ValueError
        If an array is not contiguous in C order: a kernel sees memory alone.
    """
    for number, argument in enumerate(arguments):
        if not isinstance(argument, np.generic) and not argument.flags.c_contiguous:
            raise ValueError(f"argument {number} of the kernel {kernel} is not contiguous: its strides are {argument.strides}")
    if items > 0:
        blocks = min(math.ceil(items / _THREADS), _MOST_BLOCKS)
        _function(name, kernel, np.dtype(dtype))((blocks,), (_THREADS,), arguments)
