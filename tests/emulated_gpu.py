"""A stand-in for CuPy without a GPU: arrays as strict as CuPy's, CUDA sources compiled for the processor, graphs that replay.

What tests learn here: that code which is to run on a GPU never mixes its arrays with NumPy's, never waits for the GPU while a graph is
captured, passes every kernel what it takes, and that the CUDA kernels compute what they should. What they can't learn here: whether a
true GPU does, for which the same tests run on one where there is one.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

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


class EmulationError(AssertionError):
    """Something that CuPy or a GPU would refuse, or do silently wrong."""


_alive: weakref.WeakValueDictionary[int, ndarray] = weakref.WeakValueDictionary()


class _Tape:
    """What a captured graph replays."""

    def __init__(self) -> None:
        self.steps: list[Callable[[], Any]] = []
        # A GPU does nothing while it captures; here all is done, and undone afterwards.
        self._before = [(array, array._a.copy()) for array in list(_alive.values())]

    def undo(self) -> None:
        """Put everything back that was there before."""
        for array, values in self._before:
            if array._a.flags.writeable:
                array._a[...] = values
        self._before = []

    def launch(self, stream: Any = None) -> None:
        """Do it all again, in the same memory."""
        for step in self.steps:
            step()


_tape: _Tape | None = None
waits = 0
"""How often something waited for the GPU."""


def _wait(what: str) -> None:
    global waits
    if _tape is not None:
        raise EmulationError(f"{what} waits for the GPU while a graph is captured")
    waits += 1


class ndarray(NDArrayOperatorsMixin):
    """Like ``cupy.ndarray``: an array that is never taken for one of NumPy's."""

    __slots__ = ("__weakref__", "_a")

    def __init__(self, a: np.ndarray) -> None:
        self._a = a
        _alive[id(self)] = self

    # What NumPy and Python ask for.
    def __array__(self, *given: Any, **named: Any) -> np.ndarray:
        raise EmulationError("Implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **named: Any) -> Any:
        if ufunc is np.matmul:
            raise EmulationError("products of the GPU go through analogpc.kernels.products, which graphs can capture")
        if set(named) - {"out", "dtype", "casting", "axis", "keepdims"}:
            raise EmulationError(f"{ufunc.__name__} on a GPU takes no {sorted(named)}")
        return _run(getattr(ufunc, method), inputs, named)

    def __array_function__(self, function: Any, kinds: Any, given: Any, named: Any) -> Any:
        if function in (np.dot, np.vdot, np.inner, np.tensordot, np.einsum):
            raise EmulationError(f"{function.__name__} calls cuBLAS behind the back of analogpc.kernels.products")
        named = {name: value for name, value in named.items() if name != "like"}
        if _tape is not None and function in (np.stack, np.concatenate) and len(given[0]) > 8:
            raise EmulationError(f"{function.__name__} of more than eight arrays brings their places from main memory in a graph")
        if function in (np.ones, np.full, np.eye):
            raise EmulationError(f"{function.__name__}(like=..) hands on the keyword 'device', which CuPy does not take")
        if function in (np.asarray, np.array, np.ascontiguousarray, np.empty, np.zeros, np.arange):
            return getattr(module, function.__name__)(*given, **named)
        if function in (np.nonzero, np.flatnonzero, np.argwhere, np.unique):
            _wait(f"{function.__name__}(), whose result has as many elements as there are,")
        if "where" in named and function is not np.copyto:
            raise EmulationError(f"{function.__name__} on a GPU takes no 'where'")
        if "initial" in named:
            raise EmulationError(f"{function.__name__} on a GPU takes no 'initial'")
        return _run(function, given, named)

    def __getitem__(self, index: Any) -> Any:
        if any(isinstance(one, ndarray) and one.dtype == np.bool_ for one in (index if isinstance(index, tuple) else (index,))):
            _wait("choosing elements by a mask")
        return _run(lambda a, i: a[i], (self, index), {})

    def __setitem__(self, index: Any, value: Any) -> None:
        def put(a: np.ndarray, i: Any, v: Any) -> None:
            a[i] = v

        _run(put, (self, index, value), {})

    def __float__(self) -> float:
        _wait("float()")
        return float(self._a)

    def __int__(self) -> int:
        _wait("int()")
        return int(self._a)

    def __bool__(self) -> bool:
        _wait("bool()")
        return bool(self._a)

    def __complex__(self) -> complex:
        _wait("complex()")
        return complex(self._a)

    __index__ = __int__

    def __len__(self) -> int:
        return len(self._a)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"emulated({self._a!r})"

    # What CuPy's arrays have besides.
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"data": (self._a.ctypes.data, False), "shape": self._a.shape, "typestr": self._a.dtype.str, "version": 3}

    @property
    def data(self) -> Any:
        return types.SimpleNamespace(ptr=self._a.ctypes.data)

    def get(self) -> np.ndarray:
        _wait("get()")
        return self._a.copy()

    def set(self, values: np.ndarray) -> None:
        if not isinstance(values, np.ndarray) or values.shape != self._a.shape or values.dtype != self._a.dtype:
            raise EmulationError("set() takes a NumPy array of the same shape and type")
        _wait("set()")
        self._a[...] = values

    @property
    def T(self) -> ndarray:
        return ndarray(self._a.T)

    @property
    def real(self) -> ndarray:
        return ndarray(self._a.real)

    @property
    def imag(self) -> ndarray:
        return ndarray(self._a.imag)


