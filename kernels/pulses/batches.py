"""Batches of pulsed rank-one updates, by shortcuts where they are valid and pulse by pulse otherwise."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.pulses import constant_steps as pulse_constant
from analogpc.kernels.pulses import dense_rows as pulse_rows
from analogpc.kernels.pulses import events as pulse_events
from analogpc.kernels.pulses.constant_steps import apply_constant
from analogpc.kernels.pulses.dense_rows import busy_rows
from analogpc.kernels.pulses.events import events
from analogpc.kernels.pulses.planes import MAX_BATCH, STRIP
from analogpc.kernels.pulses.sent import SentColumns, SentRows
from analogpc.kernels.pulses.updates import COMPOSITE, LINEAR, PARAMETERS, Law, apply_pulses
from analogpc.kernels.random.streams import Key
from analogpc.kernels.sharing import over_ranges
from analogpc.kernels.threads import in_sequence
from analogpc.kernels.words import SIGN

_FIRST_THEN_ALL = slice(1), slice(None)
_SPARSE = 0.5
"""Share of the products with coincidences up to which the others are left out."""


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

    Parameters and result are those of `pulses.apply_pulses`; trains that other grids receive, too, are given as `SentRows` and their
    columns, which remember what follows from them. With ``turned`` all directions are inverted,
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
    columns = columns if isinstance(columns, SentColumns) else SentColumns(columns)
    sent = rows if isinstance(rows, SentRows) else SentRows(rows, columns)
    if on_gpu(state):
        words = sent.words ^ SIGN if turned else sent.words
        return apply_pulses(state, words, sent.columns.words, parameters, law, one_sided, key, first_step, received)
    n, turn = len(sent), SIGN if turned else np.uint32(0)
    steps = np.uint64(first_step) + np.arange(n, dtype=np.uint64)
    if n > MAX_BATCH:
        products = sent.coincident()
        if len(products) <= _SPARSE * n:
            sent, steps, n = sent.only(products), steps[products], len(products)
            columns = sent.columns
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
        stream = *key.words, steps[start : start + MAX_BATCH]
        with in_sequence():
            (lines, _, slots), planes = sent.meeting(start), columns.planes(start)
            column_lines = columns.lines(start) if some_constant else None
        # Rows that have no slot in common with a column receive no pulse.
        fired = np.where(slots > 0, np.int64(-1), np.int64(0))
        sums = np.empty(0) if found is None else found
        if found is not None:
            found.fill(0.0)
        if some_constant:
            grid = np.empty((0, width), np.int32) if received is None else received
            with in_sequence():
                counted = sent.coincidences(start)
                given = state, lines, column_lines, *counted, turn, one_sided, *arrays, spread, *stream, grid, fired, sums
                _by_strips(apply_constant, height, partial(pulse_constant.room, width, state.dtype), *given)
        others = fired < 0
        if not others.any():
            pulses += int(fired.sum())
            continue
        received = np.zeros(state.shape, np.int32) if received is None else received
        group = sent.busy(start) if steady else None
        busy = others & (group > 0) if group is not None else others & False
        if group is not None and busy.any():
            trains = sent.lines(start) ^ turn, columns.words[start : start + MAX_BATCH], columns.used[start : start + MAX_BATCH]
            given = (*trains, planes, one_sided, *arrays, spread, *stream, received)
            _apply_busy(state, given, law.noise, np.where(busy, group, 0), fired, found)
        if (others & ~busy).any():
            batch = slice(start, start + MAX_BATCH)
            meeting = (sent.words[batch] & columns.used[batch, None]) ^ turn
            given = state, meeting, columns.words[batch], planes, one_sided, *arrays, *numbers, *stream, received, fired, sums
            _by_strips(events(law.law, law.noise), height, partial(pulse_events.room, width, state.dtype), *given)
        pulses += int(fired.sum())
    return pulses
