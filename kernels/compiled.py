"""Compilation of CPU kernels, with a cache if one is available: without a writable folder Numba refuses to define a function."""

from __future__ import annotations

import gc
import hashlib
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import numba
from numba.core.caching import NullCache
from numba.core.dispatcher import Dispatcher
from numba.core.registry import CPUDispatcher
from numba.core.sigutils import normalize_signature
from numba.core.typing import make_concrete_template
from typing_extensions import override

from analogpc.kernels.compilers import KernelCompiler, PartCompiler

_CACHE_ERRORS = (OSError, EOFError, pickle.UnpicklingError)
"""Exceptions due to a full disk, a removed folder or a damaged cache entry; no kernel raises any of them itself."""


@contextmanager
def _garbage_kept() -> Iterator[None]:
    """Collect no garbage while a kernel is compiled: Numba makes many objects that live, and every search among them takes time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


class _Kernel(CPUDispatcher):
    """A compiled function, for Python and, compiled on its own, for other kernels (see `compilers`)."""

    _cache: Any
    _compiler: Any
    _parts: dict[Any, Any]
    """Results of the compilation for other kernels, by types of arguments."""

    @override
    def compile(self, sig: Any) -> Any:
        """Compile for the types of a call, or load what was compiled for them; Numba calls this for the first call with such types."""
        with _garbage_kept():
            try:
                return super().compile(sig)
            except _CACHE_ERRORS as error:
                _forget_cache(error)
                return super().compile(sig)

    @override
    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Return what Numba wants to know about a call from another kernel."""
        signature, args = self._compiler.fold_argument_types(args, kws)
        made = self._part(tuple(args))
        name = self.py_func.__name__
        return make_concrete_template(name, key=name, signatures=[made.signature]), signature, args, {}

    @override
    def get_overload(self, sig: Any) -> Any:
        """Return the key of the code for calls from other kernels."""
        return self._part(tuple(normalize_signature(sig)[0])).entry_point

    def _part(self, types: tuple[Any, ...]) -> Any:
        if types not in self._parts:
            given = self.py_func, self.targetdescr, self.targetoptions, self.locals
            self._parts[types] = type(self._compiler)(*given, PartCompiler).compile(types, None)
        return self._parts[types]


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

    Raises
    ------
    TypeError
        If the function takes a kernel from the function that defines it: no other process would find it in the cache, where Numba
        keeps it under a name that differs from process to process. It may take constants from there, and kernels of its module.
    """
    if function is None:
        return lambda given: compiled(given, allocates=allocates, **options)
    constants = list(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    for name, cell in constants:
        if isinstance(cell.cell_contents, Dispatcher):
            raise TypeError(
                f"{function.__qualname__} takes the kernel {name} from the function around it; define {name} in the module"
            )
    if constants:
        # Functions of the same name that were compiled in different processes may have the same symbol, and addresses are found by symbols.
        told = repr([(name, cell.cell_contents) for name, cell in constants])
        function.__qualname__ += f"_{hashlib.sha256(told.encode()).hexdigest()[:8]}"
    # The last two are missing in the types that Numba declares.
    every: dict[str, Any] = {"nogil": True, "no_cfunc_wrapper": True, "_nrt": allocates}
    made: Any = numba.njit(**every, **options, pipeline_class=KernelCompiler)(function)
    try:
        made.enable_caching()
    except RuntimeError as error:  # There is no folder that this user can write to.
        _warn(error)
    made.__class__, made._parts = _Kernel, {}
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
