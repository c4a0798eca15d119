"""Products and sums of arrays on either backend."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from analogpc.kernels.blas_threads import one_blas_thread
from analogpc.kernels.calls import recorded
from analogpc.kernels.elementwise import add_row, multiple, total
from analogpc.kernels.gemm import multiply_strips, product_frame
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.gpu.blas import gemm, gemm_batched
from analogpc.kernels.lookups import sum_rows
from analogpc.kernels.memory import empty
from analogpc.kernels.sharing import share
from analogpc.kernels.threads import distribute
from analogpc.kernels.trampolines import Part

_PART = 2**22
"""Least multiply-adds of one part of a product: a tenth of a millisecond, several times what waking a helper costs."""
_MOST_PARTS, _NARROWEST = 64, 128
"""Largest number of parts of a product, and their least width: BLAS copies the other operand anew for each."""
UNIT = 32
"""Widths of parts are multiples of this number, in which the kernels of BLAS work for most processors."""


def matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return (m, k) times (k, n) -> (m, n), of one type: by BLAS on the CPU, by cuBLAS on the GPU (see `blas`).

    On the CPU, large products are divided into strips, each computed by one thread. The strips depend on the shape alone, so that the
    result does not depend on the number of threads.
    """
    if on_gpu(a):
        return gemm(a, b, out)
    m, n = a.shape[0], b.shape[1]
    if out is None:
        out = empty((m, n), a.dtype, a)
    width, longest = strip_width(m, a.shape[1], n), max(m, n)
    with one_blas_thread:
        if width >= longest and recorded() is None:
            return np.matmul(a, b, out=out)
        frame = product_frame(a, b, out, width, m < n)
        if frame is not None:
            share(_strips(), frame, -(-longest // width))
        else:
            distribute(
                lambda first, last: _multiply(a, b, out, range(first * width, min(last * width, longest), width)),
                -(-longest // width),
            )
    return out


@functools.cache
def _strips() -> Part:
    return Part(multiply_strips)


def _multiply(a: np.ndarray, b: np.ndarray, out: np.ndarray, starts: range) -> None:
    """Compute strips of a product by NumPy."""
    for start in starts:
        part = slice(start, start + starts.step)
        if len(a) >= b.shape[1]:
            np.matmul(a[part], b, out=out[part])
        else:
            np.matmul(a, b[:, part], out=out[:, part])


def strip_width(m: int, k: int, n: int, part: int = _PART) -> int:
    """Return the width of the strips of a product along the longer side of its result, with at least ``part`` multiply-adds each."""
    longest, parts = max(m, n), min(m * k * n // part, _MOST_PARTS)
    return longest if parts < 2 else UNIT * -(-max(-(-longest // parts), _NARROWEST) // UNIT)


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a - b, of one shape."""
    if recorded() is not None and _alike(a, b):
        return total(a, b, -1.0)
    return np.subtract(a, b, out=empty(a.shape, np.result_type(a.dtype, b.dtype), a))


def added(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a + b, of one shape and type."""
    if recorded() is not None and _alike(a, b):
        return total(a, b, 1.0)
    return np.add(a, b, out=empty(a.shape, a.dtype, a))


def negative(a: np.ndarray) -> np.ndarray:
    """Return -a."""
    if recorded() is not None and _alike(a, a):
        return multiple(a, -1.0)
    return np.negative(a, out=empty(a.shape, a.dtype, a))


def scaled(a: np.ndarray, factor: float) -> np.ndarray:
    """Return ``factor`` times a, in the type of a."""
    if recorded() is not None and _alike(a, a):
        return multiple(a, factor)
    return np.multiply(a, a.dtype.type(factor), out=empty(a.shape, a.dtype, a))


def duplicate(a: np.ndarray) -> np.ndarray:
    """Return a copy."""
    return multiple(a, 1.0) if recorded() is not None and _alike(a, a) else a.copy()


def raise_by(y: np.ndarray, row: np.ndarray) -> None:
    """Add a row (1, values) to every row of ``y`` (n, values), in place."""
    if recorded() is not None and _alike(y[:1], row):
        add_row(y, row)
    else:
        y += row


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether arrays are contiguous and of one form; other sums refuse to be recorded."""
    alike = a.shape == b.shape and a.dtype == b.dtype and a.flags.c_contiguous and b.flags.c_contiguous
    if not alike and (record := recorded()) is not None:
        record.refuse("arrays of different forms are added")
    return alike


def inner(a: np.ndarray, b: np.ndarray) -> Any:
    """Return the sum of a b over all elements, of one shape: a number, or a 0-d device array on the GPU (no synchronisation).

    The sum is formed in the type of the arrays by BLAS, in float64 on the GPU.
    """
    if on_gpu(a):
        return (a * b).sum(dtype=np.float64)
    with one_blas_thread:
        return float(np.dot(a.reshape(-1), b.reshape(-1)))


def row(numbers: Sequence[Any], like: np.ndarray) -> np.ndarray:
    """Return numbers, or 0-d arrays, as one float64 array (numbers,) on the backend of ``like``."""
    if not on_gpu(like):
        return np.array(numbers, np.float64)
    out = np.empty(len(numbers), np.float64, like=like)
    for place, number in enumerate(numbers):
        out[place] = number
    return out


def beside(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Concatenate tables (n, a), (n, b), .. of one type along the columns: (n, a + b + ..).

    CuPy joins more than eight arrays through a list of addresses copied from main memory, which a graph would find changed.
    """
    first = parts[0]
    out = empty((len(first), sum(part.shape[1] for part in parts)), first.dtype, first)
    start = 0
    for part in parts:
        out[:, start : start + part.shape[1]] = part
        start += part.shape[1]
    return out


def largest(x: np.ndarray) -> float:
    """Return the largest magnitude of all elements; 0 if there are none. Synchronises with the GPU."""
    return float(np.abs(x).max()) if x.size else 0.0


def batched(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return one product per item: (items, m, k) times (items, k, n) -> (items, m, n), of one type.

    Either operand may be a view with its last two axes exchanged.
    """
    if on_gpu(a):
        return gemm_batched(a, b)
    out = empty((a.shape[0], a.shape[1], b.shape[2]), a.dtype, a)
    grain = 1 + _PART // max(1, a.shape[1] * a.shape[2] * b.shape[2])
    with one_blas_thread:
        if len(a) < 2 * grain:
            return np.matmul(a, b, out=out)
        distribute(lambda first, last: np.matmul(a[first:last], b[first:last], out=out[first:last]), len(a), grain)
    return out


def outer(pre: np.ndarray, post: np.ndarray, n_in: int, out: np.ndarray | None = None) -> np.ndarray:
    """Return the sum of the outer products of n pairs of vectors: pre^T post, (n_in, n_out); in ``out`` if it is given.

    Parameters
    ----------
    pre : (n, n_in) array, or (n,) int32 array
        Integers represent one-hot vectors by the index of the 1.
    post : (n, n_out) array
    n_in : int
    """
    return sum_rows(pre, post, n_in, out) if pre.ndim == 1 else matmul(pre.T, post, out)


def outer_macs(pre: np.ndarray, post: np.ndarray, n_in: int) -> int:
    """Return the number of multiply-adds of `outer`; a one-hot vector takes one addition per output."""
    return post.size if pre.ndim == 1 else post.size * n_in
