"""What follows what, and what happens at once: a loop that owns the order of reads and updates declares it, and a recorder keeps it.

Whatever is not declared happens one after the other. A loop over layers that hardware would do at once says so::

    for layer in at_once(layers):
        layer.forward(...)

What a turn of such a loop does comes in its own order; the turns take as long as the longest of them, and at least as long as any single
matrix is busy, which does one read at a time. Nothing here knows any rule: a new one has its latency without being known.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from analogpc.devices.costs.meter import Count, count

T = TypeVar("T")

Term = tuple[str, str]
"""(kind, place): what is done, and the matrix that does it; no place for what takes every matrix equally long."""

FORWARD, BACKWARD, SENSED, PROGRAMMED = "forward", "backward", "sensed", "programmed"
"""Vectors read, and read backwards, by the matrix of that name; its devices that are read one by one, and programmed one by one."""
SLOTS, MACS, LOOK_UP = "slots", "macs", "looked up"
"""Time slots of update pulses; multiply-adds of digital numbers beside a matrix; rows of a digital matrix that are fetched alone."""
OVERLAPPED = "slots while read"
"""Time slots of update pulses that are sent while layers are read, where hardware allows it."""

KINDS = (FORWARD, BACKWARD, SENSED, PROGRAMMED, MACS, LOOK_UP)
"""Kinds of terms that have a place."""

BOTH_WAYS, WHILE_WRITTEN = "reads both ways", "reads while written"
"""What some hardware can do at once: read an array forwards and backwards; read layers while they are written."""


@dataclass(frozen=True)
class Together:
    """Paths that are gone at once.

    Attributes
    ----------
    only_if : str
        What the hardware must be able to do, or else they are gone one after the other; empty for what any hardware does.
    branches : frozenset of (Path, int)
        And how often each is among them.
    """

    only_if: str
    branches: frozenset[tuple[Frozen, int]]


@dataclass(frozen=True)
class Frozen:
    """A path that does not change any more, in whatever order it was gone."""

    terms: frozenset[tuple[Term, int]]
    parts: frozenset[tuple[Together, int]]


@dataclass
class Path:
    """What is done one after the other: the time that it takes is the sum, so that no order need be kept.

    Attributes
    ----------
    terms : Counter of Term
        How much of each.
    parts : Counter of Together
        What is done at once in between, and how often.
    """

    terms: Counter[Term] = field(default_factory=Counter)
    parts: Counter[Together] = field(default_factory=Counter)

    def add(self, other: Path | Frozen, times: int = 1) -> None:
        """Go another path, too, so many times."""
        for mine, others in ((self.terms, other.terms), (self.parts, other.parts)):
            pairs: Iterable[tuple[Any, int]] = others.items() if isinstance(others, Mapping) else others
            for name, amount in pairs:
                mine[name] += times * amount

    def frozen(self) -> Frozen:
        """The path as it is now."""
        return Frozen(frozenset(self.terms.items()), frozenset(self.parts.items()))

    def seconds(self, cost: Callable[[Term], float], able: frozenset[str] = frozenset()) -> float:
        """How long it takes; see `composition`."""
        return math.fsum(self.composition(cost, able).values())

    def composition(self, cost: Callable[[Term], float], able: frozenset[str] = frozenset()) -> dict[Term, float]:
        """What the time goes to: the seconds of every term along the critical path.

        Parameters
        ----------
        cost : function
            The seconds of one unit of a term.
        able : set of str
            What the hardware can do at once, of `BOTH_WAYS` and `WHILE_WRITTEN`.
        """
        paid = _composition(self.frozen(), cost, able)
        pulses = paid.get((OVERLAPPED, ""), 0.0)
        if pulses and WHILE_WRITTEN in able:
            # Pulses and the reads beside them, each added up over all batches: the longer of the two is how long both take.
            reads = math.fsum(
                times * math.fsum(_of_part(part, cost, able).values())
                for part, times in self.parts.items()
                if part.only_if == WHILE_WRITTEN
            )
            paid[OVERLAPPED, ""] = max(pulses - reads, 0.0)
        return paid

    def busy(self) -> Counter[Term]:
        """All that is done, at once or not."""
        return _busy(self.frozen())

    def to_list(self) -> list[Any]:
        """Lists, numbers and texts, for files; equal paths give equal lists."""
        return _listed(self.frozen())

    @classmethod
    def from_list(cls, listed: list[Any]) -> Path:
        """The path of such a list."""
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
    """Exact sums: sets come in another order every time."""
    return {term: math.fsum(paid[term]) for term in sorted(paid)}


def _of_part(part: Together, cost: Callable[[Term], float], able: frozenset[str]) -> dict[Term, float]:
    """The seconds of what decides how long branches take together: the longest of them, or the busiest matrix."""
    every = [(_composition(branch, cost, able), times) for branch, times in part.branches]
    if part.only_if and part.only_if not in able:
        paid: dict[Term, list[float]] = {}
        for seconds, times in every:
            for term, own in seconds.items():
                paid.setdefault(term, []).append(times * own)
        return _summed(paid)
    # A matrix does one thing at a time; those that are read both ways at once, or read while they are written, are two.
    busy: dict[tuple[str, bool, bool], dict[Term, list[float]]] = {}
    for branch, times in part.branches:
        for term, amount in _busy(branch).items():
            if term[1]:
                written = part.only_if == WHILE_WRITTEN and term[0] in (PROGRAMMED, MACS)
                place = busy.setdefault((term[1], BOTH_WAYS in able and term[0] == BACKWARD, written), {})
                place.setdefault(term, []).append(times * amount * cost(term))
    candidates = [*(seconds for seconds, _ in every), *map(_summed, busy.values())]
    # Of equally long ones always the same.
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
    """Branches as a part of a path, as simple as it gets without knowing any price; None if nothing is done.

    If slots are ``overlapped`` with a single branch, it remains a part of its own.
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
    """Whether the one takes at least as long as the other at any price. Only what has no place can be told: a matrix is busy itself."""
    if one.parts or other.parts or any(place for _, place in (*one.terms, *other.terms)):
        return False
    return all(one.terms[term] >= amount for term, amount in other.terms.items())


