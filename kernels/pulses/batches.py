"""Batches of pulsed rank-one updates, by shortcuts where they are valid and pulse by pulse otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from analogpc.kernels.calls import recorded
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.memory import empty
from analogpc.kernels.pulses import constant_steps as pulse_constant
from analogpc.kernels.pulses import dense_rows as pulse_rows
from analogpc.kernels.pulses import events as pulse_events
from analogpc.kernels.pulses.constant_steps import apply_constant
from analogpc.kernels.pulses.dense_rows import busy_rows
from analogpc.kernels.pulses.events import events
from analogpc.kernels.pulses.planes import MAX_BATCH, STRIP
from analogpc.kernels.pulses.sent import SentColumns, SentRows
from analogpc.kernels.pulses.updates import COMPOSITE, LINEAR, PARAMETERS, Law, apply_pulses
from analogpc.kernels.random.streams import Key, steps_of
from analogpc.kernels.sharing import over_ranges
from analogpc.kernels.threads import in_sequence
from analogpc.kernels.words import SIGN

_FIRST_THEN_ALL = slice(1), slice(None)
_SPARSE = 0.5
"""Share of the products with coincidences up to which the others are left out."""
_LEAST_CROSSPOINTS = 2**17
"""Least number of crosspoints of all products for one thread: with fewer, the second one saves less time than it takes to call it."""


def _by_strips(kernel: Callable[..., Any], height: int, crosspoints: int, room: Callable[[], Any], *arguments: Any) -> None:
    """Call ``kernel(first, stop, room(), *arguments)`` for parts of the rows 0 to ``height``, each with its own working space.

    A row has a number of ``crosspoints`` in all products together. In recorded calls no thread has to be called.
    """
    strips = -(-_LEAST_CROSSPOINTS // max(1, STRIP * crosspoints)) if recorded() is None else 1
    over_ranges(kernel, height, STRIP * strips, room, arguments)


def _apply_busy(
    state: np.ndarray, given: tuple[Any, ...], noise: int, group: np.ndarray, fired: np.ndarray, found: np.ndarray | None
) -> None:
    """Apply a batch to the busy rows, those with a nonzero ``group`` (see `SentRows.busy`); set their ``fired`` and ``found``."""
    height, width = state.shape
    blocks, busy = np.zeros((height, -(-width // pulse_rows.COLUMNS)), np.int64), group > 0
    found_there = np.zeros(blocks.shape if found is not None else (0, 0))
    room = partial(pulse_rows.room, state.dtype)
    crosspoints = min(width, pulse_rows.COLUMNS) * len(given[1])
    _by_strips(busy_rows(noise), blocks.size, crosspoints, room, state, *given, blocks, group, found_there)
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
    first_step: Any,
    received: Any,
    found: np.ndarray | None = None,
    turned: bool = False,
) -> int:
    """Apply coincident pulses to devices, equal in distribution to `pulses.apply_pulses` and several times as fast.

    Parameters and result are those of `pulses.apply_pulses`. Trains that several grids receive are given as `SentRows` and their columns,
    which keep what is derived from them; ``first_step`` may be an array of the steps of all products, (n,) uint64, in main memory. With
    ``turned`` all directions are inverted, as for the second device of a pair. ``received`` may be None in main memory, if the pulses of
    single devices are of no interest.
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
    sent = rows
    if not isinstance(sent, SentRows):
        sent = SentRows(sent, columns if isinstance(columns, SentColumns) else SentColumns(columns))
    if on_gpu(state):
        words = sent.words ^ SIGN if turned else sent.words
        return apply_pulses(state, words, sent.columns.words, parameters, law, one_sided, key, first_step, received)
    grid, n, steps = PulsedGrid(state, parameters, law, one_sided, key, turned), len(sent), steps_of(first_step, len(sent))
    if n > MAX_BATCH:
        products = sent.coincident()
        if len(products) <= _SPARSE * n:
            sent, steps, n = sent.only(products), steps[products], len(products)
    pulses = 0
    for start in range(0, n, MAX_BATCH):
        own = steps[start : start + MAX_BATCH]
        fired = grid.move_constant(sent, start, own, received, found)
        pulses += grid.move_others(sent, start, own, received, found, fired)
    return pulses


