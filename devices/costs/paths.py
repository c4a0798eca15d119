"""Paths: sequential and concurrent operations, and their duration on hardware with given costs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

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


def joined(only_if: str, branches: list[Path], overlapped: bool) -> Together | Path | None:
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
