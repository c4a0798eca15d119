"""Sequential and concurrent operations: the loops that determine the order of reads and updates declare it to a recorder.

Operations are sequential unless declared otherwise. A loop over layers that hardware would process concurrently is written as::

    for layer in at_once(layers):
        layer.forward(...)

The operations of one iteration are sequential; the iterations together take as long as the longest of them, and at least as long as
any single matrix is busy, which performs one read at a time. Nothing here depends on the rule, so new rules have a latency too.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from analogpc.devices.costs.meter import Count, count

T = TypeVar("T")

Term = tuple[str, str]
"""(kind, place): an operation, and the matrix that performs it; no place for operations that take equally long on every matrix."""

FORWARD, BACKWARD, SENSED, PROGRAMMED = "forward", "backward", "sensed", "programmed"
"""Vectors read, and read backwards, by the matrix of that name; its devices read individually, and programmed individually."""
SLOTS, MACS, LOOK_UP = "slots", "macs", "looked up"
"""Time slots of update pulses; multiply-adds of digital numbers besides a matrix; rows of a digital matrix fetched individually."""
OVERLAPPED = "slots while read"
"""Time slots of update pulses that are sent while layers are read, on hardware that allows it."""

KINDS = (FORWARD, BACKWARD, SENSED, PROGRAMMED, MACS, LOOK_UP)
"""Kinds of terms with a place."""

BOTH_WAYS, WHILE_WRITTEN = "reads both ways", "reads while written"
"""Concurrency that some hardware supports: reading an array forwards and backwards; reading layers while they are written."""


@dataclass(frozen=True)
class Together:
    """Concurrent paths.

    Attributes
    ----------
    only_if : str
        Ability that the hardware needs for the concurrency, without which the paths are sequential; empty if none is needed.
    branches : frozenset of (Path, int)
        Paths with their multiplicity.
    """

    only_if: str
    branches: frozenset[tuple[Frozen, int]]


@dataclass(frozen=True)
class Frozen:
    """An immutable path, independent of the order of its operations."""

    terms: frozenset[tuple[Term, int]]
    parts: frozenset[tuple[Together, int]]


@dataclass
class Path:
    """Sequential operations. Their time is a sum, so their order is not stored.

    Attributes
    ----------
    terms : Counter of Term
        Amount of each operation.
    parts : Counter of Together
        Concurrent operations in between, with their multiplicity.
    """

    terms: Counter[Term] = field(default_factory=Counter)
    parts: Counter[Together] = field(default_factory=Counter)

    def add(self, other: Path | Frozen, times: int = 1) -> None:
        """Append another path, the given number of times."""
        for mine, others in ((self.terms, other.terms), (self.parts, other.parts)):
            pairs: Iterable[tuple[Any, int]] = others.items() if isinstance(others, Mapping) else others
            for name, amount in pairs:
                mine[name] += times * amount

    def frozen(self) -> Frozen:
        """Return an immutable copy of the path."""
        return Frozen(frozenset(self.terms.items()), frozenset(self.parts.items()))

    def seconds(self, cost: Callable[[Term], float], able: frozenset[str] = frozenset()) -> float:
        """Return the duration of the path; see `composition`."""
        return math.fsum(self.composition(cost, able).values())

    def composition(self, cost: Callable[[Term], float], able: frozenset[str] = frozenset()) -> dict[Term, float]:
        """Return the seconds of every term along the critical path.

        Parameters
        ----------
        cost : function
            Seconds per unit of a term.
        able : set of str
            Concurrency that the hardware supports, of `BOTH_WAYS` and `WHILE_WRITTEN`.
        """
        paid = _composition(self.frozen(), cost, able)
        pulses = paid.get((OVERLAPPED, ""), 0.0)
        if pulses and WHILE_WRITTEN in able:
            # Pulses and concurrent reads, each summed over all batches: together they take as long as the longer of the two.
            reads = math.fsum(
                times * math.fsum(_of_part(part, cost, able).values())
                for part, times in self.parts.items()
                if part.only_if == WHILE_WRITTEN
            )
            paid[OVERLAPPED, ""] = max(pulses - reads, 0.0)
        return paid

    def busy(self) -> Counter[Term]:
        """Return all operations, concurrent or not."""
        return _busy(self.frozen())

    def to_list(self) -> list[Any]:
        """Return lists, numbers and texts, for files; equal paths give equal lists."""
        return _listed(self.frozen())

    @classmethod
    def from_list(cls, listed: list[Any]) -> Path:
        """Return the path of a list from `to_list`."""
        path = cls()
        path.add(_unlisted(listed))
        return path


def _composition(path: Frozen, cost: Callable[[Term], float], able: frozenset[str]) -> dict[Term, float]:
    paid: dict[Term, list[float]] = {}
    for term, amount in path.terms:
        paid.setdefault(term, []).append(amount * cost(term))
    for part, times in path.parts:
        for term, seconds in _of_part(part, cost, able).items():
            paid.setdefault(term, []).append(times * seconds)
    return _summed(paid)


def _summed(paid: dict[Term, list[float]]) -> dict[Term, float]:
    """Sum exactly, since the iteration order of sets varies."""
    return {term: math.fsum(paid[term]) for term in sorted(paid)}


def _of_part(part: Together, cost: Callable[[Term], float], able: frozenset[str]) -> dict[Term, float]:
    """Return the seconds of the longest branch, or of the busiest matrix if that takes longer."""
    every = [(_composition(branch, cost, able), times) for branch, times in part.branches]
    if part.only_if and part.only_if not in able:
        paid: dict[Term, list[float]] = {}
        for seconds, times in every:
            for term, own in seconds.items():
                paid.setdefault(term, []).append(times * own)
        return _summed(paid)
    # A matrix performs one operation at a time; if it is read both ways at once, or read while it is written, it counts as two.
    busy: dict[tuple[str, bool, bool], dict[Term, list[float]]] = {}
    for branch, times in part.branches:
        for term, amount in _busy(branch).items():
            if term[1]:
                written = part.only_if == WHILE_WRITTEN and term[0] in (PROGRAMMED, MACS)
                place = busy.setdefault((term[1], BOTH_WAYS in able and term[0] == BACKWARD, written), {})
                place.setdefault(term, []).append(times * amount * cost(term))
    candidates = [*(seconds for seconds, _ in every), *map(_summed, busy.values())]
    # Ties are broken in a fixed way.
    return max(candidates, key=lambda one: (math.fsum(one.values()), sorted(one.items())), default={})


def _busy(path: Frozen) -> Counter[Term]:
    total: Counter[Term] = Counter()
    for term, amount in path.terms:
        total[term] += amount
    for part, times in path.parts:
        for branch, often in part.branches:
            for term, amount in _busy(branch).items():
                total[term] += times * often * amount
    return total


def _listed(path: Frozen) -> list[Any]:
    terms = sorted([kind, place, amount] for (kind, place), amount in path.terms)
    parts = sorted(
        [part.only_if, sorted([_listed(branch), often] for branch, often in part.branches), times] for part, times in path.parts
    )
    return [terms, parts]


def _unlisted(listed: list[Any]) -> Frozen:
    terms, parts = listed
    return Frozen(
        frozenset(((kind, place), amount) for kind, place, amount in terms),
        frozenset(
            (Together(only_if, frozenset((_unlisted(branch), often) for branch, often in branches)), times)
            for only_if, branches, times in parts
        ),
    )


def _joined(only_if: str, branches: list[Path], overlapped: bool) -> Together | Path | None:
    """Join branches to a part of a path, simplified as far as possible without prices; None if nothing is done.

    If slots are ``overlapped`` with a single branch, it remains a separate part.
    """
    kept: list[Path] = []
    for branch in branches:
        if not (branch.terms or branch.parts) or any(_covers(other, branch) for other in kept if not only_if):
            continue
        kept = [other for other in kept if only_if or not _covers(branch, other)] + [branch]
    if len(kept) < 2 and not (kept and overlapped):
        return kept[0] if kept else None
    return Together(only_if, frozenset(Counter(branch.frozen() for branch in kept).items()))


def _covers(one: Path, other: Path) -> bool:
    """Whether one path takes at least as long as the other at any price; only decidable for terms without a place."""
    if one.parts or other.parts or any(place for _, place in (*one.terms, *other.terms)):
        return False
    return all(one.terms[term] >= amount for term, amount in other.terms.items())


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

    def __init__(self, names: Mapping[int, str], slots_of: Recorder | None = None) -> None:
        self.names, self._slots_of = names, slots_of or self
        self.forget()

    def forget(self) -> None:
        """Clear the record."""
        self.path, self.slots, self.overlapped = Path(), 0, 0
        self.work: Counter[str] = Counter()
        # What was declared since the outermost concurrent loop began, and the amounts of its slots.
        self._depth, self._events, self._sent = 0, list[_Event](), list[Any]()

    def add(self, path: Path, work: Mapping[str, int]) -> None:
        """Add the record of another recorder."""
        self.path.add(path)
        if sent := self.path.terms.pop((SLOTS, ""), 0):
            self.slots += sent
        if sent := self.path.terms.pop((OVERLAPPED, ""), 0):
            self.overlapped += sent
        self.work.update(work)

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

    def _settle(self) -> None:
        """Add what the outermost concurrent loop declared, which is mostly what it declared in the batch before."""
        events, sent = tuple(self._events), self._sent
        self._events, self._sent = [], []
        path, slots, overlapped = _evaluated(events, sent) if sent else _evaluated_before(events)
        self.path.add(path)
        if slots:
            count(self._slots_of, slots=sum(slots))
        if overlapped:
            count(self._slots_of, overlapped=sum(overlapped))


_Event = tuple[str, ...] | tuple[str, str, int]
"""(only_if,): a concurrent loop begins; (kind, place, amount): an operation; besides the constants below."""
_BRANCH, _END, _CLOSE, _SLOTS = ("branch", ""), ("end", ""), ("close", ""), ("slots", "")


def _evaluated(events: Sequence[_Event], sent: Sequence[Any]) -> tuple[Path, list[Any], list[Any]]:
    """Return the path of an outermost concurrent loop, its slots, and its slots during reads of layers.

    Parameters
    ----------
    events : sequence of _Event
    sent : sequence
        Amounts of the slots, in order.
    """
    amounts, overlapped = iter(sent), list[Any]()
    paths: list[tuple[Path, list[Any]]] = [(Path(), [])]
    loops: list[tuple[str, list[tuple[Path, list[Any]]]]] = []
    for event in events:
        path, slots = paths[-1]
        if event == _BRANCH:
            paths.append((Path(), []))
        elif event == _END:
            loops[-1][1].append(paths.pop())
        elif event == _SLOTS:
            slots.append(next(amounts))
        elif event == _CLOSE:
            only_if, branches = loops.pop()
            own = [sum(some) for _, some in branches if some]
            during_reads = only_if == WHILE_WRITTEN and len(paths) == 1 and bool(own)
            part = _joined(only_if, [branch for branch, _ in branches], during_reads)
            if isinstance(part, Path):
                path.add(part)
            elif part is not None:
                path.parts[part] += 1
            if during_reads:
                overlapped.append(sum(own))
            elif own:
                slots.append(sum(own) if only_if else functools.reduce(np.maximum, own))
        elif len(event) == 1:
            loops.append((event[0], []))
        else:
            kind, place, amount = event
            path.terms[kind, place] += int(amount)
    return (*paths[0], overlapped)


@functools.lru_cache(maxsize=1024)
def _evaluated_before(events: tuple[_Event, ...]) -> tuple[Path, list[Any], list[Any]]:
    return _evaluated(events, ())


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
