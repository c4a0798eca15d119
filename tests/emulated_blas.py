"""Emulation of cuBLAS with its calling convention, computed by NumPy: see emulated_gpu.py."""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar

import numpy as np
from emulated_arrays import MACHINE, EmulationError


class Blas:
    """The used cuBLAS calls with the same conventions: column-major matrices, given as raw memory."""

    _KINDS: ClassVar = {0: np.float32, 1: np.float64, 4: np.complex64, 5: np.complex128}
    _COMPUTES: ClassVar = {0: (68, 75, 77), 1: (70,), 4: (68,), 5: (70,)}

    def cublasCreate_v2(self, handle: Any) -> int:
        return 0

    def cublasSetStream_v2(self, handle: Any, stream: Any) -> int:
        return 0

    def cublasSetWorkspace_v2(self, handle: Any, pointer: ctypes.c_void_p, size: ctypes.c_size_t) -> int:
        return 0 if pointer.value and size.value else 7

    def cublasGemmEx(
        self, handle, turn_a, turn_b, m, n, k, alpha, a, a_type, lda, b, b_type, ldb, beta, c, c_type, ldc, compute,
        algorithm, operands=(),
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
        if MACHINE.tape is not None:
            MACHINE.tape.steps.append(multiply)
            for pointer in operands or (a, b, c):
                MACHINE.tape.used_at(pointer.value)
        return 0

    def cublasGemmStridedBatchedEx(
        self, handle, turn_a, turn_b, m, n, k, alpha, a, a_type, lda, step_a, b, b_type, ldb, step_b, beta, c, c_type, ldc, step_c, items,
        compute, algorithm,
    ) -> int:  # fmt: skip
        size = np.dtype(self._KINDS[c_type]).itemsize
        for item in range(items):
            at = [ctypes.c_void_p(p.value + item * step.value * size) for p, step in ((a, step_a), (b, step_b), (c, step_c))]
            status = self.cublasGemmEx(
                handle, turn_a, turn_b, m, n, k, alpha, at[0], a_type, lda, at[1], b_type, ldb, beta, at[2], c_type, ldc, compute,
                algorithm, operands=(a, b, c),
            )  # fmt: skip
            if status:
                return status
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
