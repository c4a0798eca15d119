"""The devices of a logical matrix: the grids of all legs of its mapping, and what reads multiply by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from analogpc.devices.array import Array
from analogpc.devices.population import faulty, population, working_lines
from analogpc.devices.reading import Curve, MatrixOperand, Operand
from analogpc.devices.wiring import CurvedOperand, Wiring
from analogpc.kernels.streams import Key, normals

if TYPE_CHECKING:
    from analogpc.devices.statics import ConductionModel
    from analogpc.devices.substrate import Analog


class Cells:
    """All devices of a logical matrix, whatever the number of physical arrays that they are on.

    Parameters
    ----------
    substrate : Analog
    shape : (n_in, n_out)
    key : Key
        Which devices these are.
    dtype : numpy.dtype

    Attributes
    ----------
    arrays : list of Array
        The grids (n_in, n_out), one for each leg of the mapping.
    shared : Array or None
        The columns of devices at rest that an offset mapping has, (n_in, arrays along the outputs).
    """

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
        """Draw the devices of all legs, and leave out the worst lines where there are spare ones."""
        substrate, legs, shape = self.substrate, self.substrate.mapping.legs, self.shape
        mapping, device, tile = substrate.mapping, substrate.device, (substrate.rows, substrate.columns)
        spare = (mapping.spare_rows, mapping.spare_columns)
        physical = shape[0] + -(-shape[0] // tile[0]) * spare[0], shape[1] + -(-shape[1] // tile[1]) * spare[1]
        whole = tile[0] + spare[0], tile[1] + spare[1]
        keys = [key.fold(leg.name) for leg in legs]
        drawn = [population(device, physical, leg_key, self.dtype, whole) for leg_key in keys]
        if physical != shape:
            places = working_lines(np.sum([faulty(one) for one in drawn], axis=0), shape, tile, spare)
            drawn = [{name: values[places] for name, values in one.items()} for one in drawn]
        return [Array(device, shape, one, self.dtype, values) for one, values in zip(keys, drawn, strict=True)]

    def _reference_columns(self, key: Key) -> Array | None:
        mapping = self.substrate.mapping
        if mapping.kind != "offset-column" or mapping.reference == "exact":
            return None
        columns = -(-self.shape[1] // self.substrate.columns)
        array = Array(self.substrate.device, (self.shape[0], columns), key.fold("reference"), self.dtype)
        array.program(np.full(array.state.shape, mapping.rest(self.substrate.device), self.dtype))
        return array

    @property
    def stuck(self) -> np.ndarray:
        """True where a device of a weight cannot move or carries no current, (n_in, n_out) bool."""
        return np.logical_or.reduce([array.stuck for array in self.arrays])

    def finite(self) -> bool:
        """Whether every state is a finite number."""
        return all(bool(np.isfinite(array.state).all()) for array in self.arrays)

    def program(self, wanted: np.ndarray, where: np.ndarray | None = None) -> None:
        """Write state differences (n_in, n_out), as near as the devices allow: all, or those at ``where`` (n_in, n_out) bool."""
        mapping = self.substrate.mapping
        targets = mapping.split(wanted, self.substrate.device)
        for number, (array, target) in enumerate(zip(self.arrays, targets, strict=True)):
            targets[number] = target if array.reference is None else target + array.reference
            array.program(targets[number], where)
        if mapping.compensate:
            self._compensate(wanted, targets, where)

    def _compensate(self, wanted: np.ndarray, targets: list[np.ndarray], where: np.ndarray | None) -> None:
        """Program the working partners of stuck devices once more, so that they make up for them."""
        mapping = self.substrate.mapping
        error = wanted - self.difference()
        stuck = [array.stuck for array in self.arrays]
        factors = [leg.factor * mapping.group_weights[leg.group] for leg in mapping.legs]
        power = sum(np.where(bad, 0.0, factor**2) for bad, factor in zip(stuck, factors, strict=True))
        affected = np.logical_or.reduce(stuck) & (power > 0) & (True if where is None else where)
        for array, target, bad, factor in zip(self.arrays, targets, stuck, factors, strict=True):
            share = np.divide(factor * error, power, out=np.zeros_like(error), where=affected)
            array.program(target + share.astype(self.dtype), affected & ~bad)

    def shift(self, change: np.ndarray) -> None:
        """Change the state differences by ``change`` (n_in, n_out) exactly, up to the devices' bounds."""
        states = [array.state for array in self.arrays]
        parts = self.substrate.mapping.changes(change, states, self.substrate.device)
        for array, part in zip(self.arrays, parts, strict=True):
            array.shift(part)

    def difference(self) -> np.ndarray:
        """The state differences that a read finds, (n_in, n_out)."""
        return self.substrate.mapping.difference([array.apparent for array in self.arrays], self.subtracted())

    def sensed(self, key: Key, step: int) -> np.ndarray:
        """The state differences as one read of every device finds them, white noise of the devices included: (n_in, n_out)."""
        found, mapping = self.difference(), self.substrate.mapping
        factors = [leg.factor * mapping.group_weights[leg.group] for leg in mapping.legs]
        variance = self._noise(list(zip(factors, self.arrays, strict=True)))
        return found if variance is None else found + np.sqrt(variance) * normals(key, step, found.shape, self.dtype)

    def subtracted(self) -> np.ndarray | float:
        """The states that are subtracted from those of the legs: (n_in, n_out), or one number."""
        reference = self.arrays[0].reference
        if reference is not None:
            return reference
        if self.shared is not None:
            return np.repeat(self.shared.apparent, self.substrate.columns, axis=1)[:, : self.shape[1]]
        return self.substrate.mapping.rest(self.substrate.device)

    def operands(self, transposed: bool = False) -> list[Operand]:
        """What reads multiply by, one for each group of legs: (n_in, n_out), or (n_out, n_in) if ``transposed``.

        White noise of devices behind wires is weakened like their currents, crosspoint by crosspoint: an approximation, since noise
        of one device also reaches other lines.
        """
        mapping, wired = self.substrate.mapping, self.substrate.wires.present
        operands: list[Operand] = []
        for group, weight in enumerate(mapping.group_weights):
            legs = [(leg, array) for leg, array in zip(mapping.legs, self.arrays, strict=True) if leg.group == group]
            parts = [(leg.name, leg.factor, array.apparent) for leg, array in legs]
            if len(mapping.legs) == 1:
                parts.append(("subtracted", -1.0, np.broadcast_to(np.asarray(self.subtracted(), self.dtype), self.shape)))
            noise = self._noise([(leg.factor, array) for leg, array in legs])
            if wired and not self.substrate.device.conduction.linear:
                operands.append(CurvedOperand(self._in_siemens(parts), *self._curve, transposed, weight, slice(None)))
            elif wired:
                matrix, attenuation = self._wired(parts, transposed)
                noise = None if noise is None else (noise.T if transposed else noise) * np.square(attenuation)
                operands.append(MatrixOperand([(matrix, None)], noise, weight))
            else:
                operand = MatrixOperand(self._terms(parts), noise, weight)
                operands.append(operand.transposed if transposed else operand)
        return operands

    @property
    def _curve(self) -> tuple[ConductionModel, float]:
        return self.substrate.device.conduction, self.substrate.device.siemens_per_state

    def _in_siemens(self, parts: list[tuple[str, float, np.ndarray]]) -> list[tuple[float, np.ndarray, Wiring]]:
        """Factor, conductances and wires of every leg, and of what is subtracted."""
        device = self.substrate.device
        wiring = [self.wiring.setdefault(name, Wiring(self.substrate, self.shape)) for name, _, _ in parts]
        return [(factor, device.conductance(states), own) for (_, factor, states), own in zip(parts, wiring, strict=True)]

    def _wired(self, parts: list[tuple[str, float, np.ndarray]], transposed: bool) -> tuple[np.ndarray, np.ndarray]:
        """State differences as they are seen through the wires, and what part of a current the wires leave."""
        device, kind = self.substrate.device, self.dtype.type
        legs = self._in_siemens(parts)
        if self.substrate.mapping.kind == "offset-column":
            # The reference column is a line of the same arrays.
            (_, conductance, wiring), (_, reference, _) = legs
            beside = np.ascontiguousarray(reference[:, :: self.substrate.columns])
            total = wiring.effective(conductance, beside, transposed)
            plain = conductance - reference
        else:
            total = _weighted_sum([(factor, wiring.effective(g, None, transposed)) for factor, g, wiring in legs])
            plain = _weighted_sum([(factor, g) for factor, g, _ in legs])
        plain = plain.T if transposed else plain
        attenuation = np.divide(total, plain, out=np.ones_like(total), where=np.abs(plain) > 1e-3 * device.g_max_siemens)
        return total / kind(device.siemens_per_state), np.clip(attenuation, 0, 1)

    def _terms(self, parts: list[tuple[str, float, np.ndarray]]) -> list[tuple[np.ndarray, Curve | None]]:
        """Products that make the current of devices without wires, in units of state."""
        device, kind = self.substrate.device, self.dtype.type
        if device.conduction.linear and sum(factor for _, factor, _ in parts) == 0:
            return [(_weighted_sum([(factor, states) for _, factor, states in parts]), None)]
        # Where currents are not subtracted from each other a converter sees the conductances, not the states.
        unit = kind(device.siemens_per_state)
        curves = [(factor, device.conduction.terms(device.conductance(states))) for _, factor, states in parts]
        return [
            (
                _weighted_sum([(factor, terms[number][0] / unit) for factor, terms in curves]),
                None if device.conduction.linear else curves[0][1][number][1],
            )
            for number in range(len(curves[0][1]))
        ]

    def _noise(self, legs: list[tuple[float, Array]]) -> np.ndarray | None:
        """Variance of the white noise of every crosspoint, in states squared; None without any."""
        variances = []
        for factor, array in legs:
            deviation = array.read_deviation(self.substrate.read_seconds)
            if deviation is not None:
                variances.append((factor**2, np.square(deviation)))
        return _weighted_sum(variances) if variances else None

    @property
    def factors(self) -> dict[str, float]:
        """What each of `conductances` counts in the sum that makes a weight."""
        mapping = self.substrate.mapping
        factors = {leg.name: leg.factor * mapping.group_weights[leg.group] for leg in mapping.legs}
        if mapping.kind == "offset-column":
            factors["reference"] = -1.0
        elif len(factors) == 1:
            factors["minus"] = -1.0
        return factors

    def conductances(self, place: tuple[slice, slice]) -> dict[str, np.ndarray]:
        """Conductances in siemens at a place of the grid, by the names of the legs, and what is subtracted from them.

        That is "minus" for a fixed reference device of every weight, or the column "reference" (rows, 1) of an offset mapping.
        """
        device, mapping = self.substrate.device, self.substrate.mapping
        held = {leg.name: array.conductance()[place] for leg, array in zip(mapping.legs, self.arrays, strict=True)}
        if mapping.kind == "offset-column":
            rows = place[0].stop - place[0].start
            at_rest = np.full((rows, 1), mapping.rest(device), self.dtype)
            if self.shared is not None:
                column = place[1].start // self.substrate.columns
                at_rest = self.shared.apparent[place[0], column : column + 1]
            held["reference"] = device.conductance(at_rest)
        elif len(held) == 1:
            subtracted = np.broadcast_to(np.asarray(self.subtracted(), self.dtype), self.shape)
            held["minus"] = device.conductance(subtracted[place])
        return held

    def pulse_each(self, counts: np.ndarray, key: Key, step: int) -> int:
        """Send the devices of every weight ``counts`` (n_in, n_out) int32 pulses, negative ones to lower it; the pulses sent.

        Where an update reaches only some of the devices, ``step`` is the number that chooses them.
        """
        mapping, sent = self.substrate.mapping, 0
        one_sided = mapping.one_sided
        for number, (leg, array) in enumerate(zip(mapping.legs, self.arrays, strict=True)):
            chosen = mapping.receives(np.array([step]), number)
            if chosen is not None and not chosen[0]:
                continue
            own = counts if leg.factor > 0 else -counts
            sent += array.pulse_each(np.maximum(own, 0) if one_sided else own, key.fold(number), step)
        return sent

    def leak(self) -> None:
        """One update cycle of decay and diffusion."""
        for array in self.arrays:
            array.leak(1.0)

    def elapse(self, seconds: float) -> None:
        """Let time pass."""
        for array in self._all:
            array.elapse(seconds)

    def key_streams(self, key: Key) -> None:
        """Draw all coming noise of writing and ageing from ``key``."""
        for number, array in enumerate(self.arrays):
            array.key_streams(key.fold("array", number))
        if self.shared is not None:
            self.shared.key_streams(key.fold("shared"))

    def dump(self) -> dict[str, Any]:
        """Everything that is held."""
        wiring = {name: wiring.dump() for name, wiring in self.wiring.items()}
        return {"wiring": wiring} | {str(number): array.dump() for number, array in enumerate(self._all)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `dump` gave."""
        for number, array in enumerate(self._all):
            array.restore(state[str(number)])
        self.wiring = {name: Wiring(self.substrate, self.shape) for name in state["wiring"]}
        for name, wiring in self.wiring.items():
            wiring.restore(state["wiring"][name])

    def copy(self) -> Cells:
        """An independent grid in the same state."""
        twin = Cells.__new__(Cells)
        twin.substrate, twin.shape, twin.dtype = self.substrate, self.shape, self.dtype
        twin.arrays = [array.copy() for array in self.arrays]
        twin.shared = None if self.shared is None else self.shared.copy()
        twin.wiring = {}
        return twin


def _weighted_sum(parts: list[tuple[float, np.ndarray]]) -> np.ndarray:
    """Sum of arrays with factors; a single array with factor 1 is returned as it is."""
    (factor, first), *others = parts
    total = first if factor == 1 else first * first.dtype.type(factor)
    for factor, part in others:
        total = total - part if factor == -1 else total + part * part.dtype.type(factor)
    return total
