"""Repetition of the part of a training step between two weight updates, on the CPU: compiled calls without Python in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


class _Recorded:
    """A recording of work on a batch: its inputs, its outputs, and what it counts."""

    def __init__(self, matrices: list[Matrix], recorder: Recorder, work: Work[Any], x: np.ndarray, target: np.ndarray) -> None:
        self._matrices, self.x, self.target = matrices, x.copy(), target.copy()
        # The record of slots stays with the batch: relaxations send none.
        self._recorder = Recorder(recorder.names, recorder)
        self._counters = [counter for matrix in matrices for counter in matrix.counters()]
        counts = HostCounts([holder for matrix in matrices for holder in matrix.counting()])
        with self._accumulators_kept(), recording(self._recorder), counts:
            self._recording = Recording(
                lambda: work(self.x, self.target), self._read_arrays(), [self.x, self.target], self._counters
            )
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
        return self._recording.fits(self._read_arrays())

    def launch(self, recorder: Recorder, x: np.ndarray, target: np.ndarray) -> Any:
        """Repeat the work on a batch, and count."""
        self.x[...] = x
        self.target[...] = target
        result = self._recording.launch(self._read_arrays())
        self._counts.add()
        for holder, name, amount in self._recording.counts():
            if amount:
                holder.__dict__[name] += amount
        recorder.add(self._recorder.path, self._recorder.work)
        return result

    def agrees(self, work: Work[T], recorder: Recorder, x: np.ndarray, target: np.ndarray) -> tuple[T, bool]:
        """Do the work on a batch, and return its result and whether a launch, of which nothing else is left, has the same bits."""
        self.x[...] = x
        self.target[...] = target
        before = [read_counter(*counter) for counter in self._counters]
        with self._accumulators_kept():
            found = [one.copy() for one in _arrays(self._recording.launch(self._read_arrays()))]
        after = [read_counter(*counter) for counter in self._counters]
        for counter, step in zip(self._counters, before, strict=True):
            write_counter(*counter, step)
        with recording(recorder):
            result = work(x, target)
        expected = _arrays(result)
        same = len(found) == len(expected) and all(
            one.dtype == other.dtype and one.tobytes() == other.tobytes() for one, other in zip(found, expected, strict=True)
        )
        return result, same and after == [read_counter(*counter) for counter in self._counters]


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
                self._record(kind, work, x, target)
        # The comparison needs another batch: what no call of the recording computes is still there from its own.
        if waiting or kind.recorded is None or not kind.recorded.fits():
            return work(x, target)
        if kind.checked:
            return kind.recorded.launch(self._recorder, x, target)
        result, kind.checked = kind.recorded.agrees(work, self._recorder, x, target)
        if not kind.checked:
            kind.recorded, kind.refusal = None, "a repetition differs from the work"
        return result

    def _record(self, kind: _Kind, work: Work[Any], x: np.ndarray, target: np.ndarray) -> None:
        try:
            kind.recorded = _Recorded(self._matrices, self._recorder, work, x, target)
        except NotRecordableError as error:
            kind.refusal = str(error)


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
    repeater = _REPEATER.get()
    return work(x, target) if repeater is None or recorded() is not None else repeater.run(key, work, x, target)


def _arrays(result: Any) -> list[np.ndarray]:
    """Return the arrays in nested lists and tuples."""
    if isinstance(result, np.ndarray):
        return [result]
    return [array for part in result for array in _arrays(part)] if isinstance(result, (list, tuple)) else []
