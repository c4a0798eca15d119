"""Callbacks: user code at the end of the batches and epochs of a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from typing_extensions import override

from analogpc.kernels.checks import several
from analogpc.kernels.random.streams import Key
from analogpc.training.position import ResumeError

if TYPE_CHECKING:
    from analogpc.training.run import Run


class Callback:
    """Base class of callbacks; override the methods you need. A plain function ``f(run)`` is called at the end of every epoch.

    Network reads within a callback draw noise from a separate stream and are not counted, so they do not affect the run. A
    callback that changes weights, devices or the optimiser state is detected, and its name is kept in the run file: pass it
    again to resume bit-identically.

    Attributes
    ----------
    name : str
        Name in files and messages; by default the class name.
    reads_only : bool
        True skips the comparison of all weights before and after each call.
    """

    reads_only: bool = False

    @property
    def name(self) -> str:
        """Name of the callback in files and messages."""
        return type(self).__name__

    def on_batch_end(self, run: Run) -> None:
        """Called after every batch; ``run.position`` is the current position."""

    def on_epoch_end(self, run: Run) -> None:
        """Called after every epoch; its results are the last entries of ``run.history``. ``run.stop(reason)`` ends the run."""

    def state(self) -> dict[str, Any]:
        """Return the state for `restore` (numbers, strings, lists and dictionaries of them), kept in the run file."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned when the run was saved."""


class _Function(Callback):
    """A function ``(run) -> None`` called at the end of every epoch."""

    def __init__(self, function: Callable[[Run], Any]) -> None:
        self._function = function

    @property
    def name(self) -> str:
        return getattr(self._function, "__name__", type(self._function).__name__).strip("<>")

    def on_epoch_end(self, run: Run) -> None:
        self._function(run)


class Record(Callback):
    """Record a function ``(run) -> number or array of fixed shape`` in the history after every epoch.

    Parameters
    ----------
    name : str
        Name of the history column.
    function : callable
    """

    def __init__(self, name: str, function: Callable[[Run], Any]) -> None:
        self._column, self._function = name, function

    @property
    @override
    def name(self) -> str:
        return f"Record {self._column}"

    @override
    def on_epoch_end(self, run: Run) -> None:
        done = len(run.history["epoch"])
        column = run.history.setdefault(self._column, [])
        if len(column) >= done:
            raise ValueError(f"the history has a column '{self._column}' already")
        value = np.asarray(self._function(run)).tolist()
        # Pad a column that starts late to the length of the others.
        column += [np.full(np.shape(value), np.nan).tolist()] * (done - 1 - len(column)) + [value]


class Save(Callback):
    """Save the run every ``every`` epochs or batches, each time to a new file.

    Parameters
    ----------
    path : str
        File name with {epoch} and optionally {batch}, as in "run-{epoch}.h5"; without them, the file is replaced each time.
    every : int
    unit : "epochs" or "batches"
    """

    reads_only = True

    def __init__(self, path: str | Path, every: int = 1, unit: Literal["epochs", "batches"] = "epochs") -> None:
        if every < 1:
            raise ValueError(f"every = {every} is not allowed: it is a number of {unit}, from 1")
        if unit not in ("epochs", "batches"):
            raise ValueError(f"unit = {unit!r} is not allowed: it is epochs or batches")
        self._path, self._every, self._unit = str(path), every, unit

    def _save(self, run: Run) -> None:
        run.save(self._path.format(epoch=run.position.epoch, batch=run.position.batch))

    @override
    def on_batch_end(self, run: Run) -> None:
        if self._unit == "batches" and run.position.batch % self._every == 0:
            self._save(run)

    @override
    def on_epoch_end(self, run: Run) -> None:
        if self._unit == "epochs" and run.position.epoch % self._every == 0:
            self._save(run)


class Callbacks:
    """The active callbacks of a run.

    Parameters
    ----------
    given : sequence of Callback or functions
    kept : dict of str
        The saved result of `states`, for these callbacks and for those of later parts of the run.
    """

    def __init__(self, given: Sequence[Any] = (), kept: dict[str, str] | None = None) -> None:
        self._kept = dict(kept or {})
        self.all = [self._as_callback(one) for one in several(given)]
        names = [one.name for one in self.all]
        if len(set(names)) != len(names):
            raise ValueError(f"two callbacks have the name '{max(names, key=names.count)}'; give one of them another name")
        for one in self.all:
            if one.name in self._kept:
                one.restore(json.loads(self._kept[one.name]))

    def resumed(self, given: Sequence[Any] | None, changed_by: Sequence[str]) -> Callbacks:
        """Return the callbacks of the next part of a run, with the states of this part.

        Parameters
        ----------
        given : sequence of Callback or functions, or None
        changed_by : sequence of str
            Names of callbacks that have changed the run.

        Raises
        ------
        ResumeError
            If one of ``changed_by`` is missing and ``given`` is None.
        """
        made = Callbacks(given or (), self.states())
        missing = set(changed_by) - {one.name for one in made.all}
        if given is None and missing:
            raise ResumeError(
                f"the callback '{min(missing)}' changed this run: pass it again, as in run.train(callbacks=[...]), to resume "
                "bit-identically, or pass callbacks=[] to resume without it"
            )
        return made

    @staticmethod
    def _as_callback(given: Any) -> Callback:
        if isinstance(given, type) and issubclass(given, Callback):
            given = given()
        if isinstance(given, Callback):
            return given
        if callable(given):
            return _Function(given)
        raise ValueError(f"callbacks are functions of the run or instances of Callback, not {type(given).__name__}")

    @property
    def batchwise(self) -> list[Callback]:
        """Callbacks that override `Callback.on_batch_end`."""
        return [one for one in self.all if type(one).on_batch_end is not Callback.on_batch_end]

    def batch_end(self, run: Run) -> None:
        """Call the batch callbacks."""
        self._call(run, self.batchwise, "on_batch_end", "batch")

    def epoch_end(self, run: Run) -> None:
        """Call the epoch callbacks."""
        self._call(run, self.all, "on_epoch_end", "epoch")

    def _call(self, run: Run, callbacks: Iterable[Callback], method: str, unit: str) -> None:
        key = Key(run.study.seed).fold("callbacks", unit, run.position.epoch, run.position.batch)
        for one in callbacks:
            before = None if one.reads_only else _digest(run)
            with run.network.isolated_reads(key.fold(one.name)):
                getattr(one, method)(run)
            if before is not None and one.name not in run.changed_by and _digest(run) != before:
                run.changed_by.append(one.name)

    def states(self) -> dict[str, str]:
        """Return the states to save, by name, as JSON strings."""
        now = {one.name: one.state() for one in self.all}
        return self._kept | {name: json.dumps(state) for name, state in now.items() if state}


def _digest(run: Run) -> bytes:
    """Return a digest of all state that later batches depend on, without counters."""
    digest = hashlib.blake2b()

    def visit(value: Any) -> None:
        if isinstance(value, dict):
            for name in sorted(value):
                if name != "meter":
                    digest.update(name.encode())
                    visit(value[name])
        elif hasattr(value, "dtype"):
            digest.update(np.ascontiguousarray(value).tobytes())
        else:
            digest.update(repr(value).encode())

    visit(run.network.held())
    visit(run.optimiser_state())
    return digest.digest()
