"""What update schemes ask of a matrix on crossbars: its scales, its steps, and the writes that its hardware can do."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import Any

import numpy as np

from analogpc.devices.arrays.array import Array
from analogpc.devices.arrays.cells import Cells, PulsedLegs
from analogpc.devices.costs.meter import count
from analogpc.devices.costs.schedule import PROGRAMMED, SLOTS, note
from analogpc.devices.crossbars.reading import Ports
from analogpc.devices.matrix import Matrix
from analogpc.devices.responses import PulseResponse
from analogpc.devices.schemes.deterministic_trains import by_direction, deterministic_trains
from analogpc.devices.substrate import Analog
from analogpc.kernels.pulses.updates import trains
from analogpc.kernels.random.streams import Key


class WritableMatrix(Matrix):
    """The half of a `CrossbarMatrix` that is written; the other half reads, ages and is kept.

    Attributes
    ----------
    substrate : Analog
    scales : (arrays along the inputs, n_out) array
        Logical weight per unit of state difference; in main memory.
    cells : Cells
        The devices of the weights.
    extra : dict of Cells
        Those that the update scheme keeps beside them.
    update_key, products_done
        Stream of the updates, and rank-one products applied from it.
    gain : float
        What all outputs are multiplied by to make up for drift.
    """

    substrate: Analog
    scales: np.ndarray
    cells: Cells
    extra: dict[str, Cells]
    update_key: Key
    products_done: int
    gain: float
    _ports: Ports

    @abstractmethod
    def _changed(self) -> None:
        """Forget what reads multiply by: the devices have changed."""

    @property
    def arrays(self) -> list[Array]:
        """The grids of devices (n_in, n_out), one for each leg of the mapping."""
        return self.cells.arrays

    @property
    def granularity(self) -> float:
        """Mean logical change of one coincidence where the scale is largest; 0 for devices without pulses."""
        response = self.substrate.device.response
        if not isinstance(response, PulseResponse):
            return 0.0
        return float(self.scales.max()) * self.gain * response.dw_min * self.substrate.mapping.steps(self.substrate.device)

    def granules(self, lines: Any = slice(None)) -> np.ndarray:
        """Mean logical change of one coincidence at every weight: (n_in, n_out), or a number if all are alike; see `scale_grid`."""
        return self.scale_grid(lines) * self.dtype.type(self.granularity / (float(self.scales.max()) * self.gain))

    def scale_grid(self, lines: Any = slice(None)) -> np.ndarray:
        """Logical weight per unit of state difference at all crosspoints, gain included: (n_in, n_out), or a number if all are alike.

        ``lines`` are the word lines that are wanted, by their numbers or as a slice.
        """
        if self._ports.uniform:
            return self.dtype.type(self.scales[0, 0] * self.gain)
        rows = np.arange(self.shape[1], like=self.anchor)[lines] // self.substrate.rows
        return (self._ports.grid[rows] * self.gain).astype(self.dtype)

    @property
    def anchor(self) -> np.ndarray:
        """An array on the backend of the matrix: for ``like`` of the functions that make arrays."""
        return self.arrays[0].state

    def zeros(self, dtype: Any = None) -> np.ndarray:
        """Zeros for all crosspoints, (n_in, n_out), in the type of the matrix unless another is given."""
        return np.zeros(self.shape[::-1], dtype or self.dtype, like=self.anchor)

    def one_by_one(self, lines: slice) -> np.ndarray:
        """Inputs (lines, n_in) that drive some word lines, one of them in each: rows of the identity."""
        return np.asarray(np.eye(lines.stop - lines.start, self.shape[1], lines.start, dtype=self.dtype), like=self.anchor)

    def blocks(self) -> list[tuple[slice, np.ndarray | None]]:
        """Inputs that share their scales, and those scales relative to the largest, (n_out,): None where all are that one."""
        if self._ports.uniform:
            return [(slice(0, self.shape[1]), None)]
        relative = (self._ports.grid / float(self.scales.max())).astype(self.dtype)
        return list(zip(self._ports.blocks, relative, strict=True))

    def shift(self, change: np.ndarray) -> None:
        """Write a logical change (n_in, n_out) exactly, up to the devices' bounds."""
        count(self.meter, programmed=np.count_nonzero(change) * len(self.arrays))
        note(PROGRAMMED, self, min(self.shape[1], self.substrate.rows))
        self.cells.shift((change / self.scale_grid()).astype(self.dtype, copy=False))
        self._changed()

    def pulse(
        self,
        inputs: slice,
        pre: np.ndarray,
        post: np.ndarray,
        gain_pre: np.ndarray,
        gain_post: np.ndarray,
        length: np.ndarray,
        cells: str | None = None,
        *,
        deterministic: bool = False,
        separate: bool = False,
        legs: PulsedLegs = "all",
    ) -> None:
        """Apply n rank-one products, one after the other, by pulse trains.

        Parameters
        ----------
        inputs : slice
            The word lines that are driven.
        pre, post : (n, driven word lines) and (n, n_out) arrays
        gain_pre, gain_post : (n,) float64 arrays
            Pulse probability per unit of value; these and ``length`` in main memory.
        length : (n,) int64 array
            Slots used.
        cells : str or None
            Names extra cells that are pulsed instead of the weights.
        deterministic : bool
            Trains with a fixed number of pulses (see `schemes.words`) instead of random ones.
        separate : bool
            First all pulses upwards of all products, then all downwards: two passes for each polarity of the inputs.
        legs : "all", "plus" or "minus"
            The devices that are reached: all of a weight, or those that count positively or negatively.
        """
        first = self.products_done
        self.products_done += len(pre)
        driven = pre
        if pre.shape[1] != self.shape[1]:
            driven = np.zeros((len(pre), self.shape[1]), pre.dtype, like=pre)
            driven[:, inputs] = pre
        key = self.update_key if cells is None else self.update_key.fold(cells)
        if deterministic:
            rows, clipped_rows = deterministic_trains(driven, gain_pre, length, "first")
            columns, clipped_columns = deterministic_trains(post, gain_post, length, "spread")
        else:
            rows, clipped_rows = trains(driven, gain_pre, length, key.fold("rows"), first)
            columns, clipped_columns = trains(post, gain_post, length, key.fold("columns"), first)
        passes = by_direction(rows, columns) if separate else [(rows, columns)]
        count(self.meter, clipped_probabilities=clipped_rows + clipped_columns, pulse_slots=length.sum() * len(passes))
        grid = self.cells if cells is None else self.extra[cells]
        for turn, (sent_rows, sent_columns) in enumerate(passes):
            part = key.fold("pass", turn) if separate else key
            streams = partial(part.fold, "cycle")
            chooser = self.update_key.fold("member")
            grid.pulse(self.meter, inputs, sent_rows, sent_columns, chooser, streams, first, legs)
        note(SLOTS, None, length.sum() * len(passes))
        self._changed()

    def pulse_each(self, counts: np.ndarray, key: Key, step: int, cells: str | None = None) -> None:
        """Send the devices of every weight their own number of pulses, ``counts`` (n_in, n_out) int32, negative ones to lower it.

        Every leg gets them, in its own direction; one-sided pairs raise the one device or the other.
        """
        grid = self.cells if cells is None else self.extra[cells]
        slots = np.maximum(counts.max(axis=1), 0).sum() - np.minimum(counts.min(axis=1), 0).sum()
        note(SLOTS, None, grid.pulse_each(self.meter, counts, key, step))
        count(self.meter, pulse_slots=slots)
        self._changed()
