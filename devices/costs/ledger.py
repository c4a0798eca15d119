"""Record of the operations of a run by epoch, which any technology can price later: counts, paths and digital work."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from analogpc.devices.costs.meter import Meter
from analogpc.devices.costs.operations import OPERATIONS
from analogpc.devices.costs.paths import KINDS, OVERLAPPED, SLOTS, Path
from analogpc.devices.costs.schedule import Recorder
from analogpc.devices.state import Shaped, StateError, fitted

if TYPE_CHECKING:
    from analogpc.devices.costs.digital import Metered


class LedgerError(ValueError):
    """There is nothing to bill; the message gives the reason."""


@dataclass
class Tally:
    """Operations of the training on some batches.

    Attributes
    ----------
    samples, batches : int
    meters : dict of Meter by name of the matrix
    path : Path
        Order of the operations.
    work : Counter of str
        Number of values of states and errors that each digital operation processed; the kinds are those of `costs.operations`.
    """

    samples: int = 0
    batches: int = 0
    meters: dict[str, Meter] = field(default_factory=dict)
    path: Path = field(default_factory=Path)
    work: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Add another tally."""
        self.samples += other.samples
        self.batches += other.batches
        for name, meter in other.meters.items():
            self.meters.setdefault(name, Meter()).add(meter)
        self.path.add(other.path)
        self.work.update(other.work)


class Ledger:
    """Tallies of the finished epochs of a run, and of the present epoch.

    Parameters
    ----------
    matrices : dict of Matrix by name
        Matrices whose meters count.

    Attributes
    ----------
    epochs : list of Tally
        Tallies of the finished epochs.
    recorder : Recorder
        Recorder of the present epoch.
    complete : bool
        Whether the record starts at the first batch: False for runs started by an earlier version without a record.
    """

    def __init__(self, matrices: Mapping[str, Metered]) -> None:
        self._matrices = matrices
        self.epochs: list[Tally] = []
        self._samples, self._batches, self.complete = 0, 0, True
        self.recorder = Recorder({id(matrix): name for name, matrix in matrices.items()})

    def batch(self, samples: int) -> None:
        """Record the training on a batch with the given number of samples."""
        self._samples += samples
        self._batches += 1

    def under_way(self) -> Tally:
        """Return the tally since the end of the last epoch."""
        meters = {}
        for name, matrix in self._matrices.items():
            now = matrix.meter.as_dict()
            for tally in self.epochs:
                for count, before in tally.meters[name].as_dict().items():
                    now[count] -= before
            meters[name] = Meter(**now)
        return Tally(self._samples, self._batches, meters, self.recorder.whole(), Counter(self.recorder.work))

    def close_epoch(self) -> None:
        """Finish the present epoch."""
        self.epochs.append(self.under_way())
        self._samples = self._batches = 0
        self.recorder.forget()

    def total(self, epochs: int | None = None) -> Tally:
        """Return the sum of the first epochs, or of everything.

        Raises
        ------
        LedgerError
            If nothing was recorded, the record is incomplete, or the run has fewer epochs.
        """
        if not self.complete:
            raise LedgerError(
                "the run was begun by a version that did not record the order of operations, so it cannot be billed: train it again"
            )
        if epochs is not None and not 1 <= epochs <= len(self.epochs):
            raise LedgerError(f"epochs = {epochs} is not allowed: the run has finished {len(self.epochs)}")
        total = Tally()
        for tally in self.epochs[:epochs] if epochs else [*self.epochs, self.under_way()]:
            total.add(tally)
        if not total.samples:
            raise LedgerError("the run has not trained on any batch yet, so there is nothing to bill")
        return total

    def state(self) -> dict[str, Any]:
        """Return all data for `restore`, as arrays and texts: (epochs and the present one, matrices) for every count of `Meter`."""
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
        """Restore the result of `state` after the given number of epochs; None for files of an earlier version.

        Raises
        ------
        StateError
            If these matrices could not have produced it.
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
        """Read a path from a file."""
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
        """Read digital work from a file."""
        if not isinstance(done, dict) or not all(kind in OPERATIONS and _is_count(values) for kind, values in done.items()):
            raise StateError(f"ledger/work must hold counts of the operations {', '.join(OPERATIONS)}")
        return Counter(done)


UNPLACED = {SLOTS, OVERLAPPED, *OPERATIONS}
"""Kinds of terms without a place."""


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _told(held: dict[str, Any], part: str, rows: int | None = None) -> list[Any]:
    """Return a list stored as JSON text, checking its length if one is given."""
    try:
        parsed = json.loads(held[part])
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, list) or (rows is not None and len(parsed) != rows):
        raise StateError(f"ledger/{part} must be a list{'' if rows is None else f' of {rows}'}, as JSON")
    return parsed
