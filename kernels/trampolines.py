"""Functions of (frame, first, stop) that call a kernel on slices of arrays, or for a range: the form in which `native` shares work.

A frame holds the address of the kernel and its arguments: of an array the address of its elements, its shape and its strides in bytes,
as 64-bit words. One function is generated for each combination of types, in a few milliseconds.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_FLAGS = 0x1 | 0x2 | 0x100 | 0x400
"""Flags of arrays in C: contiguous in C and in Fortran order, aligned, writeable."""


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
        from analogpc.kernels.frames import code_of, from_frame, typeof

        kinds = tuple(typeof(one[:2] if place < sliced else one) for place, one in enumerate(arguments))
        codes = [code_of(kind) for kind in kinds]
        self._make(kernel, kinds, functools.partial(from_frame, sliced=sliced))
        self._packer = struct.Struct("=q" + "".join(codes))

    def _make(self, kernel: Any, kinds: tuple[Any, ...], arguments: Callable[..., tuple[Any, list[Any]]]) -> None:
        from analogpc.kernels.frames import compiled_for, function_of

        made, self._kernel = compiled_for(kernel, kinds)
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
        from analogpc.kernels.frames import code_of, from_range, typeof, types

        kinds = [typeof(one) for one in arguments]
        codes = [code_of(kind) for kind in kinds]
        self._make(kernel, (types.int64, types.int64, typeof(room), *kinds), from_range)
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
    return one.dtype, one.ndim, one.flags.num & _FLAGS


class Part:
    """A compiled kernel of (frame, first, stop), three integers, in the form that a task calls.

    Attributes
    ----------
    address : int
    """

    def __init__(self, kernel: Any) -> None:
        from analogpc.kernels.frames import WORD, compiled_for, function_of, types

        made, at = compiled_for(kernel, (types.int64,) * 3)
        self._library, self.address = function_of(made, lambda context, builder, *given: (WORD(at), list(given)))
