"""Recordings: calls of compiled functions that are recorded once and then repeated without Python in between.

A recorded call is the address of a function and of its frame (see `native`). Frames hold the addresses of arrays. Arrays made while
recording belong to the recording; others are named by whoever records, and may lie elsewhere when the calls are repeated.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from analogpc.kernels.blas_threads import one_blas_thread
from analogpc.kernels.calls import Calls, NotRecordableError, recorded_calls
from analogpc.kernels.gemm import address
from analogpc.kernels.gpu.steps import MovingStep, read_counter, write_counter
from analogpc.kernels.threads import call_all

T = TypeVar("T")

_LOWEST, _HIGHEST = 2**32, 2**47
"""Range of addresses. Other words of frames are sizes, keys of 32 bits and floating-point numbers, whose words lie outside."""


class Recording(Generic[T]):
    """Work that is repeated in the same memory.

    The work consists of calls of compiled functions on arrays of these functions, and of Python whose decisions never depend on the
    contents of arrays. The work is done once while it is recorded.

    Parameters
    ----------
    work : function
        Function without arguments; it returns arrays whose contents each `launch` renews.
    arrays : sequence of arrays with positive strides
        Arrays made before that the work reads or changes. They may be replaced by others of the same form at each launch.
    own : sequence of arrays
        Further arrays of that kind, which always stay where they are.
    counters : sequence of (object, str)
        Integers that the work increments and uses as steps of random streams (see `gpu.graphs.Graph`). Every launch increments them, too.
    before : Recording or None
        Recording that is always launched before, and whose arrays the work may use. What nobody holds of them any more once the work
        begins, its arrays may overwrite.

    Attributes
    ----------
    calls : Calls
    result
        Return value of ``work``. Its arrays, in nested lists and tuples, hold their memory only against launches of this recording, not of
        later ones that this one is ``before``.

    Raises
    ------
    NotRecordableError
        If the work calls anything else, as far as the calls show; everything but the arrays is as before then.
    """

    calls: Calls

    def __init__(
        self,
        work: Callable[[], T],
        arrays: Sequence[np.ndarray],
        own: Sequence[np.ndarray] = (),
        counters: Sequence[tuple[Any, str]] = (),
        before: Recording[Any] | None = None,
    ) -> None:
        self._counters, first = list(counters), [read_counter(*counter) for counter in counters]
        for place, (counter, step) in enumerate(zip(self._counters, first, strict=True)):
            write_counter(*counter, MovingStep(step, place))
        try:
            with recorded_calls(None if before is None else before.calls) as calls:
                result = work()
            advanced = [read_counter(*counter) for counter in self._counters]
        finally:
            for counter, step in zip(self._counters, first, strict=True):
                write_counter(*counter, step)
        if calls.refusal or not calls.rows:
            raise NotRecordableError(calls.refusal or "the work consists of no calls of compiled functions")
        # What the calls refer to is kept as long as they are.
        self.calls, self._own, self.result = calls, own, _unheld(result, calls)
        self._advance, self._first = [after - before for after, before in zip(advanced, first, strict=True)], first
        self._calls = np.array([(function, address(frame), *sizes) for function, frame, *sizes in calls.rows], np.int64).reshape(
            -1, 4
        )
        self._forms, self._tied = [_form(array) for array in arrays], _overlapping(arrays)
        self._at = np.array([address(array) for array in arrays], np.int64)
        self._latest = [(weakref.ref(array), address(array)) for array in arrays]
        # Words that differ from launch to launch: references to arrays, and steps of random streams. All are stored anew, so that an
        # interrupted launch leaves nothing that the next one would build upon.
        places, self._array_of = _references(calls, own, arrays)
        places += [(frame, place) for frame, place, _ in calls.steps]
        self._places = np.array([address(frame) + 8 * place for frame, place in places], np.int64)
        self._words = np.array([frame[place] for frame, place in places], np.int64)
        self._counter_of = np.array([step.moved for *_, step in calls.steps], np.intp)

    def fits(self, arrays: Sequence[np.ndarray]) -> bool:
        """Whether arrays have the forms of those that the work was recorded with, and overlap as those did."""
        if len(arrays) != len(self._forms):
            return False
        for array, form, (latest, _) in zip(arrays, self._forms, self._latest, strict=True):
            # Those of the last launch have it.
            if latest() is not array and _form(array) != form:
                return False
        return all(address(arrays[i]) - self._at[i] == address(arrays[j]) - self._at[j] for i, j in self._tied)

    def _addresses(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Return the addresses of arrays, of which many are those of the launch before: asking them again takes several times as long."""
        for number, array in enumerate(arrays):
            if self._latest[number][0]() is not array:
                self._latest[number] = weakref.ref(array), address(array)
        return np.array([at for _, at in self._latest], np.int64)

    def launch(self, arrays: Sequence[np.ndarray]) -> T:
        """Repeat the work with such ``arrays`` and return its result, in memory that the next launch overwrites."""
        now, steps = self._addresses(arrays), [read_counter(*counter) for counter in self._counters]
        drawn = np.array([step - before for step, before in zip(steps, self._first, strict=True)], np.int64)
        moved = np.concatenate([(now - self._at)[self._array_of], drawn[self._counter_of]])
        with one_blas_thread:
            call_all(self._calls, self._places, self._words + moved)
        for counter, step, advance in zip(self._counters, steps, self._advance, strict=True):
            write_counter(*counter, step + advance)
        return self.result

    def counts(self) -> list[tuple[Any, str, int]]:
        """Return what the last launch counted: objects, names of their attributes, and amounts."""
        return [(holder, name, factor * int(words[place])) for words, place, holder, name, factor in self.calls.counts]


