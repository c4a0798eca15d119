"""Pulse writer of a matrix: converts products to pulse trains on its lines, and counts to pulses of single devices."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from analogpc.devices.arrays.cells import Cells
from analogpc.devices.costs.meter import Meter, count
from analogpc.devices.costs.paths import SLOTS
from analogpc.devices.costs.schedule import note
from analogpc.devices.protocols import PulsedLegs
from analogpc.devices.schemes.deterministic_trains import by_direction, deterministic_trains
from analogpc.kernels.pulses.sent import SentColumns, SentRows
from analogpc.kernels.pulses.trains import trains
from analogpc.kernels.random.streams import Key
from analogpc.kernels.threads import in_sequence


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
        key = self.key if cells is None else self.key.fold(cells)
        with in_sequence():
            if deterministic:
                rows, clipped_rows = deterministic_trains(driven, gain_pre, length, "first")
                columns, clipped_columns = deterministic_trains(post, gain_post, length, "spread")
            else:
                rows, clipped_rows = trains(driven, gain_pre, length, key.fold("rows"), first)
                columns, clipped_columns = trains(post, gain_post, length, key.fold("columns"), first)
            passes = [] if separate else [_sent(rows, columns)]
        if separate:
            passes = [_sent(*sent) for sent in by_direction(rows, columns)]
        clipped = clipped_rows.sum() + clipped_columns.sum()
        count(meter, clipped_probabilities=clipped, pulse_slots=length.sum() * len(passes))
        for turn, sent in enumerate(passes):
            part = key.fold("pass", turn) if separate else key
            grid.pulse(meter, inputs, sent, self.key.fold("member"), partial(part.fold, "cycle"), first, legs)
        note(SLOTS, None, length.sum() * len(passes))

    def pulse_each(self, meter: Meter, counts: np.ndarray, key: Key, step: int, cells: str | None) -> None:
        """Send the devices of every weight their own number of pulses; see `CrossbarMatrix.pulse_each`."""
        grid = self._cells if cells is None else self._extra[cells]
        slots = np.maximum(counts.max(axis=1), 0).sum() - np.minimum(counts.min(axis=1), 0).sum()
        note(SLOTS, None, grid.pulse_each(meter, counts, key, step))
        count(meter, pulse_slots=slots)


def _sent(rows: np.ndarray, columns: np.ndarray) -> SentRows:
    sent = SentRows(rows, SentColumns(columns))
    sent.prepare()
    return sent
