"""A whole logical matrix on crossbars: mapped to devices, cut into tiles, read through converters, taught by pulses."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from typing_extensions import override

from analogpc.devices.array import Array
from analogpc.devices.cells import Cells, PulsedLegs
from analogpc.devices.matrix import Matrix, Products, ReadStream
from analogpc.devices.meter import Meter
from analogpc.devices.reading import MatrixOperand, Operand, Ports
from analogpc.devices.responses import PulseResponse
from analogpc.devices.schemes.words import by_direction, deterministic_trains
from analogpc.devices.substrate import Analog
from analogpc.kernels.gpu import Backend, backend_of
from analogpc.kernels.pulses import trains
from analogpc.kernels.streams import Key


@dataclass(frozen=True)
class Tile:
    """One physical array: the part of the logical matrix that it holds and its conductances.

    Attributes
    ----------
    rows, columns : slice
        Inputs and outputs of the logical matrix.
    conductances : dict of (rows, columns) arrays
        In siemens, by the names of the legs of the mapping, and what is subtracted: "minus" or, as one column, "reference".
    stuck : (rows, columns) bool array
        Weights of which at least one device cannot move or carries no current.
    scale : (columns,) array
        Logical weight of one unit of state difference, drift compensation included.
    """

    rows: slice
    columns: slice
    conductances: dict[str, np.ndarray]
    stuck: np.ndarray
    scale: np.ndarray


class CrossbarMatrix(Matrix):
    """A logical matrix W (n_out, n_in) held by devices on crossbars: word lines are inputs, bit lines outputs.

    Parameters
    ----------
    weights : (n_out, n_in) array, float32 or float64
        Programmed as near as the devices allow.
    substrate : Analog
    key : Key
        Which devices and converters these are; also the noise, until `key_streams` is called.
    scale : float
        Logical weight per unit of state difference; by default the mapping chooses.

    Attributes
    ----------
    scales : (arrays along the inputs, n_out) array
        Logical weight per unit of state difference.
    cells : Cells
        The devices of the weights.
    extra : dict of Cells
        Those that the update scheme keeps beside them.
    memory : dict
        What the update scheme remembers: arrays, numbers and texts.
    update_key, products_done, update_cycles
        Stream of the updates, rank-one products applied from it, and calls of `learn`.
    gain : float
        What all outputs are multiplied by to make up for drift.
    """

    def __init__(self, weights: np.ndarray, substrate: Analog, key: Key, scale: float | None = None) -> None:
        self.substrate, self.shape, self.dtype, self.meter = substrate, weights.shape, weights.dtype, Meter()
        mapping, device = substrate.mapping, substrate.device
        weights = mapping.clipped(weights)
        self.scales = mapping.scales(weights, device, substrate.rows, substrate.columns)
        if scale is not None:
            self.scales[...] = scale
        grid = weights.shape[::-1]
        self.cells = Cells(substrate, grid, key, self.dtype)
        self.extra = {name: Cells(substrate, grid, key.fold(name), self.dtype) for name in substrate.scheme.extra_cells}
        self._reads = ReadStream(key.fold("read"))
        self.update_key, self.products_done, self.update_cycles = key.fold("update"), 0, 0
        self.gain, self._readout = 1.0, 0.0
        self._make_ports(key.fold("converters"))
        self.memory: dict[str, Any] = {}
        self.program(weights)

    def _make_ports(self, key: Key) -> None:
        substrate, groups, grid = self.substrate, len(self.substrate.mapping.group_weights), self.shape[::-1]
        seen = len(substrate.scheme.visible)
        self._ports = Ports(substrate, grid, self.scales, groups * (1 + seen), key, self.dtype)
        self._extra_ports = {name: Ports(substrate, grid, self.scales, groups, key.fold(name), self.dtype) for name in self.extra}

    @property
    @override
    def takes_increments(self) -> bool:
        return self.substrate.scheme.takes_increments

    @property
    def granularity(self) -> float:
        """Mean logical change of one coincidence where the scale is largest; 0 for devices without pulses."""
        response = self.substrate.device.response
        if not isinstance(response, PulseResponse):
            return 0.0
        return float(self.scales.max()) * self.gain * response.dw_min * self.substrate.mapping.steps(self.substrate.device)

    def granules(self) -> np.ndarray:
        """Mean logical change of one coincidence at every weight: (n_in, n_out), or a number if all are alike."""
        return self.scale_grid() * self.dtype.type(self.granularity / (float(self.scales.max()) * self.gain))

    def program(self, weights: np.ndarray) -> None:
        """Write all weights (n_out, n_in), with the scales at hand, as near as the devices allow; the update scheme starts anew."""
        self.gain, self._readout = 1.0, 0.0
        self.cells.program(np.ascontiguousarray((weights.T / self.scale_grid()).astype(self.dtype)))
        self._changed()
        self.memory = self.substrate.scheme.memory(self, weights)

    def _changed(self) -> None:
        """Forget what reads multiply by: the devices have changed."""
        self._operands: list[Operand] | None = None
        self._transposed: list[Operand] | None = None

    def scale_grid(self) -> np.ndarray:
        """Logical weight per unit of state difference at all crosspoints, gain included: (n_in, n_out), or a number if all are alike."""
        if self._ports.uniform:
            return self.dtype.type(self.scales[0, 0] * self.gain)
        rows = np.arange(self.shape[1]) // self.substrate.rows
        return (self.scales[rows] * self.gain).astype(self.dtype)

    @property
    def _all_cells(self) -> list[Cells]:
        return [self.cells, *self.extra.values()]

    @property
    def arrays(self) -> list[Array]:
        """The grids of devices (n_in, n_out), one for each leg of the mapping."""
        return self.cells.arrays

    def _all_operands(self, transposed: bool) -> list[Operand]:
        """Of the weights, and of the extra cells that reads see beside them."""
        operands = self.cells.operands(transposed)
        for name, share in self.substrate.scheme.visible.items():
            operands += [operand.weighted(share) for operand in self.extra[name].operands(transposed)]
        return operands

    @override
    def forward(self, x: np.ndarray) -> np.ndarray:
        if self._operands is None:
            self._operands = self._all_operands(False)
        return self._ports.forward(x, self._operands, self.gain, self._reads, self.meter)

    @override
    def backward(self, g: np.ndarray) -> np.ndarray:
        if self._transposed is None:
            # Turning what is there takes less time than forming it again; wires differ from one side to the other.
            ready = self._operands if not self.substrate.wires.present else None
            turned: list[Operand] = [operand.transposed for operand in ready or [] if isinstance(operand, MatrixOperand)]
            self._transposed = turned or self._all_operands(True)
        return self._ports.backward(g, self._transposed, self.gain, self._reads, self.meter)

    def read_extra(self, name: str, x: np.ndarray) -> np.ndarray:
        """Read the extra cells of that name alone: (n, n_in) -> (n, n_out), in logical units."""
        return self._extra_ports[name].forward(x, self.extra[name].operands(), self.gain, self._reads, self.meter)

    @override
    def learn(self, products: Products, rate: float) -> None:
        self.substrate.scheme.learn(self, products, rate)
        self._finish_cycle()

    def _finish_cycle(self) -> None:
        """What happens after every update cycle, however it was written."""
        self.update_cycles += 1
        response = self.substrate.device.response
        if isinstance(response, PulseResponse) and response.leaks:
            for cells in self._all_cells:
                cells.leak()
        self.substrate.mapping.maintain(self)
        self._changed()
        self._readout = 0.0

    @property
    def maintenance_key(self) -> Key:
        """Stream of the noise of what the mapping does besides learning."""
        return self.update_key.fold("maintenance")

    @override
    def increment(self, change: np.ndarray) -> None:
        self.substrate.scheme.increment(self, change)
        self._finish_cycle()

    def shift(self, change: np.ndarray) -> None:
        """Write a logical change (n_in, n_out) exactly, up to the devices' bounds."""
        self.meter.programmed += int(np.count_nonzero(change)) * len(self.arrays)
        self.cells.shift((change / self.scale_grid()).astype(self.dtype, copy=False))
        self._changed()

    def blocks(self) -> list[tuple[slice, np.ndarray | None]]:
        """Inputs that share their scales, and those scales relative to the largest, (n_out,): None where all are that one."""
        if self._ports.uniform:
            return [(slice(0, self.shape[1]), None)]
        relative = (self.scales / self.scales.max()).astype(self.dtype)
        return list(zip(self._ports.blocks, relative, strict=True))

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
            Pulse probability per unit of value.
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
            driven = np.zeros((len(pre), self.shape[1]), pre.dtype)
            driven[:, inputs] = pre
        key = self.update_key if cells is None else self.update_key.fold(cells)
        if deterministic:
            rows, clipped_rows = deterministic_trains(driven, gain_pre, length, "first")
            columns, clipped_columns = deterministic_trains(post, gain_post, length, "spread")
        else:
            rows, clipped_rows = trains(driven, gain_pre, length, key.fold("rows"), first)
            columns, clipped_columns = trains(post, gain_post, length, key.fold("columns"), first)
        self.meter.clipped_probabilities += clipped_rows + clipped_columns
        passes = by_direction(rows, columns) if separate else [(rows, columns)]
        self.meter.pulse_slots += int(length.sum()) * len(passes)
        grid = self.cells if cells is None else self.extra[cells]
        for turn, (sent_rows, sent_columns) in enumerate(passes):
            part = key.fold("pass", turn) if separate else key
            streams = partial(part.fold, "cycle")
            self.meter.pulses += grid.pulse(sent_rows, sent_columns, self.update_key.fold("member"), streams, first, legs)
        self._changed()

    def pulse_each(self, counts: np.ndarray, key: Key, step: int, cells: str | None = None) -> None:
        """Send the devices of every weight their own number of pulses, ``counts`` (n_in, n_out) int32, negative ones to lower it.

        Every leg gets them, in its own direction; one-sided pairs raise the one device or the other.
        """
        grid = self.cells if cells is None else self.extra[cells]
        self.meter.pulses += grid.pulse_each(counts, key, step)
        self.meter.pulse_slots += int(counts.max(axis=1, initial=0).sum() - counts.min(axis=1, initial=0).sum())
        self._changed()

    @override
    def weights(self) -> np.ndarray:
        difference = self.cells.difference()
        for name, share in self.substrate.scheme.visible.items():
            difference = difference + self.dtype.type(share) * self.extra[name].difference()
        return np.array((difference * self.scale_grid()).T, order="C")

    @override
    def all_finite(self) -> Any:
        return np.stack([cells.all_finite() for cells in self._all_cells]).all()

    @property
    @override
    def backend(self) -> Backend:
        return backend_of(self.arrays[0].state)

    @override
    def elapse(self, seconds: float) -> None:
        compensated = self.substrate.drift_compensation
        if compensated and self._readout == 0:
            self._readout = self._mean_readout()
        for cells in self._all_cells:
            cells.elapse(seconds)
        self._changed()
        if compensated:
            now = self._mean_readout()
            self.gain *= self._readout / now if now > 0 else 1.0

    def _mean_readout(self) -> float:
        """Mean magnitude of all outputs for inputs of one line at a time: what global drift compensation compares."""
        return float(np.abs(self.forward(np.eye(self.shape[1], dtype=self.dtype))).mean(dtype=np.float64))

    def tiles(self) -> Iterator[Tile]:
        """The physical arrays, row of tiles by row of tiles.

        A fixed reference is a column pair's second device, at the conductance of zero weight.
        """
        (n_out, n_in), stuck = self.shape, self.cells.stuck
        for number, top in enumerate(range(0, n_in, self.substrate.rows)):
            for left in range(0, n_out, self.substrate.columns):
                place = slice(top, min(top + self.substrate.rows, n_in)), slice(left, min(left + self.substrate.columns, n_out))
                yield Tile(*place, self.cells.conductances(place), stuck[place], self.scales[number, place[1]] * self.gain)

    @override
    def state(self) -> dict[str, Any]:
        return {
            "scales": self.scales,
            "cells": self.cells.dump(),
            "extra": {name: cells.dump() for name, cells in self.extra.items()},
            "memory": self.memory,
            "read_key": self._reads.key.value,
            "read_step": self._reads.step,
            "update_key": self.update_key.value,
            "products_done": self.products_done,
            "update_cycles": self.update_cycles,
            "converter_key": self._ports.key.value,
            "gain": self.gain,
            "readout": self._readout,
            "meter": self.meter.as_dict(),
        }

    @override
    def restore(self, state: dict[str, Any]) -> None:
        self.scales = np.array(state["scales"])
        self.cells.restore(state["cells"])
        for name, cells in self.extra.items():
            cells.restore(state["extra"][name])
        self.memory = copy.deepcopy(state["memory"])
        self._reads = ReadStream(Key(state["read_key"]), state["read_step"])
        self.update_key, self.products_done = Key(state["update_key"]), state["products_done"]
        self.update_cycles, self.gain, self._readout = state["update_cycles"], state["gain"], state["readout"]
        self.meter = Meter(**state["meter"])
        self._make_ports(Key(state["converter_key"]))
        self._changed()

    @override
    def copy(self, backend: Backend | None = None) -> CrossbarMatrix:
        twin = CrossbarMatrix.__new__(CrossbarMatrix)
        twin.substrate, twin.shape, twin.dtype = self.substrate, self.shape, self.dtype
        twin.cells = self.cells.copy()
        twin.extra = {name: cells.copy() for name, cells in self.extra.items()}
        twin.restore(self.state())
        return twin

    @override
    def key_streams(self, key: Key) -> None:
        self._reads = ReadStream(key.fold("read"))
        self.update_key, self.products_done = key.fold("update"), 0
        self.cells.key_streams(key)
        for name, cells in self.extra.items():
            cells.key_streams(key.fold(name))

    @override
    def swap_session(self, reads: ReadStream, meter: Meter) -> tuple[ReadStream, Meter]:
        former = self._reads, self.meter
        self._reads, self.meter = reads, meter
        return former
