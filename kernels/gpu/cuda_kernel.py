"""Kernels of the GPU, and the one way to start them.

The CUDA twin of a kernel lies in a ``.cu`` file beside it. A source is compiled on first use, once for each floating type, without fused
multiply-adds, so that all arithmetic outside of matrix products is rounded as on the CPU.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analogpc.kernels.gpu import arrays as gpu

SOURCES = Path(__file__).parents[1]
OPTIONS = ("--std=c++17", "--fmad=false")
_THREADS = 256
_MOST_BLOCKS = 2**16 - 1
_WARP = 5
"""The binary logarithm of the threads that have one row, at most, where there are many rows."""
_PLENTY = 20
"""The binary logarithm of the threads that fill a GPU."""
_INCLUDE = re.compile(r'^#include "([\w./]+)"$', re.MULTILINE)
_SIGNATURE = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)')
_TYPES: dict[str, type[np.generic]] = {
    "bool": np.bool_,
    "unsigned char": np.uint8,
    "int": np.int32,
    "word": np.uint32,
    "place": np.int64,
    "unsigned long long": np.uint64,
    "float": np.float32,
    "double": np.float64,
}


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


@functools.cache
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
    return gpu.cupy().RawModule(code=source(name), options=OPTIONS + definitions(dtype))


@functools.cache
def _function(name: str, kernel: str, dtype: np.dtype) -> Any:
    return _module(name, dtype).get_function(kernel)


@dataclass(frozen=True)
class Parameter:
    """A parameter of a kernel.

    Attributes
    ----------
    name : str
    array : bool
        Whether it is an array, by its address, or a number.
    kind : type or None
        Its NumPy type; None for the floating type that the caller chooses, ``real`` in the source.
    """

    name: str
    array: bool
    kind: type[np.generic] | None

    @classmethod
    def read(cls, text: str) -> Parameter:
        """From the source: ``const real* x``, for instance."""
        words = text.replace("const ", "").split()
        kind = " ".join(words[:-1])
        plain = kind.rstrip("*")
        return cls(words[-1], kind != plain, None if plain == "real" else _TYPES[plain])


class CudaKernel:
    """A kernel of a CUDA source. Its signature is read from the source on the first call.

    Called with the number of threads that have something to do, and then its arguments: arrays of the GPU, contiguous in C order and of
    the very types of the signature, and numbers, which are cast to them. What the source calls ``real`` is the type of the first array
    that is declared so; float32 if there is none. It runs on the current stream, one thread for each item up to a limit, beyond which
    they take turns; nothing is started for no items.

    Parameters
    ----------
    source : str
        The file without its ending, from the folder of the kernels: "random/streams".
    name : str

    Examples
    --------
    >>> step = CudaKernel("descent", "plain_step")
    >>> [parameter.name for parameter in step.parameters]
    ['x', 'g', 'out', 'size', 'rate']
    """

    def __init__(self, source: str, name: str) -> None:
        self.source, self.name = source, name

    @functools.cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """What it takes, in this order."""
        found = dict(_SIGNATURE.findall(source(self.source)))[self.name]
        return tuple(map(Parameter.read, found.split(",")))

    def __call__(self, items: int, *arguments: Any) -> None:
        """Start it.

        Raises
        ------
        TypeError
            If there are more or fewer arguments than it has parameters, an array is not on the GPU or of another type, or a number is none.
        ValueError
            If an array is not contiguous in C order (a kernel sees memory alone), or a whole number is beyond its type.
        """
        real, given = self._checked(arguments)
        if items > 0:
            blocks = min(math.ceil(items / _THREADS), _MOST_BLOCKS)
            _function(self.source, self.name, real)((blocks,), (_THREADS,), given)

    def along_rows(self, rows: int, length: int, *arguments: Any) -> None:
        """Start a kernel that gives every row to a power of two of threads side by side (see ``EACH_OF`` in rows.cuh).

        Parameters
        ----------
        rows, length : int
            How many rows there are, and how many numbers each has.
        arguments
            As for a call, but for the last three, ``place count, int length, int shift``: 2**shift threads have one row.
        """
        # A warp for each row spares most of what is done once for each row and thread; a million threads fill a GPU with fewer rows, too.
        shift = min(max(0, length - 1).bit_length(), max(_WARP, _PLENTY - rows.bit_length()))
        self(rows << shift, *arguments, rows, length, shift)

    def _checked(self, arguments: tuple[Any, ...]) -> tuple[np.dtype, tuple[Any, ...]]:
        """What ``real`` is, and the arguments as the kernel takes them."""
        if len(arguments) != len(self.parameters):
            names = ", ".join(parameter.name for parameter in self.parameters)
            raise TypeError(f"the kernel {self.name} takes {len(self.parameters)} arguments ({names}), not {len(arguments)}")
        pairs = list(zip(self.parameters, arguments, strict=True))
        chosen = next((value.dtype for one, value in pairs if one.array and one.kind is None and gpu.on_gpu(value)), None)
        real = np.dtype(np.float32 if chosen is None else chosen)
        definitions(real)
        return real, tuple((self._array if one.array else self._number)(one, value, real) for one, value in pairs)

    def _array(self, parameter: Parameter, value: Any, real: np.dtype) -> Any:
        kind = real if parameter.kind is None else np.dtype(parameter.kind)
        if not gpu.on_gpu(value):
            raise TypeError(f"{self._place(parameter)} is an array of the GPU, not a {type(value).__name__} in main memory")
        if value.dtype != kind:
            raise TypeError(f"{self._place(parameter)} is an array of {kind}, not of {value.dtype}")
        if not value.flags.c_contiguous:
            raise ValueError(
                f"{self._place(parameter)} is not contiguous: its shape is {value.shape}, its strides are {value.strides}"
            )
        return value

    def _number(self, parameter: Parameter, value: Any, real: np.dtype) -> np.generic:
        kind: Any = real.type if parameter.kind is None else parameter.kind
        if type(value) is kind:
            return value
        whole = issubclass(kind, np.integer)
        if not isinstance(value, (int, np.integer, np.bool_) if whole else (int, float, np.integer, np.floating)):
            what = "a whole number" if whole else "a number"
            raise TypeError(f"{self._place(parameter)} is {what}, not {value!r:.80} ({type(value).__name__})")
        if whole and not np.iinfo(kind).min <= int(value) <= np.iinfo(kind).max:
            raise ValueError(f"{self._place(parameter)} does not fit into {np.dtype(kind)}: {value}")
        return kind(int(value) if whole else value)

    def _place(self, parameter: Parameter) -> str:
        return f"the argument {parameter.name!r} of the kernel {self.name}"
