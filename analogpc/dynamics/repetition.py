"""Repetition of the parts of a training step between weight updates, on the CPU: compiled calls without Python in between."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from analogpc.devices.costs.meter import HostCounts
from analogpc.devices.costs.schedule import Recorder, recording
from analogpc.devices.matrix import Matrix
from analogpc.kernels.calls import NotRecordableError, recorded
from analogpc.kernels.gpu.steps import read_counter, write_counter
from analogpc.kernels.recording import Recording
from analogpc.kernels.threads import thread_count

T = TypeVar("T")
Work = Callable[[np.ndarray, np.ndarray], T]
"""Part of a training step: takes inputs and target of a batch."""
Part = Callable[[Callable[[], Any]], Any]
"""Does a part of a training step between two weight updates: a function that returns arrays in nested lists and tuples."""
Apply = Callable[[Iterable[Any], float], None]
"""Updates weights by products and a gain."""
Batch = Callable[[Part, np.ndarray, np.ndarray, Apply], T]
"""Training step that does all its work besides weight updates by a `Part`, in the same order for every batch.

The arrays of a part hold until the next part begins, and longer as long as the step refers to them.
"""

_PATIENCE = 4
"""Batches of one kind before the work is recorded, which takes as long as some batches."""
UNRECORDED = _PATIENCE + 2
"""Batches of one kind before any is repeated from a recording: the last of them is done both ways."""
_MOST = 4
"""Maximum number of recordings; the oldest is dropped."""


@dataclass
class _Kind:
    """Batches of one rule and shape.

    Attributes
    ----------
    seen : int
        Number of batches before the recording.
    recorded : _Recorded or None
    checked : bool
        Whether a launch has been compared with the work itself.
    refusal : str
        Why the work is not repeated; empty if it may be.
    """

    seen: int = 0
    recorded: _Recorded | None = None
    checked: bool = False
    refusal: str = ""


class _RecordedPart:
    """A recording of a part of a batch, and what it counts.

    Attributes
    ----------
    recording : Recording
    """

    def __init__(
        self,
        matrices: list[Matrix],
        recorder: Recorder,
        work: Callable[[], Any],
        own: list[np.ndarray],
        before: Recording[Any] | None,
    ) -> None:
        self._matrices = matrices
        # The record of slots stays with the batch: relaxations send none.
        self._recorder = Recorder(recorder.names, recorder, part=True)
        self._counters = [counter for matrix in matrices for counter in matrix.counters()]
        counts = HostCounts([holder for matrix in matrices for holder in matrix.counting()])
        with self._accumulators_kept(), recording(self._recorder), counts:
            self.recording = Recording(work, self._read_arrays(), own, self._counters, before)
        if not counts.fixed:
            raise NotRecordableError("counts depend on computed values")
        self._counts = counts

    def _read_arrays(self) -> list[np.ndarray]:
        return [array for matrix in self._matrices for array in matrix.read_arrays()]

    @contextmanager
    def _accumulators_kept(self) -> Iterator[None]:
        """Restore the arrays to which reads add."""
        every = [array for matrix in self._matrices for array in matrix.accumulators()]
        before = [array.copy() for array in every]
        try:
            yield
        finally:
            for array, kept in zip(every, before, strict=True):
                array[...] = kept

    def fits(self) -> bool:
        """Whether the matrices are of the form that they had."""
        return self.recording.fits(self._read_arrays())

    def launch(self, recorder: Recorder) -> Any:
        """Repeat the part, and count.

        Raises
        ------
        RuntimeError
            If a weight update has changed the form of an array that reads use.
        """
        arrays = self._read_arrays()
        if not self.recording.fits(arrays):
            raise RuntimeError("a weight update has changed the form of an array that reads use; see Matrix.read_arrays")
        result = self.recording.launch(arrays)
        self._counts.add()
        for holder, name, amount in self.recording.counts():
            if amount:
                holder.__dict__[name] += amount
        recorder.declare(self._recorder)
        return result

    def agrees(self, work: Callable[[], T]) -> tuple[T, bool]:
        """Do the work, and return its result and whether a launch, of which nothing else is left, has the same bits."""
        before = [read_counter(*counter) for counter in self._counters]
        with self._accumulators_kept():
            found = [one.copy() for one in _arrays(self.recording.launch(self._read_arrays()))]
        after = [read_counter(*counter) for counter in self._counters]
        for counter, step in zip(self._counters, before, strict=True):
            write_counter(*counter, step)
        result = work()
        expected = _arrays(result)
        same = len(found) == len(expected) and all(
            one.dtype == other.dtype and one.tobytes() == other.tobytes() for one, other in zip(found, expected, strict=True)
        )
        return result, same and after == [read_counter(*counter) for counter in self._counters]


class _Recorded:
    """Recordings of all parts of a batch, made by a rehearsal without weight updates."""

    def __init__(self, matrices: list[Matrix], recorder: Recorder, batch: Batch[Any], x: np.ndarray, target: np.ndarray) -> None:
        self._x, self._target = x.copy(), target.copy()
        self._parts: list[_RecordedPart] = []

        def rehearsed(work: Callable[[], Any]) -> Any:
            found: list[Any] = []

            def noted() -> Any:
                found.append(work())
                return found[0]

            before = self._parts[-1].recording if self._parts else None
            self._parts.append(_RecordedPart(matrices, recorder, noted, [self._x, self._target], before))
            # The rehearsal holds the arrays as long as a batch does; then later parts may reuse their memory.
            return found.pop()

        with recording(None):
            batch(rehearsed, self._x, self._target, _no_update)

    def fits(self) -> bool:
        """Whether the matrices are of the form that they had."""
        return self._parts[0].fits()

    def repeat(self, recorder: Recorder, batch: Batch[T], x: np.ndarray, target: np.ndarray, apply: Apply) -> T:
        """Repeat all parts for another batch, with its weight updates."""
        self._x[...] = x
        self._target[...] = target
        done = itertools.count()
        return batch(lambda work: self._parts[next(done)].launch(recorder), self._x, self._target, apply)

    def agrees(self, batch: Batch[T], x: np.ndarray, target: np.ndarray, apply: Apply) -> tuple[T, bool]:
        """Do a batch, and return its result and whether repetitions of all parts have the same bits."""
        self._x[...] = x
        self._target[...] = target
        done, same = itertools.count(), list[bool]()

        def compared(work: Callable[[], Any]) -> Any:
            result, agreed = self._parts[next(done)].agrees(work)
            same.append(agreed)
            return result

        return batch(compared, x, target, apply), all(same)


class Repeater:
    """Repeats work on batches of equal kind from a recording (see `kernels.recording`).

    The first batches are done as written. Then the work is recorded, and the next batch is done both ways: only if the results have the
    same bits, all further ones are repeated from the recording.

    Parameters
    ----------
    matrices : list of Matrix
        All matrices that the work reads, on the CPU. It must not change them.
    recorder : Recorder
        Records the order of all operations.
    """

    def __init__(self, matrices: list[Matrix], recorder: Recorder) -> None:
        self._matrices, self._recorder = matrices, recorder
        self._kinds: dict[Any, _Kind] = {}

    @property
    def recordings(self) -> int:
        """Number of recordings that agreed with the work."""
        return sum(kind.checked for kind in self._kinds.values())

    def run(self, key: Any, work: Work[T], x: np.ndarray, target: np.ndarray) -> T:
        """Do ``work`` of the kind ``key`` on a batch; the result may be overwritten by the next batch.

        Parameters
        ----------
        key : hashable
            Everything on which the work depends besides the batch and the matrices.
        work : function
        x, target : arrays
            Inputs and target of the batch.
        """
        return self.run_parts(key, lambda part, x, target, _: part(lambda: work(x, target)), x, target, _no_update)

    def run_parts(self, key: Any, batch: Batch[T], x: np.ndarray, target: np.ndarray, apply: Apply) -> T:
        """Do a batch of the kind ``key``: either as written or with all its parts repeated; see `run`."""
        forms = (x.shape, x.dtype, target.shape, target.dtype)
        holders = [id(holder) for matrix in self._matrices for holder in matrix.counting()]
        kind = self._kinds.setdefault(
            (key, forms, thread_count(), *(matrix.baked for matrix in self._matrices), *holders), _Kind()
        )
        while len(self._kinds) > _MOST:
            self._kinds.pop(next(iter(self._kinds)))
        waiting = kind.recorded is None
        if waiting and not kind.refusal:
            kind.seen += 1
            if kind.seen > _PATIENCE:
                self._record(kind, batch, x, target)
        # The comparison needs another batch: what no call of the recording computes is still there from its own.
        if waiting or kind.recorded is None or not kind.recorded.fits():
            return batch(_as_written, x, target, apply)
        if kind.checked:
            return kind.recorded.repeat(self._recorder, batch, x, target, apply)
        result, kind.checked = kind.recorded.agrees(batch, x, target, apply)
        if not kind.checked:
            kind.recorded, kind.refusal = None, "a repetition differs from the work"
        return result

    def _record(self, kind: _Kind, batch: Batch[Any], x: np.ndarray, target: np.ndarray) -> None:
        try:
            kind.recorded = _Recorded(self._matrices, self._recorder, batch, x, target)
        except NotRecordableError as error:
            kind.refusal = str(error)


def _as_written(work: Callable[[], Any]) -> Any:
    return work()


def _no_update(products: Iterable[Any], gain: float) -> None:
    """Learn nothing, from the products of a rehearsal or after a batch of one part."""


_REPEATER: ContextVar[Repeater | None] = ContextVar("repeater", default=None)


@contextmanager
def repeating(repeater: Repeater | None) -> Iterator[None]:
    """Repeat from recordings what is `repeated` within the context."""
    token = _REPEATER.set(repeater)
    try:
        yield
    finally:
        _REPEATER.reset(token)


def repeated(key: Any, work: Work[T], x: np.ndarray, target: np.ndarray) -> T:
    """Do work that changes no matrix, from a recording where there is one; see `Repeater.run`."""
    repeater = _repeater()
    return work(x, target) if repeater is None else repeater.run(key, work, x, target)


def repeated_in_parts(key: Any, batch: Batch[T], x: np.ndarray, target: np.ndarray, apply: Apply) -> T:
    """Do a batch whose weight updates alternate with its other work, with recordings of all parts where there are any."""
    repeater = _repeater()
    return batch(_as_written, x, target, apply) if repeater is None else repeater.run_parts(key, batch, x, target, apply)


def _repeater() -> Repeater | None:
    """Return the repeater of this context, if its work is not being recorded already."""
    return None if recorded() is not None else _REPEATER.get()


def _arrays(result: Any) -> list[np.ndarray]:
    """Return the arrays in nested lists and tuples."""
    if isinstance(result, np.ndarray):
        return [result]
    return [array for part in result for array in _arrays(part)] if isinstance(result, (list, tuple)) else []
