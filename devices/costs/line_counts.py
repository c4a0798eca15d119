"""Counts of pulses on the lines of a grid of devices, in addition to the pulses that devices receive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from analogpc.devices.costs.meter import Meter, count
from analogpc.kernels.gpu.arrays import to_host
from analogpc.kernels.lines import half_selected, line_total, weighted_count


class CountedArray(Protocol):
    """A grid of devices (rows, columns) on lines."""

    state: np.ndarray

    def line_siemens(self, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the summed conductance of all devices on each line, tile by tile, in siemens."""

    def conductance(self) -> np.ndarray:
        """Return the conductances that a read finds, in siemens."""


def count_trains(
    meter: Meter, array: CountedArray, tile: tuple[int, int], tops: range, on_rows: np.ndarray, on_columns: np.ndarray
) -> None:
    """Count pulse trains on all lines of some rows of tiles, before they are sent.

    Parameters
    ----------
    meter : Meter
    array : CountedArray
    Lines of one physical array.
        Numbers of lines of one physical array.
    tops : range of int
        Indices of the rows of tiles whose bit lines are driven; word lines of others carry no pulse.
    on_rows, on_columns : (lines,) int64 arrays
        Numbers of pulses (see `kernels.lines.line_pulses`).
    """
    along, across = array.line_siemens(*tile)
    part = across[tops.start : tops.stop]
    siemens = half_selected(along, part, on_rows, on_columns)
    beside, below = along.shape[1], len(part)
    count(meter, row_pulses=on_rows.sum() * beside, column_pulses=on_columns.sum() * below, half_selected_siemens=siemens)


def count_each(meter: Meter, array: CountedArray, tile: tuple[int, int], counts: np.ndarray) -> Any:
    """Count pulses sent to individual weights, by word lines, first upwards, then downwards; all arrays work in parallel.

    Parameters
    ----------
    counts : (rows, columns) int32 array
        Pulses of every device; negative counts are downward pulses.

    Returns
    -------
    int
        Time slots of the array that needs most of them; on a GPU, a 0-d device array.
    """
    along, across = array.line_siemens(*tile)
    sizes = np.abs(counts)
    tops, lefts = range(0, counts.shape[0], tile[0]), range(0, counts.shape[1], tile[1])
    per_tile = []
    for number, left in enumerate(lefts):
        part = counts[:, left : left + tile[1]]
        slots = np.maximum(part.max(axis=1), 0) - np.minimum(part.min(axis=1), 0)
        per_tile += [slots[top : top + tile[0]].sum() for top in tops]
        heated = line_total(slots, along[:, number])
        count(meter, row_pulses=slots.sum(), half_selected_siemens=heated)
    for number, top in enumerate(tops):
        per_column = sizes[top : top + tile[0]].sum(axis=0)
        count(meter, column_pulses=per_column.sum(), half_selected_siemens=line_total(per_column, across[number]))
    return np.stack(per_tile).max()


def count_sensed(meter: Meter, arrays: Sequence[CountedArray], tile: tuple[int, int], where: np.ndarray | None = None) -> int:
    """Count reads of single devices, all or those at ``where`` (rows, columns) bool, one word line after the other.

    Returns
    -------
    int
        Number of word lines of the array that reads most of them; with ``where``, this synchronises with the GPU.
    """
    lines = min(arrays[0].state.shape[0], tile[0])
    if where is not None:
        some = to_host(where.any(axis=1))
        lines = max(int(some[top : top + tile[0]].sum()) for top in range(0, len(some), tile[0]))
    for array in arrays:
        siemens = array.line_siemens(*tile)[0].sum() if where is None else weighted_count(where, array.conductance())
        count(meter, device_reads=array.state.size if where is None else where.sum(), read_siemens=siemens)
    return lines
