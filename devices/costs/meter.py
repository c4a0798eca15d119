"""Counters of the operations of a matrix, used by ledgers, by the history of a run and by tests against counts by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np

from analogpc.kernels.calls import recorded


class Count:
    """A count as an attribute, read as an int.

    Counts made on a GPU (see `count`) stay there until the attribute is read, which synchronises.
    """

    kind: type = int

    def __set_name__(self, owner: type, name: str) -> None:
        self._here, self._there = name, _there(name)

    def __get__(self, holder: Any, kind: type | None = None) -> Any:
        if holder is None:
            return self.kind()
        kept = holder.__dict__
        while kept.get(_OWED):
            next(iter(kept[_OWED].values())).settle()
        there = kept.pop(self._there, None)
        if there is not None:
            kept[self._here] += self.kind(there)
        for tally in kept.get(_TALLIES, {}).get(self._here, ()):
            kept[self._here] += tally.fetch()
        return kept[self._here]

    def __set__(self, holder: Any, value: Any) -> None:
        kept = holder.__dict__
        while kept.get(_OWED):
            next(iter(kept[_OWED].values())).settle()
        kept[self._here] = value
        kept.pop(self._there, None)
        for tally in kept.get(_TALLIES, {}).get(self._here, ()):
            tally.fetch()


class Amount(Count):
    """A non-integer count, such as a sum of conductances, read as a float."""

    kind = float

    def __get__(self, holder: Any, kind: type | None = None) -> float:
        return float(super().__get__(holder, kind))


class _Tally:
    """A sum in GPU memory to which a captured graph adds, and the part of it that has been fetched."""

    def __init__(self, total: Any) -> None:
        self._total = total
        self._fetched: Any = 0

    def fetch(self) -> Any:
        """Return the amount added since the last call; synchronises with the GPU."""
        now = float(self._total) if self._total.dtype.kind == "f" else int(self._total)
        new, self._fetched = now - self._fetched, now
        return new


_TALLIES = "tallies of graphs"
_OWED = "owed counts"


class Debt(Protocol):
    """A pending count."""

    def settle(self) -> None:
        """Count now, and remove the debt with `settled`."""


def owe(holder: Any, debt: Debt) -> None:
    """Register a debt, which is settled before the counts are read."""
    holder.__dict__.setdefault(_OWED, {})[id(debt)] = debt


def settled(holder: Any, debt: Debt) -> None:
    """Remove a debt."""
    holder.__dict__[_OWED].pop(id(debt))


class GraphCounts:
    """Counts of the work of a captured graph, added at every launch.

    Parameters
    ----------
    holders : list of objects
        Meters, and other objects with `Count` attributes. Synchronises with the GPU to fetch earlier counts.
    like : array
        An array on that GPU.
    """

    def __init__(self, holders: list[Any], like: Any) -> None:
        self._holders = holders
        self._before = [{name: getattr(holder, name) for name in _counts_of(holder)} for holder in holders]
        self._host: list[dict[str, Any]] = [{} for _ in holders]
        # As many as the graph may need, created before the capture so that they outlive it.
        kinds = [np.float64 if isinstance(value, float) else np.int64 for before in self._before for value in before.values()]
        self._sums = [np.zeros((), kind, like=like) for kind in kinds]

    def close(self) -> None:
        """End the captured work: add its GPU counts to persistent sums."""
        place = 0
        for holder, before, host in zip(self._holders, self._before, self._host, strict=True):
            kept = holder.__dict__
            for name in before:
                total, place = self._sums[place], place + 1
                amount = kept.pop(_there(name), None)
                if amount is not None:
                    total += amount
                    kept.setdefault(_TALLIES, {}).setdefault(name, []).append(_Tally(total))
                host[name] = kept[name] - before[name]
                kept[name] = before[name]

    def add(self) -> None:
        """Count the host's part after a launch. GPU counts are fetched when they are read."""
        for holder, host in zip(self._holders, self._host, strict=True):
            for name, amount in host.items():
                if amount:
                    holder.__dict__[name] += amount

    def detach(self) -> None:
        """Fetch the remaining GPU counts and discard the sums, when the graph is discarded."""
        for holder, before in zip(self._holders, self._before, strict=True):
            for name in before:
                getattr(holder, name)
            tallies = holder.__dict__.get(_TALLIES, {})
            for name, own in tallies.items():
                tallies[name] = [tally for tally in own if not any(tally._total is one for one in self._sums)]


class HostCounts:
    """Context that takes back what its block counts, and adds it again for every repetition of the block.

    Parameters
    ----------
    holders : list of objects
        Meters, and other objects with `Count` attributes, in main memory.

    Attributes
    ----------
    fixed : bool
        After the block, whether it counted integers alone; the others may depend on the contents of arrays.
    """

    def __init__(self, holders: list[Any]) -> None:
        self._holders, self.fixed = holders, True
        self._amounts: list[tuple[Any, str, int]] = []

    def __enter__(self) -> None:
        self._before = [{name: holder.__dict__.get(name, 0) for name in _counts_of(holder)} for holder in self._holders]

    def __exit__(self, *exception: object) -> None:
        for holder, before in zip(self._holders, self._before, strict=True):
            for name, value in before.items():
                amount = holder.__dict__.get(name, 0) - value
                if amount:
                    self._amounts.append((holder.__dict__, name, amount))
                    self.fixed &= isinstance(amount, int)
                    holder.__dict__[name] = value

    def add(self) -> None:
        """Count the block once more."""
        for kept, name, amount in self._amounts:
            kept[name] += amount


