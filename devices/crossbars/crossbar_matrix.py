"""A whole logical matrix on crossbars: mapped to devices, cut into tiles, read through converters, taught by pulses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from typing_extensions import override

from analogpc.devices.arrays.cells import Cells
from analogpc.devices.costs.meter import Meter
from analogpc.devices.costs.schedule import BACKWARD, FORWARD, note
from analogpc.devices.crossbars.loads import Loads
from analogpc.devices.crossbars.reading import Ports
from analogpc.devices.crossbars.resolution import refuse_unresolved
from analogpc.devices.crossbars.sums import MatrixOperand, Operand
from analogpc.devices.crossbars.tiles import Tile, tiles_of
from analogpc.devices.crossbars.writes import WritableMatrix
from analogpc.devices.matrix import Products, ReadStream, TwoPhases, checked
from analogpc.devices.responses import PulseResponse
from analogpc.devices.state import StateError, whole
from analogpc.devices.substrate import Analog
from analogpc.kernels.checks import passing_seconds, real_array, refuse_shape
from analogpc.kernels.gpu.arrays import Backend, backend_of, copied, in_tree, to_host
from analogpc.kernels.lookups import one_hot
from analogpc.kernels.random.streams import Key


class CrossbarMatrix(WritableMatrix):
    """A logical matrix W (n_out, n_in) held by devices on crossbars: word lines are inputs, bit lines outputs.

    It is made in main memory; a copy of it may live on a GPU, where the same devices give the same bits up to the rounding of
    products and of functions such as exp. There, reads wait for the GPU only where ``bound_management = "iterative"`` asks for it;
    updates wait at least once.

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
        Logical weight per unit of state difference; in main memory.
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

    _loads: Loads | None = None

    def __init__(self, weights: np.ndarray, substrate: Analog, key: Key, scale: float | None = None) -> None:
        self.substrate, self.shape, self.dtype, self.meter = substrate, weights.shape, weights.dtype, Meter()
        mapping, device = substrate.mapping, substrate.device
        weights = mapping.clipped(weights)
        self.scales = mapping.scales(weights, device, substrate.rows, substrate.columns)
        if scale is not None:
            self.scales[...] = scale
        refuse_unresolved(device, self.scales, self.dtype)
        grid = weights.shape[::-1]
        self.cells = Cells(substrate, grid, key, self.dtype)
        self.extra = {name: Cells(substrate, grid, key.fold(name), self.dtype) for name in substrate.scheme.extra_cells}
        self._reads = ReadStream(key.fold("read"))
        self.update_key, self.products_done, self.update_cycles = key.fold("update"), 0, 0
        self.gain, self._readout = 1.0, 0.0
        self._make_ports(key.fold("converters"))
        self.memory: dict[str, Any] = {}
        self.program(weights)

    def _make_ports(self, key: Key, backend: Backend = "cpu") -> None:
        """Draw the converters of the weights and of the extra cells."""
        substrate, groups, grid = self.substrate, len(self.substrate.mapping.group_weights), self.shape[::-1]
        seen = len(substrate.scheme.visible)
        self._ports = Ports(substrate, grid, self.scales, groups * (1 + seen), key, self.dtype).at(self.scales, backend)
        drawn = {name: Ports(substrate, grid, self.scales, groups, key.fold(name), self.dtype) for name in self.extra}
        self._extra_ports = {name: ports.at(self.scales, backend) for name, ports in drawn.items()}

    @property
    @override
    def takes_increments(self) -> bool:
        return self.substrate.scheme.takes_increments

    @property
    @override
    def repeatable(self) -> bool:
        substrate = self.substrate
        return (
            substrate.scheme.repeatable
            and substrate.mapping.repeatable
            and not substrate.device.ages
            and not substrate.wires.present
            and substrate.adc.bound_management != "iterative"
            and substrate.dac.scaling != "percentile"
        )

    @property
    @override
    def baked(self) -> Any:
        return self.gain, self._readout

    @override
    def counters(self) -> list[tuple[Any, str]]:
        own: list[tuple[Any, str]] = [(self._reads, "step"), (self, "products_done"), (self, "update_cycles")]
        own += [(self.memory, name) for name in self.substrate.scheme.counters]
        return own + [(array, "writes") for cells in self._all_cells for array in cells.arrays]

    @override
    def counting(self) -> list[Any]:
        return [self.meter, *(array for cells in self._all_cells for array in cells.arrays)]

    @override
    def forget(self) -> None:
        self._changed()
        for cells in self._all_cells:
            for array in cells.arrays:
                array.forget()

    @property
    @override
    def exact(self) -> bool:
        return self.substrate.reads_exactly

    def program(self, weights: np.ndarray) -> None:
        """Write all weights (n_out, n_in), with the scales at hand, as near as the devices allow; the update scheme starts anew.

        Raises
        ------
        ValueError
            If the weights are not finite real numbers, one for each of the matrix.
        """
        weights = copied(real_array(weights, "weights", self.shape, self.dtype), self.backend)
        self.gain, self._readout = 1.0, 0.0
        self.cells.program(np.ascontiguousarray((weights.T / self.scale_grid()).astype(self.dtype), like=weights))
        self._changed()
        self.memory = self.substrate.scheme.memory(self, weights)

    def _changed(self) -> None:
        """Forget what reads multiply by: the devices have changed."""
        if self._loads is not None:
            self._loads.settle()
        self._operands: list[Operand] | None = None
        self._transposed: list[Operand] | None = None
        self._loads = None

    @property
    def _all_cells(self) -> list[Cells]:
        return [self.cells, *self.extra.values()]

    def _all_operands(self, transposed: bool) -> list[Operand]:
        """Of the weights, and of the extra cells that reads see beside them."""
        operands = self.cells.operands(transposed)
        for name, share in self.substrate.scheme.visible.items():
            operands += [operand.weighted(share) for operand in self.extra[name].operands(transposed)]
        return operands

    @override
    def forward(self, x: np.ndarray) -> np.ndarray:
        refuse_shape(x, "inputs", ("n", self.shape[1]))
        if self._operands is None:
            self._operands = self._all_operands(False)
        with self._noted(FORWARD, len(x)):
            return self._ports.forward(x, self._operands, self.gain, self._reads, self.meter, self.loads)

    @override
    def backward(self, g: np.ndarray) -> np.ndarray:
        refuse_shape(g, "inputs of a transposed read", ("n", self.shape[0]))
        if self._transposed is None:
            # Turning what is there takes less time than forming it again; wires differ from one side to the other.
            ready = self._operands if not self.substrate.wires.present else None
            turned: list[Operand] = [operand.transposed for operand in ready or [] if isinstance(operand, MatrixOperand)]
            self._transposed = turned or self._all_operands(True)
        with self._noted(BACKWARD, len(g)):
            return self._ports.backward(g, self._transposed, self.gain, self._reads, self.meter, self.loads)

    @contextmanager
    def _noted(self, kind: str, vectors: int) -> Iterator[None]:
        """Note the vectors read within, those that are read again among them."""
        repeated = self.meter.repeated_reads
        yield
        note(kind, self, vectors + self.meter.repeated_reads - repeated)

    @property
    def loads(self) -> Loads:
        """The conductances that a read drives."""
        if self._loads is None:
            self._loads = Loads([self.cells, *(self.extra[name] for name in self.substrate.scheme.visible)])
        return self._loads

    def read_extra(self, name: str, x: np.ndarray) -> np.ndarray:
        """Read the extra cells of that name alone: (n, n_in) -> (n, n_out), in logical units."""
        cells = self.extra[name]
        loads = Loads([cells])
        with self._noted(FORWARD, len(x)):
            found = self._extra_ports[name].forward(x, cells.operands(), self.gain, self._reads, self.meter, loads)
        loads.settle()
        return found

    @override
    def learn(self, products: Products, rate: float) -> None:
        self.substrate.scheme.learn(self, self._in_full(checked(products, self.shape)), rate)
        self._finish_cycle()

    def _in_full(self, products: Products) -> Products:
        """Products whose presynaptic vectors are written out: what a word line carries is 1 or 0 where a number stood for them."""
        if isinstance(products, TwoPhases):
            return TwoPhases(self._in_full(products.plus), self._in_full(products.minus))
        return ((one_hot(pre, self.shape[1], self.dtype) if pre.ndim == 1 else pre, post) for pre, post in products)

    def _finish_cycle(self) -> None:
        """What happens after every update cycle, however it was written."""
        self.update_cycles += 1
        self.meter.update_cycles += 1
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
        refuse_shape(change, "changes", self.shape)
        self.substrate.scheme.increment(self, change)
        self._finish_cycle()

    @override
    def weights(self) -> np.ndarray:
        difference = self.cells.difference()
        for name, share in self.substrate.scheme.visible.items():
            difference = difference + self.dtype.type(share) * self.extra[name].difference()
        return copied((difference * self.scale_grid()).T)

    @override
    def all_finite(self) -> Any:
        return np.stack([cells.all_finite() for cells in self._all_cells]).all()

    @property
    @override
    def backend(self) -> Backend:
        return backend_of(self.arrays[0].state)

    @override
    def elapse(self, seconds: float) -> None:
        seconds = passing_seconds(seconds)
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
        return float(np.abs(self.forward(self.one_by_one(slice(0, self.shape[1])))).mean(dtype=np.float64))

    @property
    def factors(self) -> dict[str, float]:
        """What each of the conductances of `tiles` counts in the sum that makes a weight: all that a read sees."""
        factors = dict(self.cells.factors)
        for name, share in self.substrate.scheme.visible.items():
            factors |= {f"{name}.{leg}": share * factor for leg, factor in self.extra[name].factors.items()}
        return factors

    def tiles(self) -> Iterator[Tile]:
        """The physical arrays, row of tiles by row of tiles; in main memory."""
        return tiles_of(self)

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
        self.cells.restore(state["cells"])
        for name, cells in self.extra.items():
            cells.restore(state["extra"][name])
        self._resume(state)
        self._make_ports(Key(state["converter_key"]), self.backend)

    @override
    def template(self) -> dict[str, Any]:
        extra = {name: cells.template() for name, cells in self.extra.items()}
        return self.state() | {"cells": self.cells.template(), "extra": extra}

    @override
    def refuse_state(self) -> None:
        if not (self.scales > 0).all() or self.gain <= 0 or self._readout < 0:
            raise StateError("a scale or gain of the weights is not positive")
        for cells in self._all_cells:
            cells.refuse_state()
        for name, most in self.substrate.scheme.memory_limits(self).items():
            whole(self.memory[name], f"memory/{name}", 0, most)

    def _resume(self, state: dict[str, Any]) -> None:
        """Take over what is neither device nor converter."""
        self.scales = np.array(to_host(state["scales"]))
        self.memory = in_tree(partial(copied, backend=self.backend), state["memory"])
        self._reads = ReadStream(Key(state["read_key"]), state["read_step"])
        self.update_key, self.products_done = Key(state["update_key"]), state["products_done"]
        self.update_cycles, self.gain, self._readout = state["update_cycles"], state["gain"], state["readout"]
        self.meter = Meter(**state["meter"])
        self._changed()

    @override
    def copy(self, backend: Backend | None = None) -> CrossbarMatrix:
        """An independent matrix in the same state, on another backend if one is named.

        Raises
        ------
        ValueError
            If the GPU is named and cannot do what the substrate asks for (see `Analog.refuse_backend`).
        """
        backend = backend or self.backend
        if reason := self.substrate.refuse_backend(backend):
            raise ValueError(f"the backend '{backend}' cannot hold this matrix: {reason}")
        twin = CrossbarMatrix.__new__(CrossbarMatrix)
        twin.substrate, twin.shape, twin.dtype = self.substrate, self.shape, self.dtype
        twin.cells = self.cells.copy(backend)
        twin.extra = {name: cells.copy(backend) for name, cells in self.extra.items()}
        twin._resume(self.state())
        twin._ports = self._ports.at(twin.scales, backend)
        twin._extra_ports = {name: ports.at(twin.scales, backend) for name, ports in self._extra_ports.items()}
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
