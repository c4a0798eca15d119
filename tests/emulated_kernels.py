"""CUDA sources compiled for the CPU, with a loop over all threads instead of the grid: see emulated_gpu.py."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from emulated_arrays import MACHINE, EmulationError, ndarray

COMPILER = shutil.which("g++")

_PRELUDE = """
#include <cmath>
#include <cstring>
#define __global__
#define __device__
#define __restrict__
struct Place3 { unsigned x, y, z; };
static thread_local Place3 blockIdx, threadIdx, blockDim, gridDim;
static inline int __float_as_int(float x) { int y; std::memcpy(&y, &x, 4); return y; }
static inline float __int_as_float(int x) { float y; std::memcpy(&y, &x, 4); return y; }
static inline long long __double_as_longlong(double x) { long long y; std::memcpy(&y, &x, 8); return y; }
static inline double __longlong_as_double(long long x) { double y; std::memcpy(&y, &x, 8); return y; }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __ffs(unsigned x) { return __builtin_ffs((int)x); }
template <class T> static inline T atomicAdd(T* p, T value) { T before = *p; *p += value; return before; }
template <class T> static inline T atomicMax(T* p, T value) { T before = *p; *p = before > value ? before : value; return before; }
"""
_KERNEL = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)\s*{')
_TYPES = {
    "word": np.uint32,
    "place": np.int64,
    "int": np.int32,
    "bool": np.bool_,
    "float": np.float32,
    "double": np.float64,
    "unsigned char": np.uint8,
    "unsigned long long": np.uint64,
}


class RawModule:
    """CUDA sources compiled for the CPU, with a loop over all threads instead of the grid."""

    def __init__(self, code: str, options: tuple[str, ...] = ()) -> None:
        self._defined = dict(option[2:].split("=") for option in options if option.startswith("-D"))
        self._kernels = dict(_KERNEL.findall(code))
        launchers = "\n".join(_launcher(name, arguments) for name, arguments in self._kernels.items())
        self._library = ctypes.CDLL(str(_compiled(_PRELUDE + code + launchers, tuple(o for o in options if o.startswith("-D")))))

    def get_function(self, name: str) -> Callable[..., None]:
        """A kernel, called with (grid, block, arguments)."""
        kinds = [self._kind(argument) for argument in self._kernels[name].split(",")]
        function = getattr(self._library, f"launch_{name}")

        def start(grid: tuple[int], block: tuple[int], arguments: tuple[Any, ...]) -> None:
            if len(arguments) != len(kinds):
                raise EmulationError(f"{name} takes {len(kinds)} arguments, not {len(arguments)}")
            sent = [
                _argument(name, number, *kind, value) for number, (kind, value) in enumerate(zip(kinds, arguments, strict=True))
            ]
            again = functools.partial(function, ctypes.c_uint(grid[0]), ctypes.c_uint(block[0]), *sent)
            again()
            if MACHINE.tape is not None:
                MACHINE.tape.steps.append(again)
                MACHINE.tape.used([value._a for value in arguments if isinstance(value, ndarray)])

        return start

    def _kind(self, argument: str) -> tuple[bool, type]:
        text = argument.replace("const ", "").strip()
        kind, pointer = re.sub(r"\w+$", "", text).strip(), "*" in text
        kind = kind.replace("*", "").strip()
        kind = self._defined["REAL"] if kind == "real" else kind
        return pointer, _TYPES[kind]


def _argument(kernel: str, number: int, pointer: bool, kind: type, value: Any) -> Any:
    place = f"argument {number} of {kernel}"
    if pointer:
        if not isinstance(value, ndarray) or value.dtype != kind or not value.flags.c_contiguous:
            raise EmulationError(f"{place} is a contiguous array of {kind.__name__}, not {value!r:.80}")
        return ctypes.c_void_p(value._a.ctypes.data)
    if type(value) is not kind:
        raise EmulationError(f"{place} is a {kind.__name__}, not {type(value).__name__}")
    return np.ctypeslib.as_ctypes_type(kind)(value.item())


def _launcher(name: str, arguments: str) -> str:
    names = ", ".join(re.findall(r"(\w+)\s*(?:,|$)", arguments))
    return f"""
extern "C" void launch_{name}(unsigned blocks, unsigned threads, {arguments}) {{
    gridDim = {{blocks, 1, 1}};
    blockDim = {{threads, 1, 1}};
    for (unsigned b = 0; b < blocks; ++b)
        for (unsigned t = 0; t < threads; ++t) {{
            blockIdx = {{b, 0, 0}};
            threadIdx = {{t, 0, 0}};
            {name}({names});
        }}
}}"""


def _compiled(code: str, options: tuple[str, ...]) -> Path:
    """Return the shared library of a source, cached between test sessions by the contents of the source."""
    if COMPILER is None:
        raise EmulationError("there is no g++")
    flags = ["-O2", "-std=c++17", "-ffp-contract=off", "-fno-fast-math", "-shared", "-fPIC", "-Wall", "-Werror", *options]
    digest = hashlib.sha256("\0".join([code, *flags]).encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / f"analogpc-emulated-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library = folder / f"{digest}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            file, made = Path(scratch) / "code.cpp", Path(scratch) / "code.so"
            file.write_text(code)
            subprocess.run([COMPILER, *flags, "-o", str(made), str(file)], check=True)
            made.replace(library)
    return library
