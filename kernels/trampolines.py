"""Functions of (frame, first, stop) that call a kernel on slices of arrays: the form in which `native` shares work.

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
        kernel.compile(kinds)
        made = kernel.overloads[kinds]
        self._kernel = made.library.get_pointer_to_function(made.fndesc.llvm_func_name)
        self._library, self.address = function_of(made, functools.partial(_from_frame, made, sliced))
        self._packer = struct.Struct("=q" + "".join(codes))

    def frame(self, arguments: Sequence[Any]) -> np.ndarray:
        """Return the frame of a call."""
        words: list[Any] = [self._kernel]
        for one in arguments:
            if isinstance(one, np.ndarray):
                words += (one.__array_interface__["data"][0], *one.shape, *one.strides)
            else:
                words.append(one)
        return np.frombuffer(bytearray(self._packer.pack(*words)), np.int64)


_known: dict[Any, Trampoline | None] = {}


def trampoline(kernel: Any, arguments: Sequence[Any], sliced: int) -> Trampoline | None:
    """Return the `Trampoline` of a kernel for such arguments, or None if there is none."""
    key = kernel, sliced, *map(_kind, arguments)
    if key not in _known:
        try:
            _known[key] = Trampoline(kernel, arguments, sliced)
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


def _from_frame(made: Any, sliced: int, context: Any, builder: Any, frame: Any, first: Any, stop: Any) -> tuple[Any, list[Any]]:
    """Generate the loads of a kernel's address and arguments from a frame."""
    words, place = builder.inttoptr(frame, _WORD.as_pointer()), itertools.count()

    def next_word() -> Any:
        return builder.gep(words, [_WORD(next(place))])

    kernel, values = builder.load(next_word()), []
    for number, kind in enumerate(made.fndesc.argtypes):
        if not isinstance(kind, types.Array):
            model = context.data_model_manager[kind]
            at = builder.bitcast(next_word(), model.get_data_type().as_pointer())
            values.append(model.from_data(builder, builder.load(at)))
            continue
        data, *rest = [builder.load(next_word()) for _ in range(1 + 2 * kind.ndim)]
        shape, strides = rest[: kind.ndim], rest[kind.ndim :]
        if number < sliced:
            data, shape[0] = builder.add(data, builder.mul(first, strides[0])), builder.sub(stop, first)
        element = context.get_data_type(kind.dtype)
        array = make_array(kind)(context, builder)
        populate_array(
            array,
            data=builder.inttoptr(data, element.as_pointer()),
            shape=shape,
            strides=strides,
            itemsize=_WORD(context.get_abi_sizeof(element)),
            meminfo=None,
        )
        values.append(array._getvalue())
    return kernel, values


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
