"""Functions of (frame, first, stop) that call a kernel on slices of arrays, or for a range: the form in which `native` shares work.

A frame holds the address of the kernel and its arguments: of an array the address of its elements, its shape and its strides in bytes,
as 64-bit words. One function is generated for each combination of types, in a few milliseconds.
"""

from __future__ import annotations

import functools
import itertools
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import typeof, types
from numba.core.compiler_lock import global_compiler_lock
from numba.np.arrayobj import make_array, populate_array

_WORD = ir.IntType(64)
_CODES = {types.float32: "f4x", types.float64: "d", types.boolean: "?7x"}
_numbers = itertools.count()


class Trampoline:
    """A kernel for arguments of given types, the first of them arrays that are sliced.

    Parameters
    ----------
    kernel : compiled function
    arguments : sequence
        Arrays and numbers.
    sliced : int
        Number of arguments that are sliced along their first axis.

    Attributes
    ----------
    address : int
        Address of the function of (frame, first, stop); it returns 0 unless the kernel raised an exception.

    Raises
    ------
    TypeError
        If an argument is neither an array nor a number.
    """

    def __init__(self, kernel: Any, arguments: Sequence[Any], sliced: int) -> None:
        kinds = tuple(typeof(one[:2] if place < sliced else one) for place, one in enumerate(arguments))
        codes = [f"{1 + 2 * kind.ndim}q" if isinstance(kind, types.Array) else _code(kind) for kind in kinds]
        self._make(kernel, kinds, functools.partial(_from_frame, sliced=sliced))
        self._packer = struct.Struct("=q" + "".join(codes))

    def _make(self, kernel: Any, kinds: tuple[Any, ...], arguments: Callable[..., tuple[Any, list[Any]]]) -> None:
        kernel.compile(kinds)
        made = kernel.overloads[kinds]
        self._kernel = made.library.get_pointer_to_function(made.fndesc.llvm_func_name)
        self._library, self.address = function_of(made, functools.partial(arguments, made))

    def frame(self, arguments: Sequence[Any]) -> np.ndarray:
        """Return the frame of a call."""
        return np.frombuffer(bytearray(self._packer.pack(self._kernel, *_words(arguments))), np.int64)


def _words(arguments: Sequence[Any]) -> list[Any]:
    words: list[Any] = []
    for one in arguments:
        if isinstance(one, np.ndarray):
            words += (one.__array_interface__["data"][0], *one.shape, *one.strides)
        else:
            words.append(one)
    return words


class Ranged(Trampoline):
    """A kernel of (first, stop, room, ...) for arguments of given types, where ``room`` is a tuple of arrays for one part of the range.

    Parameters
    ----------
    kernel : compiled function
    room : tuple of arrays, and of such tuples
        Working space of one part.
    arguments : sequence
        Arrays and numbers, the other arguments.
    """

    def __init__(self, kernel: Any, room: tuple[Any, ...], arguments: Sequence[Any]) -> None:
        kinds = [typeof(one) for one in arguments]
        codes = [f"{1 + 2 * kind.ndim}q" if isinstance(kind, types.Array) else _code(kind) for kind in kinds]
        self._make(kernel, (types.int64, types.int64, typeof(room), *kinds), _from_range)
        self._packer = struct.Struct("=2q" + "".join(f"{3 + 2 * one.ndim}q" for one in arrays_of(room)) + "".join(codes))

    def ranged_frame(self, size: int, rooms: Sequence[np.ndarray], arguments: Sequence[Any]) -> np.ndarray:
        """Return the frame of a call with parts of ``size`` indices; part p has entry p of every array of ``rooms``, in their order."""
        packed = self._packer.pack(self._kernel, size, *_words(rooms), *_words(arguments))
        return np.frombuffer(bytearray(packed), np.int64)


def arrays_of(room: tuple[Any, ...]) -> list[np.ndarray]:
    """Return the arrays of nested tuples in their order."""
    return [array for one in room for array in ([one] if isinstance(one, np.ndarray) else arrays_of(one))]


_known: dict[Any, Any] = {}


def trampoline(kernel: Any, arguments: Sequence[Any], sliced: int) -> Trampoline | None:
    """Return the `Trampoline` of a kernel for such arguments, or None if there is none."""
    return _once((kernel, sliced, *map(_kind, arguments)), lambda: Trampoline(kernel, arguments, sliced))


def ranged(kernel: Any, room: tuple[Any, ...], arguments: Sequence[Any]) -> Ranged | None:
    """Return the `Ranged` of a kernel for such arguments, or None if there is none."""
    key = (kernel, "range", *map(_kind, arrays_of(room)), *map(_kind, arguments))
    return _once(key, lambda: Ranged(kernel, room, arguments))


def _once(key: Any, make: Callable[[], Any]) -> Any:
    """Make something once, or nothing if an argument is neither an array nor a number."""
    if key not in _known:
        try:
            _known[key] = make()
        except TypeError:
            _known[key] = None
    return _known[key]


def _kind(one: Any) -> Any:
    if not isinstance(one, np.ndarray):
        return type(one)
    flags = one.flags
    return one.dtype, one.ndim, flags.c_contiguous, flags.f_contiguous, flags.writeable, flags.aligned


