"""Repetition of the compiled calls of an update by pulses, on the CPU: trains, coincidences, and devices of constant steps."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from analogpc.kernels.calls import NotRecordableError, recorded
from analogpc.kernels.pulses.sent import SentRows
from analogpc.kernels.recording import Recording

_PATIENCE = 4
"""Updates of one kind before the calls are recorded, which takes as long as some updates."""
_MOST = 4
"""Maximum number of recordings; the oldest is dropped."""


class Sending(NamedTuple):
    """Pulse trains that have been sent, and what they did in the meantime.

    Attributes
    ----------
    sent : SentRows
    clipped : sequence of arrays
        Their sum is the number of clipped probabilities.
    moved : dict of (array, array) by int
        For legs whose rows of constant steps have been moved already, what `Array.move_constant` returned.
    """

    sent: SentRows
    clipped: Sequence[np.ndarray]
    moved: dict[int, tuple[np.ndarray, np.ndarray]]

    def copy(self) -> Sending:
        """Return the same, with trains that derive further data by themselves."""
        return Sending(self.sent.copy(), self.clipped, self.moved)


@dataclass
class _Kind:
    """Updates of one kind: how many have been seen, and their recording, if there is one."""

    seen: int = 0
    recording: Recording[Sending] | None = None


class UpdateRepeater:
    """Repeats the sending of pulses from recordings (see `kernels.recording`).

    The first updates of a kind are done as written. Then one of them is recorded, and further ones repeat its compiled calls, without
    Python in between. Work that does anything else is never repeated.
    """

    def __init__(self) -> None:
        self._kinds: dict[Any, _Kind] = {}

    @property
    def recordings(self) -> int:
        """Number of recordings."""
        return sum(kind.recording is not None for kind in self._kinds.values())

    def run(self, key: Any, work: Callable[[], Sending], arrays: Sequence[np.ndarray]) -> Sending:
        """Do the work; the next call may overwrite the arrays of the result.

        Parameters
        ----------
        key : hashable
            Everything on which the work depends besides the arrays.
        work : function
        arrays : sequence of arrays
            All arrays that the work reads or changes.
        """
        if recorded() is not None:
            return work()
        kind = self._kinds.setdefault(key, _Kind())
        while len(self._kinds) > _MOST:
            self._kinds.pop(next(iter(self._kinds)))
        if kind.recording is not None:
            return kind.recording.launch(arrays).copy() if kind.recording.fits(arrays) else work()
        kind.seen += 1
        return self._record(kind, work, arrays) if kind.seen == _PATIENCE + 1 else work()

    def _record(self, kind: _Kind, work: Callable[[], Sending], arrays: Sequence[np.ndarray]) -> Sending:
        """Do the work, which changes devices and must not be done twice, and keep the recording if there can be one."""
        done: list[Sending] = []

        def once() -> Sending:
            done.append(work())
            return done[0].copy()

        with contextlib.suppress(NotRecordableError):
            kind.recording = Recording(once, arrays)
        return done[0]
