"""Logical matrix on crossbars: mapped to devices, cut into tiles, read through converters, written by pulses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from typing_extensions import override

from analogpc.devices.arrays.array import Array
from analogpc.devices.arrays.cells import Cells
from analogpc.devices.costs.meter import Meter, count
from analogpc.devices.costs.paths import BACKWARD, FORWARD, PROGRAMMED
from analogpc.devices.costs.schedule import note
from analogpc.devices.crossbars.crossbar_state import CrossbarState
from analogpc.devices.crossbars.pulse_writer import PulseWriter
from analogpc.devices.crossbars.read_path import ReadPath
from analogpc.devices.crossbars.resolution import refuse_unresolved
from analogpc.devices.crossbars.tiles import Tile, tiles_of
from analogpc.devices.device import Device
from analogpc.devices.matrix import Products, ReadStream, TwoPhases, checked, refuse_numbers_of_inputs
from analogpc.devices.protocols import PulsedLegs
from analogpc.devices.state import StateError, whole
from analogpc.devices.substrate import Analog
from analogpc.kernels.checks import passing_seconds, real_array, refuse_shape
from analogpc.kernels.gpu.arrays import Backend, backend_of, copied
from analogpc.kernels.lookups import one_hot
from analogpc.kernels.random.streams import Key


class CrossbarMatrix(CrossbarState):
    """A logical matrix W (n_out, n_in) held by devices on crossbars: word lines are inputs, bit lines outputs.

    It is composed of the devices (`cells`), the read path with its converters, and the pulse writer; update schemes and mappings
    access it as a `PulsedMatrix`.

    It is created in main memory. A copy may be placed on a GPU, where the same devices give identical bits up to the rounding of
    products and of functions such as exp. There, reads synchronise only with ``bound_management = "iterative"``; updates synchronise
    at least once.

    Parameters
    ----------
    weights : (n_out, n_in) array, float32 or float64
        Initial weights, programmed as precisely as the devices allow.
    substrate : Analog
    key : Key
        Random stream of the devices and converters, and of the noise until `key_streams` is called.
    scale : float
        Logical weight per unit of state difference; by default chosen by the mapping.

    Attributes
    ----------
    scales : (arrays along the inputs, n_out) array
        Logical weight per unit of state difference; in main memory.
    cells : Cells
        The devices of the weights.
    extra : dict of Cells
        Extra cells that the update scheme keeps besides the weights.
    memory : dict
        Memory of the update scheme: arrays, numbers and texts.
    update_key, products_done, update_cycles
        Stream of the updates, number of rank-one products applied from it, and number of calls of `learn`.
    gain : float
        Factor on all outputs that compensates for drift.
    """

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
        self._writer, self.update_cycles = PulseWriter(self.cells, self.extra, key.fold("update")), 0
        self.gain, self._readout = 1.0, 0.0
        self._read_path = ReadPath.drawn(substrate, self.cells, self.extra, self.scales, key.fold("converters"))
        self.memory: dict[str, Any] = {}
        self.program(weights)

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
        own: list[tuple[Any, str]] = [
            (self._reads, "step"),
            (self._writer, "products_done"),
            (self, "update_cycles"),
        ]
        own += [(self.memory, name) for name in self.substrate.scheme.counters]
        return own + [(array, "writes") for cells in self._all_cells for array in cells.arrays]

    @override
    def counting(self) -> list[Any]:
        return [self.meter, *(array for cells in self._all_cells for array in cells.arrays)]

    @override
    def read_arrays(self) -> list[np.ndarray]:
        return self._read_path.arrays(self.meter)

    @override
    def accumulators(self) -> list[np.ndarray]:
        return self._read_path.accumulators(self.meter)

    @override
    def forget(self) -> None:
        self._read_path.forget()
        for cells in self._all_cells:
            for array in cells.arrays:
                array.forget()

    @property
    @override
    def exact(self) -> bool:
        return self.substrate.reads_exactly

    def program(self, weights: np.ndarray) -> None:
        """Write all weights (n_out, n_in) with the present scales, as precisely as the devices allow; resets the update scheme.

        Raises
        ------
        ValueError
            If the weights are not finite real numbers of the shape of the matrix.
        """
        wanted = copied(real_array(weights, "weights", self.shape, self.dtype).T, self.backend)
        self.gain, self._readout = 1.0, 0.0
        wanted /= self.scale_grid()
        self.cells.program(wanted)
        self._read_path.forget()
        self.memory = self.substrate.scheme.memory(self.shape, self.anchor)
        self.substrate.scheme.begin(self, weights)

    @override
    def forward(self, x: np.ndarray) -> np.ndarray:
        refuse_shape(x, "inputs", ("n", self.shape[1]))
        with self._noted(FORWARD, len(x)):
            return self._read_path.forward(x, self.gain, self._reads, self.meter)

    @override
    def look_up(self, ids: np.ndarray) -> np.ndarray:
        """See `Matrix.look_up`; only one line is driven for each index, and only the arrays that it crosses are read."""
        refuse_numbers_of_inputs(ids, self.shape[1])
        self.meter.look_ups += len(ids)
        with self._noted(FORWARD, len(ids)):
            return self._read_path.forward(one_hot(ids, self.shape[1], self.dtype), self.gain, self._reads, self.meter, ids)

    @override
    def backward(self, g: np.ndarray) -> np.ndarray:
        refuse_shape(g, "inputs of a transposed read", ("n", self.shape[0]))
        with self._noted(BACKWARD, len(g)):
            return self._read_path.backward(g, self.gain, self._reads, self.meter)

    @contextmanager
    def _noted(self, kind: str, vectors: int) -> Iterator[None]:
        """Record the vectors read within the context, repeated reads included."""
        repeated = self.meter.repeated_reads
        yield
        note(kind, self, vectors + self.meter.repeated_reads - repeated)

    def read_extra(self, name: str, x: np.ndarray) -> np.ndarray:
        """Read only the extra cells of that name: (n, n_in) -> (n, n_out), in logical units."""
        with self._noted(FORWARD, len(x)):
            return self._read_path.read_extra(name, x, self.gain, self._reads, self.meter)

    @override
    def learn(self, products: Products, rate: float) -> None:
        self.substrate.scheme.learn(self, self._in_full(checked(products, self.shape)), rate)
        self._finish_cycle()

    def _in_full(self, products: Products) -> Products:
        """Expand input indices among the presynaptic vectors to one-hot vectors, the values on the word lines."""
        if isinstance(products, TwoPhases):
            return TwoPhases(self._in_full(products.plus), self._in_full(products.minus))
        return ((one_hot(pre, self.shape[1], self.dtype) if pre.ndim == 1 else pre, post) for pre, post in products)

    def _finish_cycle(self) -> None:
        """Perform the maintenance after an update cycle, however it was written."""
        self.update_cycles += 1
        self.meter.update_cycles += 1
        if self.device.response.leaks:
            for cells in self._all_cells:
                cells.leak()
        self.substrate.mapping.maintain(self)
        self._read_path.forget()
        self._readout = 0.0

    @property
    def device(self) -> Device:
        """Specification of its devices."""
        return self.substrate.device

    @property
    def arrays(self) -> list[Array]:
        """Grids of devices (n_in, n_out), one per leg of the mapping."""
        return self.cells.arrays

    @property
    def reach(self) -> float:
        """Largest difference of states that the mean devices of a weight can hold in both directions."""
        return self.substrate.mapping.range(self.device)

    @property
    def update_key(self) -> Key:
        """Random stream of the updates."""
        return self._writer.key

    @property
    def products_done(self) -> int:
        """Number of rank-one products applied from the stream of the updates."""
        return self._writer.products_done

    @property
    def maintenance_key(self) -> Key:
        """Random stream of the maintenance by the mapping."""
        return self.update_key.fold("maintenance")

    @property
    def granularity(self) -> float:
        """Mean logical change per coincidence where the scale is largest; 0 for devices without pulses."""
        response = self.device.response
        if not response.pulsed:
            return 0.0
        return float(self.scales.max()) * self.gain * response.mean_step * self.substrate.mapping.steps(self.device)

    def granules(self, lines: Any = slice(None)) -> np.ndarray:
        """Return the mean logical change per coincidence for every weight: (n_in, n_out), or a number; see `scale_grid`."""
        return self.scale_grid(lines) * self.dtype.type(self.granularity / (float(self.scales.max()) * self.gain))

    def scale_grid(self, lines: Any = slice(None)) -> np.ndarray:
        """Return the logical weight per unit of state difference, gain included: (n_in, n_out), or a number if all are equal.

        ``lines`` selects word lines, by their indices or as a slice.
        """
        if self._read_path.ports.uniform:
            return self.dtype.type(self.scales[0, 0] * self.gain)
        rows = np.arange(self.shape[1], like=self.anchor)[lines] // self.substrate.rows
        return (self._read_path.ports.grid[rows] * self.gain).astype(self.dtype)

    @property
    def anchor(self) -> np.ndarray:
        """An array on the backend of the matrix, for the ``like`` argument of array constructors."""
        return self.arrays[0].state

    def zeros(self, dtype: Any = None) -> np.ndarray:
        """Return zeros for all crosspoints, (n_in, n_out), by default in the type of the matrix."""
        return np.zeros(self.shape[::-1], dtype or self.dtype, like=self.anchor)

    def one_by_one(self, lines: slice) -> np.ndarray:
        """Return inputs (lines, n_in) that drive the given word lines one at a time: rows of the identity."""
        return np.asarray(np.eye(lines.stop - lines.start, self.shape[1], lines.start, dtype=self.dtype), like=self.anchor)

    def blocks(self) -> list[tuple[slice, np.ndarray | None]]:
        """Return inputs that share their scales, with those scales relative to the largest, (n_out,), or None if all equal it."""
        if self._read_path.ports.uniform:
            return [(slice(0, self.shape[1]), None)]
        relative = (self._read_path.ports.grid / float(self.scales.max())).astype(self.dtype)
        return list(zip(self._read_path.ports.blocks, relative, strict=True))

    def shift(self, change: np.ndarray) -> None:
        """Write a logical change (n_in, n_out) exactly, up to the bounds of the devices."""
        # Counting logical values is several times as fast as counting numbers.
        count(self.meter, programmed=np.count_nonzero(change != 0) * len(self.arrays))
        note(PROGRAMMED, self, min(self.shape[1], self.substrate.rows))
        unit: Any = self.scale_grid()
        if change.dtype != self.dtype or unit.ndim > 0:
            change, unit = (change / unit).astype(self.dtype, copy=False), 1.0
        self.cells.shift(change, unit)
        self._read_path.forget()

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
        """See `PulsedMatrix.pulse`."""
        self._writer.pulse(self.meter, inputs, pre, post, gain_pre, gain_post, length, cells, deterministic, separate, legs)
        self._read_path.forget()

    def pulse_each(self, counts: np.ndarray, key: Key, step: int, cells: str | None = None) -> None:
        """Send the devices of every weight their own number of pulses, ``counts`` (n_in, n_out) int32; negative counts lower it.

        Every leg receives them, in its own direction; in one-sided pairs one device or the other is raised.
        """
        self._writer.pulse_each(self.meter, counts, key, step, cells)
        self._read_path.forget()

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
        self._read_path.forget()
        if compensated:
            now = self._mean_readout()
            self.gain *= self._readout / now if now > 0 else 1.0

    def _mean_readout(self) -> float:
        """Return the mean magnitude of all outputs for one driven line at a time, which global drift compensation compares."""
        return float(np.abs(self.forward(self.one_by_one(slice(0, self.shape[1])))).mean(dtype=np.float64))

    @property
    def factors(self) -> dict[str, float]:
        """Return the factor of each conductance of `tiles` in the sum that forms a weight."""
        factors = dict(self.cells.factors)
        for name, share in self.substrate.scheme.visible.items():
            factors |= {f"{name}.{leg}": share * factor for leg, factor in self.extra[name].factors.items()}
        return factors

    def tiles(self) -> Iterator[Tile]:
        """Yield the physical arrays, row of tiles by row of tiles; in main memory."""
        return tiles_of(self)

    @override
    def refuse_state(self) -> None:
        if not (self.scales > 0).all() or self.gain <= 0 or self._readout < 0:
            raise StateError("a scale or gain of the weights is not positive")
        for cells in self._all_cells:
            cells.refuse_state()
        for name, most in self.substrate.scheme.memory_limits(self).items():
            whole(self.memory[name], f"memory/{name}", 0, most)
