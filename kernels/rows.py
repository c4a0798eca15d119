"""Kernels of the GPU that go along rows of numbers: the channels of a pixel, the columns of a table, a patch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from analogpc.kernels.gpu.arrays import launch

_WARP = 5
_PLENTY = 20


def launch_rows(
    name: str, kernel: str, dtype: np.dtype, rows: int, length: int, *arguments: Any, sizes: Iterable[int] = ()
) -> None:
    """Start a kernel that gives every row to a power of two of threads side by side (see ``EACH_OF`` in rows.cuh).

    Parameters
    ----------
    name, kernel, dtype
        As for `launch`.
    rows, length : int
        How many rows there are, and how many numbers each has.
    arguments : arrays of the GPU, or NumPy scalars of the very types of the kernel
    sizes : ints
        What the kernel takes behind them, each as an ``int``; then come ``place count, int length, int shift``, where 2**shift threads
        have one row.
    """
    # A warp for each row spares most of what is done once for each row and thread; a million threads fill a GPU with fewer rows, too.
    shift = min(max(0, length - 1).bit_length(), max(_WARP, _PLENTY - rows.bit_length()))
    last = (np.int64(rows), np.int32(length), np.int32(shift))
    launch(name, kernel, dtype, rows << shift, *arguments, *map(np.int32, sizes), *last)


def as_real(x: np.ndarray) -> np.ndarray:
    """An array, contiguous in C order, with complex numbers as two real ones side by side along the last axis."""
    x = np.ascontiguousarray(x, like=x)
    return x.view(x.real.dtype) if x.dtype.kind == "c" else x
