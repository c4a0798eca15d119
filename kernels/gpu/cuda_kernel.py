"""GPU kernels and their launches.

The CUDA twin of a kernel is a ``.cu`` file next to it. A source is compiled on first use, once per floating-point type, without fused
multiply-adds, so that all arithmetic except matrix products is rounded as on the CPU.
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
"""Binary logarithm of the largest number of threads per row when there are many rows."""
_PLENTY = 20
"""Binary logarithm of the number of threads that fill a GPU."""
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
    """Return the text of a CUDA source with its includes inlined, each file once."""
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
    """Return the compiler options that select the floating-point type of a source.

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
        NumPy type; None for the floating-point type that the caller selects, ``real`` in the source.
    """

    name: str
    array: bool
    kind: type[np.generic] | None

    @classmethod
    def read(cls, text: str) -> Parameter:
        """Parse a declaration such as ``const real* x``."""
        words = text.replace("const ", "").split()
        kind = " ".join(words[:-1])
        plain = kind.rstrip("*")
        return cls(words[-1], kind != plain, None if plain == "real" else _TYPES[plain])


class CudaKernel:
    """A kernel in a CUDA source. Its signature is read from the source on the first call.

    Called with the number of work items, followed by its arguments: device arrays, contiguous in C order and of exactly the types in the
    signature, and numbers, which are cast to them. The type ``real`` of the source is that of the first array declared so; float32 if
    there is none. It runs on the current stream with one thread per item up to a limit, beyond which each thread processes several;
    nothing is launched for zero items.

    Parameters
    ----------
    source : str
        File without its extension, relative to the folder of the kernels: "random/streams".
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
        """Parameters in the order of the call."""
        found = dict(_SIGNATURE.findall(source(self.source)))[self.name]
        return tuple(map(Parameter.read, found.split(",")))

    def __call__(self, items: int, *arguments: Any) -> None:
        """Launch the kernel.

        Raises
        ------
        TypeError
            If the number of arguments is wrong, an array is not on the GPU or has another type, or a number is not a number.
        ValueError
            If an array is not contiguous in C order (kernels see plain memory), or an integer exceeds its type.
        """
        real, given = self._checked(arguments)
        if items > 0:
            blocks = min(math.ceil(items / _THREADS), _MOST_BLOCKS)
            _function(self.source, self.name, real)((blocks,), (_THREADS,), given)

    def along_rows(self, rows: int, length: int, *arguments: Any) -> None:
        """Launch a kernel that assigns a power of two of adjacent threads to every row (see ``EACH_OF`` in rows.cuh).

        Parameters
        ----------
        rows, length : int
            Number of rows, and number of values in each.
        arguments
            Arguments of a call, except the last three, ``place count, int length, int shift``: 2**shift threads share one row.
        """
        # A warp per row avoids most of the work per row and thread; with fewer rows, a million threads still fill a GPU.
        shift = min(max(0, length - 1).bit_length(), max(_WARP, _PLENTY - rows.bit_length()))
        self(rows << shift, *arguments, rows, length, shift)

    def _checked(self, arguments: tuple[Any, ...]) -> tuple[np.dtype, tuple[Any, ...]]:
        """Return the type of ``real``, and the converted arguments of the kernel."""
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