def _plain(name: str) -> property:
    return property(lambda self: getattr(self._a, name))


def _method(name: str) -> Callable[..., Any]:
    def call(self: ndarray, *given: Any, **named: Any) -> Any:
        if set(named) & {"where", "initial"}:
            raise EmulationError(f"{name} on a GPU takes no {sorted(named)}")
        return _run(lambda a, *rest, **more: getattr(a, name)(*rest, **more), (self, *given), named)

    return call


for _name in ("shape", "dtype", "ndim", "size", "itemsize", "nbytes", "strides", "flags"):
    setattr(ndarray, _name, _plain(_name))
for _name in (
    *(
        "reshape",
        "ravel",
        "astype",
        "copy",
        "view",
        "transpose",
        "swapaxes",
        "squeeze",
        "fill",
        "conj",
        "take",
        "nonzero",
        "repeat",
    ),
    *(
        "sum",
        "mean",
        "max",
        "min",
        "argmax",
        "argmin",
        "any",
        "all",
        "std",
        "var",
        "prod",
        "clip",
        "round",
        "cumsum",
        "sort",
        "argsort",
    ),
):
    setattr(ndarray, _name, _method(_name))


def _inside(value: Any) -> Any:
    """Take NumPy's arrays out of those of the emulated GPU, and refuse any that come from elsewhere."""
    if isinstance(value, ndarray):
        return value._a
    if isinstance(value, np.ndarray):
        raise EmulationError("an array of NumPy's among those of the GPU")
    if isinstance(value, (tuple, list)):
        return type(value)(_inside(one) for one in value)
    return value


def _outside(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return ndarray(np.asarray(value))
    if isinstance(value, (tuple, list)):
        return type(value)(_outside(one) for one in value)
    return value


def _run(function: Callable[..., Any], given: Any, named: dict[str, Any]) -> Any:
    given, named = _inside(tuple(given)), {name: _inside(value) for name, value in named.items()}
    result = function(*given, **named)
    wrapped = _outside(result)
    if _tape is not None:
        found = [one._a for one in (wrapped if isinstance(wrapped, tuple) else (wrapped,)) if isinstance(one, ndarray)]

        def again() -> None:
            fresh = function(*given, **named)
            for old, new in zip(found, fresh if isinstance(fresh, tuple) else (fresh,), strict=False):
                if new is not old and not np.shares_memory(old, new):
                    old[...] = new

        _tape.steps.append(again)
    return wrapped


class RawModule:
    """CUDA sources, compiled for the processor, a loop over all threads in place of the grid."""

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
            if _tape is not None:
                # The arguments are held, and with them their memory.
                _tape.steps.append(lambda held=arguments: again())

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
    """The shared library of a source, kept from one test session to the next by what it was made from."""
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


def _creator(name: str) -> Callable[..., ndarray]:
    def create(*given: Any, **named: Any) -> ndarray:
        result = ndarray(getattr(np, name)(*_inside(given), **named))
        if _tape is not None and name in ("zeros", "ones", "full", "arange"):
            first = result._a.copy()
            _tape.steps.append(lambda: np.copyto(result._a, first))
        return result

    return create


def _brought(name: str) -> Callable[..., ndarray]:
    """Creation from an array, which may be one of NumPy's: that is the one place where memory goes to the GPU."""

    def create(value: Any, dtype: Any = None, **named: Any) -> ndarray:
        if isinstance(value, ndarray):
            return _run(getattr(np, name), (value,), {"dtype": dtype, **named})
        if _tape is not None:
            raise EmulationError("an array is brought to the GPU while a graph is captured")
        return ndarray(np.array(value, dtype=dtype, **{key: val for key, val in named.items() if key == "order"}))

    return create


class Stream:
    """A stream; everything is done at once here."""

    ptr = 1

    def __init__(self, non_blocking: bool = False) -> None:
        self.non_blocking = non_blocking

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *given: Any) -> None:
        return None

    def begin_capture(self) -> None:
        """Record, and do, what comes."""
        global _tape
        if not self.non_blocking or _tape is not None:
            raise EmulationError("capturing needs a non-blocking stream, and one at a time")
        _tape = _Tape()

    def end_capture(self) -> _Tape:
        """What was recorded."""
        global _tape
        if _tape is None:
            raise EmulationError("nothing is captured")
        tape, _tape = _tape, None
        tape.undo()
        return tape

    def synchronize(self) -> None:
        """Wait for all that was begun."""
        _wait("synchronize()")


