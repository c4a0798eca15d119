"""What Numba makes of kernels, intrinsics and its own functions, at their first use (see `compiled`)."""

from __future__ import annotations

import gc
import inspect
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import numba
from numba.core import typing
from numba.core.caching import NullCache
from numba.core.registry import CPUDispatcher, cpu_target
from numba.core.sigutils import normalize_signature
from numba.core.typing import make_concrete_template
from numba.extending import intrinsic
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


class _Dispatcher(CPUDispatcher):
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


_dispatchers: WeakSet[_Dispatcher] = WeakSet()
_warned: list[bool] = []
"""Not empty once this process has warned about the missing cache."""


def dispatcher(function: Callable[..., Any], allocates: bool, options: dict[str, Any]) -> Any:
    """Return the dispatcher of a kernel; the parameters are those of `compiled.compiled`."""
    # The last two are missing in the types that Numba declares.
    every: dict[str, Any] = {"nogil": True, "no_cfunc_wrapper": True, "_nrt": allocates}
    made: Any = numba.njit(**every, **options, pipeline_class=KernelCompiler)(function)
    try:
        made.enable_caching()
    except RuntimeError as error:  # There is no folder that this user can write to.
        _warn(error)
    made.__class__, made._parts = _Dispatcher, {}
    _dispatchers.add(made)
    return made


def type_of_intrinsic(function: Callable[..., Any], signature: str | Callable[..., Any]) -> Any:
    """Return the type of an operation in code of LLVM; the parameters are those of `compiled.intrinsic`."""

    def define(typing_context: Any, *kinds: Any) -> tuple[Any, Callable[..., Any]]:
        given, result = normalize_signature(signature if isinstance(signature, str) else signature(*kinds))

        def generate(context: Any, builder: Any, told: Any, values: Any) -> Any:
            made = function(builder, *values)
            return context.get_dummy_value() if made is None else made

        return typing.signature(result, *given), generate

    define.__name__, define.__doc__ = function.__name__, function.__doc__
    # Numba finds the names of the arguments here, after that of its context.
    define.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return type_of(intrinsic(define))


def type_of(function: Any) -> Any:
    """Return the type of a function that Numba knows."""
    context = cpu_target.typing_context
    context.refresh()
    return context.resolve_value_type(function)


def cached() -> bool:
    """Return whether compiled kernels are kept for other processes, as far as is known."""
    return not _warned


def _forget_cache(error: BaseException) -> None:
    """Continue without a cache, whose folder is full, removed or damaged."""
    _warn(error)
    for one in _dispatchers:
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