class Recorder:
    """Keeps the path that the loops of a batch declare.

    How many slots the pulse trains of a batch need differs from batch to batch. So they are kept apart: of layers that learn at once
    the most slots count, beside whatever else of these layers takes longest. Those that are sent while layers are read count against the
    time of these reads, both added up over all batches.

    Parameters
    ----------
    names : dict of str by id of a matrix
        The matrices whose reads and updates are kept; others are other hardware.
    slots_of : Recorder
        The one that counts the slots; itself if not given.

    Attributes
    ----------
    path : Path
        Without slots.
    work : Counter of str
        Digital operations on states and errors: how many values of each kind.
    slots, overlapped : int
        Time slots of pulses: by themselves, and while layers are read.
    """

    slots, overlapped = Count(), Count()

    def __init__(self, names: Mapping[int, str], slots_of: Recorder | None = None) -> None:
        self.names, self._slots_of = names, slots_of or self
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.path, self.slots, self.overlapped = Path(), 0, 0
        self.work: Counter[str] = Counter()
        self._open: list[tuple[Path, list[Any]]] = [(self.path, [])]
        self._branches: list[list[tuple[Path, list[Any]]]] = []

    def add(self, path: Path, work: Mapping[str, int]) -> None:
        """Keep what another recorder has kept, too."""
        self.path.add(path)
        if sent := self.path.terms.pop((SLOTS, ""), 0):
            self.slots += sent
        if sent := self.path.terms.pop((OVERLAPPED, ""), 0):
            self.overlapped += sent
        self.work.update(work)

    def whole(self) -> Path:
        """The path, with its slots."""
        path = Path()
        path.add(self.path)
        if self.slots:
            path.terms[SLOTS, ""] = self.slots
        if self.overlapped:
            path.terms[OVERLAPPED, ""] = self.overlapped
        return path

    def mark(self) -> tuple[Path, Counter[str]]:
        """Where it is, for `back_to`."""
        return self.whole(), Counter(self.work)

    def back_to(self, mark: tuple[Path, Counter[str]]) -> None:
        """Forget what came after a mark."""
        self.forget()
        self.add(*mark)

    def note(self, kind: str, matrix: Any, amount: Any) -> None:
        """See `note`."""
        path, slots = self._open[-1]
        if kind == SLOTS:
            self._note_slots(slots, amount)
        elif matrix is None:
            path.terms[kind, ""] += int(amount)
        elif (name := self.names.get(id(matrix))) is not None:
            path.terms[kind, name] += int(amount)

    def _note_slots(self, slots: list[Any], amount: Any) -> None:
        if len(self._open) == 1:
            count(self._slots_of, slots=amount)
        else:
            slots.append(amount)

    @contextmanager
    def together(self, only_if: str) -> Iterator[None]:
        """See `at_once`."""
        self._branches.append([])
        try:
            yield
        finally:
            branches = self._branches.pop()
            sent = [sum(own) for _, own in branches if own]
            overlapped = only_if == WHILE_WRITTEN and len(self._open) == 1 and bool(sent)
            part = _joined(only_if, [path for path, _ in branches], overlapped)
            path, slots = self._open[-1]
            if isinstance(part, Path):
                path.add(part)
            elif part is not None:
                path.parts[part] += 1
            if overlapped:
                count(self._slots_of, overlapped=sum(sent))
            elif sent:
                self._note_slots(slots, sum(sent) if only_if else functools.reduce(np.maximum, sent))

    @contextmanager
    def branch(self) -> Iterator[None]:
        """See `at_once`."""
        self._open.append((Path(), []))
        try:
            yield
        finally:
            self._branches[-1].append(self._open.pop())


_RECORDER: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


@contextmanager
def recording(recorder: Recorder | None) -> Iterator[None]:
    """Record in ``recorder`` all that is declared within the block; None records nothing."""
    token = _RECORDER.set(recorder)
    try:
        yield
    finally:
        _RECORDER.reset(token)


def at_once(turns: Iterable[T], only_if: str = "") -> Iterator[T]:
    """Say that the turns of a loop happen at once.

    Parameters
    ----------
    turns : iterable
        Handed on as they are.
    only_if : str
        What the hardware must be able to do for it, `BOTH_WAYS` or `WHILE_WRITTEN`; nothing for what any hardware does.
    """
    recorder = _RECORDER.get()
    if recorder is None:
        yield from turns
        return
    with recorder.together(only_if):
        for turn in turns:
            with recorder.branch():
                yield turn


def note(kind: str, matrix: Any, amount: Any) -> None:
    """Say that a matrix did so much of a kind (see `Term`); None for what takes every matrix equally long."""
    recorder = _RECORDER.get()
    if recorder is not None:
        recorder.note(kind, matrix, amount)


def work(kind: str, values: int) -> None:
    """Say that a digital operation on so many values of states or errors was done; the kinds are those of `costs.operations`."""
    recorder = _RECORDER.get()
    if recorder is not None:
        recorder.work[kind] += values
        recorder.note(kind, None, values)
