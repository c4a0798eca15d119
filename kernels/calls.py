"""Record of the calls of compiled functions by a thread, from which `recording` repeats them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


class NotRecordableError(Exception):
    """Raised if work does something that a recording cannot repeat."""


class Calls:
    """Calls of compiled functions in their order.

    Parameters
    ----------
    before : Calls or None
        Calls that are always made before, and whose arrays these ones may use; memory that they no longer need is used again.

    Attributes
    ----------
    rows : list of (function, frame, length, size)
        Address of the function, its frame, number of indices, and of indices per part.
    kept : list of arrays
        Memory of the arrays that were made during the calls, and further arrays that frames refer to and nobody replaces.
    pool : memory.Pool or None
        Where this memory is lent.
    steps : list of (frame, place, step)
        Words of frames that are steps of random streams.
    counts : list of (array, place, object, name, factor)
        Words that the calls write, the attribute that counts them, and what the word is multiplied by.
    refusal : str
        Why the calls are not all of the work; empty if they are.
    """

    def __init__(self, before: Calls | None = None) -> None:
        self.rows: list[tuple[int, np.ndarray, int, int]] = []
        self.kept: list[np.ndarray] = [] if before is None else before.kept
        self.pool: Any = None if before is None else before.pool
        self.steps: list[tuple[np.ndarray, int, Any]] = []
        self.counts: list[tuple[np.ndarray, int, Any, str, int]] = []
        self.refusal = ""

    def refuse(self, reason: str) -> None:
        """Declare that something else was done, which a repetition of the calls would leave out."""
        self.refusal = self.refusal or reason


_records: dict[int, Calls] = {}
"""Records by the thread whose calls they are."""


@contextmanager
def recorded_calls(before: Calls | None = None) -> Iterator[Calls]:
    """Record the calls of compiled functions that this thread makes within the context, after those ``before``; see `Calls`.

    Raises
    ------
    RuntimeError
        If its calls are being recorded already.
    """
    thread = threading.get_ident()
    if thread in _records:
        raise RuntimeError("calls of this thread are being recorded already")
    record = _records[thread] = Calls(before)
    try:
        yield record
    finally:
        del _records[thread]


def recorded() -> Calls | None:
    """Return the record of the calls of this thread, if there is one."""
    return _records.get(threading.get_ident()) if _records else None