class MemoryPool:
    """A pool of memory; the processor's own does the work."""

    def malloc(self, size: int) -> Any:
        """Never called here."""
        raise NotImplementedError


class _Generator:
    """Random numbers of CuPy's own, as far as they are compared with."""

    def __init__(self, bits: np.random.BitGenerator) -> None:
        self._generator = np.random.Generator(bits)

    def standard_normal(self, size: int, dtype: type) -> ndarray:
        """Normal numbers."""
        return ndarray(self._generator.standard_normal(size, dtype))


@functools.cache
def _module() -> types.ModuleType:
    made = types.ModuleType("cupy")
    made.ndarray, made.RawModule, made.__version__ = ndarray, RawModule, "emulated"
    for name in ("empty", "zeros", "ones", "full", "arange"):
        setattr(made, name, _creator(name))
    for name in ("array", "asarray", "ascontiguousarray"):
        setattr(made, name, _brought(name))
    made.random = types.SimpleNamespace(Philox4x3210=np.random.Philox, Generator=_Generator)
    made.cuda = types.SimpleNamespace(
        Stream=Stream,
        MemoryPool=MemoryPool,
        using_allocator=lambda allocator: Stream(),
        get_current_stream=lambda: Stream(),
        runtime=types.SimpleNamespace(
            deviceSynchronize=lambda: _wait("deviceSynchronize()"),
            getDevice=lambda: 0,
            getDeviceProperties=lambda number: {"name": b"emulated"},
            runtimeGetVersion=lambda: 13000,
        ),
    )
    return made


module = _module()


class Blas:
    """The calls of cuBLAS that are used, on the same terms: columns come first, and memory is all there is."""

    _KINDS: ClassVar = {0: np.float32, 1: np.float64, 4: np.complex64, 5: np.complex128}
    _COMPUTES: ClassVar = {0: (68, 75, 77), 1: (70,), 4: (68,), 5: (70,)}

    def cublasCreate_v2(self, handle: Any) -> int:
        return 0

    def cublasSetStream_v2(self, handle: Any, stream: Any) -> int:
        return 0

    def cublasSetWorkspace_v2(self, handle: Any, pointer: ctypes.c_void_p, size: ctypes.c_size_t) -> int:
        return 0 if pointer.value and size.value else 7

    def cublasGemmEx(
        self, handle, turn_a, turn_b, m, n, k, alpha, a, a_type, lda, b, b_type, ldb, beta, c, c_type, ldc, compute, algorithm
    ) -> int:  # fmt: skip
        if a_type != b_type or a_type != c_type or compute not in self._COMPUTES[c_type] or algorithm != -1:
            return 15
        kind = self._KINDS[c_type]
        if self._number(alpha, kind) != 1 or self._number(beta, kind) != 0:
            return 7
        left = self._stored(a, (k, m) if turn_a else (m, k), lda, kind)
        right = self._stored(b, (n, k) if turn_b else (k, n), ldb, kind)
        result = self._stored(c, (m, n), ldc, kind)

        def multiply() -> None:
            # As rows come first in NumPy, its product of the transposes rounds just as that of the caller's arrays would.
            first, second = (right if turn_b else right.T), (left if turn_a else left.T)
            result.T[...] = first @ second

        multiply()
        if _tape is not None:
            _tape.steps.append(multiply)
        return 0

    def _number(self, pointer: ctypes.c_void_p, kind: type) -> Any:
        return np.frombuffer(ctypes.string_at(pointer, np.dtype(kind).itemsize), kind)[0]

    def _stored(self, pointer: ctypes.c_void_p, shape: tuple[int, int], lead: int, kind: type) -> np.ndarray:
        if lead < max(1, shape[0]):
            raise EmulationError(f"a matrix of {shape[0]} rows has a leading dimension of at least that, not {lead}")
        size = np.dtype(kind).itemsize
        count = lead * (shape[1] - 1) + shape[0]
        flat = np.frombuffer((ctypes.c_char * (count * size)).from_address(pointer.value), kind)
        return np.lib.stride_tricks.as_strided(flat, shape, (size, lead * size))
