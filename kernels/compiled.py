"""How kernels of the processor are compiled and called: with a cache where there is a place for one, in any thread, and not after a fork.

What Numba leaves to chance is settled here. Without a writable folder for its cache it refuses to define a function at all; its
thread pool "workqueue" ends the process when two threads call kernels at once; and GNU's OpenMP ends a process that was forked after
its first parallel kernel.
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
"""What a full disk, a folder that was taken away and a damaged entry of the cache lead to; no kernel raises any of them itself."""


class ForkError(RuntimeError):
    """A parallel kernel was called in a process that was forked after kernels had run."""


class _Kernel(CPUDispatcher):
    """A compiled function; other compiled functions call it directly, Python through this class."""

    _cache: Any

    def __call__(self, *arguments: Any) -> Any:
        try:
            return super().__call__(*arguments)
        except _CACHE_ERRORS as error:
            # Compiling comes first and the arguments are still as they were.
            _forget_cache(error)
            return super().__call__(*arguments)


class _ParallelKernel(_Kernel):
    """The same, with its loops shared among threads."""

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
    """What is known of this process: Numba's pool of threads, and its cache.

    Attributes
    ----------
    concurrent : bool
        Whether several threads may call parallel kernels at once. Known once the first has run: until then they take turns.
    forked : bool
        Whether the pool belongs to the process that this one was forked from, and cannot be used here.
    turn : RLock
    warned : bool
        Whether it was said that there is no cache.
    """

    def __init__(self) -> None:
        self.concurrent, self.forked, self.turn = False, False, threading.RLock()
        self.warned = False

    def layer(self) -> str:
        """The name of Numba's threading layer; empty as long as none has started."""
        try:
            return numba.threading_layer()
        except ValueError:
            return ""

    def look(self) -> None:
        """Find out what the pool can do, if it has started."""
        self.concurrent = self.layer() not in ("", "workqueue")

    def after_fork(self) -> None:
        """Begin in a forked process: the lock may be held by a thread that is not here."""
        self.turn = threading.RLock()
        self.forked = self.layer() == "omp" and _openmp() == "GNU"


def _openmp() -> str:
    """Whose OpenMP it is that Numba uses."""
    return import_module("numba.np.ufunc.omppool").openmp_vendor


_process = _Process()
_kernels: WeakSet[_Kernel] = WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.after_fork)


def compiled(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a function with `numba.njit` on its first call, and keep the result in Numba's cache if there is a place for it.

    Used as a decorator, plainly or with options.

    Parameters
    ----------
    function : function
    **options
        Of `numba.njit`, "parallel" for instance.

    Returns
    -------
    function
        To be called from Python and from other kernels. From Python, a parallel one raises `ForkError` in a process that was forked
        after its parent had called one, where Numba would end the process.
    """
    if function is None:
        return lambda given: compiled(given, **options)
    made = numba.njit(**options)(function)
    try:
        made.enable_caching()
    except RuntimeError as error:  # There is no folder to which this user may write.
        _warn(error)
    made.__class__ = _ParallelKernel if options.get("parallel") else _Kernel
    _kernels.add(made)
    return made


def _forget_cache(error: BaseException) -> None:
    """Go on without a cache, whose place is full, gone or damaged."""
    _warn(error)
    for one in _kernels:
        one._cache = NullCache()


def _warn(error: BaseException) -> None:
    """Say once in a process why its kernels are compiled anew."""
    if _process.warned:
        return
    _process.warned = True
    warnings.warn(
        f"kernels are compiled anew in every process, because Numba's cache cannot be used ({error}); the variable NUMBA_CACHE_DIR "
        "names another folder for it",
        RuntimeWarning,
        stacklevel=4,
    )
