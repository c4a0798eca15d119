"""Batches of pulsed rank-one updates, by shortcuts where they are valid and pulse by pulse otherwise."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import numpy as np

from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.lines import line_pulses
from analogpc.kernels.pulses import constant_steps as pulse_constant
from analogpc.kernels.pulses import dense_rows as pulse_rows
from analogpc.kernels.pulses import events as pulse_events
from analogpc.kernels.pulses.constant_steps import apply_constant
from analogpc.kernels.pulses.dense_rows import busy_rows
from analogpc.kernels.pulses.events import events
from analogpc.kernels.pulses.planes import MAX_BATCH, STRIP, bit_planes, count_coincidences, used_slots
from analogpc.kernels.pulses.updates import COMPOSITE, LINEAR, PARAMETERS, Law, apply_pulses
from analogpc.kernels.random.streams import Key
from analogpc.kernels.sharing import over_ranges
from analogpc.kernels.words import SIGN, SLOTS

_BUSY = 2.5
"""Pulses per device in a batch above which `pulse_rows` is faster than `pulse_events`."""
_KEPT = 4
"""Number of batches whose planes and lines are kept for further grids."""
_FIRST_THEN_ALL = slice(1), slice(None)
_SPARSE = 0.5
"""Share of the products with coincidences up to which the others are left out."""


class _Sent:
    """Trains of a sequence of products on lines of one kind, with data derived from them once for all grids of devices.

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

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def used(self) -> np.ndarray:
        """Slots in which any line fires in each product, and the sign bit: (n,) uint32."""
        return used_slots(self.words)


class SentColumns(_Sent):
    """Column trains of a sequence of products; see `_Sent`."""

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

    def lines(self, start: int) -> np.ndarray:
        """Return the trains of a batch line by line, (columns, n)."""
        return self._once(start, "lines", lambda: np.ascontiguousarray(self.words[start : start + MAX_BATCH].T))

    def shares(self, start: int) -> np.ndarray:
        """Return the mean share of columns that fire in the slots used in each product of a batch, (n,)."""
        return self._once(start, "shares", lambda: self._shares(slice(start, start + MAX_BATCH)))

    def _shares(self, batch: slice) -> np.ndarray:
        words, used = self.words[batch], np.bitwise_count(self.used[batch] & SLOTS)
        return np.bitwise_count(words & SLOTS).sum(axis=1) / np.maximum(1.0, used * float(words.shape[1]))


