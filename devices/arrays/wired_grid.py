"""A grid of devices behind wires: its physical arrays, and the operands of their reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from analogpc.devices.arrays.sums import Operand
from analogpc.devices.state import Settled, Shaped, StateError, Stateful, Tree, Varying
from analogpc.devices.wires.wired_array import WiredArray
from analogpc.kernels.gpu.arrays import Backend
from analogpc.kernels.wires.effective import nonlinear_currents

if TYPE_CHECKING:
    from analogpc.devices.nonidealities import ConductionModel
    from analogpc.devices.substrate import Analog


class Wiring(Stateful):
    """Wires of all physical arrays of one leg.

    Devices of different legs are in separate arrays. The reference column of an offset mapping is in the same array, after the other
    columns.

    Parameters
    ----------
    substrate : Analog
        Substrate that specifies the array size and the wires.
    shape : (n_in, n_out)
        Shape of the grid.
    """

    specified = ("wires", "_rows", "_columns")

    def __init__(self, substrate: Analog, shape: tuple[int, int]) -> None:
        self.wires = substrate.wires
        self._rows = [slice(top, min(top + substrate.rows, shape[0])) for top in range(0, shape[0], substrate.rows)]
        self._columns = [slice(left, min(left + substrate.columns, shape[1])) for left in range(0, shape[1], substrate.columns)]
        self._arrays: dict[tuple[int, int], WiredArray] = {}

    def _tiles(self, conductance: np.ndarray, beside: np.ndarray | None) -> Iterator[tuple[int, int, np.ndarray]]:
        """Yield place and conductances of every array, with its column of ``beside`` (n_in, arrays along the outputs), if any."""
        for k, rows in enumerate(self._rows):
            for n, columns in enumerate(self._columns):
                tile = conductance[rows, columns]
                yield k, n, tile if beside is None else np.concatenate([tile, beside[rows, n : n + 1]], axis=1)

    def effective(self, conductance: np.ndarray, beside: np.ndarray | None, transposed: bool) -> np.ndarray:
        """Effective conductances of linear devices with their wires, in siemens: (n_in, n_out), or (n_out, n_in) if ``transposed``.

        Parameters
        ----------
        conductance : (n_in, n_out) array
            Siemens.
        beside : (n_in, arrays along the outputs) array, optional
            Conductances of reference columns, whose current is subtracted from that of all others.
        transposed : bool
            Drive the bit lines.
        """
        out = np.empty(conductance.shape[::-1] if transposed else conductance.shape, conductance.dtype)
        for k, n, tile in self._tiles(conductance, beside):
            array = self._arrays.setdefault((k, n), WiredArray(self.wires, tile.shape))
            # The first axis is sensed, the second driven.
            matrix = array.matrix(np.ascontiguousarray(tile), transposed)
            if beside is not None:
                matrix = matrix[:, :-1] - matrix[:, -1:] if transposed else matrix[:-1] - matrix[-1:]
            place = (self._columns[n], self._rows[k]) if transposed else (self._rows[k], self._columns[n])
            out[place] = matrix.T
        return out

    def currents(
        self, conductance: np.ndarray, conduction: ConductionModel, volts: np.ndarray, cut: int, transposed: bool
    ) -> np.ndarray:
        """Currents in amperes of nonlinear devices behind wires, of the arrays of one cut: (n, sensed lines).

        Parameters
        ----------
        conductance : (n_in, n_out) array
            Siemens.
        conduction : ConductionModel
            Conduction with a single term.
        volts : (n, driven lines of the cut) array
        cut : int
            Index of the arrays along the driven side.
        transposed : bool
            Drive the bit lines.
        """
        (term,) = conduction.products(conductance)
        lines = self.wires.lines(transposed)
        law = (term.function, term.derivative)
        if transposed:
            tiles = [conductance[rows, self._columns[cut]] for rows in self._rows]
        else:
            tiles = [conductance[self._rows[cut], columns] for columns in self._columns]
        parts = [nonlinear_currents(np.ascontiguousarray(tile), volts, law, **lines) for tile in tiles]
        return np.concatenate(parts, axis=1)

    @property
    @override
    def backend(self) -> Backend:
        return "cpu"

    @override
    def held(self) -> Tree:
        return {f"{k} {n}": Settled({"lines": np.array(array.shape), **array.held()}) for (k, n), array in self._arrays.items()}

    def template(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the template of `held` with the names of ``given``; see `state.fitted`."""
        places = {
            f"{k} {n}": (rows.stop - rows.start, columns.stop - columns.start)
            for k, rows in enumerate(self._rows)
            for n, columns in enumerate(self._columns)
        }
        return {name: Varying(partial(_array_template, places[name])) for name in given if name in places}

    @override
    def _adopt(self, tree: Tree, backend: Backend) -> None:
        self._arrays = {}
        for name, held in tree.items():
            rows, columns = (int(lines) for lines in held["lines"])
            if any(np.shape(values) not in ((rows, columns), (columns, rows)) for key, values in held.items() if key != "lines"):
                raise StateError(f"the wires of the array {name} do not match the lines of its conductances")
            k, n = (int(number) for number in name.split())
            array = WiredArray(self.wires, (rows, columns))
            array.restore({key: values for key, values in held.items() if key != "lines"})
            self._arrays[k, n] = array


def _array_template(lines: tuple[int, int], given: dict[str, Any]) -> dict[str, Any]:
    """Return the template of an array with the given numbers of lines, with or without a reference column."""
    rows, columns = lines
    found = tuple(getattr(given.get("conductance_forward", given.get("conductance_transposed")), "shape", ()))
    if found == (rows, columns + 1):
        columns += 1
    shapes = {"conductance_forward": (rows, columns), "missed_forward": (columns, rows)}
    shapes |= {"conductance_transposed": (rows, columns), "missed_transposed": (rows, columns)}
    # The two entries of a direction belong together.
    both = {
        f"{what}_{direction}"
        for direction in ("forward", "transposed")
        for what in ("conductance", "missed")
        if {f"conductance_{direction}", f"missed_{direction}"} & given.keys()
    }
    return {"lines": np.array([rows, columns])} | {name: Shaped(shapes[name], ("float32", "float64")) for name in both}


@dataclass(frozen=True)
class CurvedOperand(Operand):
    """Nonlinear devices behind wires: every vector requires the solution of a nonlinear network.

    Attributes
    ----------
    legs : list of (factor, (n_in, n_out) array, Wiring)
        Conductances in siemens.
    conduction : ConductionModel
    unit : float
        Siemens per state.
    transposed : bool
        Whether the bit lines are driven.
    weight : float
    columns : slice
        Sensed lines that are computed.
    """

    legs: list[tuple[float, np.ndarray, Wiring]]
    conduction: ConductionModel
    unit: float
    transposed: bool
    weight: float
    columns: slice

    @property
    @override
    def sensed(self) -> int:
        return len(range(self.legs[0][1].shape[0 if self.transposed else 1])[self.columns])

    @override
    def of_columns(self, columns: slice) -> CurvedOperand:
        return replace(self, columns=columns)

    @override
    def weighted(self, share: float) -> CurvedOperand:
        return replace(self, weight=share * self.weight)

    @override
    def sums(self, values: np.ndarray, cut: int, part: slice, full_voltage: bool, volts: float) -> np.ndarray:
        currents = [
            factor * wiring.currents(conductance, self.conduction, values * volts, cut, self.transposed)
            for factor, conductance, wiring in self.legs
        ]
        total = sum(currents[1:], start=currents[0]) / (self.unit * volts)
        return np.ascontiguousarray(total[:, self.columns]).astype(values.dtype, copy=False)
