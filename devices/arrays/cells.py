"""Devices of a logical matrix: the grids of all legs of its mapping, and the operands of reads."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from analogpc.devices.arrays.array import Array
from analogpc.devices.arrays.operands import device_noise, form_operands
from analogpc.devices.arrays.population import faulty, population, working_lines
from analogpc.devices.arrays.sums import Operand
from analogpc.devices.arrays.wired_grid import Wiring
from analogpc.devices.costs.line_counts import count_each, count_trains
from analogpc.devices.costs.meter import Meter, count
from analogpc.devices.mappings import OffsetColumn
from analogpc.devices.mappings.base import Leg
from analogpc.devices.protocols import PulsedLegs
from analogpc.devices.state import Stateful, Tree, Varying
from analogpc.kernels.checks import refuse_beyond_memory
from analogpc.kernels.gpu.arrays import Backend
from analogpc.kernels.pulses.sent import SentRows
from analogpc.kernels.pulses.writes import part_of
from analogpc.kernels.random.streams import Key, normals

if TYPE_CHECKING:
    from analogpc.devices.substrate import Analog
from analogpc.kernels.memory import filled


class Cells(Stateful):
    """All devices of a logical matrix, regardless of the number of physical arrays.

    Parameters
    ----------
    substrate : Analog
    shape : (n_in, n_out)
    key : Key
        Random stream of the devices.
    dtype : numpy.dtype

    Attributes
    ----------
    arrays : list of Array
        Grids (n_in, n_out), one per leg of the mapping.
    shared : Array or None
        Columns of devices at rest of an offset mapping, (n_in, arrays along the outputs).
    """

    specified = ("substrate", "shape", "dtype")

    def __init__(self, substrate: Analog, shape: tuple[int, int], key: Key, dtype: np.dtype) -> None:
        self.substrate, self.shape, self.dtype = substrate, shape, dtype
        self.arrays = self._build(key)
        self.shared = self._reference_columns(key)
        self.wiring: dict[str, Wiring] = {}
        for array in self._all:
            array.warm(substrate.temperature_kelvin)

    @property
    def _all(self) -> list[Array]:
        return [*self.arrays, *([] if self.shared is None else [self.shared])]

    def _build(self, key: Key) -> list[Array]:
        """Draw the devices of all legs, and leave out the worst lines if there are spare ones."""
        substrate, legs, shape = self.substrate, self.substrate.mapping.legs, self.shape
        mapping, device, tile = substrate.mapping, substrate.device, (substrate.rows, substrate.columns)
        spare = (mapping.spare_rows, mapping.spare_columns)
        physical = shape[0] + -(-shape[0] // tile[0]) * spare[0], shape[1] + -(-shape[1] // tile[1]) * spare[1]
        whole = tile[0] + spare[0], tile[1] + spare[1]
        title = f"{len(legs)} grids of {physical[0]} x {physical[1]} devices"
        refuse_beyond_memory(len(legs) * math.prod(physical), self.dtype, title)
        keys = [key.fold(leg.name) for leg in legs]
        drawn = [population(device, physical, leg_key, self.dtype, whole) for leg_key in keys]
        if physical != shape:
            places = working_lines(np.sum([faulty(one, physical) for one in drawn], axis=0), shape, tile, spare)
            drawn = [{name: values[places] for name, values in one.items()} for one in drawn]
        return [Array(device, shape, one, self.dtype, values) for one, values in zip(keys, drawn, strict=True)]

    @property
    def _has_reference_columns(self) -> bool:
        mapping = self.substrate.mapping
        return isinstance(mapping, OffsetColumn) and mapping.reference == "devices"

    @property
    def _shape_of_references(self) -> tuple[int, int]:
        return self.shape[0], -(-self.shape[1] // self.substrate.columns)

    def _reference_columns(self, key: Key) -> Array | None:
        if not self._has_reference_columns:
            return None
        substrate, mapping, own = self.substrate, self.substrate.mapping, key.fold("reference")
        shape = self._shape_of_references
        parameters = population(substrate.device, shape, own, self.dtype, (substrate.rows, 1))
        if "open" in parameters:
            # A broken word line of an array is also broken for its reference column.
            broken = self.arrays[0].parameters["open"]
            for number, left in enumerate(range(0, self.shape[1], substrate.columns)):
                parameters["open"][:, number] |= broken[:, left : left + substrate.columns].all(axis=1)
        array = Array(substrate.device, shape, own, self.dtype, parameters)
        array.program(np.full(array.state.shape, mapping.rest(self.substrate.device), self.dtype))
        return array

    @property
    def stuck(self) -> np.ndarray:
        """Weights with a device that cannot be moved or carries no current, (n_in, n_out) bool."""
        first, *others = (array.stuck for array in self.arrays)
        return functools.reduce(np.logical_or, others, first)

    def all_finite(self) -> Any:
        """Whether every state is finite: a bool, or a 0-d device array (no synchronisation)."""
        return np.stack([np.isfinite(array.state).all() for array in self.arrays]).all()

    def program(self, wanted: np.ndarray, where: np.ndarray | None = None) -> None:
        """Write state differences (n_in, n_out), as precisely as the devices allow: all, or those at ``where`` (n_in, n_out) bool."""
        targets = self._targets(wanted)
        for array in self.arrays:
            # No name refers to a target here, so that it is released before the next one is computed.
            array.program(next(targets), where)
        if self.substrate.mapping.compensate:
            self._compensate(wanted, where)

    def _targets(self, wanted: np.ndarray) -> Iterator[np.ndarray]:
        """Return the target states of the devices of every leg, references included."""
        return map(
            lambda target, array: target if array.reference is None else target + array.reference,
            self.substrate.mapping.split(wanted, self.substrate.device),
            self.arrays,
        )

    def _compensate(self, wanted: np.ndarray, where: np.ndarray | None) -> None:
        """Reprogram the working partners of stuck devices to compensate for them."""
        mapping, targets = self.substrate.mapping, self._targets(wanted)
        error = wanted - self.difference()
        stuck = [array.stuck for array in self.arrays]
        factors = [leg.factor * mapping.group_weights[leg.group] for leg in mapping.legs]
        power = sum(np.where(bad, 0.0, factor**2) for bad, factor in zip(stuck, factors, strict=True))
        affected = self.stuck & (power > 0) & (True if where is None else where)
        power = np.where(affected, power, 1.0)
        for array, target, bad, factor in zip(self.arrays, targets, stuck, factors, strict=True):
            share = np.where(affected, factor * error / power, 0.0)
            array.program(target + share.astype(self.dtype), affected & ~bad)

    def shift(self, change: np.ndarray, unit: Any = 1.0) -> None:
        """Change the state differences by exactly ``change / unit`` (n_in, n_out), up to the bounds of the devices."""
        mapping, device = self.substrate.mapping, self.substrate.device
        shares = mapping.shares(device)
        if shares is not None:
            for array, share in zip(self.arrays, shares, strict=True):
                array.shift(change, unit, share)
            return
        states = [array.found for array in self.arrays]
        for array, part in zip(self.arrays, mapping.changes(part_of(change, unit, 1.0), states, device), strict=True):
            array.shift(part)

    def difference(self) -> np.ndarray:
        """Return the state differences that a read finds, (n_in, n_out)."""
        return self.substrate.mapping.difference([array.apparent for array in self.arrays], self.subtracted())

    def sensed(self, key: Key, step: int) -> np.ndarray:
        """Return the state differences found by one read of every device, white noise included: (n_in, n_out)."""
        found, mapping = self.difference(), self.substrate.mapping
        factors = [leg.factor * mapping.group_weights[leg.group] for leg in mapping.legs]
        variance = device_noise(self, list(zip(factors, self.arrays, strict=True)))
        return found if variance is None else found + np.sqrt(variance) * normals(key, step, found.shape, self.dtype, like=found)

    def subtracted(self) -> np.ndarray | float:
        """Return the states that are subtracted from those of the legs: (n_in, n_out), or one number."""
        reference = self.arrays[0].reference
        if reference is not None:
            return reference
        if self.shared is not None:
            return np.repeat(self.shared.apparent, self.substrate.columns, axis=1)[:, : self.shape[1]]
        return self.substrate.mapping.rest(self.substrate.device)

    def subtracted_grid(self) -> np.ndarray:
        """Return the subtracted states as an array, (n_in, n_out), which must not be modified."""
        subtracted = self.subtracted()
        if isinstance(subtracted, float):
            subtracted = filled((1, 1), subtracted, self.dtype, self.arrays[0].state)
        return np.broadcast_to(subtracted, self.shape)

    def operands(self, transposed: bool = False) -> list[Operand]:
        """Return the operands of reads, one per group of legs: (n_in, n_out), or (n_out, n_in) if ``transposed``."""
        return form_operands(self, transposed)

    @property
    def factors(self) -> dict[str, float]:
        """Return the factor of each of `conductances` in the sum that forms a weight."""
        mapping = self.substrate.mapping
        factors = {leg.name: leg.factor * mapping.group_weights[leg.group] for leg in mapping.legs}
        if mapping.subtracts != "nothing":
            factors[self._subtracted_name] = -1.0
        return factors

    @property
    def _subtracted_name(self) -> str:
        return "reference" if self.substrate.mapping.subtracts == "column" else "minus"

    def conductances(self, place: tuple[slice, slice]) -> dict[str, np.ndarray]:
        """Return conductances in siemens at a place of the grid, by the names of the legs, and what is subtracted from them.

        The latter is "minus" for a fixed reference device of every weight, or the column "reference" (rows, 1) of an offset mapping.
        """
        device, mapping = self.substrate.device, self.substrate.mapping
        held = {leg.name: array.conductance()[place] for leg, array in zip(mapping.legs, self.arrays, strict=True)}
        if mapping.subtracts != "nothing":
            states = self.subtracted_grid()[place]
            # All columns of an array subtract the same conductance.
            held[self._subtracted_name] = device.conductance(states[:, :1] if mapping.subtracts == "column" else states)
        return held

    def pulse(
        self,
        meter: Meter,
        inputs: slice,
        rows: SentRows,
        chooser: Key,
        noise: Callable[[int], Key],
        first: int,
        legs: PulsedLegs,
        moved: Mapping[int, tuple[np.ndarray, np.ndarray]] = MappingProxyType({}),
    ) -> None:
        """Send pulse trains of n rank-one products along the lines of all legs, or some.

        Parameters
        ----------
        meter : Meter
            Meter that counts the pulses.
        inputs : slice
            Driven word lines; the bit lines are driven in their arrays.
        rows : SentRows
            Trains that raise the weights, of n_in rows, with those of n_out columns.
        chooser : Key
            Stream from which the mapping draws the devices that a product reaches, if it does.
        noise : function of int
            Random stream of the cycle-to-cycle noise of each leg.
        first : int
            Number of the first product.
        legs : "all", "plus" or "minus"
            Devices that are reached: all of a weight, or those with positive or negative sign.
        moved : dict of (array, array) by int
            From `move_constant`, if it has been called.
        """
        mapping, tile = self.substrate.mapping, self.tile
        tops = range(inputs.start // tile[0], -(-inputs.stop // tile[0]))
        for number, leg, array in self._reached(legs):
            chosen = mapping.receives(np.arange(first, first + len(rows)), number, chooser)
            own = rows
            if chosen is not None:
                reached = np.asarray(chosen, like=rows.words)[:, None]
                own = SentRows(np.where(reached, rows.words, np.uint32(0)), rows.columns)
            count_trains(meter, array, tile, tops, own.pulses, own.columns.pulses)
            pulses, siemens = array.pulse(
                own, own.columns, mapping.one_sided, noise(number), first, leg.factor < 0, moved.get(number)
            )
            count(meter, pulses=pulses, pulsed_siemens=siemens)

    def _reached(self, legs: PulsedLegs) -> Iterator[tuple[int, Leg, Array]]:
        """Yield number, leg and devices of the legs that pulses reach."""
        for number, (leg, array) in enumerate(zip(self.substrate.mapping.legs, self.arrays, strict=True)):
            if legs == "all" or (legs == "plus") == (leg.factor > 0):
                yield number, leg, array

    def movable(self, chooser: Key, legs: PulsedLegs) -> tuple[int, ...]:
        """Return the numbers of the legs to which `move_constant` applies; the line sums of all legs are ready for `pulse` then."""
        numbers, none = list[int](), np.zeros(0, np.int64)
        for number, _, array in self._reached(legs):
            array.line_siemens(*self.tile)
            if array.movable and self.substrate.mapping.receives(none, number, chooser) is None:
                numbers.append(number)
        return tuple(numbers)

    def move_constant(
        self, sent: SentRows, noise: Callable[[int], Key], steps: np.ndarray, numbers: Sequence[int]
    ) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Do what `Array.move_constant` does for some legs; the steps (n,) uint64 of the products are those of the random streams."""
        mapping = self.substrate.mapping
        return {
            number: self.arrays[number].move_constant(
                sent, mapping.one_sided, noise(number), steps, mapping.legs[number].factor < 0
            )
            for number in numbers
        }

    def pulse_arrays(self, numbers: Sequence[int]) -> list[np.ndarray]:
        """Return the arrays that `move_constant` reads and changes in some legs."""
        return [one for number in numbers for one in self.arrays[number].pulse_arrays()]

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and columns of a physical array."""
        return self.substrate.rows, self.substrate.columns

    def pulse_each(self, meter: Meter, counts: np.ndarray, key: Key, step: int) -> Any:
        """Send the devices of every weight ``counts`` (n_in, n_out) int32 pulses; negative counts lower the weight.

        If an update reaches only some of the devices, ``step`` is the number that selects them. Returns the number of time slots of
        the array that needs most of them.
        """
        mapping, slots = self.substrate.mapping, []
        one_sided = mapping.one_sided
        for number, (leg, array) in enumerate(zip(mapping.legs, self.arrays, strict=True)):
            chosen = mapping.receives(np.array([step]), number, key)
            if chosen is not None and not chosen[0]:
                continue
            own = counts if leg.factor > 0 else -counts
            own = np.maximum(own, 0) if one_sided else own
            slots.append(count_each(meter, array, self.tile, own))
            pulses, siemens = array.pulse_each(own, key.fold(number), step)
            count(meter, pulses=pulses, pulsed_siemens=siemens)
        return np.stack(slots).max() if slots else 0

    def leak(self) -> None:
        """Apply one update cycle of decay and diffusion."""
        for array in self.arrays:
            array.leak(1.0)

    def elapse(self, seconds: float) -> None:
        """Let time pass."""
        for array in self._all:
            array.elapse(seconds)

    def key_streams(self, key: Key) -> None:
        """Draw all future noise of writing and ageing from ``key``."""
        for number, array in enumerate(self.arrays):
            array.key_streams(key.fold("array", number))
        if self.shared is not None:
            self.shared.key_streams(key.fold("shared"))

    @property
    @override
    def backend(self) -> Backend:
        return self.arrays[0].backend

    @override
    def held(self) -> Tree:
        wiring = {name: wiring.held() for name, wiring in self.wiring.items()}
        return {"wiring": wiring} | {str(number): array.held() for number, array in enumerate(self._all)}

    def template(self) -> dict[str, Any]:
        """Return the template of `held`; which solutions of wires it contains depends on the reads so far."""
        shapes = [self.shape] * len(self.substrate.mapping.legs)
        if self._has_reference_columns:
            shapes.append(self._shape_of_references)
        arrays = {str(number): Array.template(self.substrate.device, shape, self.dtype) for number, shape in enumerate(shapes)}
        return arrays | {"wiring": Varying(self._wiring_template)}

    def _wiring_template(self, given: dict[str, Any]) -> dict[str, Any]:
        names = {*(leg.name for leg in self.substrate.mapping.legs), "subtracted"} if self.substrate.wires.present else set()
        return {name: Varying(Wiring(self.substrate, self.shape).template) for name in given if name in names}

    def refuse_state(self) -> None:
        """Reject states beyond the bounds of their devices, and future times, by a `StateError`."""
        for array in self._all:
            array.refuse_state()

    @override
    def _adopt(self, tree: Tree, backend: Backend) -> None:
        drawn = [
            Array.from_snapshot({"device": self.substrate.device}, tree[str(number)], backend) for number in range(len(tree) - 1)
        ]
        legs = len(self.substrate.mapping.legs)
        self.arrays, self.shared = drawn[:legs], drawn[legs] if len(drawn) > legs else None
        self.wiring = {name: Wiring(self.substrate, self.shape) for name in tree["wiring"]}
        for name, wiring in self.wiring.items():
            wiring.restore(tree["wiring"][name])
