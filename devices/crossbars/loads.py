"""Conductances of the driven lines, from which meters compute the energy dissipated in devices by reads and pulses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analogpc.devices.costs.meter import Meter, count, owe, settled
from analogpc.kernels.lines import line_magnitudes, line_squares, line_sums, line_total

if TYPE_CHECKING:
    from analogpc.devices.arrays.cells import Cells
    from analogpc.devices.arrays.sums import Curve

Lines = list[tuple[np.ndarray, "Curve | None"]]
"""Conductance sums (lines,) in siemens, each with the function of the voltage that multiplies it; None for ohmic conduction."""


@dataclass
class DrivenLines:
    """Lines of one side of a matrix, with all their devices in all arrays.

    Attributes
    ----------
    lines : Lines
    arrays : int
        Number of arrays in which a value drives a line: those of all legs.
    charged : "charged_rows" or "charged_columns"
        Counter of these lines in the meter.
    volts : float
        Read voltage.
    references : (driven tiles,) array or None
        Conductance of the reference column of every tile, if it is driven against all others.
    tiles : sequence of slice
        Lines of each tile.
    """

    lines: Lines
    arrays: int
    charged: str
    volts: float
    references: np.ndarray | None = None
    tiles: Sequence[slice] = ()
    _squares: np.ndarray | None = None
    _unit: float = 1.0
    _meter: Meter | None = None

    def squares(self, meter: Meter, unit: float) -> np.ndarray | None:
        """Accumulator for the squares of the values on each line, in ``unit``, of reads counted by ``meter``; None if they do not suffice.

        The sums of conductances multiply them once for many reads: when the meter is read, or the devices change.
        """
        if self._squares is not None and self._meter is meter:
            return self._squares
        if self.references is not None or len(self.lines) > 1 or self.lines[0][1] is not None:
            return None
        self.settle()
        if self._squares is None:
            self._squares = np.zeros(len(self.lines[0][0]))
        self._meter, self._unit = meter, unit
        owe(meter, self)
        return self._squares

    def settle(self) -> None:
        """Count the reads whose squares have been accumulated."""
        meter, self._meter = self._meter, None
        if meter is None or self._squares is None:
            return
        (sums, _), *_ = self.lines
        siemens, charged = line_total(self._squares, sums) * self._unit, float(self._squares.sum()) * self._unit * self.arrays
        self._squares[:] = 0
        settled(meter, self)
        count(meter, read_siemens=siemens, **{self.charged: charged})

    def count(self, meter: Meter, values: np.ndarray, full_voltage: bool) -> None:
        """Count a read of ``values`` (n, lines), in units of the read voltage or, for full-voltage drive, of the duration of a read."""
        siemens: Any = 0.0
        driven = line_magnitudes(values) if full_voltage else line_squares(values)
        for sums, curve in self.lines:
            power = driven if curve is None else self._curved(values, curve, full_voltage)
            siemens = siemens + line_total(power, sums)
        if self.references is not None:
            for sums, part in zip(self.references, self.tiles, strict=True):
                opposed = values[:, part].sum(axis=1, dtype=np.float64)
                siemens = siemens + (np.abs(opposed).sum() if full_voltage else np.square(opposed).sum()) * sums
        charged = np.count_nonzero(values) if full_voltage else driven.sum()
        count(meter, read_siemens=siemens, **{self.charged: charged * float(self.arrays)})

    def _curved(self, values: np.ndarray, curve: Curve, full_voltage: bool) -> np.ndarray:
        """Sum v f(v) / volts^2 over all vectors for every line; multiplies a conductance at the read voltage."""
        kind = values.dtype.type
        volts = (np.sign(values) if full_voltage else values) * kind(self.volts)
        power = np.abs(volts * curve(volts)) / kind(self.volts**2)
        return (power * np.abs(values) if full_voltage else power).sum(axis=0, dtype=np.float64)


class Loads:
    """Present conductances of all lines of a matrix.

    Parameters
    ----------
    every : list of Cells
        All cells that a read drives: those of the weights, and extra cells visible to reads.
    """

    def __init__(self, every: list[Cells]) -> None:
        substrate, shape = every[0].substrate, every[0].shape
        self._volts, self._columns = substrate.read_volts, substrate.columns
        self._shape, self._tiles = shape, (-(-shape[0] // substrate.rows), -(-shape[1] // substrate.columns))
        self._legs = sum(len(cells.arrays) + (substrate.mapping.subtracts == "device") for cells in every)
        sums: dict[Curve | None, list[tuple[np.ndarray, np.ndarray]]] = {}
        for cells in every:
            for along, across, curve in _line_terms(cells):
                sums.setdefault(curve, []).append((along, across))
        self._terms = [(_added(along for along, _ in pairs), _added(a for _, a in pairs), c) for c, pairs in sums.items()]
        columns = [cells.shared.line_siemens(substrate.rows, 1)[1] for cells in every if cells.shared is not None]
        self._references = _added(columns) if columns else None
        self._forward: DrivenLines | None = None
        self._backward: dict[int | None, DrivenLines] = {}

    def settle(self) -> None:
        """Count the pending reads before the conductances change."""
        for lines in (self._forward, *self._backward.values()):
            if lines is not None:
                lines.settle()

    def forward(self) -> DrivenLines:
        """Return the word lines."""
        if self._forward is None:
            lines: Lines = [(along.sum(axis=1), curve) for along, _, curve in self._terms]
            self._forward = DrivenLines(lines, self._legs * self._tiles[1], "charged_rows", self._volts)
        return self._forward

    def backward(self, tile: int | None = None) -> DrivenLines:
        """Return the bit lines of all rows of tiles, or of one."""
        if tile not in self._backward:
            self._backward[tile] = self._bit_lines(tile)
        return self._backward[tile]

    def _bit_lines(self, tile: int | None) -> DrivenLines:
        part = slice(None) if tile is None else slice(tile, tile + 1)
        lines: Lines = [(across[part].sum(axis=0), curve) for _, across, curve in self._terms]
        references = None if self._references is None else self._references[part].sum(axis=0)
        tiles = [slice(start, start + self._columns) for start in range(0, self._shape[1], self._columns)]
        arrays = self._legs * (self._tiles[0] if tile is None else 1)
        return DrivenLines(lines, arrays, "charged_columns", self._volts, references, tiles)


def _added(arrays: Any) -> np.ndarray:
    first, *others = arrays
    return sum(others, start=first)


def _line_terms(cells: Cells) -> list[tuple[np.ndarray, np.ndarray, Curve | None]]:
    """Return line sums of the devices of a grid and of its subtracted devices, with the functions that multiply them."""
    tile = cells.substrate.rows, cells.substrate.columns
    terms = [term for array in cells.arrays for term in array.line_terms(*tile)]
    device, conduction = cells.substrate.device, cells.substrate.device.conduction
    if cells.substrate.mapping.subtracts == "device":
        siemens = np.ascontiguousarray(device.conductance(cells.subtracted_grid()), like=cells.arrays[0].state)
        functions: list[tuple[np.ndarray, Callable[[np.ndarray], np.ndarray] | None]]
        functions = [(siemens, None)] if conduction.linear else list(conduction.terms(siemens))
        terms += [(*line_sums(matrix, *tile), function) for matrix, function in functions]
    if cells.shared is not None:
        # The reference column belongs to every tile: its devices are on the same word lines.
        for along, across, function in cells.shared.line_terms(cells.substrate.rows, 1):
            terms.append((along, np.zeros((across.shape[0], cells.shape[1]), like=across), function))
    return terms
