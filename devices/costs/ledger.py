"""What a run has done, epoch by epoch, in a form that any technology can price later: counts, paths and digital work."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from analogpc.devices.costs.meter import Meter
from analogpc.devices.costs.operations import OPERATIONS
from analogpc.devices.costs.schedule import KINDS, OVERLAPPED, SLOTS, Path, Recorder
from analogpc.devices.state import Shaped, StateError, fitted

if TYPE_CHECKING:
    from analogpc.devices.costs.digital import Metered


class LedgerError(ValueError):
    """There is nothing that could be billed; the sentence says why."""


@dataclass
class Tally:
    """What was done to teach some batches.

    Attributes
    ----------
    samples, batches : int
    meters : dict of Meter by name of the matrix
    path : Path
        In which order.
    work : Counter of str
        Values of states and errors that each digital operation was done on; the kinds are those of `costs.operations`.
    """

    samples: int = 0
    batches: int = 0
    meters: dict[str, Meter] = field(default_factory=dict)
    path: Path = field(default_factory=Path)
    work: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Add another one."""
        self.samples += other.samples
        self.batches += other.batches
        for name, meter in other.meters.items():
            self.meters.setdefault(name, Meter()).add(meter)
        self.path.add(other.path)
        self.work.update(other.work)


class Ledger:
    """The tallies of the epochs of a run, and that of the epoch under way.

    Parameters
    ----------
    matrices : dict of Matrix by name
        Whose meters count.

    Attributes
    ----------
    epochs : list of Tally
        Of the epochs that are closed.
    recorder : Recorder
        Of the epoch under way.
    complete : bool
        Whether it goes back to the first batch: False for runs that an earlier version began, which did not keep one.
    """

    def __init__(self, matrices: Mapping[str, Metered]) -> None:
        self._matrices = matrices
        self.epochs: list[Tally] = []
        self._samples, self._batches, self.complete = 0, 0, True
        self.recorder = Recorder({id(matrix): name for name, matrix in matrices.items()})

    def batch(self, samples: int) -> None:
        """Say that a batch of so many samples was taught."""
        self._samples += samples
        self._batches += 1

    def under_way(self) -> Tally:
        """What was done since the last epoch was closed."""
        meters = {}
        for name, matrix in self._matrices.items():
            now = matrix.meter.as_dict()
            for tally in self.epochs:
                for count, before in tally.meters[name].as_dict().items():
                    now[count] -= before
            meters[name] = Meter(**now)
        return Tally(self._samples, self._batches, meters, self.recorder.whole(), Counter(self.recorder.work))

    def close_epoch(self) -> None:
        """Begin the next epoch."""
        self.epochs.append(self.under_way())
        self._samples = self._batches = 0
        self.recorder.forget()

    def total(self, epochs: int | None = None) -> Tally:
        """The first epochs together, or all that was done.

        Raises
        ------
        LedgerError
            If nothing was recorded, the record is incomplete, or the run has fewer epochs.
        """
        if not self.complete:
            raise LedgerError(
                "the run was begun by a version that did not record what follows what, so that it cannot be billed: train it anew"
            )
        if epochs is not None and not 1 <= epochs <= len(self.epochs):
            raise LedgerError(f"epochs = {epochs} is not allowed: the run has finished {len(self.epochs)}")
        total = Tally()
        for tally in self.epochs[:epochs] if epochs else [*self.epochs, self.under_way()]:
            total.add(tally)
        if not total.samples:
            raise LedgerError("nothing was taught yet, so that there is nothing to bill")
        return total

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs, as arrays and texts: (epochs and the one under way, matrices) for every count of `Meter`."""
        tallies = [*self.epochs, self.under_way()]
        names = list(self._matrices)
        counts = {
            one.name: np.array([[getattr(tally.meters[name], one.name) for name in names] for tally in tallies])
            for one in fields(Meter)
        }
        return {
            "complete": self.complete,
            "matrices": json.dumps(names),
            "samples": np.array([tally.samples for tally in tallies]),
            "batches": np.array([tally.batches for tally in tallies]),
            "counts": counts,
            "paths": json.dumps([tally.path.to_list() for tally in tallies]),
            "work": json.dumps([dict(sorted(tally.work.items())) for tally in tallies]),
        }

    def restore(self, state: dict[str, Any] | None, epochs: int) -> None:
        """Take over what `state` gave after the given number of epochs; None for what an earlier version left.

        Raises
        ------
        StateError
            If it is not what these matrices could have done.
        """
        if state is None:
            self.complete = False
            return
        rows = epochs + 1
        counts = {
            one.name: Shaped(
                (rows, len(self._matrices)), ("float64",) if isinstance(getattr(Meter(), one.name), float) else ("int64",)
            )
            for one in fields(Meter)
        }
        sizes = Shaped((rows,), ("int64",))
        template = {
            "complete": True,
            "matrices": "",
            "samples": sizes,
            "batches": sizes,
            "counts": counts,
            "paths": "",
            "work": "",
        }
        held = fitted(state, template, "ledger")
        names = list(self._matrices)
        if _told(held, "matrices") != names:
            raise StateError(f"ledger/matrices must name the matrices of the network, {', '.join(names)}")
        self.complete, tallies = held["complete"], []
        paths, work = (_told(held, part, rows) for part in ("paths", "work"))
        for row, (path, done) in enumerate(zip(paths, work, strict=True)):
            meters = {
                name: Meter(**{count: values[row, place].item() for count, values in held["counts"].items()})
                for place, name in enumerate(names)
            }
            batch_sizes = int(held["samples"][row]), int(held["batches"][row])
            tallies.append(Tally(*batch_sizes, meters, self._path(path), self._work(done)))
        *self.epochs, last = tallies
        self._samples, self._batches = last.samples, last.batches
        self.recorder.forget()
        self.recorder.add(last.path, last.work)

    def _path(self, listed: Any) -> Path:
        """A path from a file."""
        try:
            path = Path.from_list(listed)
            known = all(
                kind in (KINDS if place else UNPLACED) and (not place or place in self._matrices) and _is_count(amount)
                for (kind, place), amount in path.busy().items()
            )
        except (ValueError, TypeError, RecursionError):
            known = False
        if not known:
            raise StateError("ledger/paths must hold the reads and updates of the matrices of the network")
        return path

    def _work(self, done: Any) -> Counter[str]:
        """Digital work from a file."""
        if not isinstance(done, dict) or not all(kind in OPERATIONS and _is_count(values) for kind, values in done.items()):
            raise StateError(f"ledger/work must hold counts of the operations {', '.join(OPERATIONS)}")
        return Counter(done)


UNPLACED = {SLOTS, OVERLAPPED, *OPERATIONS}
"""Kinds of terms that have no place."""


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _told(held: dict[str, Any], part: str, rows: int | None = None) -> list[Any]:
    """A list that is kept as JSON text, of a length if one is given."""
    try:
        told = json.loads(held[part])
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, list) or (rows is not None and len(told) != rows):
        raise StateError(f"ledger/{part} must be a list{'' if rows is None else f' of {rows}'}, as JSON")
    return told
