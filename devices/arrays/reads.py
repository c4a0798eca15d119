"""Reading a grid of devices: states, conductances as they are now, and currents."""

from __future__ import annotations

import numpy as np

from analogpc.devices.arrays.ageing import Ageing
from analogpc.devices.arrays.population import faulty
from analogpc.devices.device import Device
from analogpc.devices.nonidealities.conduction import Function
from analogpc.kernels.gpu.arrays import Backend, backend_of
from analogpc.kernels.lines import line_sums
from analogpc.kernels.products import matmul


class ReadableArray:
    """The half of an `Array` that is read; the other half writes, ages and is kept.

    Attributes
    ----------
    device : Device
    state : (rows, columns) array
        The devices' own states when they were last written.
    parameters : dict of (rows, columns) arrays
        What differs from device to device.
    """

    device: Device
    state: np.ndarray
    parameters: dict[str, np.ndarray]
    _age_seconds: float
    # What reads find instead of the states, with the noise of the last write; the slow processes; and both together, once asked for.
    _written: np.ndarray | None
    _ageing: Ageing | None
    _apparent: np.ndarray | None
    # Sums over its lines, tile by tile, once asked for.
    _lines: tuple[np.ndarray, np.ndarray] | None

    @property
    def backend(self) -> Backend:
        """Where the states are: "cpu" or "gpu"."""
        return backend_of(self.state)

    @property
    def age_seconds(self) -> float:
        """Time passed since the array was made."""
        return self._age_seconds

    @property
    def apparent(self) -> np.ndarray:
        """The states that a read finds now, (rows, columns), white noise left out. Not to be written to."""
        written = self.state if self._written is None else self._written
        if self._ageing is None and "open" not in self.parameters:
            return written
        if self._apparent is None:
            device = self.device
            g = device.conductance(written)
            if self._ageing is not None:
                meant = g if self._written is None else device.conductance(self.state)
                g = np.clip(self._ageing.present(g, meant), 0, g.dtype.type(device.g_max_siemens))
            if "open" in self.parameters:
                g = np.where(self.parameters["open"], g.dtype.type(0), g)
            self._apparent = device.state(g)
        return self._apparent

    @property
    def drifts(self) -> bool:
        """Whether states change by themselves once they are written."""
        return self._ageing is not None and self.device.drift.kind != "none"

    @property
    def found(self) -> np.ndarray:
        """The states that a write starts from, (rows, columns): those that were written, after drift. Not to be written to."""
        if self._ageing is None or not self.drifts:
            return self.state
        g = self.device.conductance(self.state)
        g = self._ageing.drifted(g, g)
        state = self.device.state(np.clip(g, 0, g.dtype.type(self.device.g_max_siemens)))
        return np.clip(state, self.parameters["low"], self.parameters["high"])

    @property
    def stuck(self) -> np.ndarray:
        """True where a device cannot move or carries no current, (rows, columns) bool."""
        if "low" not in self.parameters:
            return np.zeros_like(self.state, bool)
        return faulty(self.parameters, self.state.shape)

    @property
    def reference(self) -> np.ndarray | None:
        """The states of the reference devices, (rows, columns), if the response has any."""
        return self.parameters.get("reference")

    def line_siemens(self, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
        """Conductance of all devices on a line, tile by tile, in siemens (see `kernels.lines.line_sums`)."""
        if self._lines is None:
            device = self.device
            if not device.response.bounded:
                # Nothing keeps these from being negative.
                self._lines = line_sums(np.abs(self.conductance()), rows, columns)
            else:
                unit = device.siemens_per_state
                rest = device.g_min_siemens - device.response.window[0] * unit
                self._lines = line_sums(self.apparent, rows, columns, unit, rest)
        return self._lines

    def line_terms(self, rows: int, columns: int) -> list[tuple[np.ndarray, np.ndarray, Function | None]]:
        """The same for every product that makes the current of a device, with its function of the voltage; None for the voltage itself."""
        conduction = self.device.conduction
        if conduction.linear:
            return [(*self.line_siemens(rows, columns), None)]
        return [(*line_sums(matrix, rows, columns), function) for matrix, function in conduction.terms(self.conductance())]

    def conductance(self) -> np.ndarray:
        """What a read finds, in siemens: (rows, columns)."""
        return self.device.conductance(self.apparent)

    def read_deviation(self, seconds: float) -> np.ndarray | None:
        """Standard deviation, in states, of the white noise of reads that last ``seconds``: (rows, columns), or None without any."""
        device = self.device
        if device.read_noise.kind == "none":
            return None
        g = np.maximum(self.conductance(), 0)
        return device.read_noise.deviation(g, device.nominal_siemens[1], seconds) / g.dtype.type(device.siemens_per_state)

    def read(self, volts: np.ndarray) -> np.ndarray:
        """Bit-line currents in amperes (n, columns) for word-line voltages (n, rows), by Kirchhoff; white noise left out."""
        return self._currents(volts, self.conductance())

    def read_transposed(self, volts: np.ndarray) -> np.ndarray:
        """Word-line currents in amperes (n, rows) for bit-line voltages (n, columns)."""
        return self._currents(volts, self.conductance().T)

    def _currents(self, volts: np.ndarray, conductance: np.ndarray) -> np.ndarray:
        first, *others = (matmul(function(volts), matrix) for matrix, function in self.device.conduction.terms(conductance))
        return sum(others, start=first)
