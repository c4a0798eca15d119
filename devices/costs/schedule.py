"""Sequential and concurrent operations: the loops that determine the order of reads and updates declare it to a recorder.

Operations are sequential unless declared otherwise. A loop over layers that hardware would process concurrently is written as::

    for layer in at_once(layers):
        layer.forward(...)

The operations of one iteration are sequential; the iterations together take as long as the longest of them, and at least as long as
any single matrix is busy, which performs one read at a time. What an iteration computes within `afterwards` follows the whole loop.
Nothing here depends on the rule, so new rules have a latency too.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from analogpc.devices.costs.meter import Count, count
from analogpc.devices.costs.paths import OVERLAPPED, SLOTS, WHILE_WRITTEN, Frozen, Path, joined

T = TypeVar("T")


class Recorder:
    """Record the path that the loops of a batch declare.

    The number of slots of the pulse trains varies from batch to batch, so slots are recorded separately: for layers that learn
    concurrently the largest number of slots counts, besides whatever else of these layers takes longest. Slots sent while layers are
    read are compared with the time of these reads, both summed over all batches.

    Parameters
    ----------
    names : dict of str by id of a matrix
        Matrices whose reads and updates are recorded; others are other hardware.
    slots_of : Recorder
        Recorder that counts the slots; by default this one.
    part : bool
        Whether this is the record of a part of a batch, for `declare`: it keeps what follows a loop around the part.

    Attributes
    ----------
    path : Path
        Path without slots.
    work : Counter of str
        Number of values of each kind of digital operation on states and errors.
    slots, overlapped : int
        Time slots of pulses: separate, and during reads of layers.
    """

    slots, overlapped = Count(), Count()

    def __init__(self, names: Mapping[int, str], slots_of: Recorder | None = None, part: bool = False) -> None:
        self.names, self._slots_of, self._part = names, slots_of or self, part
        self.forget()

    def forget(self) -> None:
        """Clear the record."""
        self.path, self.slots, self.overlapped = Path(), 0, 0
        self.work: Counter[str] = Counter()
        # What was declared since the outermost concurrent loop began, and the amounts of its slots.
        self._depth, self._events, self._sent = 0, list[_Event](), list[Any]()
        self._following: list[Recorder] = []

    def add(self, path: Path, work: Mapping[str, int]) -> None:
        """Add the record of another recorder, outside of concurrent loops."""
        self.path.add(path)
        if sent := self.path.terms.pop((SLOTS, ""), 0):
            self.slots += sent
        if sent := self.path.terms.pop((OVERLAPPED, ""), 0):
            self.overlapped += sent
        self.work.update(work)

    def declare(self, part: Recorder) -> None:
        """Declare what the record of a part of the batch contains."""
        if self._depth == 0:
            self.add(part.path, part.work)
        else:
            self._events.append(part.path.frozen())
            self.work.update(part.work)
        self._following += part._following
        self._follow()

    @contextmanager
    def afterwards(self) -> Iterator[None]:
        """See `afterwards`."""
        own = Recorder(self.names, self._slots_of)
        with recording(own):
            yield
        self._following.append(own)
        self._follow()

    def _follow(self) -> None:
        if self._depth == 0 and not self._part:
            following, self._following = self._following, []
            for own in following:
                self.add(own.path, own.work)

    def whole(self) -> Path:
        """Return the path with its slots."""
        path = Path()
        path.add(self.path)
        if self.slots:
            path.terms[SLOTS, ""] = self.slots
        if self.overlapped:
            path.terms[OVERLAPPED, ""] = self.overlapped
        return path

    def mark(self) -> tuple[Path, Counter[str]]:
        """Return the present position, for `back_to`."""
        return self.whole(), Counter(self.work)

    def back_to(self, mark: tuple[Path, Counter[str]]) -> None:
        """Discard everything recorded after a mark."""
        self.forget()
        self.add(*mark)

    def note(self, kind: str, matrix: Any, amount: Any) -> None:
        """See `note`."""
        if kind == SLOTS:
            if self._depth == 0:
                count(self._slots_of, slots=amount)
            else:
                self._events.append(_SLOTS)
                self._sent.append(amount)
            return
        place = "" if matrix is None else self.names.get(id(matrix))
        if place is None:
            return
        if self._depth == 0:
            self.path.terms[kind, place] += int(amount)
        else:
            self._events.append((kind, place, int(amount)))

    def at_once(self, turns: Iterable[T], only_if: str) -> Iterator[T]:
        """See `at_once`."""
        self._depth += 1
        self._events.append((only_if,))
        try:
            for turn in turns:
                self._events.append(_BRANCH)
                try:
                    yield turn
                finally:
                    self._events.append(_END)
        finally:
            self._events.append(_CLOSE)
            self._depth -= 1
            if self._depth == 0:
                self._settle()
                self._follow()

    def _settle(self) -> None:
        """Add what the outermost concurrent loop declared, which is mostly what it declared in the batch before."""
        events, sent = tuple(self._events), self._sent
        self._events, self._sent = [], []
        path, slots, overlapped = _evaluated(events)
        self.path.add(path)
        if slots:
            count(self._slots_of, slots=sum(_amount(one, sent) for one in slots))
        if overlapped:
            count(self._slots_of, overlapped=sum(_amount(one, sent) for one in overlapped))


_Event = tuple[str, ...] | tuple[str, str, int] | Frozen
"""(only_if,): a concurrent loop begins; (kind, place, amount): an operation; a path: operations; besides the constants below."""
_BRANCH, _END, _CLOSE, _SLOTS = ("branch", ""), ("end", ""), ("close", ""), ("slots", "")


@dataclass(frozen=True)
class _Slots:
    """Slots of several updates: the sum, or the largest amount. Updates are given by their numbers in the outermost loop."""

    largest: bool
    of: tuple[int | _Slots, ...]


def _amount(slots: int | _Slots, sent: Sequence[Any]) -> Any:
    """Return the amount for a batch whose updates ``sent`` these numbers of slots."""
    if isinstance(slots, int):
        return sent[slots]
    amounts = [_amount(one, sent) for one in slots.of]
    return functools.reduce(np.maximum, amounts) if slots.largest else sum(amounts)


@functools.lru_cache(maxsize=1024)
def _evaluated(events: tuple[_Event, ...]) -> tuple[Path, list[int | _Slots], list[int | _Slots]]:
    """Return the path of an outermost concurrent loop, its slots, and its slots during reads of layers; each list is to be added up."""
    updates, overlapped = itertools.count(), list[int | _Slots]()
    paths: list[tuple[Path, list[int | _Slots]]] = [(Path(), [])]
    loops: list[tuple[str, list[tuple[Path, list[int | _Slots]]]]] = []
    for event in events:
        path, slots = paths[-1]
        if event == _BRANCH:
            paths.append((Path(), []))
        elif event == _END:
            loops[-1][1].append(paths.pop())
        elif event == _SLOTS:
            slots.append(next(updates))
        elif event == _CLOSE:
            only_if, branches = loops.pop()
            own = [_Slots(False, tuple(some)) for _, some in branches if some]
            during_reads = only_if == WHILE_WRITTEN and len(paths) == 1 and bool(own)
            part = joined(only_if, [branch for branch, _ in branches], during_reads)
            if isinstance(part, Path):
                path.add(part)
            elif part is not None:
                path.parts[part] += 1
            if during_reads:
                overlapped.append(_Slots(False, tuple(own)))
            elif own:
                slots.append(_Slots(not only_if, tuple(own)))
        elif isinstance(event, Frozen):
            path.add(event)
        elif len(event) == 1:
            loops.append((event[0], []))
        else:
            kind, place, amount = event
            path.terms[kind, place] += int(amount)
    return (*paths[0], overlapped)


_RECORDER: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


@contextmanager
def recording(recorder: Recorder | None) -> Iterator[None]:
    """Record everything declared within the block in ``recorder``; None records nothing."""
    token = _RECORDER.set(recorder)
    try:
        yield
    finally:
        _RECORDER.reset(token)


def at_once(turns: Iterable[T], only_if: str = "") -> Iterator[T]:
    """Declare that the iterations of a loop are concurrent.

    Parameters
    ----------
    turns : iterable
        Items of the loop, yielded unchanged.
    only_if : str
        Ability that the hardware needs, `BOTH_WAYS` or `WHILE_WRITTEN`; empty if any hardware can do it.
    """
    recorder = _RECORDER.get()
    return iter(turns) if recorder is None else recorder.at_once(turns, only_if)


@contextmanager
def afterwards() -> Iterator[None]:
    """Declare that the operations of the block follow the outermost concurrent loop around it, although they are computed within."""
    recorder = _RECORDER.get()
    with nullcontext() if recorder is None else recorder.afterwards():
        yield


def note(kind: str, matrix: Any, amount: Any) -> None:
    """Declare an amount of an operation on a matrix (see `Term`); None for operations that take equally long on every matrix."""
    recorder = _RECORDER.get()
    if recorder is not None:
        recorder.note(kind, matrix, amount)


def work(kind: str, values: int) -> None:
    """Declare a digital operation on the given number of values of states or errors; the kinds are those of `costs.operations`."""
    recorder = _RECORDER.get()
    if recorder is not None:
        recorder.work[kind] += values
        recorder.note(kind, None, values)