@dataclass
class PulsedGrid:
    """Devices to which a batch of products is applied in two steps: `move_constant`, then `move_others`.

    The attributes are parameters of `apply_batch`.
    """

    state: np.ndarray
    parameters: dict[str, np.ndarray]
    law: Law
    one_sided: bool
    key: Key
    turned: bool

    @property
    def _turn(self) -> np.uint32:
        return SIGN if self.turned else np.uint32(0)

    @property
    def _steady(self) -> bool:
        """Whether steps depend at most linearly on the state."""
        return self.law.law == LINEAR and self.law.noise != COMPOSITE

    @property
    def some_constant(self) -> bool:
        """Whether a row may have constant steps: if all its devices do. The first device often decides, and the first row for all rows."""
        shapes = self.parameters["shape_up"], self.parameters["shape_down"]
        return self._steady and any(not np.logical_or(*(shape[own, :1] for shape in shapes)).all() for own in _FIRST_THEN_ALL)

    def _arrays(self) -> list[np.ndarray]:
        return [self.parameters[name] for name in PARAMETERS]

    def move_constant(
        self, sent: SentRows, start: int, steps: np.ndarray, received: np.ndarray | None, found: np.ndarray | None
    ) -> np.ndarray:
        """Apply the batch that begins with product ``start`` to the rows of constant steps.

        This consists of compiled calls, and nothing depends on the trains: it can be recorded.

        Parameters
        ----------
        sent : SentRows
        start : int
        steps : (n,) uint64 array
            Steps of the random stream of these products.
        received, found
            As in `apply_batch`.

        Returns
        -------
        (rows,) int64 array
            Number of pulses of each row; negative in the other rows, unless they receive none for sure.
        """
        (height, width), columns = self.state.shape, sent.columns
        fired = empty((height,), np.int64, self.state)
        if not self.some_constant:
            slots = sent.meeting(start)[2]
            fired[:] = np.where(slots > 0, np.int64(-1), np.int64(0))
            if found is not None:
                found.fill(0.0)
            return fired
        # Empty arrays in known memory, so that a recording may contain them.
        sums = fired[:0].view(np.float64) if found is None else found
        grid = fired[:0].view(np.int32).reshape(0, width) if received is None else received
        with in_sequence():
            lines, _, slots = sent.meeting(start)
            trains = slots, lines, columns.lines(start), *sent.coincidences(start)
            spread = self.law.numbers(self.state.dtype)[1]
            stream = *self.key.words, steps
            given = self.state, *trains, self._turn, self.one_sided, *self._arrays(), spread, *stream, grid, fired, sums
            _by_strips(apply_constant, height, width * len(steps), partial(pulse_constant.room, width, self.state.dtype), *given)
        return fired

    def move_others(
        self,
        sent: SentRows,
        start: int,
        steps: np.ndarray,
        received: np.ndarray | None,
        found: np.ndarray | None,
        fired: np.ndarray,
    ) -> int:
        """Apply the batch to the other rows, after `move_constant`, which returned ``fired``; return the number of all pulses."""
        others = fired < 0
        if not others.any():
            return int(fired.sum())
        state, columns, steady = self.state, sent.columns, self._steady
        planes, batch = columns.planes(start), slice(start, start + MAX_BATCH)
        stream, numbers = (*self.key.words, steps), self.law.numbers(state.dtype)
        received = np.zeros(state.shape, np.int32) if received is None else received
        group = sent.busy(start) if steady else None
        busy = others & (group > 0) if group is not None else others & False
        if group is not None and busy.any():
            trains = sent.lines(start) ^ self._turn, columns.words[batch], columns.used[batch]
            given = (*trains, planes, self.one_sided, *self._arrays(), numbers[1], *stream, received)
            _apply_busy(state, given, self.law.noise, np.where(busy, group, 0), fired, found)
        if (others & ~busy).any():
            meeting = (sent.words[batch] & columns.used[batch, None]) ^ self._turn
            sums = np.empty(0) if found is None else found
            trains = meeting, columns.words[batch], planes
            given = state, *trains, self.one_sided, *self._arrays(), *numbers, *stream, received, fired, sums
            (height, width), kernel = state.shape, events(self.law.law, self.law.noise)
            _by_strips(kernel, height, width * len(steps), partial(pulse_events.room, width, state.dtype), *given)
        return int(fired.sum())