def _code(kind: Any) -> str:
    code = "q" if isinstance(kind, types.Integer) and kind != types.uint64 else "Q" if kind == types.uint64 else _CODES.get(kind)
    if code is None:
        raise TypeError(f"no frame for {kind}")
    return code


class _Frame:
    """Generates loads of the words of a frame, one after the other."""

    def __init__(self, context: Any, builder: Any, frame: Any) -> None:
        self.context, self.builder = context, builder
        self._words, self._place = builder.inttoptr(frame, _WORD.as_pointer()), itertools.count()

    def at(self) -> Any:
        """Return the address of the next word."""
        return self.builder.gep(self._words, [_WORD(next(self._place))])

    def word(self) -> Any:
        """Load the next word."""
        return self.builder.load(self.at())

    def number(self, kind: Any) -> Any:
        """Load a number."""
        model = self.context.data_model_manager[kind]
        return model.from_data(
            self.builder, self.builder.load(self.builder.bitcast(self.at(), model.get_data_type().as_pointer()))
        )

    def array(self, kind: Any, first: Any = None, stop: Any = None, entry: Any = None) -> Any:
        """Load an array, from index ``first`` to ``stop`` if they are given, or one ``entry`` of an array with one more axis."""
        builder, dimensions = self.builder, kind.ndim + (entry is not None)
        data, *rest = [self.word() for _ in range(1 + 2 * dimensions)]
        shape, strides = rest[:dimensions], rest[dimensions:]
        if first is not None:
            data, shape[0] = builder.add(data, builder.mul(first, strides[0])), builder.sub(stop, first)
        if entry is not None:
            data = builder.add(data, builder.mul(entry, strides[0]))
            shape, strides = shape[1:], strides[1:]
        element = self.context.get_data_type(kind.dtype)
        array = make_array(kind)(self.context, builder)
        populate_array(
            array,
            data=builder.inttoptr(data, element.as_pointer()),
            shape=shape,
            strides=strides,
            itemsize=_WORD(self.context.get_abi_sizeof(element)),
            meminfo=None,
        )
        return array._getvalue()


def _from_frame(made: Any, context: Any, builder: Any, frame: Any, first: Any, stop: Any, sliced: int) -> tuple[Any, list[Any]]:
    """Generate the loads of a kernel's address and arguments from a frame."""
    words = _Frame(context, builder, frame)
    kernel = words.word()
    values = [
        words.number(kind)
        if not isinstance(kind, types.Array)
        else words.array(kind, first, stop)
        if number < sliced
        else words.array(kind)
        for number, kind in enumerate(made.fndesc.argtypes)
    ]
    return kernel, values


def _from_range(made: Any, context: Any, builder: Any, frame: Any, first: Any, stop: Any) -> tuple[Any, list[Any]]:
    """Generate the arguments of a kernel of (first, stop, room, ...)."""
    words = _Frame(context, builder, frame)
    kernel, size = words.word(), words.word()
    _, _, room, *rest = made.fndesc.argtypes
    entry = builder.udiv(first, size)

    def entries(kind: Any) -> Any:
        if isinstance(kind, types.Array):
            return words.array(kind, entry=entry)
        return context.make_tuple(builder, kind, [entries(one) for one in kind])

    own = entries(room)
    return kernel, [
        first,
        stop,
        own,
        *(words.array(kind) if isinstance(kind, types.Array) else words.number(kind) for kind in rest),
    ]


@global_compiler_lock
def function_of(made: Any, arguments: Callable[..., tuple[Any, list[Any]]]) -> tuple[Any, int]:
    """Generate a function of (frame, first, stop) that calls a kernel and returns whether it raised an exception.

    Parameters
    ----------
    made : result of Numba's compilation of the kernel
    arguments : function of (context, builder, frame, first, stop)
        Generates the kernel's address, a word, and its arguments.

    Returns
    -------
    library, address
        The library that holds the function, and the function's address.
    """
    context, told, name = made.target_context, made.fndesc, f"analogpc_part_{next(_numbers)}"
    module = context.create_module(name)
    function = ir.Function(module, ir.FunctionType(_WORD, [_WORD] * 3), name)
    builder = ir.IRBuilder(function.append_basic_block())
    address, values = arguments(context, builder, *function.args)
    kernel = builder.inttoptr(address, context.call_conv.get_function_type(told.restype, told.argtypes).as_pointer())
    status, _ = context.call_conv.call_function(builder, kernel, told.restype, told.argtypes, values)
    builder.ret(builder.zext(status.is_error, _WORD))
    library = context.codegen().create_library(name)
    library.add_ir_module(module)
    library.finalize()
    return library, library.get_pointer_to_function(name)


class Part:
    """A compiled kernel of (frame, first, stop), three integers, in the form that a task calls.

    Attributes
    ----------
    address : int
    """

    def __init__(self, kernel: Any) -> None:
        kinds = (types.int64,) * 3
        kernel.compile(kinds)
        made = kernel.overloads[kinds]
        at = _WORD(made.library.get_pointer_to_function(made.fndesc.llvm_func_name))
        self._library, self.address = function_of(made, lambda context, builder, *given: (at, list(given)))