def _form(array: np.ndarray) -> tuple[Any, ...]:
    return array.shape, array.strides, array.dtype


def _span(array: np.ndarray) -> tuple[int, int]:
    """Return the first address of an array and the one after its last; its strides are not negative."""
    low = address(array)
    reach = sum((length - 1) * stride for length, stride in zip(array.shape, array.strides, strict=True))
    return low, low + (reach + array.itemsize if array.size else 0)


def _unheld(result: Any, calls: Calls) -> Any:
    """Return nested lists and tuples of arrays with views of the same memory, which do not keep the pool from lending it again."""
    if isinstance(result, (list, tuple)):
        parts = [_unheld(one, calls) for one in result]
        return parts if isinstance(result, list) else getattr(type(result), "_make", tuple)(parts)
    if not isinstance(result, np.ndarray):
        return result
    at = address(result)
    for block in calls.kept:
        start = at - address(block)
        if block.dtype == np.uint8 and 0 <= start < block.size:
            return np.ndarray(result.shape, result.dtype, block, start, result.strides)
    return result


def _overlapping(arrays: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Return the pairs of arrays of which one begins within the other: a reference to such an address may mean either."""
    spans = [_span(array) for array in arrays]
    return [
        (i, j)
        for j, (low, high) in enumerate(spans)
        for i, (first, last) in enumerate(spans[:j])
        if first <= low < last or low <= first < high
    ]


def _references(
    calls: Calls, own: Sequence[np.ndarray], arrays: Sequence[np.ndarray]
) -> tuple[list[tuple[np.ndarray, int]], np.ndarray]:
    """Return the frames and places of the words that refer to ``arrays``, and the number of the array of each.

    Raises
    ------
    NotRecordableError
        If a frame refers to memory that is neither theirs nor known.
    """
    frames = list({id(frame): frame for _, frame, *_ in calls.rows}.values())
    spans, known = [_span(array) for array in arrays], [_span(array) for array in (*calls.kept, *own, *frames)]
    lows, highs = np.array(known, np.int64).reshape(-1, 2).T
    places, numbers = list[tuple[np.ndarray, int]](), list[int]()
    for frame in frames:
        for place in np.flatnonzero((frame >= _LOWEST) & (frame < _HIGHEST)).tolist():
            # The first word is the address of a function.
            if place == 0:
                continue
            word = int(frame[place])
            number = next((number for number, (low, high) in enumerate(spans) if low <= word < high), None)
            if number is not None:
                places.append((frame, place))
                numbers.append(number)
            elif not ((lows <= word) & (word < highs)).any():
                raise NotRecordableError("a kernel uses an array that was made outside the recorded calls")
    return places, np.array(numbers, np.intp)
