"""Compilation of CPU kernels, with a cache if one is available: without a writable folder Numba refuses to define a function."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import numba
from numba.core.caching import NullCache
from numba.core.registry import CPUDispatcher
from typing_extensions import override

_CACHE_ERRORS = (OSError, EOFError, pickle.UnpicklingError)
"""Exceptions due to a full disk, a removed folder or a damaged cache entry; no kernel raises any of them itself."""


class _Kernel(CPUDispatcher):
    """A compiled function; other compiled functions call it directly, Python calls it through this class."""

    _cache: Any

    @override
    def compile(self, sig: Any) -> Any:
        """Compile for the types of a call, or load what was compiled for them; Numba calls this for the first call with such types."""
        try:
            return super().compile(sig)
        except _CACHE_ERRORS as error:
            _forget_cache(error)
            return super().compile(sig)


_kernels: WeakSet[_Kernel] = WeakSet()
_warned: list[bool] = []
"""Not empty once this process has warned about the missing cache."""


def compiled(function: Callable[..., Any] | None = None, *, allocates: bool = False, **options: Any) -> Any:
    """Compile a function with `numba.njit` on its first call, and keep the result in Numba's cache if one is available.

    Used as a decorator, with or without options. Calls from Python release the interpreter lock, so that threads may share the work
    (see `threads`).

    Parameters
    ----------
    function : function
    allocates : bool
        Whether the function itself makes or returns arrays. The others are compiled without counting references to arrays, which
        takes less time to compile and to run; Numba refuses to compile one that makes an array.
    **options
        Options of `numba.njit`, such as "error_model".

    Returns
    -------
    function
        Function that can be called from Python and from other kernels.
    """
    if function is None:
        return lambda given: compiled(given, allocates=allocates, **options)
    # The last two are missing in the types that Numba declares.
    every: dict[str, Any] = {"nogil": True, "no_cfunc_wrapper": True, "_nrt": allocates}
    made: Any = numba.njit(**every, **options)(function)
    try:
        made.enable_caching()
    except RuntimeError as error:  # There is no folder that this user can write to.
        _warn(error)
    made.__class__ = _Kernel
    _kernels.add(made)
    return made


def cached() -> bool:
    """Return whether compiled kernels are kept for other processes, as far as is known."""
    return not _warned


def _forget_cache(error: BaseException) -> None:
    """Continue without a cache, whose folder is full, removed or damaged."""
    _warn(error)
    for one in _kernels:
        one._cache = NullCache()


def _warn(error: BaseException) -> None:
    """Warn once per process why its kernels are recompiled."""
    if _warned:
        return
    _warned.append(True)
    warnings.warn(
        f"kernels are recompiled in every process, because Numba's cache cannot be used ({error}); the variable NUMBA_CACHE_DIR "
        "names another folder for it",
        RuntimeWarning,
        stacklevel=4,
    )
