"""Sharing of compiled kernels among threads: parts of their work are calls that need no interpreter (see `native`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from analogpc.kernels.calls import recorded
from analogpc.kernels.gemm import address
from analogpc.kernels.memory import LINE, on_line
from analogpc.kernels.threads import call_all, distribute, part_size, pending, thread_count
from analogpc.kernels.trampolines import Part, arrays_of, ranged, trampoline

_FINE = 2**13
"""Least number of elements of a slice in sequences of calls, where helpers are awake."""


def share(part: Part, frame: np.ndarray, parts: int) -> None:
    """Call a compiled kernel (frame, first, stop) for all parts, in `thread_count` threads.

    Parameters
    ----------
    part : Part
        Its effect on a part must not depend on the others.
    frame : int64 array
        Words whose address the kernel receives.
    parts : int
    """
    share_all([(part, frame, parts)])


def share_all(calls: Sequence[tuple[Part, np.ndarray, int]]) -> None:
    """Call several compiled kernels one after the other, each as in `share`."""
    if (record := recorded()) is not None:
        record.rows += [(part.address, frame, parts, 1) for part, frame, parts in calls]
    if (sequence := pending()) is not None:
        for part, frame, parts in calls:
            sequence.add(part.address, frame, parts, 1)
        return
    call_all(np.array([(part.address, address(frame), parts, 1) for part, frame, parts in calls], np.int64))


def over_slices(kernel: Callable[..., Any], numbers: int, arrays: Sequence[np.ndarray], *rest: Any) -> None:
    """Call ``kernel(*slices, *rest)`` for slices that cover the first axis of all arrays, in `thread_count` threads.

    Parameters
    ----------
    kernel : function
        Compiled; its effect on an entry of the first axis must not depend on the slice. With several threads it is called without the
        interpreter, if ``rest`` consists of arrays and numbers, and its exceptions become a RuntimeError.
    numbers : int
        A slice of the largest array has at least this number of elements.
    arrays : sequence of arrays of one length
    rest
        Further arguments of the kernel.
    """
    length, largest = len(arrays[0]), max([array.size for array in arrays])
    record, sequence = recorded(), pending()
    as_calls = record is not None or sequence is not None
    if as_calls:
        numbers = min(numbers, _FINE)
    if largest < 2 * numbers and record is None and not (sequence is not None and sequence.waits):
        if length > 0:
            kernel(*arrays, *rest)
        return
    grain = -(-numbers * length // max(largest, 1))
    threads = min(thread_count(), length // max(grain, 1))
    part = trampoline(kernel, (*arrays, *rest), len(arrays)) if threads > 1 or as_calls else None
    if part is None or length == 0:
        distribute(lambda first, stop: kernel(*[array[first:stop] for array in arrays], *rest), length, grain)
        return
    # Recorded calls have parts also for one thread, so that the work that more threads would share can be timed (see `Stopwatch`).
    in_parts = threads > 1 or record is not None
    frame, size = part.frame((*arrays, *rest)), part_size(length, grain, max(threads, 1)) if in_parts else length
    if record is not None:
        record.rows.append((part.address, frame, length, size))
    if sequence is not None:
        sequence.add(part.address, frame, length, size, (arrays, rest))
        return
    call_all(np.array([(part.address, address(frame), length, size)], np.int64))


def over_ranges(
    kernel: Callable[..., Any], length: int, grain: int, room: Callable[[], tuple[Any, ...]], arguments: Sequence[Any]
) -> None:
    """Call ``kernel(first, stop, room, *arguments)`` for ranges that cover 0 to ``length``, in `thread_count` threads.

    Parameters
    ----------
    kernel : function
        Compiled; its effect on an index must not depend on the range.
    length, grain : int
        As in `distribute`.
    room : function
        Returns working space of the kernel, arrays in nested tuples; each range has its own.
    arguments : sequence of arrays and numbers
    """
    record, sequence = recorded(), pending()
    threads = min(thread_count(), length // grain) if length >= 2 * grain else 1
    if length > 0 and (threads > 1 or record is not None or (sequence is not None and sequence.waits)):
        size = part_size(length, grain, threads) if threads > 1 or record is not None else length
        own = room()
        part = ranged(kernel, own, arguments)
        if part is not None:
            rooms = [_copies(one, -(-length // size)) for one in arrays_of(own)]
            frame = part.ranged_frame(size, rooms, arguments)
            if record is not None:
                record.rows.append((part.address, frame, length, size))
                record.kept += rooms
            if sequence is not None:
                sequence.add(part.address, frame, length, size, (rooms, arguments))
                return
            call_all(np.array([(part.address, address(frame), length, size)], np.int64))
            return
    # For little work it takes longer to copy the arrays than lines of the cache save.
    own_room = room if length < 2 * grain else lambda: _on_lines(room())
    distribute(lambda first, stop: kernel(first, stop, own_room(), *arguments), length, grain)


def _on_lines(room: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the same arrays in nested tuples, each from the beginning of a cache line on."""
    return tuple(_copies(one, 1)[0] if isinstance(one, np.ndarray) else _on_lines(one) for one in room)


def _copies(array: np.ndarray, count: int) -> np.ndarray:
    """Return copies of an array in one memory, each from the beginning of a cache line on."""
    span = -(-array.nbytes // LINE) * LINE
    copies = np.ndarray((count, *array.shape), array.dtype, on_line((count * span,), np.uint8), strides=(span, *array.strides))
    copies[:] = array
    return copies
