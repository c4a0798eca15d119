"""Code of LLVM that loads the arguments of a kernel from a frame and calls it (see `trampolines`)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import typeof as typeof
from numba import types
from numba.core.compiler_lock import global_compiler_lock
from numba.np.arrayobj import make_array, populate_array

WORD = ir.IntType(64)
_CODES = {types.float32: "f4x", types.float64: "d", types.boolean: "?7x", types.uint64: "Q"}
_numbers = itertools.count()


def code_of(kind: Any) -> str:
    """Return the code of an argument of a type in the notation of `struct`; TypeError if it is neither an array nor a number."""
    if isinstance(kind, types.Array):
        return f"{1 + 2 * kind.ndim}q"
    code = _CODES.get(kind) or ("q" if isinstance(kind, types.Integer) else None)
    if code is None:
        raise TypeError(f"no frame for {kind}")
    return code


def compiled_for(kernel: Any, kinds: tuple[Any, ...]) -> tuple[Any, int]:
    """Compile a kernel for arguments of some types; return what Numba made of it, and its address."""
    kernel.dispatcher.compile(kinds)
    made = kernel.dispatcher.overloads[kinds]
    return made, made.library.get_pointer_to_function(made.fndesc.llvm_func_name)


class _Frame:
    """Generates loads of the words of a frame, one after the other."""

    def __init__(self, context: Any, builder: Any, frame: Any) -> None:
        self.context, self.builder = context, builder
        self._words, self._place = builder.inttoptr(frame, WORD.as_pointer()), itertools.count()

    def at(self) -> Any:
        """Return the address of the next word."""
        return self.builder.gep(self._words, [WORD(next(self._place))])

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
            itemsize=WORD(self.context.get_abi_sizeof(element)),
            meminfo=None,
        )
        return array._getvalue()


def from_frame(made: Any, context: Any, builder: Any, frame: Any, first: Any, stop: Any, sliced: int) -> tuple[Any, list[Any]]:
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


def from_range(made: Any, context: Any, builder: Any, frame: Any, first: Any, stop: Any) -> tuple[Any, list[Any]]:
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
    function = ir.Function(module, ir.FunctionType(WORD, [WORD] * 3), name)
    builder = ir.IRBuilder(function.append_basic_block())
    address, values = arguments(context, builder, *function.args)
    kernel = builder.inttoptr(address, context.call_conv.get_function_type(told.restype, told.argtypes).as_pointer())
    status, _ = context.call_conv.call_function(builder, kernel, told.restype, told.argtypes, values)
    builder.ret(builder.zext(status.is_error, WORD))
    library = context.codegen().create_library(name)
    library.add_ir_module(module)
    library.finalize()
    return library, library.get_pointer_to_function(name)
