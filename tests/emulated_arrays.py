"""Arrays on the CPU that are as strict as CuPy arrays: see emulated_gpu.py."""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin


class EmulationError(AssertionError):
    """Raised for operations that CuPy or a GPU would refuse or execute incorrectly."""


_alive: weakref.WeakValueDictionary[int, ndarray] = weakref.WeakValueDictionary()


def _owner(array: np.ndarray) -> np.ndarray:
    """Return the array to which the memory of a view belongs."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


class _Unowned:
    """Memory as an operation of a graph knows it: an address and a shape, which keep nothing alive."""

    def __init__(self, array: np.ndarray) -> None:
        self.__array_interface__ = array.__array_interface__


class Tape:
    """Operations of a captured graph."""

    def __init__(self) -> None:
        self.steps: list[Callable[[], Any]] = []
        # A graph owns the memory that it allocates: it is not reused while the graph may be launched.
        self._memory: list[np.ndarray] = []
        # Other memory belongs to others, who must keep it.
        self._foreign: dict[int, weakref.ref[np.ndarray]] = {}
        # A GPU executes nothing during capture; the emulation executes everything and undoes it afterwards.
        self._before = [(array, array._a.copy()) for array in list(_alive.values())]
        self._known = {id(_owner(array._a)) for array, _ in self._before}

    def allocated(self, array: np.ndarray) -> None:
        """Keep the memory of an array that is new in this graph."""
        if id(_owner(array)) not in self._known:
            self._memory.append(array)

    def used_at(self, address: int) -> None:
        """Record that an operation uses the array with this first element."""
        self.used(next(array._a for array in list(_alive.values()) if array._a.size and array._a.ctypes.data == address))

    def used(self, value: Any) -> Any:
        """Return the arguments of an operation as the graph records them: with addresses instead of arrays."""
        if isinstance(value, np.ndarray) and value.size:
            owner = _owner(value)
            if id(owner) in self._known:
                self._foreign.setdefault(id(owner), weakref.ref(owner))
            return np.asarray(_Unowned(value))
        if isinstance(value, (tuple, list)):
            return type(value)(self.used(one) for one in value)
        return value

    def undo(self) -> None:
        """Restore the previous contents of all arrays."""
        for array, values in self._before:
            if array._a.flags.writeable:
                array._a[...] = values
        self._before = []
        # From here on, other arrays may get these identities.
        self._known = set()

    def launch(self, stream: Any = None) -> None:
        """Replay all operations in the same memory."""
        if any(owner() is None for owner in self._foreign.values()):
            raise EmulationError("a graph is launched after memory that it reads or writes was freed")
        for step in self.steps:
            step()


@dataclass
class Machine:
    """State of the emulated GPU: the graph being captured, if any, and the number of synchronisations."""

    tape: Tape | None = None
    waits: int = 0


MACHINE = Machine()


def wait(what: str) -> None:
    """Count one synchronisation, or refuse it during capture."""
    if MACHINE.tape is not None:
        raise EmulationError(f"{what} waits for the GPU while a graph is captured")
    MACHINE.waits += 1


class ndarray(NDArrayOperatorsMixin):
    """Equivalent of ``cupy.ndarray``: an array that never mixes with NumPy arrays."""

    __slots__ = ("__weakref__", "_a")

    def __init__(self, a: np.ndarray) -> None:
        self._a = a
        _alive[id(self)] = self
        if MACHINE.tape is not None:
            MACHINE.tape.allocated(a)

    # Protocols of NumPy and Python.
    def __array__(self, *given: Any, **named: Any) -> np.ndarray:
        raise EmulationError("Implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **named: Any) -> Any:
        if ufunc is np.matmul:
            raise EmulationError("products of the GPU go through analogpc.kernels.products, which graphs can capture")
        if set(named) - {"out", "dtype", "casting", "axis", "keepdims"}:
            raise EmulationError(f"{ufunc.__name__} on a GPU takes no {sorted(named)}")
        return run(getattr(ufunc, method), inputs, named)

    def __array_function__(self, function: Any, kinds: Any, given: Any, named: Any) -> Any:
        if function in (np.dot, np.vdot, np.inner, np.tensordot, np.einsum):
            raise EmulationError(f"{function.__name__} calls cuBLAS behind the back of analogpc.kernels.products")
        named = {name: value for name, value in named.items() if name != "like"}
        if MACHINE.tape is not None and function in (np.stack, np.concatenate) and len(given[0]) > 8:
            raise EmulationError(f"{function.__name__} of more than eight arrays brings their places from main memory in a graph")
        if function in (np.ones, np.full, np.eye):
            raise EmulationError(f"{function.__name__}(like=..) hands on the keyword 'device', which CuPy does not take")
        if function in (np.asarray, np.array, np.ascontiguousarray, np.empty, np.zeros, np.arange):
            return CREATORS[function.__name__](*given, **named)
        if function in (np.nonzero, np.flatnonzero, np.argwhere, np.unique):
            wait(f"{function.__name__}(), whose result has as many elements as there are,")
        if "where" in named and function is not np.copyto:
            raise EmulationError(f"{function.__name__} on a GPU takes no 'where'")
        if "initial" in named:
            raise EmulationError(f"{function.__name__} on a GPU takes no 'initial'")
        return run(function, given, named)

    def __getitem__(self, index: Any) -> Any:
        if any(isinstance(one, ndarray) and one.dtype == np.bool_ for one in (index if isinstance(index, tuple) else (index,))):
            wait("choosing elements by a mask")
        return run(lambda a, i: a[i], (self, index), {})

    def __setitem__(self, index: Any, value: Any) -> None:
        def put(a: np.ndarray, i: Any, v: Any) -> None:
            a[i] = v

        run(put, (self, index, value), {})

    def __float__(self) -> float:
        wait("float()")
        return float(self._a)

    def __int__(self) -> int:
        wait("int()")
        return int(self._a)

    def __bool__(self) -> bool:
        wait("bool()")
        return bool(self._a)

    def __complex__(self) -> complex:
        wait("complex()")
        return complex(self._a)

    __index__ = __int__

    def __len__(self) -> int:
        return len(self._a)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"emulated({self._a!r})"

    # Further methods of CuPy arrays.
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"data": (self._a.ctypes.data, False), "shape": self._a.shape, "typestr": self._a.dtype.str, "version": 3}

    @property
    def data(self) -> Any:
        return types.SimpleNamespace(ptr=self._a.ctypes.data)

    def get(self) -> np.ndarray:
        wait("get()")
        return self._a.copy()

    def set(self, values: np.ndarray) -> None:
        if not isinstance(values, np.ndarray) or values.shape != self._a.shape or values.dtype != self._a.dtype:
            raise EmulationError("set() takes a NumPy array of the same shape and type")
        wait("set()")
        self._a[...] = values

    @property
    def T(self) -> ndarray:
        return ndarray(self._a.T)

    @property
    def real(self) -> ndarray:
        return ndarray(self._a.real)

    @property
    def imag(self) -> ndarray:
        return ndarray(self._a.imag)


def _plain(name: str) -> property:
    return property(lambda self: getattr(self._a, name))


def _method(name: str) -> Callable[..., Any]:
    def call(self: ndarray, *given: Any, **named: Any) -> Any:
        if set(named) & {"where", "initial"}:
            raise EmulationError(f"{name} on a GPU takes no {sorted(named)}")
        return run(lambda a, *rest, **more: getattr(a, name)(*rest, **more), (self, *given), named)

    return call


for _name in ("shape", "dtype", "ndim", "size", "itemsize", "nbytes", "strides", "flags"):
    setattr(ndarray, _name, _plain(_name))
for _name in (
    *(
        "reshape",
        "ravel",
        "astype",
        "copy",
        "view",
        "transpose",
        "swapaxes",
        "squeeze",
        "fill",
        "conj",
        "take",
        "nonzero",
        "repeat",
    ),
    *(
        "sum",
        "mean",
        "max",
        "min",
        "argmax",
        "argmin",
        "any",
        "all",
        "std",
        "var",
        "prod",
        "clip",
        "round",
        "cumsum",
        "sort",
        "argsort",
    ),
):
    setattr(ndarray, _name, _method(_name))


def inside(value: Any) -> Any:
    """Unwrap arrays of the emulated GPU, and refuse plain NumPy arrays."""
    if isinstance(value, ndarray):
        return value._a
    if isinstance(value, np.ndarray):
        raise EmulationError("an array of NumPy's among those of the GPU")
    if isinstance(value, (tuple, list)):
        return type(value)(inside(one) for one in value)
    return value


def _outside(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return ndarray(np.asarray(value))
    if isinstance(value, (tuple, list)):
        return type(value)(_outside(one) for one in value)
    return value


def run(function: Callable[..., Any], given: Any, named: dict[str, Any]) -> Any:
    given, named = inside(tuple(given)), {name: inside(value) for name, value in named.items()}
    result = function(*given, **named)
    wrapped = _outside(result)
    if MACHINE.tape is not None:
        results = wrapped if isinstance(wrapped, tuple) else (wrapped,)
        found = [MACHINE.tape.used(one._a) for one in results if isinstance(one, ndarray)]
        given, named = MACHINE.tape.used(given), {name: MACHINE.tape.used(value) for name, value in named.items()}

        def again() -> None:
            fresh = function(*given, **named)
            for old, new in zip(found, fresh if isinstance(fresh, tuple) else (fresh,), strict=False):
                if not np.shares_memory(old, new):
                    old[...] = new

        MACHINE.tape.steps.append(again)
    return wrapped


def _creator(name: str) -> Callable[..., ndarray]:
    def create(*given: Any, **named: Any) -> ndarray:
        result = ndarray(getattr(np, name)(*inside(given), **named))
        if MACHINE.tape is not None and name in ("zeros", "ones", "arange"):
            first = result._a.copy()
            MACHINE.tape.steps.append(lambda: np.copyto(result._a, first))
        return result

    return create


def _brought(name: str) -> Callable[..., ndarray]:
    """Create an array from another one, possibly from NumPy: the only transfer of memory to the GPU."""

    def create(value: Any, dtype: Any = None, **named: Any) -> ndarray:
        if isinstance(value, ndarray):
            return run(getattr(np, name), (value,), {"dtype": dtype, **named})
        if MACHINE.tape is not None:
            raise EmulationError("an array is brought to the GPU while a graph is captured")
        return ndarray(np.array(value, dtype=dtype, **{key: val for key, val in named.items() if key == "order"}))

    return create


CREATORS = {name: _creator(name) for name in ("empty", "zeros", "ones", "arange")} | {
    name: _brought(name) for name in ("array", "asarray", "ascontiguousarray")
}
"""Functions that create arrays, by name."""
