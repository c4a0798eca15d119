"""Control of the threads of BLAS, which compute products only outside of analogpc."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from threadpoolctl import ThreadpoolController

from analogpc.kernels.gemm import openblas_function

_WITH_BLAS = ("numpy", "scipy.linalg", "torch")
"""Modules that load a BLAS library."""


class _Blas:
    """A library whose number of threads is set for the whole process.

    Threadpoolctl leaves OpenBLAS alone in every Python thread but one, where products would then be divided among BLAS's own threads, and
    rounded differently; its function is called directly.
    """

    def __init__(self, library: Any) -> None:
        self.get: Callable[[], int] = library.get_num_threads
        self.set: Callable[[int], Any] = library.set_num_threads
        if library.internal_api == "openblas" and library.threading_layer != "openmp":
            get, set_ = (openblas_function(library, f"openblas_{verb}_num_threads")[0] for verb in ("get", "set"))
            if get is not None and set_ is not None:
                self.get, self.set = get, set_


class _OneBlasThread:
    """Context in which BLAS computes in the thread that calls it. Contexts may be nested, and entered in several threads."""

    def __init__(self) -> None:
        self._lock, self._depth = threading.Lock(), 0
        self._libraries: list[_Blas] = []
        self._loaded: tuple[bool, ...] = ()
        self._before: list[tuple[_Blas, int]] = []

    def __enter__(self) -> None:
        with self._lock:
            if self._depth == 0:
                # Every module that brings a BLAS of its own may be loaded later.
                loaded = tuple(name in sys.modules for name in _WITH_BLAS)
                if loaded != self._loaded:
                    self._loaded = loaded
                    self._libraries = [_Blas(one) for one in ThreadpoolController().select(user_api="blas").lib_controllers]
                self._before = [(library, library.get()) for library in self._libraries]
                for library, threads in self._before:
                    if threads != 1:
                        library.set(1)
            self._depth += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                for library, threads in self._before:
                    if threads != 1:
                        library.set(threads)

    def reset(self) -> None:
        """Start anew in a forked process: the lock may be held by a thread that does not exist here."""
        self._lock = threading.Lock()


one_blas_thread = _OneBlasThread()
"""Keeps BLAS at one thread: `threads` shares products, and another number may round differently."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=one_blas_thread.reset)
