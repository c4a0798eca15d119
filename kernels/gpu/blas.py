"""Matrix products on the GPU by cuBLAS, called directly: CuPy's own calls cannot be captured in a graph.

Products of float32 use TF32 on the tensor cores by default (see `use_precision`).
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
"""Precision of float32 products on the GPU: operands rounded to 10 bits of mantissa, unrounded, or to 7 bits; sums are float32."""

# cudaDataType, and cublasComputeType_t for all types but float32.
_TYPES = {"float32": 0, "float64": 1, "complex64": 4, "complex128": 5}
_COMPUTE = {"float64": 70, "complex64": 68, "complex128": 70}
_FLOAT32 = {"float32": 68, "bfloat16": 75, "tf32": 77}
_NORMAL, _TRANSPOSED = 0, 1
_DEFAULT_ALGORITHM = -1
_WORKSPACE = 32 * 2**20
"""Workspace of cuBLAS in bytes, as NVIDIA recommends for Hopper; allocated here, so that graphs can reuse it."""

_precision: Precision = "tf32"


@contextmanager
def use_precision(precision: Precision) -> Iterator[None]:
    """Compute float32 products on the GPU with this precision, within the block.

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
    """Return the present precision of float32 products on the GPU."""
    return _precision


@functools.cache
def _library() -> Any:
    """Load the cuBLAS library that CuPy uses."""
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
    """A cuBLAS handle with its own workspace, for one stream."""

    def __init__(self, stream: int) -> None:
        self.library = _library()
        self.handle = ctypes.c_void_p()
        self._check(self.library.cublasCreate_v2(ctypes.byref(self.handle)), "cublasCreate")
        self._check(self.library.cublasSetStream_v2(self.handle, ctypes.c_void_p(stream)), "cublasSetStream")
        # Setting the stream resets the workspace, so the workspace is set afterwards.
        self._workspace = gpu.cupy().empty(_WORKSPACE, np.uint8)
        pointer, size = ctypes.c_void_p(self._workspace.data.ptr), ctypes.c_size_t(_WORKSPACE)
        self._check(self.library.cublasSetWorkspace_v2(self.handle, pointer, size), "cublasSetWorkspace")

    def _check(self, status: int, call: str) -> None:
        if status != 0:
            raise gpu.GpuError(f"{call} failed with the status {status}")

    def gemm(self, a: Any, b: Any, out: Any) -> None:
        """Compute out = a b, all two-dimensional, ``out`` contiguous in C order."""
        (m, k), n = a.shape, b.shape[1]
        name = out.dtype.name
        compute = _FLOAT32[_precision] if name == "float32" else _COMPUTE[name]
        (a, turned_a, lead_a), (b, turned_b, lead_b) = _operand(a), _operand(b)
        one, zero = (np.array(value, name if name in ("float64", "complex128", "complex64") else "float32") for value in (1, 0))
        # cuBLAS is column-major: it sees the transposes of all three, so the factors are exchanged.
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
        """Compute out[i] = a[i] b[i], all three-dimensional, ``out`` contiguous in C order."""
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
    """Return an operand in a layout for cuBLAS, whether it is transposed, and its leading dimension."""
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
    """Return a three-dimensional operand likewise, and the stride between its items."""
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
    """Return the product of two device arrays, (m, k) and (k, n) of one type -> (m, n), on the current stream.

    Raises
    ------
    ValueError
        If the shapes or types do not match.
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
    """Return one product per item: (items, m, k) and (items, k, n) of one type -> (items, m, n), on the current stream.

    Raises
    ------
    ValueError
        If the shapes or types do not match.
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
    """Return the name of the GPU, the versions of CUDA and CuPy, and the precision of products."""
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
