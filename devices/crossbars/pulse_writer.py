"""Pulse writer of a matrix: converts products to pulse trains on its lines, and counts to pulses of single devices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from analogpc.devices.arrays.cells import Cells
from analogpc.devices.costs.meter import Meter, count
from analogpc.devices.costs.paths import SLOTS
from analogpc.devices.costs.schedule import note
from analogpc.devices.crossbars.update_repetition import Sending, UpdateRepeater
from analogpc.devices.protocols import PulsedLegs
from analogpc.devices.schemes.deterministic_trains import by_direction, deterministic_trains
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.pulses.planes import MAX_BATCH
from analogpc.kernels.pulses.sent import SentColumns, SentRows
from analogpc.kernels.pulses.trains import trains
from analogpc.kernels.random.streams import Key, steps_of
from analogpc.kernels.threads import in_sequence, thread_count

_Given = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Values of the rows and of the columns, their probabilities per unit, and the lengths of the trains."""
_REPEATED = 2**20
"""Largest number of weights whose updates are repeated from recordings, which keep a megabyte and more."""


class PulseWriter:
    """Send pulses to the devices of a matrix, and to the extra cells of its update scheme.

    Parameters
    ----------
    cells : Cells
        The devices of the weights.
    extra : dict of Cells
        Extra cells that the update scheme keeps besides the weights.
    key : Key
        Random stream of the updates.

    Attributes
    ----------
    products_done : int
        Number of rank-one products applied from that stream so far.
    """

    def __init__(self, cells: Cells, extra: Mapping[str, Cells], key: Key) -> None:
        self._cells, self._extra = cells, extra
        self.key, self.products_done = key, 0
        self._repeater = UpdateRepeater()

    @property
    def recordings(self) -> int:
        """Number of recordings from which updates are repeated."""
        return self._repeater.recordings

    def pulse(
        self,
        meter: Meter,
        inputs: slice,
        pre: np.ndarray,
        post: np.ndarray,
        gain_pre: np.ndarray,
        gain_post: np.ndarray,
        length: np.ndarray,
        cells: str | None,
        deterministic: bool,
        separate: bool,
        legs: PulsedLegs,
    ) -> None:
        """Apply n rank-one products, one after the other, by pulse trains; see `CrossbarMatrix.pulse`."""
        grid = self._cells if cells is None else self._extra[cells]
        n_in = grid.shape[0]
        first = self.products_done
        self.products_done += len(pre)
        driven = pre
        if pre.shape[1] != n_in:
            driven = np.zeros((len(pre), n_in), pre.dtype, like=pre)
            driven[:, inputs] = pre
        key, member = self.key if cells is None else self.key.fold(cells), self.key.fold("member")
        given = driven, post, gain_pre, gain_post, length
        if separate:
            words, over = _drawn(given, deterministic, key, first)
            sendings = [Sending(_prepared(*part), over, {}) for part in by_direction(*words)]
        else:
            sendings = [self._send(grid, given, deterministic, key, member, first, legs)]
        clipped = sendings[0].clipped
        count(meter, clipped_probabilities=sum(one.sum() for one in clipped), pulse_slots=length.sum() * len(sendings))
        for turn, sending in enumerate(sendings):
            noise = partial((key.fold("pass", turn) if separate else key).fold, "cycle")
            grid.pulse(meter, inputs, sending.sent, member, noise, first, legs, sending.moved)
        note(SLOTS, None, length.sum() * len(sendings))

    def _send(
        self, grid: Cells, given: _Given, deterministic: bool, key: Key, member: Key, first: int, legs: PulsedLegs
    ) -> Sending:
        """Draw trains, and begin to move devices, if that takes a few compiled calls only."""
        pre, post, *_ = given
        numbers = () if len(pre) > MAX_BATCH or on_gpu(pre) else grid.movable(member, legs)
        if not numbers:
            with in_sequence():
                words, clipped = _drawn(given, deterministic, key, first)
                return Sending(_prepared(*words), clipped, {})
        steps = steps_of(first, len(pre))

        def work() -> Sending:
            with in_sequence():
                words, clipped = _drawn(given, deterministic, key, steps)
                sent = _prepared(*words)
                return Sending(sent, clipped, grid.move_constant(sent, partial(key.fold, "cycle"), steps, numbers))

        if deterministic or math.prod(grid.shape) > _REPEATED:
            return work()
        kind = numbers, key.value, thread_count(), pre.shape, post.shape, pre.dtype, post.dtype
        return self._repeater.run(kind, work, [*given, steps, *grid.pulse_arrays(numbers)])

    def pulse_each(self, meter: Meter, counts: np.ndarray, key: Key, step: int, cells: str | None) -> None:
        """Send the devices of every weight their own number of pulses; see `CrossbarMatrix.pulse_each`."""
        grid = self._cells if cells is None else self._extra[cells]
        slots = np.maximum(counts.max(axis=1), 0).sum() - np.minimum(counts.min(axis=1), 0).sum()
        note(SLOTS, None, grid.pulse_each(meter, counts, key, step))
        count(meter, pulse_slots=slots)


def _prepared(rows: np.ndarray, columns: np.ndarray) -> SentRows:
    sent = SentRows(rows, SentColumns(columns))
    sent.prepare()
    return sent


def _drawn(given: _Given, deterministic: bool, key: Key, first: Any) -> tuple[tuple[np.ndarray, np.ndarray], list[np.ndarray]]:
    """Return the trains of rows and columns, and arrays whose sum is the number of clipped probabilities."""
    pre, post, gain_pre, gain_post, length = given
    if deterministic:
        rows, clipped_rows = deterministic_trains(pre, gain_pre, length, "first")
        columns, clipped_columns = deterministic_trains(post, gain_post, length, "spread")
    else:
        rows, clipped_rows = trains(pre, gain_pre, length, key.fold("rows"), first)
        columns, clipped_columns = trains(post, gain_post, length, key.fold("columns"), first)
    return (rows, columns), [clipped_rows, clipped_columns]
