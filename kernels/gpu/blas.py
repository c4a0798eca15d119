"""Matrix products on the GPU by cuBLAS, called directly: CuPy's own calls refuse to be captured in a graph.

Products of float32 are computed in TF32 on the tensor cores unless told otherwise (`use_precision`).
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import numpy as np

from analogpc.kernels.gpu import arrays as gpu

Precision = Literal["tf32", "float32", "bfloat16"]
"""How products of float32 are computed on the GPU: operands rounded to 10 bits of mantissa, not at all, or to 7; sums are of float32."""

# cudaDataType, and cublasComputeType_t of everything but float32.
_TYPES = {"float32": 0, "float64": 1, "complex64": 4, "complex128": 5}
_COMPUTE = {"float64": 70, "complex64": 68, "complex128": 70}
_FLOAT32 = {"float32": 68, "bfloat16": 75, "tf32": 77}
_NORMAL, _TRANSPOSED = 0, 1
_DEFAULT_ALGORITHM = -1
_WORKSPACE = 32 * 2**20
"""Bytes that cuBLAS gets for itself, as NVIDIA recommends for Hopper; given by us, so that a graph can use it again."""

_precision: Precision = "tf32"


@contextmanager
def use_precision(precision: Precision) -> Iterator[None]:
    """Compute products of float32 on the GPU with this precision, within the block.

    Raises
    ------
    ValueError
        If there is no such precision.
    """
    global _precision
    if precision not in get_args(Precision):
        raise ValueError(f"precision = {precision!r} is not allowed: one of {', '.join(get_args(Precision))}")
    former, _precision = _precision, precision
    try:
        yield
    finally:
        _precision = former


def precision_in_use() -> Precision:
    """How products of float32 are computed on the GPU now."""
    return _precision


@functools.cache
def _library() -> Any:
    """The cuBLAS that CuPy uses."""
    version = gpu.cupy().cuda.runtime.runtimeGetVersion() // 1000
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        return ctypes.CDLL(load_nvidia_dynamic_lib("cublas").abs_path)
    except (ImportError, RuntimeError):
        pass
    for name in (f"libcublas.so.{version}", "libcublas.so", f"cublas64_{version}.dll"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise gpu.GpuError(f"the backend 'gpu' finds no cuBLAS of CUDA {version}")


class _Session:
    """A handle of cuBLAS with a workspace of its own, for one stream."""

    def __init__(self, stream: int) -> None:
        self.library = _library()
        self.handle = ctypes.c_void_p()
        self._check(self.library.cublasCreate_v2(ctypes.byref(self.handle)), "cublasCreate")
        self._check(self.library.cublasSetStream_v2(self.handle, ctypes.c_void_p(stream)), "cublasSetStream")
        # Setting the stream resets the workspace: it has to be given afterwards.
        self._workspace = gpu.cupy().empty(_WORKSPACE, np.uint8)
        pointer, size = ctypes.c_void_p(self._workspace.data.ptr), ctypes.c_size_t(_WORKSPACE)
        self._check(self.library.cublasSetWorkspace_v2(self.handle, pointer, size), "cublasSetWorkspace")

    def _check(self, status: int, call: str) -> None:
        if status != 0:
            raise gpu.GpuError(f"{call} failed with the status {status}")

    def gemm(self, a: Any, b: Any, out: Any) -> None:
        """out = a b, all of two axes, ``out`` contiguous in C order."""
        (m, k), n = a.shape, b.shape[1]
        name = out.dtype.name
        compute = _FLOAT32[_precision] if name == "float32" else _COMPUTE[name]
        (a, turned_a, lead_a), (b, turned_b, lead_b) = _operand(a), _operand(b)
        one, zero = (np.array(value, name if name in ("float64", "complex128", "complex64") else "float32") for value in (1, 0))
        # cuBLAS counts columns first: it sees the transposes of all three, and so the factors change places.
        status = self.library.cublasGemmEx(
            self.handle,
            turned_b,
            turned_a,
            *(n, m, k),
            one.ctypes.data_as(ctypes.c_void_p),
            *(ctypes.c_void_p(b.data.ptr), _TYPES[name], lead_b),
            *(ctypes.c_void_p(a.data.ptr), _TYPES[name], lead_a),
            zero.ctypes.data_as(ctypes.c_void_p),
            *(ctypes.c_void_p(out.data.ptr), _TYPES[name], n),
            compute,
            _DEFAULT_ALGORITHM,
        )
        self._check(status, "cublasGemmEx")

    def gemm_batched(self, a: Any, b: Any, out: Any) -> None:
        """out[i] = a[i] b[i], all of three axes, ``out`` contiguous in C order."""
        (items, m, k), n = a.shape, b.shape[2]
        name = out.dtype.name
        compute = _FLOAT32[_precision] if name == "float32" else _COMPUTE[name]
        (a, turned_a, lead_a, step_a), (b, turned_b, lead_b, step_b) = _batched_operand(a), _batched_operand(b)
        one, zero = (np.array(value, name if name in ("float64", "complex128", "complex64") else "float32") for value in (1, 0))
        status = self.library.cublasGemmStridedBatchedEx(
            self.handle,
            turned_b,
            turned_a,
            *(n, m, k),
            one.ctypes.data_as(ctypes.c_void_p),
            *(ctypes.c_void_p(b.data.ptr), _TYPES[name], lead_b, ctypes.c_longlong(step_b)),
            *(ctypes.c_void_p(a.data.ptr), _TYPES[name], lead_a, ctypes.c_longlong(step_a)),
            zero.ctypes.data_as(ctypes.c_void_p),
            *(ctypes.c_void_p(out.data.ptr), _TYPES[name], n, ctypes.c_longlong(m * n)),
            items,
            compute,
            _DEFAULT_ALGORITHM,
        )
        self._check(status, "cublasGemmStridedBatchedEx")


def _operand(x: Any) -> tuple[Any, int, int]:
    """An operand as cuBLAS can take it, whether it is turned, and the distance between its lines."""
    (rows, columns), size = x.shape, x.itemsize
    if x.flags.c_contiguous:
        return x, _NORMAL, max(1, columns)
    along, across = x.strides
    if across == size and along >= columns * size and along % size == 0:
        return x, _NORMAL, along // size
    if along == size and across >= rows * size and across % size == 0:
        return x, _TRANSPOSED, across // size
    return gpu.cupy().ascontiguousarray(x), _NORMAL, max(1, columns)


def _batched_operand(x: Any) -> tuple[Any, int, int, int]:
    """The same for an operand of three axes, and the distance between its items."""
    if not x.flags.c_contiguous:
        turned = x.swapaxes(1, 2)
        if turned.flags.c_contiguous:
            return x, _TRANSPOSED, max(1, x.shape[1]), x.shape[1] * x.shape[2]
        x = gpu.cupy().ascontiguousarray(x)
    return x, _NORMAL, max(1, x.shape[2]), x.shape[1] * x.shape[2]


@functools.cache
def _session(stream: int) -> _Session:
    return _Session(stream)


def gemm(a: Any, b: Any, out: Any = None) -> Any:
    """The product of two arrays of the GPU, (m, k) and (k, n) of one type -> (m, n), on the current stream.

    Raises
    ------
    ValueError
        If the shapes or types do not fit.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0] or a.dtype != b.dtype:
        raise ValueError(f"no product of {a.shape} {a.dtype} and {b.shape} {b.dtype}: (m, k) and (k, n) of one type")
    if out is None:
        out = gpu.cupy().empty((a.shape[0], b.shape[1]), a.dtype)
    if a.shape[1] == 0:
        out.fill(0)
    elif out.size > 0:
        _session(gpu.cupy().cuda.get_current_stream().ptr).gemm(a, b, out)
    return out