class SentRows(_Sent):
    """Row trains of a sequence of products; see `_Sent`.

    Parameters
    ----------
    words : (n, rows) uint32 array
    """

    _only: tuple[np.ndarray, SentRows] | None = None

    def coincident(self, columns: SentColumns) -> np.ndarray:
        """Return the numbers of the products in which any row and any column fires."""
        return np.flatnonzero((self.used & SLOTS != 0) & (columns.used & SLOTS != 0))

    def only(self, products: np.ndarray) -> SentRows:
        """Return the rows of some products; the last result is kept."""
        if self._only is None or not np.array_equal(self._only[0], products):
            self._only = products, SentRows(self.words[products])
        return self._only[1]

    def meeting(self, start: int, columns: SentColumns) -> tuple[np.ndarray, np.ndarray]:
        """Return the trains of a batch without slots in which no column fires, (n, rows), and the number of slots left, (rows,) int64."""
        return self._once(start, "meeting", lambda: self._meeting(slice(start, start + MAX_BATCH), columns))

    def _meeting(self, batch: slice, columns: SentColumns) -> tuple[np.ndarray, np.ndarray]:
        words = self.words[batch] & columns.used[batch, None]
        return words, line_pulses(words)

    def meeting_lines(self, start: int, columns: SentColumns) -> np.ndarray:
        """Return the trains of `meeting` line by line, (rows, n)."""
        return self._once(start, "meeting lines", lambda: np.ascontiguousarray(self.meeting(start, columns)[0].T))

    def coincidences(self, start: int, columns: SentColumns) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what `count_coincidences` returns for a batch."""
        lines, planes, width = self.meeting_lines(start, columns), columns.planes(start), columns.words.shape[1]
        return self._once(start, "coincidences", lambda: count_coincidences(lines, planes, width))

    def lines(self, start: int) -> np.ndarray:
        """Return all trains of a batch line by line, (rows, n)."""
        return self._once(start, "lines", lambda: np.ascontiguousarray(self.words[start : start + MAX_BATCH].T))

    def busy(self, start: int, columns: SentColumns) -> np.ndarray | None:
        """Return the slots of a group of products of a batch for busy rows, 0 for others: (rows,) int64 (see `pulse_rows.group_slots`).

        None if no row is busy. The pulses of a row are estimated from its slots and the mean of the columns.
        """
        return self._once(start, "busy", lambda: (self._busy(start, columns),))[0]

    def _busy(self, start: int, columns: SentColumns) -> np.ndarray | None:
        shares = columns.shares(start)
        # No row has more pulses than that; the margin is for rounding.
        if line_pulses(self.words[start : start + MAX_BATCH]).max(initial=0) * shares.max(initial=0.0) < 0.999 * _BUSY:
            return None
        slots = np.bitwise_count(self.lines(start) & SLOTS)
        pulses = slots @ shares
        return np.where(pulses > _BUSY, pulse_rows.group_slots(pulses, slots.sum(axis=1)), 0)


def _by_strips(kernel: Callable[..., Any], height: int, room: Callable[[], Any], *arguments: Any) -> None:
    """Call ``kernel(first, stop, room(), *arguments)`` for parts of the rows 0 to ``height``, each with its own working space."""
    over_ranges(kernel, height, STRIP, room, arguments)


def _apply_busy(
    state: np.ndarray, given: tuple[Any, ...], noise: int, group: np.ndarray, fired: np.ndarray, found: np.ndarray | None
) -> None:
    """Apply a batch to the busy rows, those with a nonzero ``group`` (see `SentRows.busy`); set their ``fired`` and ``found``."""
    height, width = state.shape
    blocks, busy = np.zeros((height, -(-width // pulse_rows.COLUMNS)), np.int64), group > 0
    found_there = np.zeros(blocks.shape if found is not None else (0, 0))
    room = partial(pulse_rows.room, state.dtype)
    _by_strips(busy_rows(noise), blocks.size, room, state, *given, blocks, group, found_there)
    fired[busy] = blocks.sum(axis=1)[busy]
    if found is not None:
        found[busy] = found_there.sum(axis=1)[busy]


def apply_batch(
    state: np.ndarray,
    rows: np.ndarray | SentRows,
    columns: np.ndarray | SentColumns,
    parameters: dict[str, np.ndarray],
    law: Law,
    one_sided: bool,
    key: Key,
    first_step: int,
    received: Any,
    found: np.ndarray | None = None,
    turned: bool = False,
) -> int:
    """Apply coincident pulses to devices, equal in distribution to `pulses.apply_pulses` and several times as fast.

    Parameters and result are those of `pulses.apply_pulses`; trains that other grids receive, too, may be `SentRows` and `SentColumns`,
    which remember what follows from them; such rows are always given with the same columns. With ``turned`` all directions are inverted,
    as for the second device of a pair. ``received`` may be None if the pulses of single devices are of no interest, in main memory.
    ``found`` (rows,) float64 is set to the sum over a row of the states before the pulses, each times ``received``, which must be zero
    before the call; it is supported for at most `MAX_BATCH` products, in main memory. Which pulses fall is bit-identical, and so are the
    number of pulses, ``received``, and every state, except for the noise of three shortcuts:

    - Devices of constant step (`pulse_constant`): one draw for up to 256 products, as long as no bound can be reached.
    - Linear law in busy rows (`pulse_rows`), of a few pulses per device: one draw for a group of products, under the same condition.
    - Linear law with additive noise in other rows (`pulse_events`): one draw for all pulses of a device in one product, likewise.

    Each replaces a sequence of independent normal numbers by one number with the distribution of their result, device by device, where
    no clipping can occur (in busy rows: with a probability below one step of a draw); their modules give the reasons. All other devices
    and laws get states bit-identical to `pulses.apply_pulses` (rows of constant step and busy rows without noise: up to rounding).
    Nothing depends on the number of threads. With the first two shortcuts the noise depends on the partition of a sequence of products
    into calls, and the second is selected by the density of all trains of a call; the distribution does not depend on either.

    Products without any coincidence are left out first if there are more than `MAX_BATCH` products and these are the majority, as in
    convolutions, where every position of an image is a product.

    On the GPU no shortcut is used: each device has a thread, and all states are bit-identical to `pulses.apply_pulses`.
    """
    rows = rows if isinstance(rows, SentRows) else SentRows(rows)
    columns = columns if isinstance(columns, SentColumns) else SentColumns(columns)
    if on_gpu(state):
        sent = rows.words ^ SIGN if turned else rows.words
        return apply_pulses(state, sent, columns.words, parameters, law, one_sided, key, first_step, received)
    n, turn = len(rows), SIGN if turned else np.uint32(0)
    steps = np.uint64(first_step) + np.arange(n, dtype=np.uint64)
    if n > MAX_BATCH:
        products = rows.coincident(columns)
        if len(products) <= _SPARSE * n:
            rows, columns, steps, n = rows.only(products), columns.only(products), steps[products], len(products)
    arrays = [parameters[name] for name in PARAMETERS]
    numbers = law.numbers(state.dtype)
    spread = numbers[1]
    steady = law.law == LINEAR and law.noise != COMPOSITE
    pulses = 0
    # A row has constant steps if all its devices do; the first device often decides, and the first row for all rows.
    shapes = parameters["shape_up"], parameters["shape_down"]
    some_constant = steady and any(not np.logical_or(*(shape[own, :1] for shape in shapes)).all() for own in _FIRST_THEN_ALL)
    height, width = state.shape
    for start in range(0, n, MAX_BATCH):
        meeting, slots = rows.meeting(start, columns)
        stream = *key.words, steps[start : start + MAX_BATCH]
        # Rows that have no slot in common with a column receive no pulse.
        planes, fired = columns.planes(start), np.where(slots > 0, np.int64(-1), np.int64(0))
        sums = np.empty(0) if found is None else found
        if found is not None:
            found.fill(0.0)
        if some_constant:
            lines = rows.meeting_lines(start, columns), columns.lines(start)
            counted = rows.coincidences(start, columns)
            grid = np.empty((0, width), np.int32) if received is None else received
            given = state, *lines, *counted, turn, one_sided, *arrays, spread, *stream, grid, fired, sums
            _by_strips(apply_constant, height, partial(pulse_constant.room, width, state.dtype), *given)
        others = fired < 0
        if not others.any():
            pulses += int(fired.sum())
            continue
        received = np.zeros(state.shape, np.int32) if received is None else received
        group = rows.busy(start, columns) if steady else None
        busy = others & (group > 0) if group is not None else others & False
        if group is not None and busy.any():
            trains = rows.lines(start) ^ turn, columns.words[start : start + MAX_BATCH], columns.used[start : start + MAX_BATCH]
            given = (*trains, planes, one_sided, *arrays, spread, *stream, received)
            _apply_busy(state, given, law.noise, np.where(busy, group, 0), fired, found)
        if (others & ~busy).any():
            words = meeting ^ turn, columns.words[start : start + MAX_BATCH]
            given = state, *words, planes, one_sided, *arrays, *numbers, *stream, received, fired, sums
            _by_strips(events(law.law, law.noise), height, partial(pulse_events.room, width, state.dtype), *given)
        pulses += int(fired.sum())
    return pulses
