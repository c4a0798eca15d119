"""Read path of a matrix: its converters on both sides, and the operands of its devices, formed once after every change."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from analogpc.devices.arrays.cells import Cells
from analogpc.devices.arrays.sums import MatrixOperand, Operand
from analogpc.devices.costs.meter import Meter
from analogpc.devices.crossbars.loads import Loads
from analogpc.devices.crossbars.reading import Ports
from analogpc.devices.matrix import ReadStream
from analogpc.devices.substrate import Analog
from analogpc.kernels.calls import NotRecordableError
from analogpc.kernels.converters.variances import Variances
from analogpc.kernels.gpu.arrays import Backend
from analogpc.kernels.random.streams import Key


class ReadPath:
    """Read the devices of a matrix in both directions, and the extra cells of its update scheme separately.

    Parameters
    ----------
    substrate : Analog
    cells : Cells
        The devices of the weights.
    extra : dict of Cells
        Extra cells that the update scheme keeps; reads of the weights add those that the scheme makes visible.
    ports : Ports
        Converters of the weights.
    extra_ports : dict of Ports
        Converters of the extra cells.
    """

    def __init__(
        self, substrate: Analog, cells: Cells, extra: Mapping[str, Cells], ports: Ports, extra_ports: Mapping[str, Ports]
    ) -> None:
        self.substrate, self.ports = substrate, ports
        self._cells, self._extra, self._extra_ports = cells, extra, extra_ports
        self._operands: list[Operand] | None = None
        self._transposed: list[Operand] | None = None
        self._loads: Loads | None = None

    @classmethod
    def drawn(
        cls, substrate: Analog, cells: Cells, extra: Mapping[str, Cells], scales: np.ndarray, key: Key, backend: Backend = "cpu"
    ) -> ReadPath:
        """Create a read path with converters drawn from ``key``."""
        groups, seen = len(substrate.mapping.group_weights), len(substrate.scheme.visible)
        ports = Ports(substrate, cells.shape, scales, groups * (1 + seen), key, cells.dtype).at(scales, backend)
        own = {name: Ports(substrate, cells.shape, scales, groups, key.fold(name), cells.dtype) for name in extra}
        return cls(substrate, cells, extra, ports, {name: one.at(scales, backend) for name, one in own.items()})

    def of(self, cells: Cells, extra: Mapping[str, Cells], scales: np.ndarray, backend: Backend) -> ReadPath:
        """Return a read path with the same converters for other devices, on a backend."""
        ports = {name: one.at(scales, backend) for name, one in self._extra_ports.items()}
        return ReadPath(self.substrate, cells, extra, self.ports.at(scales, backend), ports)

    def serves(self, key: Key, scales: np.ndarray) -> bool:
        """Whether its converters are those drawn from that key, for these scales."""
        return self.ports.serve(key, scales)

    def forget(self) -> None:
        """Discard the operands of the reads after a change of the devices."""
        if self._loads is not None:
            self._loads.settle()
        self._operands = self._transposed = self._loads = None

    def _all_operands(self, transposed: bool) -> list[Operand]:
        """Return the operands of the weights, and of the extra cells visible to reads."""
        operands = self._cells.operands(transposed)
        for name, share in self.substrate.scheme.visible.items():
            operands += [operand.weighted(share) for operand in self._extra[name].operands(transposed)]
        return operands

    def arrays(self, meter: Meter) -> list[np.ndarray]:
        """Return the arrays that reads in both directions use or add to; see `Matrix.read_arrays`."""
        found = self.accumulators(meter)
        for operands in (self._in_use(False), self._in_use(True)):
            plain = operands[0].plain if len(operands) == 1 else None
            if plain is None:
                raise NotRecordableError("a read consists of several products, or of more than products")
            matrix, variances, _ = plain
            found.append(matrix)
            found += variances.arrays if isinstance(variances, Variances) else [] if variances is None else [variances]
        return found

    def accumulators(self, meter: Meter) -> list[np.ndarray]:
        """Return the arrays in which reads sum the squares of the values on all lines."""
        return self.ports.accumulators(meter, self.loads)

    def _in_use(self, transposed: bool) -> list[Operand]:
        """Return the operands of reads in one direction, formed if they are not."""
        if not transposed:
            if self._operands is None:
                self._operands = self._all_operands(False)
            return self._operands
        if self._transposed is None:
            # Transposing the operand is faster than forming it again; with wires the two directions differ.
            ready = self._operands if not self.substrate.wires.present else None
            turned: list[Operand] = [operand.transposed for operand in ready or [] if isinstance(operand, MatrixOperand)]
            self._transposed = turned or self._all_operands(True)
        return self._transposed

    def forward(self, x: np.ndarray, gain: float, stream: ReadStream, meter: Meter, only: np.ndarray | None = None) -> np.ndarray:
        """Read (n, n_in) -> (n, n_out), in logical units; ``only`` as in `Reader.read`."""
        return self.ports.forward(x, self._in_use(False), gain, stream, meter, self.loads, only)

    def backward(self, g: np.ndarray, gain: float, stream: ReadStream, meter: Meter) -> np.ndarray:
        """Transposed read of the same devices, (n, n_out) -> (n, n_in)."""
        return self.ports.backward(g, self._in_use(True), gain, stream, meter, self.loads)

    def read_extra(self, name: str, x: np.ndarray, gain: float, stream: ReadStream, meter: Meter) -> np.ndarray:
        """Read only the extra cells of that name: (n, n_in) -> (n, n_out), in logical units."""
        cells = self._extra[name]
        loads = Loads([cells])
        found = self._extra_ports[name].forward(x, cells.operands(), gain, stream, meter, loads)
        loads.settle()
        return found

    @property
    def loads(self) -> Loads:
        """Conductances that a read drives."""
        if self._loads is None:
            self._loads = Loads([self._cells, *(self._extra[name] for name in self.substrate.scheme.visible)])
        return self._loads
