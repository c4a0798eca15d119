"""Counters of what a matrix was asked to do: raw material of ledgers, of the history of a run and of tests against hand counts."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np


class Count:
    """A count as an attribute, read as an int.

    Counts made on a GPU (see `count`) stay there until the attribute is read; only reading it synchronises.
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
    """The same for what is no whole number, such as a sum of conductances: a float."""

    kind = float

    def __get__(self, holder: Any, kind: type | None = None) -> float:
        return float(super().__get__(holder, kind))


class _Tally:
    """A sum in the memory of the GPU to which a captured graph adds, and how much of it has been fetched."""

    def __init__(self, total: Any) -> None:
        self._total = total
        self._fetched: Any = 0

    def fetch(self) -> Any:
        """What was added since the last time; waits for the GPU."""
        now = float(self._total) if self._total.dtype.kind == "f" else int(self._total)
        new, self._fetched = now - self._fetched, now
        return new


_TALLIES = "tallies of graphs"
_OWED = "owed counts"


class Debt(Protocol):
    """What will count something in the end."""

    def settle(self) -> None:
        """Count it now, with `settled`."""


def owe(holder: Any, debt: Debt) -> None:
    """Let a debt be settled before anybody looks at the counts."""
    holder.__dict__.setdefault(_OWED, {})[id(debt)] = debt


def settled(holder: Any, debt: Debt) -> None:
    """Forget a debt."""
    holder.__dict__[_OWED].pop(id(debt))


class GraphCounts:
    """What the work of a captured graph counts, for every time it is launched.

    Parameters
    ----------
    holders : list of objects
        Meters, and others with attributes that are a `Count`. Waits for what the GPU has counted so far.
    like : array
        One on that GPU.
    """

    def __init__(self, holders: list[Any], like: Any) -> None:
        self._holders = holders
        self._before = [{name: getattr(holder, name) for name in _counts_of(holder)} for holder in holders]
        self._host: list[dict[str, Any]] = [{} for _ in holders]
        # As many as the graph may need: they are made before it is captured, so that they outlive it.
        kinds = [np.float64 if isinstance(value, float) else np.int64 for before in self._before for value in before.values()]
        self._sums = [np.zeros((), kind, like=like) for kind in kinds]

    def close(self) -> None:
        """At the end of the captured work: let the graph add what it counts on the GPU to sums that stay."""
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
        """After every launch: count what the host knows. What the GPU has counted is fetched when it is looked at."""
        for holder, host in zip(self._holders, self._host, strict=True):
            for name, amount in host.items():
                if amount:
                    holder.__dict__[name] += amount

    def detach(self) -> None:
        """When the graph is given up: fetch what it has counted, and forget its sums."""
        for holder, before in zip(self._holders, self._before, strict=True):
            for name in before:
                getattr(holder, name)
            tallies = holder.__dict__.get(_TALLIES, {})
            for name, own in tallies.items():
                tallies[name] = [tally for tally in own if not any(tally._total is one for one in self._sums)]


def _counts_of(holder: Any) -> list[str]:
    """Names of the attributes of an object that count."""
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


def _there(name: str) -> str:
    """Where an object keeps what a GPU has added to its count of that name."""
    return f"{name} on the GPU"


@dataclass
class Meter:
    """Plain counts; one meter belongs to one matrix.

    What happens on a GPU is added by `count`, and fetched from there when it is looked at.

    Attributes
    ----------
    forward_reads, backward_reads : int
        Input vectors sent through the matrix and through its transpose. A convolution counts one per output position.
    look_ups : int
        Those of the forward reads whose input is 1 at one place and 0 elsewhere, so that a single word line is driven.
    conversions_in, conversions_out : int
        Values that passed a DAC and an ADC (once per value and array).
    saturated_in, saturated_out : int
        Those of them that were clipped in the end.
    repeated_reads : int
        Vectors read again because an output saturated (see `ADC.bound_management`).
    updates : int
        Rank-one products applied.
    update_cycles : int
        Times that the matrix learnt from products, or was given an increment.
    device_reads : int
        Devices read one by one, outside the reads above: to verify or to refresh them.
    refreshed : int
        Weights of one-sided pairs that were reset and written anew.
    pulses : int
        Pulses that devices received (coincidences, counted once per device).
    clipped_probabilities : int
        Line values of update pulse trains whose wanted pulse probability exceeded 1.
    pulse_slots : int
        Time slots in which update pulses were sent: those of the trains, and of pulses that are counted weight by weight, which are
        written word line by word line, first up, then down.
    programmed : int
        Devices that learning brought to a target, exactly or as programming does it; one for each time.
    unverified : int
        Weights that a verified write left outside its tolerance, once for each time.
    read_siemens : float
        What heats the devices in reads: over all vectors and driven lines, the square of the drive times the conductance of all devices
        on the line, those of both legs, references and reads of single devices included, in siemens. A drive of 1 is the read voltage
        for a whole read; a line that carries the full voltage for a part of it counts with that part. Exact for devices without
        wires; wires take a part of it.
    charged_rows, charged_columns : float
        Word lines and bit lines of single arrays that were charged for reads, each with the square of its voltage over the read
        voltage.
    row_pulses, column_pulses : int
        Update pulses on word lines and on bit lines of single arrays, whether they met another pulse or not.
    half_selected_siemens : float
        The conductance of all devices on a line, in siemens, over all these pulses; devices that were fully selected are counted in
        the sums of both of their lines.
    pulsed_siemens : float
        The conductance of the device, in siemens, over all `pulses`: as the pulses of one batch found it.
    digital_macs, digital_words : int
        Multiply-adds, and words read or written, of digital numbers that are kept beside the devices: products that are added up before
        they are written, accumulators and the memory of an optimiser.
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
        """The counts by name: int, or float for those in siemens."""
        kept = self.__dict__
        if kept.get(_OWED) or len(kept) > len(_NAMES) + (_OWED in kept):
            return {name: getattr(self, name) for name in _NAMES}
        # Nothing is owed, and nothing is on a GPU.
        return {name: kept[name] for name in _NAMES}


_NAMES = tuple(field.name for field in fields(Meter))
