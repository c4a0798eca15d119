"""Hardware of a matrix as a bill counts it: arrays, lines, cells and converters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from analogpc.devices.costs.technology import Bits


class Shaped(Protocol):
    """A logical matrix (n_out, n_in); on crossbars it also has a ``substrate``."""

    shape: tuple[int, int]


_EIGHT = Bits(8, 8)


@dataclass(frozen=True)
class Hardware:
    """Hardware of one matrix. Devices of different legs of a mapping are in separate arrays of ``rows`` by ``columns``.

    Attributes
    ----------
    shape : (n_out, n_in)
    digital : bool
        Whether it is a memory and an arithmetic unit instead of arrays.
    bias : bool
        Whether it is a vector of digital offsets or scales, applied during a transfer.
    rows, columns : int
        Lines of one array.
    devices : int
        Devices per weight, references included.
    extra : int
        Further devices per weight, on arrays that reads of the weights do not drive.
    groups : int
        Conversions per output.
    planes : int
        Reads per vector: one for each bit of bit-serial inputs.
    bits : Bits
    reference_column : bool
        Whether each array also has a column of references.
    """

    shape: tuple[int, int]
    digital: bool = False
    bias: bool = False
    rows: int = 1
    columns: int = 1
    devices: int = 1
    extra: int = 0
    groups: int = 1
    planes: int = 1
    bits: Bits = _EIGHT
    reference_column: bool = False

    @classmethod
    def of(cls, matrix: Shaped) -> Hardware:
        """Return the hardware of a matrix."""
        substrate: Any = getattr(matrix, "substrate", None)
        if substrate is None:
            return cls(matrix.shape, digital=True, bias=matrix.shape[1] == 1)
        mapping, scheme = substrate.mapping, substrate.scheme
        devices = len(mapping.legs) + (mapping.subtracts == "device")
        seen = len(scheme.visible)
        return cls(
            matrix.shape,
            rows=substrate.rows,
            columns=substrate.columns,
            devices=devices * (1 + seen),
            extra=devices * (len(scheme.extra_cells) - seen),
            groups=len(mapping.group_weights) * (1 + seen),
            planes=substrate.dac.reads,
            bits=Bits(substrate.dac.bits, substrate.adc.bits),
            reference_column=mapping.subtracts == "column",
        )

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.shape[0] * self.shape[1]

    @property
    def tiles(self) -> int:
        """Number of tiles: rows of tiles times columns of tiles."""
        return -(-self.shape[1] // self.rows) * -(-self.shape[0] // self.columns)

    @property
    def arrays(self) -> int:
        """Total number of arrays; 0 for a digital matrix."""
        return 0 if self.digital else self.tiles * (self.devices + self.extra)

    @property
    def converting_arrays(self) -> int:
        """Number of tiles times the conversions of each output."""
        return self.tiles * self.groups

    @property
    def cells(self) -> int:
        """Number of cells that a read drives and senses."""
        references = self.shape[1] * -(-self.shape[0] // self.columns) if self.reference_column else 0
        return self.size * self.devices + references

    @property
    def array_cells(self) -> int:
        """Number of cells of all arrays, used or not."""
        return self.arrays * self.rows * self.row_cells

    @property
    def row_cells(self) -> int:
        """Number of cells on a word line of an array."""
        return self.columns + self.reference_column

    @property
    def column_cells(self) -> int:
        """Number of cells on a bit line of an array."""
        return self.rows

    def lines(self, forward: bool) -> int:
        """Return the number of sensed lines of an array in a read in that direction."""
        return self.columns if forward else self.rows

    def sensed(self, forward: bool) -> int:
        """Return the number of used sensed lines, in the array with most of them."""
        n_out, n_in = self.shape
        return min(n_out, self.columns) if forward else min(n_in, self.rows)
