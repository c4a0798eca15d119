"""Compiled CPU kernels. They are defined without Numba, which is imported, and compiles them, when one is called for the first time.

The rest is in `dispatchers` and `compilers`, which import Numba.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any


class Kernel:
    """A compiled function, which may be called from Python and from functions that Numba compiles.

    Attributes
    ----------
    py_func : function
        The function as written.
    """

    def __init__(self, function: Callable[..., Any], allocates: bool, options: dict[str, Any]) -> None:
        self.py_func = function
        self._given = allocates, options
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any) -> Any:
        """Call the compiled function."""
        return self.dispatcher(*args)

    @functools.cached_property
    def dispatcher(self) -> Any:
        """Return what Numba makes of the function."""
        from analogpc.kernels.dispatchers import dispatcher

        return dispatcher(self.py_func, *self._given)

    @property
    def _numba_type_(self) -> Any:
        """Return the type by which Numba finds this kernel in functions that call it."""
        return self.dispatcher._numba_type_


class NumbaFunction:
    """A function of Numba or an operation in code of LLVM, for calls from kernels.

    Parameters
    ----------
    kind : function of no arguments
        Returns its type in Numba.
    """

    def __init__(self, kind: Callable[[], Any]) -> None:
        self._kind = kind

    @functools.cached_property
    def _numba_type_(self) -> Any:
        return self._kind()


def compiled(function: Callable[..., Any] | None = None, *, allocates: bool = False, **options: Any) -> Any:
    """Compile a function by Numba on its first call, and keep the result in Numba's cache if one is available.

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
    Kernel

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
        if isinstance(cell.cell_contents, (Kernel, NumbaFunction)):
            raise TypeError(
                f"{function.__qualname__} takes the kernel {name} from the function around it; define {name} in the module"
            )
    if constants:
        # Functions of the same name that were compiled in different processes may have the same symbol, and addresses are found by symbols.
        told = repr([(name, cell.cell_contents) for name, cell in constants])
        function.__qualname__ += f"_{hashlib.sha256(told.encode()).hexdigest()[:8]}"
    return Kernel(function, allocates, options)


def intrinsic(signature: str | Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Make an operation of kernels from a function that writes it in code of LLVM; used as a decorator.

    Parameters
    ----------
    signature : str, or function of the types of the arguments
        Signature in Numba's notation, such as "int64(int64, int64)", or a function that returns one.

    Returns
    -------
    function
        Decorator of a function of (builder, ...), the builder of llvmlite and the values of the arguments, which returns the result,
        or nothing.
    """

    def decorated(function: Callable[..., Any]) -> NumbaFunction:
        def kind() -> Any:
            from analogpc.kernels.dispatchers import type_of_intrinsic

            return type_of_intrinsic(function, signature)

        return NumbaFunction(kind)

    return decorated


def numba_function(name: str) -> NumbaFunction:
    """Return a function of the module numba, for calls from kernels."""

    def kind() -> Any:
        import numba

        from analogpc.kernels.dispatchers import type_of

        return type_of(getattr(numba, name))

    return NumbaFunction(kind)
