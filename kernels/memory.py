"""Memory that is used again: large arrays that die leave their memory to the next that fits.

The system hands out large blocks page by page, each with a fault when it is first touched, and takes them back as soon as they are
freed: in a relaxation that costs a fifth of the time of its matrix products. From the second step of a network on, all that a step
needs is here already. The GPU has a pool of CuPy's for the same purpose.
"""

from __future__ import annotations

import bisect
import math
import os
import threading
from typing import Any

import numpy as np

from analogpc.kernels.gpu.arrays import on_gpu

LARGE = 2**20
"""Bytes from which on an array gets its memory here; the C library keeps smaller blocks by itself."""


class _Lease:
    """A block of memory on loan to one array and its views: NumPy holds this as their base, and lets go of it after the last."""

    __slots__ = ("__array_interface__", "_block", "_pool")

    def __init__(self, pool: Pool, block: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._pool, self._block = pool, block
        self.__array_interface__ = {"data": (block.ctypes.data, False), "shape": shape, "typestr": dtype.str, "version": 3}

    def __del__(self) -> None:
        self._pool.take_back(self._block)


class Pool:
    """Blocks of memory that are not in use.

    Together, blocks in use and waiting ones hold at most a quarter more than those in use did at their peak; beyond that the ones that
    have waited for longest are freed.

    Attributes
    ----------
    used, idle : int
        Bytes on loan, and waiting.
    """

    def __init__(self) -> None:
        self.used, self.idle, self._peak = 0, 0, 0
        # (bytes, number of its return, block), the smallest first.
        self._waiting: list[tuple[int, int, np.ndarray]] = []
        self._count = 0
        # Arrays may die anywhere, also while a block is being handed out in the same thread.
        self._lock = threading.RLock()

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array, contiguous in C order, its values undefined; its memory is at most half as large again as it needs."""
        size = math.prod(shape) * dtype.itemsize
        with self._lock:
            fitting = bisect.bisect_left(self._waiting, (size,))
            # Of those of that very size the one that came back last, which the caches of the processor may still hold.
            fitting = max(fitting, bisect.bisect_left(self._waiting, (size + 1,)) - 1)
            if fitting < len(self._waiting) and 2 * self._waiting[fitting][0] <= 3 * size:
                block = self._waiting.pop(fitting)[2]
                self.idle -= block.size
            else:
                block = np.empty(size, np.uint8)
            self.used += block.size
            self._peak = max(self._peak, self.used)
        return np.asarray(_Lease(self, block, shape, dtype))

    def take_back(self, block: np.ndarray) -> None:
        """Keep a block for an array to come."""
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
        """Begin in a forked process: the lock may be held by a thread that is not here."""
        self._lock = threading.RLock()

    def clear(self) -> None:
        """Free all idle blocks, and forget the peak."""
        with self._lock:
            self._waiting.clear()
            self.idle, self._peak = 0, self.used


POOL = Pool()
"""Of this process."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=POOL.after_fork)


def empty(shape: tuple[int, ...], dtype: Any, like: np.ndarray) -> np.ndarray:
    """An array of undefined values where ``like`` is, contiguous in C order."""
    dtype = np.dtype(dtype)
    if on_gpu(like):
        return np.empty(shape, dtype, like=like)
    size = dtype.itemsize
    for length in shape:
        size *= length
    return POOL.empty(shape, dtype) if size >= LARGE else np.empty(shape, dtype)


def filled(shape: tuple[int, ...], value: Any, dtype: Any, like: np.ndarray) -> np.ndarray:
    """An array of one value where ``like`` is, contiguous in C order.

    NumPy's own ``full`` and ``ones`` hand on a keyword to arrays of other kinds that CuPy's do not know.
    """
    array = empty(shape, dtype, like)
    array.fill(value)
    return array


def zeros(shape: tuple[int, ...], dtype: Any, like: np.ndarray) -> np.ndarray:
    """A zero-filled array on the backend of `like`."""
    return filled(shape, 0, dtype, like)


def as_real(x: np.ndarray) -> np.ndarray:
    """An array, contiguous in C order, with complex numbers as two real ones side by side along the last axis."""
    x = np.ascontiguousarray(x, like=x)
    return x.view(x.real.dtype) if x.dtype.kind == "c" else x
