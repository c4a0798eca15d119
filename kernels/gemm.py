"""Matrix products by the BLAS of NumPy, called from compiled code: `native` shares their strips among threads.

Only OpenBLAS is known, which NumPy's wheels contain; with another BLAS `products` calls NumPy for every strip.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
from typing import Any

import numpy as np
from llvmlite import ir
from threadpoolctl import ThreadpoolController

from analogpc.kernels.compiled import compiled, intrinsic
from analogpc.kernels.native import word_at

_ROW_MAJOR, _AS_IS, _TRANSPOSED = 101, 111, 112


@functools.cache
def blas_function(dtype: np.dtype) -> tuple[int, bool]:
    """Return the address of the general matrix product for a type, and whether its integers have 64 bits; (0, False) if unknown."""
    name = {"f": "cblas_sgemm", "d": "cblas_dgemm"}.get(dtype.char)
    libraries = [one for one in ThreadpoolController().lib_controllers if one.internal_api == "openblas"]
    for library in sorted(libraries, key=lambda one: "numpy" not in one.filepath):
        found, suffix = openblas_function(library, name) if name else (None, "")
        if found is not None:
            return ctypes.cast(found, ctypes.c_void_p).value or 0, suffix != ""
    return 0, False


def openblas_function(library: Any, name: str) -> tuple[Any, str]:
    """Return a function of an OpenBLAS library, whose names have endings in some builds, and the ending; None if there is none."""
    for prefix, suffix in itertools.product(("scipy_", ""), ("64_", "_64", "")):
        found = getattr(library.dynlib, f"{prefix}{name}{suffix}", None)
        if found is not None:
            return found, suffix
    return None, ""


def _caller(real: Any, bits: int) -> Any:
    number, whole, flag, word = {4: ir.FloatType(), 8: ir.DoubleType()}[real], ir.IntType(bits), ir.IntType(32), ir.IntType(64)
    kinds = [flag] * 3 + [whole] * 3 + [number, word, whole, word, whole, number, word, whole]

    @intrinsic(f"void({', '.join(['int64'] * 12)})")
    def call(builder, function, ta, tb, m, n, k, a, lda, b, ldb, c, ldc):
        callee = builder.inttoptr(function, ir.FunctionType(ir.VoidType(), kinds).as_pointer())
        given = [word(_ROW_MAJOR), ta, tb, m, n, k, number(1), a, lda, b, ldb, number(0), c, ldc]
        fitted = [builder.trunc(one, kind) if one.type == word != kind else one for one, kind in zip(given, kinds, strict=True)]
        builder.call(callee, fitted)

    return call


_call_4_64, _call_4_32, _call_8_64, _call_8_32 = (_caller(size, bits) for size in (4, 8) for bits in (64, 32))


@compiled
def multiply_at(function, wide, item, m, n, k, a, a_down, a_right, b, b_down, b_right, c, c_down):
    """Store the product of matrices at addresses ``a`` (m, k) and ``b`` (k, n) at ``c`` (m, n), with strides in bytes; c is row-major."""
    ta, lda = (_AS_IS, a_down // item) if a_right == item else (_TRANSPOSED, a_right // item)
    tb, ldb = (_AS_IS, b_down // item) if b_right == item else (_TRANSPOSED, b_right // item)
    if item == 4:
        if wide:
            _call_4_64(function, ta, tb, m, n, k, a, lda, b, ldb, c, c_down // item)
        else:
            _call_4_32(function, ta, tb, m, n, k, a, lda, b, ldb, c, c_down // item)
    elif wide:
        _call_8_64(function, ta, tb, m, n, k, a, lda, b, ldb, c, c_down // item)
    else:
        _call_8_32(function, ta, tb, m, n, k, a, lda, b, ldb, c, c_down // item)


@compiled
def multiply_strips(frame, first, stop):
    """Multiply the strips ``first`` to ``stop`` of a product; ``frame`` is the address of the words of `product_frame`."""
    function, wide, item = word_at(frame, 0), word_at(frame, 1) != 0, word_at(frame, 2)
    width, by_columns = word_at(frame, 3), word_at(frame, 4) != 0
    m, n, k = word_at(frame, 5), word_at(frame, 6), word_at(frame, 7)
    a, a_down, a_right = word_at(frame, 8), word_at(frame, 9), word_at(frame, 10)
    b, b_down, b_right = word_at(frame, 11), word_at(frame, 12), word_at(frame, 13)
    c, c_down = word_at(frame, 14), word_at(frame, 15)
    for strip in range(first, stop):
        start = strip * width
        if by_columns:
            columns = min(width, n - start)
            at = b + start * b_right, c + start * item
            multiply_at(function, wide, item, m, columns, k, a, a_down, a_right, at[0], b_down, b_right, at[1], c_down)
        else:
            rows = min(width, m - start)
            at = a + start * a_down, c + start * c_down
            multiply_at(function, wide, item, rows, n, k, at[0], a_down, a_right, b, b_down, b_right, at[1], c_down)


def product_frame(a: np.ndarray, b: np.ndarray, out: np.ndarray, width: int, by_columns: bool) -> np.ndarray | None:
    """Return the words of a product in strips, or None if BLAS is unknown or does not take these arrays as they are.

    Parameters
    ----------
    a, b, out : (m, k), (k, n) and (m, n) arrays of one type
    width : int
        Rows or columns of a strip.
    by_columns : bool
        Whether strips are columns of the result.
    """
    function, wide = blas_function(a.dtype)
    if not (
        function and suits(a) and suits(b) and out.strides[1] == out.itemsize and out.strides[0] >= out.shape[1] * out.itemsize
    ):
        return None
    (m, k), n = a.shape, b.shape[1]
    at = [address(array) for array in (a, b, out)]
    return np.array(
        [function, wide, a.itemsize, width, by_columns, m, n, k, at[0], *a.strides, at[1], *b.strides, at[2], out.strides[0]],
        np.int64,
    )


def address(array: np.ndarray) -> int:
    """Return the address of the first element of an array."""
    return array.__array_interface__["data"][0]


def suits(array: np.ndarray) -> bool:
    """Whether one axis of a matrix is contiguous and the other one longer, as BLAS requires; vectors have functions of their own."""
    (rows, columns), (down, right), item = array.shape, array.strides, array.itemsize
    if rows < 2 or columns < 2 or not array.flags.aligned:
        return False
    return (right == item and down >= columns * item and down % item == 0) or (
        down == item and right >= rows * item and right % item == 0
    )