def gemm_batched(a: Any, b: Any) -> Any:
    """One product for each item: (items, m, k) and (items, k, n) of one type -> (items, m, n), on the current stream.

    Raises
    ------
    ValueError
        If the shapes or types do not fit.
    """
    if a.ndim != 3 or b.ndim != 3 or a.shape[0] != b.shape[0] or a.shape[2] != b.shape[1] or a.dtype != b.dtype:
        raise ValueError(
            f"no products of {a.shape} {a.dtype} and {b.shape} {b.dtype}: (items, m, k) and (items, k, n) of one type"
        )
    out = gpu.cupy().empty((a.shape[0], a.shape[1], b.shape[2]), a.dtype)
    if a.shape[2] == 0:
        out.fill(0)
    elif out.size > 0:
        _session(gpu.cupy().cuda.get_current_stream().ptr).gemm_batched(a, b, out)
    return out


def describe_gpu() -> dict[str, str]:
    """The GPU that is used, the versions of CUDA and CuPy, and the precision of products."""
    module = gpu.cupy()
    runtime = module.cuda.runtime
    name = runtime.getDeviceProperties(runtime.getDevice())["name"]
    version = runtime.runtimeGetVersion()
    return {
        "gpu": name.decode() if isinstance(name, bytes) else name,
        "cuda": f"{version // 1000}.{version % 1000 // 10}",
        "cupy": module.__version__,
        "gpu_precision": _precision,
    }
