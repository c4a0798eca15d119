"""Trains that have been sent to the lines of a matrix, and what all grids of its devices need of them, computed once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Self

import numpy as np
from typing_extensions import override

from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.lines import line_pulses
from analogpc.kernels.pulses.dense_rows import group_slots
from analogpc.kernels.pulses.planes import MAX_BATCH, bit_planes, by_line, count_coincidences, used_slots
from analogpc.kernels.words import SLOTS

_BUSY = 2.5
"""Pulses per device in a batch above which `dense_rows` is faster than `events`."""
_KEPT = 4
"""Number of batches whose planes and lines are kept for further grids."""


class _Sent:
    """Trains of a sequence of products on lines of one kind.

    Parameters
    ----------
    words : (n, lines) uint32 array
    """

    def __init__(self, words: np.ndarray) -> None:
        self.words = words
        self._made: dict[Any, Any] = {}

    def _once(self, start: int, kind: str, make: Callable[[], Any]) -> Any:
        """Return data of the batch that begins with ``start``, made once. They take a multiple of the memory of the trains.

        For long sequences, as in convolutions, they are made anew.
        """
        made = self._made.get((start, kind))
        if made is None:
            made = make()
            if start < _KEPT * MAX_BATCH:
                self._made[start, kind] = made
        return made

    def _take_over(self, other: Self) -> Self:
        """Take over the derived data of other trains of the same contents."""
        self._made = dict(other._made)
        if "used" in other.__dict__:
            self.used = other.used
        return self

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def pulses(self) -> np.ndarray:
        """Number of pulses on every line: (lines,) int64."""
        if len(self) > MAX_BATCH or on_gpu(self.words):
            return line_pulses(self.words)
        return self._lines(0)[1].astype(np.int64)

    @cached_property
    def used(self) -> np.ndarray:
        """Slots in which any line fires in each product, and the sign bit: (n,) uint32."""
        return used_slots(self.words)

    def lines(self, start: int) -> np.ndarray:
        """Return all trains of a batch line by line, (lines, n)."""
        return self._lines(start)[0]

    def _lines(self, start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what `by_line` returns if all slots of a batch are kept."""
        own = slice(start, start + MAX_BATCH)
        return self._once(start, "lines", lambda: by_line(self.words[own], self.used[own]))


class SentColumns(_Sent):
    """Column trains of a sequence of products."""

    _only: tuple[np.ndarray, SentColumns] | None = None

    def only(self, products: np.ndarray) -> SentColumns:
        """Return the columns of some products; the last result is kept, since the grids of a matrix receive the same rows."""
        if self._only is None or not np.array_equal(self._only[0], products):
            self._only = products, SentColumns(self.words[products])
        return self._only[1]

    def planes(self, start: int) -> np.ndarray:
        """Return the `bit_planes` of the products of a batch that begins with ``start``."""
        own = slice(start, start + MAX_BATCH)
        return self._once(start, "planes", lambda: bit_planes(self.words[own], self.used[own]))

    def shares(self, start: int) -> np.ndarray:
        """Return the mean share of columns that fire in the slots used in each product of a batch, (n,)."""
        return self._once(start, "shares", lambda: self._shares(slice(start, start + MAX_BATCH)))

    def _shares(self, batch: slice) -> np.ndarray:
        words, used = self.words[batch], np.bitwise_count(self.used[batch] & SLOTS)
        return np.bitwise_count(words & SLOTS).sum(axis=1) / np.maximum(1.0, used * float(words.shape[1]))


class SentRows(_Sent):
    """Row trains of a sequence of products, with the column trains sent at the same time.

    Parameters
    ----------
    words : (n, rows) uint32 array
    columns : SentColumns
    """

    _only: tuple[np.ndarray, SentRows] | None = None

    def __init__(self, words: np.ndarray, columns: SentColumns) -> None:
        super().__init__(words)
        self.columns = columns

    def copy(self) -> SentRows:
        """Return the same trains, with what has been derived from them."""
        columns = SentColumns(self.columns.words)._take_over(self.columns)
        return SentRows(self.words, columns)._take_over(self)

    def prepare(self) -> None:
        """Compute what every grid of devices needs; within a sequence of calls it is there after them."""
        if len(self) <= MAX_BATCH and not on_gpu(self.words):
            self.meeting(0)
            self.columns.lines(0)
            self.columns.planes(0)

    def coincident(self) -> np.ndarray:
        """Return the numbers of the products in which any row and any column fires."""
        return np.flatnonzero((self.used & SLOTS != 0) & (self.columns.used & SLOTS != 0))

    def only(self, products: np.ndarray) -> SentRows:
        """Return the rows and columns of some products; the last result is kept."""
        if self._only is None or not np.array_equal(self._only[0], products):
            self._only = products, SentRows(self.words[products], self.columns.only(products))
        return self._only[1]

    @cached_property
    @override
    def pulses(self) -> np.ndarray:
        if len(self) > MAX_BATCH or on_gpu(self.words):
            return line_pulses(self.words)
        return self.meeting(0)[1].astype(np.int64)

    def meeting(self, start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what `by_line` returns for a batch if slots are kept in which any column fires."""
        own = slice(start, start + MAX_BATCH)
        return self._once(start, "meeting", lambda: by_line(self.words[own], self.columns.used[own]))

    def coincidences(self, start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what `count_coincidences` returns for a batch."""
        (lines, *_), planes, width = self.meeting(start), self.columns.planes(start), self.columns.words.shape[1]
        return self._once(start, "coincidences", lambda: count_coincidences(lines, planes, width))

    def busy(self, start: int) -> np.ndarray | None:
        """Return the slots of a group of products of a batch for busy rows, 0 for others: (rows,) int64 (see `group_slots`).

        None if no row is busy. The pulses of a row are estimated from its slots and the mean of the columns.
        """
        return self._once(start, "busy", lambda: (self._busy(start),))[0]

    def _busy(self, start: int) -> np.ndarray | None:
        shares = self.columns.shares(start)
        # No row has more pulses than that; the margin is for rounding.
        if line_pulses(self.words[start : start + MAX_BATCH]).max(initial=0) * shares.max(initial=0.0) < 0.999 * _BUSY:
            return None
        slots = np.bitwise_count(self.lines(start) & SLOTS)
        pulses = slots @ shares
        return np.where(pulses > _BUSY, group_slots(pulses, slots.sum(axis=1)), 0)