def _counts_of(holder: Any) -> list[str]:
    """Return the names of the counting attributes of an object."""
    if isinstance(holder, Meter):
        return [field.name for field in fields(holder)]
    return [name for name, value in vars(type(holder)).items() if isinstance(value, Count)]


def count(holder: Any, **amounts: Any) -> None:
    """Add to attributes that are a `Count` or an `Amount`: numbers, or 0-d device arrays (no synchronisation)."""
    kept = holder.__dict__
    for name, amount in amounts.items():
        if isinstance(amount, (int, np.integer)):
            kept[name] += int(amount)
        elif isinstance(amount, float):
            kept[name] += float(amount)
        else:
            kind = np.float64 if amount.dtype.kind == "f" else np.int64
            there, amount = _there(name), amount.astype(kind, copy=False)
            kept[there] = kept[there] + amount if there in kept else amount


def count_words(holder: Any, words: np.ndarray, **factors: int) -> None:
    """Add an integer of ``words`` times a factor to each of some attributes, in order; a recording does so at every repetition."""
    record = recorded()
    if record is not None:
        record.counts += [(words, place, holder, name, factor) for place, (name, factor) in enumerate(factors.items()) if factor]
        return
    kept = holder.__dict__
    for amount, (name, factor) in zip(words.tolist(), factors.items(), strict=True):
        if amount:
            kept[name] += factor * amount


def _there(name: str) -> str:
    """Return the name under which an object keeps the GPU part of a count."""
    return f"{name} on the GPU"


@dataclass
class Meter:
    """Counters of one matrix.

    GPU operations are added by `count` and fetched when the attribute is read.

    Attributes
    ----------
    forward_reads, backward_reads : int
        Number of input vectors sent through the matrix and through its transpose. A convolution counts one per output position.
    look_ups : int
        Number of forward reads with one-hot inputs, so that a single word line is driven.
    conversions_in, conversions_out : int
        Number of values converted by a DAC and by an ADC (once per value and array).
    saturated_in, saturated_out : int
        Number of converted values that remained clipped.
    repeated_reads : int
        Number of vectors read again because an output saturated (see `ADC.bound_management`).
    updates : int
        Number of rank-one products applied.
    update_cycles : int
        Number of times that the matrix learnt from products or received an increment.
    device_reads : int
        Number of devices read individually, outside the reads above, for verification or refresh.
    refreshed : int
        Number of weights of one-sided pairs that were reset and rewritten.
    pulses : int
        Number of pulses that devices received (coincidences, counted once per device).
    clipped_probabilities : int
        Number of line values in update pulse trains whose requested pulse probability exceeded 1.
    pulse_slots : int
        Number of time slots of update pulses: those of trains, and of pulses counted weight by weight, which are written by word
        lines, first up, then down.
    programmed : int
        Number of times that learning brought a device to a target, exactly or with programming errors.
    unverified : int
        Number of times that a verified write left a weight outside its tolerance.
    read_siemens : float
        Measure of the energy dissipated in devices by reads, in siemens: the sum over all vectors and driven lines of the squared
        drive times the conductance of all devices on the line, with both legs, references and reads of single devices included. A
        drive of 1 is the read voltage for a whole read; a line that carries the full voltage for part of the read counts with that
        part. Exact for devices without wires; wires dissipate a part of it.
    charged_rows, charged_columns : float
        Number of word lines and bit lines of single arrays charged for reads, each weighted with the square of its voltage relative
        to the read voltage.
    row_pulses, column_pulses : int
        Number of update pulses on word lines and on bit lines of single arrays, whether or not they coincide with another pulse.
    half_selected_siemens : float
        Sum over all these pulses of the conductance of all devices on the line, in siemens; fully selected devices are counted in
        the sums of both of their lines.
    pulsed_siemens : float
        Sum over all `pulses` of the conductance of the device before its batch, in siemens.
    digital_macs, digital_words : int
        Number of multiply-adds, and of words read or written, of digital numbers kept besides the devices: accumulated products,
        accumulators and the memory of an optimiser.
    """

    forward_reads: int = 0
    backward_reads: int = 0
    look_ups: int = 0
    conversions_in: int = 0
    conversions_out: int = 0
    saturated_in: Count = Count()
    saturated_out: Count = Count()
    repeated_reads: int = 0
    updates: int = 0
    update_cycles: int = 0
    device_reads: Count = Count()
    refreshed: Count = Count()
    pulses: Count = Count()
    clipped_probabilities: Count = Count()
    pulse_slots: Count = Count()
    programmed: Count = Count()
    unverified: Count = Count()
    read_siemens: Amount = Amount()
    charged_rows: Amount = Amount()
    charged_columns: Amount = Amount()
    row_pulses: Count = Count()
    column_pulses: Count = Count()
    half_selected_siemens: Amount = Amount()
    pulsed_siemens: Amount = Amount()
    digital_macs: int = 0
    digital_words: int = 0

    def add(self, other: Meter) -> None:
        """Add the counts of another meter to this one."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def as_dict(self) -> dict[str, Any]:
        """Return the counts by name: int, or float for those in siemens."""
        kept = self.__dict__
        if kept.get(_OWED) or len(kept) > len(_NAMES) + (_OWED in kept):
            return {name: getattr(self, name) for name in _NAMES}
        # Nothing is owed, and nothing is on a GPU.
        return {name: kept[name] for name in _NAMES}


_NAMES = tuple(field.name for field in fields(Meter))


def total_of(meters: Iterable[Meter]) -> Meter:
    """Return a new meter with the sums of the counts of several.

    Examples
    --------
    >>> total_of([Meter(pulses=2), Meter(pulses=3)]).pulses
    5
    """
    total = Meter()
    for meter in meters:
        total.add(meter)
    return total
