"""Compilation and calls of CPU kernels: with a cache if one is available, from any thread, and not after a fork.

This module works around three problems of Numba: without a writable cache folder it refuses to define a function; its thread pool
"workqueue" ends the process when two threads call kernels concurrently; and GNU OpenMP ends a process that was forked after its first
parallel kernel.
"""

from __future__ import annotations

import os
import pickle
import threading
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any
from weakref import WeakSet

import numba
from numba.core.caching import NullCache
from numba.core.registry import CPUDispatcher

_CACHE_ERRORS = (OSError, EOFError, pickle.UnpicklingError)
"""Exceptions due to a full disk, a removed folder or a damaged cache entry; no kernel raises any of them itself."""


class ForkError(RuntimeError):
    """A parallel kernel was called in a process that was forked after kernels had run."""


class _Kernel(CPUDispatcher):
    """A compiled function; other compiled functions call it directly, Python calls it through this class."""

    _cache: Any

    def __call__(self, *arguments: Any) -> Any:
        try:
            return super().__call__(*arguments)
        except _CACHE_ERRORS as error:
            # Compilation comes first, so the arguments have not been modified.
            _forget_cache(error)
            return super().__call__(*arguments)


class _ParallelKernel(_Kernel):
    """A compiled function whose loops are shared among threads."""

    def __call__(self, *arguments: Any) -> Any:
        if _process.forked:
            raise ForkError(
                "this process was forked after kernels had run in parallel, and their threads (GNU OpenMP) do not survive that: "
                "start worker processes with multiprocessing.get_context('spawn') or 'forkserver'"
            )
        if _process.concurrent:
            return super().__call__(*arguments)
        with _process.turn:
            result = super().__call__(*arguments)
        _process.look()
        return result


class _Process:
    """State of this process: Numba's thread pool and its cache.

    Attributes
    ----------
    concurrent : bool
        Whether several threads may call parallel kernels concurrently. Known after the first call; until then calls are serialised.
    forked : bool
        Whether the pool belongs to the parent of this forked process and cannot be used here.
    turn : RLock
    warned : bool
        Whether the warning about the missing cache was issued.
    """

    def __init__(self) -> None:
        self.concurrent, self.forked, self.turn = False, False, threading.RLock()
        self.warned = False

    def layer(self) -> str:
        """Return the name of Numba's threading layer; empty if none has started."""
        try:
            return numba.threading_layer()
        except ValueError:
            return ""

    def look(self) -> None:
        """Determine the abilities of the pool, if it has started."""
        self.concurrent = self.layer() not in ("", "workqueue")

    def after_fork(self) -> None:
        """Reset in a forked process: the lock may be held by a thread that does not exist here."""
        self.turn = threading.RLock()
        self.forked = self.layer() == "omp" and _openmp() == "GNU"


def _openmp() -> str:
    """Return the vendor of the OpenMP library that Numba uses."""
    return import_module("numba.np.ufunc.omppool").openmp_vendor


_process = _Process()
_kernels: WeakSet[_Kernel] = WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.after_fork)


def compiled(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a function with `numba.njit` on its first call, and keep the result in Numba's cache if one is available.

    Used as a decorator, with or without options.

    Parameters
    ----------
    function : function
    **options
        Options of `numba.njit`, such as "parallel".

    Returns
    -------
    function
        Function that can be called from Python and from other kernels. From Python, a parallel one raises `ForkError` in a process
        forked after its parent had called one, where Numba would end the process.
    """
    if function is None:
        return lambda given: compiled(given, **options)
    made = numba.njit(**options)(function)
    try:
        made.enable_caching()
    except RuntimeError as error:  # There is no folder that this user can write to.
        _warn(error)
    made.__class__ = _ParallelKernel if options.get("parallel") else _Kernel
    _kernels.add(made)
    return made


def _forget_cache(error: BaseException) -> None:
    """Continue without a cache, whose folder is full, removed or damaged."""
    _warn(error)
    for one in _kernels:
        one._cache = NullCache()


def _warn(error: BaseException) -> None:
    """Warn once per process why its kernels are recompiled."""
    if _process.warned:
        return
    _process.warned = True
    warnings.warn(
        f"kernels are recompiled in every process, because Numba's cache cannot be used ({error}); the variable NUMBA_CACHE_DIR "
        "names another folder for it",
        RuntimeWarning,
        stacklevel=4,
    )
