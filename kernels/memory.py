"""Reuse of memory: released large arrays leave their memory to the next array that fits.

The operating system provides large blocks page by page, with a page fault at the first access to each, and reclaims them when they are
freed: in a relaxation that costs a fifth of the time of its matrix products. From the second step of a network on, all memory that a
step needs is in this pool. On the GPU, CuPy's pool has the same purpose.
"""

from __future__ import annotations

import bisect
import math
import mmap
import os
import threading
from typing import Any

import numpy as np
from llvmlite import ir

from analogpc.kernels.calls import recorded
from analogpc.kernels.compiled import intrinsic
from analogpc.kernels.gemm import address
from analogpc.kernels.gpu.arrays import on_gpu

LINE = 64
"""Bytes of a cache line."""
LARGE = 2**20
"""Smallest size in bytes for which arrays use this pool; the C library reuses smaller blocks itself."""


class _Lease:
    """A block of memory on loan to one array and its views: NumPy holds this as their base, and releases it after the last."""

    __slots__ = ("__array_interface__", "_block", "_pool")

    def __init__(self, pool: Pool, block: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._pool, self._block = pool, block
        self.__array_interface__ = {"data": (block.ctypes.data, False), "shape": shape, "typestr": dtype.str, "version": 3}

    def __del__(self) -> None:
        self._pool.take_back(self._block)


class Pool:
    """Pool of unused blocks of memory.

    Used and idle blocks together hold at most a quarter more than the peak of the used ones; beyond that, the blocks that have been idle
    for longest are freed.

    Parameters
    ----------
    made : list or None
        Receives every block, so that none is ever freed.

    Attributes
    ----------
    used, idle : int
        Numbers of bytes on loan, and idle.
    """

    def __init__(self, made: list[np.ndarray] | None = None) -> None:
        self.used, self.idle, self._peak, self._made = 0, 0, 0, made
        # (bytes, number of its return, block), smallest first.
        self._waiting: list[tuple[int, int, np.ndarray]] = []
        self._count = 0
        # Arrays may be released anywhere, also while a block is being handed out in the same thread.
        self._lock = threading.RLock()

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return an uninitialised array, contiguous in C order; its memory is at most half as large again as it needs."""
        size = math.prod(shape) * dtype.itemsize
        with self._lock:
            fitting = bisect.bisect_left(self._waiting, (size,))
            # Among blocks of this size the last returned one, which may still be in the processor's caches.
            fitting = max(fitting, bisect.bisect_left(self._waiting, (size + 1,)) - 1)
            if fitting < len(self._waiting) and 2 * self._waiting[fitting][0] <= 3 * size:
                block = self._waiting.pop(fitting)[2]
                self.idle -= block.size
            else:
                block = np.empty(size, np.uint8)
                if self._made is not None:
                    self._made.append(block)
            self.used += block.size
            self._peak = max(self._peak, self.used)
        return np.asarray(_Lease(self, block, shape, dtype))

    def take_back(self, block: np.ndarray) -> None:
        """Keep a block for a later array."""
        with self._lock:
            self.used -= block.size
            self.idle += block.size
            self._count += 1
            bisect.insort(self._waiting, (block.size, self._count, block))
            while self._waiting and 4 * (self.used + self.idle) > 5 * self._peak:
                oldest = min(self._waiting, key=lambda waiting: waiting[1])
                self._waiting.remove(oldest)
                self.idle -= oldest[0]

    def after_fork(self) -> None:
        """Reset in a forked process: the lock may be held by a thread that does not exist here."""
        self._lock = threading.RLock()

    def clear(self) -> None:
        """Free all idle blocks, and reset the peak."""
        with self._lock:
            self._waiting.clear()
            self.idle, self._peak = 0, self.used


POOL = Pool()
"""Pool of this process."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=POOL.after_fork)


def empty(shape: tuple[int, ...], dtype: Any, like: np.ndarray) -> np.ndarray:
    """Return an uninitialised array on the backend of ``like``, contiguous in C order."""
    dtype = np.dtype(dtype)
    if on_gpu(like):
        return np.empty(shape, dtype, like=like)
    size = dtype.itemsize
    for length in shape:
        size *= length
    if (record := recorded()) is not None:
        # Recorded calls reuse memory among themselves, in the same order at every repetition.
        record.pool = record.pool or Pool(record.kept)
        return record.pool.empty(shape, dtype)
    return POOL.empty(shape, dtype) if size >= LARGE else np.empty(shape, dtype)


def on_line(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an uninitialised array in main memory that begins with a cache line.

    NumPy's arrays do not, so that every access of a register as wide as a line takes two of them: vectorised loops over arrays in the
    first-level cache take a fifth longer.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    block = np.empty(size + LINE, np.uint8)
    start = -address(block) % LINE
    return block[start : start + size].view(dtype).reshape(shape)


def filled(shape: tuple[int, ...], value: Any, dtype: Any, like: np.ndarray) -> np.ndarray:
    """Return an array of one value on the backend of ``like``, contiguous in C order.

    NumPy's own ``full`` and ``ones`` pass a keyword to other kinds of arrays that CuPy's do not accept.
    """
    array = empty(shape, dtype, like)
    if recorded() is None:
        array.fill(value)
    else:
        from analogpc.kernels.elementwise import fill

        fill(array, value)
    return array


def zeros(shape: tuple[int, ...], dtype: Any, like: np.ndarray) -> np.ndarray:
    """A zero-filled array on the backend of `like`."""
    return filled(shape, 0, dtype, like)


def as_real(x: np.ndarray) -> np.ndarray:
    """View an array, contiguous in C order, with complex numbers as two adjacent real ones along the last axis."""
    x = np.ascontiguousarray(x, like=x)
    return x.view(x.real.dtype) if x.dtype.kind == "c" else x


def unwritten_zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array of zeros in main memory whose pages take memory only once they are written.

    `numpy.zeros` may return memory that was used before, and has to write the zeros.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < LARGE or os.name != "posix":
        return np.zeros(shape, dtype)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(pages, dtype).reshape(shape)


def all_zero(array: np.ndarray) -> bool:
    """Return whether all bits of a contiguous array in main memory are 0; minus zero has one that is not."""
    bits = array.reshape(-1).view(f"u{array.itemsize}")
    return not (bits[:1].any() or bits.any())


def without_zeros(array: np.ndarray) -> np.ndarray:
    """Return an array of the same values, which takes no memory if it is in main memory and all of them are 0."""
    if on_gpu(array) or array.nbytes < LARGE or not all_zero(array):
        return array
    return unwritten_zeros(array.shape, array.dtype)


@intrinsic("void(int64)")
def prefetch(builder, address):
    """Ask in a kernel for the cache line of an address, without waiting for it."""
    pointer, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [pointer, flag, flag, flag])
    function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
    # For reading, into all caches, data.
    builder.call(function, [builder.inttoptr(address, pointer), flag(0), flag(3), flag(1)])
