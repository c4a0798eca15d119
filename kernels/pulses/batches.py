"""Batches of pulsed rank-one updates, by shortcuts where they are valid and pulse by pulse otherwise."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.pulses import constant_steps as pulse_constant
from analogpc.kernels.pulses import dense_rows as pulse_rows
from analogpc.kernels.pulses import events as pulse_events
from analogpc.kernels.pulses.constant_steps import apply_constant
from analogpc.kernels.pulses.dense_rows import busy_rows
from analogpc.kernels.pulses.events import events
from analogpc.kernels.pulses.planes import MAX_BATCH, STRIP, bit_planes
from analogpc.kernels.pulses.updates import COMPOSITE, LINEAR, PARAMETERS, Law, apply_pulses
from analogpc.kernels.random.streams import Key
from analogpc.kernels.threads import distribute
from analogpc.kernels.words import SLOTS

_BUSY = 2.5
"""Pulses per device in a batch above which `pulse_rows` is faster than `pulse_events`."""
_KEPT = 4
"""Number of batches of columns whose planes are kept for further grids."""
_SPARSE = 0.5
"""Share of the products with coincidences up to which the others are left out."""


@compiled(allocates=True)
def _products_that_fire(words):
    """Return in which products any line fires, (n,) bool, from ``words`` (n, lines)."""
    fires = np.empty(len(words), np.bool_)
    for b in range(len(words)):
        slots = np.uint32(0)
        for j in range(words.shape[1]):
            slots |= words[b, j]
        fires[b] = slots & SLOTS != 0
    return fires


def _busy(row_lines: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the slots of a group of products for busy rows, 0 for others: (rows,) int64 (see `pulse_rows.group_slots`).

    The pulses of a row are estimated from the slots of ``row_lines`` (rows, n) and the mean of ``columns`` (n, columns).
    """
    row_slots, slots = np.bitwise_count(row_lines & SLOTS), columns & SLOTS
    used = np.bitwise_count(np.bitwise_or.reduce(slots, axis=1))
    share = np.bitwise_count(slots).sum(axis=1) / np.maximum(1.0, used * float(columns.shape[1]))
    pulses = row_slots @ share
    return np.where(pulses > _BUSY, pulse_rows.group_slots(pulses, row_slots.sum(axis=1)), 0)


class SentColumns:
    """Column trains of a sequence of products, with data derived from them once for all grids of devices that they reach.

    Parameters
    ----------
    words : (n, columns) uint32 array
    """

    def __init__(self, words: np.ndarray) -> None:
        self.words = words
        self._planes: dict[int, np.ndarray] = {}
        self._fires: np.ndarray | None = None
        self._only: tuple[np.ndarray, SentColumns] | None = None

    def coincident(self, rows: np.ndarray) -> np.ndarray:
        """Return the numbers of the products in which any row and any column fires."""
        if self._fires is None:
            self._fires = _products_that_fire(self.words)
        return np.flatnonzero(_products_that_fire(rows) & self._fires)

    def only(self, products: np.ndarray) -> SentColumns:
        """Return the columns of some products; the last result is kept, since the grids of a matrix receive the same rows."""
        if self._only is None or not np.array_equal(self._only[0], products):
            self._only = products, SentColumns(self.words[products])
        return self._only[1]

    def planes(self, start: int) -> np.ndarray:
        """Return the `bit_planes` of the products of a batch that begins with ``start``."""
        if start in self._planes:
            return self._planes[start]
        made = bit_planes(self.words[start : start + MAX_BATCH])
        # Planes take a multiple of the memory of the words; for long sequences, as in convolutions, they are recomputed.
        if len(self._planes) < _KEPT:
            self._planes[start] = made
        return made


def _by_strips(kernel: Callable[..., Any], height: int, room: Callable[[], Any], *arguments: Any) -> None:
    """Call ``kernel(first, stop, room(), *arguments)`` for parts of the rows 0 to ``height``, each with its own working space."""
    distribute(lambda first, stop: kernel(first, stop, room(), *arguments), height, STRIP)


def apply_batch(
    state: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray | SentColumns,
    parameters: dict[str, np.ndarray],
    law: Law,
    one_sided: bool,
    key: Key,
    first_step: int,
    received: np.ndarray,
    found: np.ndarray | None = None,
) -> int:
    """Apply coincident pulses to devices, equal in distribution to `pulses.apply_pulses` and several times as fast.

    Parameters and result are those of `pulses.apply_pulses`; ``columns`` may be `SentColumns` that other grids receive, too. ``found``
    (rows,) float64 is set to the sum over a row of the states before the pulses, each times ``received``, which must be zero before the
    call; it is supported for at most `MAX_BATCH` products, in main memory. Which pulses fall is bit-identical, and so are the number of
    pulses, ``received``, and every state, except for the noise of three shortcuts:

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
    sent = columns if isinstance(columns, SentColumns) else SentColumns(columns)
    if on_gpu(state):
        return apply_pulses(state, rows, sent.words, parameters, law, one_sided, key, first_step, received)
    steps = np.uint64(first_step) + np.arange(len(rows), dtype=np.uint64)
    if len(rows) > MAX_BATCH:
        products = sent.coincident(rows)
        if len(products) <= _SPARSE * len(rows):
            rows, sent, steps = rows[products], sent.only(products), steps[products]
    columns = sent.words
    arrays = [parameters[name] for name in PARAMETERS]
    numbers = law.numbers(state.dtype)
    spread = numbers[1]
    steady = law.law == LINEAR and law.noise != COMPOSITE
    pulses = 0
    # A row has constant steps if all its devices do; the first device often decides.
    constant = steady & ~np.any([parameters[name][:, :1] != 0 for name in ("shape_up", "shape_down")], axis=(0, 2))
    height, width = state.shape
    for start in range(0, len(rows), MAX_BATCH):
        some, others = rows[start : start + MAX_BATCH], columns[start : start + MAX_BATCH]
        stream = *key.words, steps[start : start + MAX_BATCH]
        planes, fired = sent.planes(start), np.full(height, -1, np.int64)
        sums = np.empty(0) if found is None else found
        if steady:
            row_lines = np.ascontiguousarray(some.T)
            if constant.any():
                given = (
                    state,
                    row_lines,
                    np.ascontiguousarray(others.T),
                    planes,
                    one_sided,
                    *arrays,
                    spread,
                    *stream,
                    received,
                    fired,
                    sums,
                )
                _by_strips(apply_constant, height, partial(pulse_constant.room, len(some), width, state.dtype), *given)
            slots = np.where(fired < 0, _busy(row_lines, others), 0)
            busy = slots > 0
            if busy.any():
                blocks = np.zeros((height, -(-width // pulse_rows.COLUMNS)), np.int64)
                found_there = np.zeros(blocks.shape if found is not None else (0, 0))
                given = (
                    state,
                    row_lines,
                    others,
                    planes,
                    one_sided,
                    *arrays,
                    spread,
                    *stream,
                    received,
                    blocks,
                    slots,
                    found_there,
                )
                _by_strips(busy_rows(law.noise), blocks.size, partial(pulse_rows.room, state.dtype), *given)
                fired[busy] = blocks.sum(axis=1)[busy]
                if found is not None:
                    found[busy] = found_there.sum(axis=1)[busy]
        if (fired < 0).any():
            given = state, some, others, planes, one_sided, *arrays, *numbers, *stream, received, fired, sums
            _by_strips(events(law.law, law.noise), height, partial(pulse_events.room, width, state.dtype), *given)
        pulses += int(fired.sum())
    return pulses
