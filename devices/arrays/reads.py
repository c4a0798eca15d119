"""Reads of a grid of devices: states, present conductances, and currents."""

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
    """Base class of `Array` with the operations that read; the subclass writes and ages.

    Attributes
    ----------
    device : Device
    state : (rows, columns) array
        States of the devices at their last write.
    parameters : dict of (rows, columns) arrays
        Parameters that vary from device to device.
    """

    device: Device
    state: np.ndarray
    parameters: dict[str, np.ndarray]
    _age_seconds: float
    # Caches: the states with the noise of the last write; the slow processes; and both together.
    _written: np.ndarray | None
    _ageing: Ageing | None
    _apparent: np.ndarray | None
    # Cached sums over the lines, tile by tile.
    _lines: tuple[np.ndarray, np.ndarray] | None

    @property
    def backend(self) -> Backend:
        """Backend of the states: "cpu" or "gpu"."""
        return backend_of(self.state)

    @property
    def age_seconds(self) -> float:
        """Time in seconds since the array was created."""
        return self._age_seconds

    @property
    def apparent(self) -> np.ndarray:
        """States that a read finds now, (rows, columns), without white noise. Must not be modified."""
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
        """Whether states change after they are written, without pulses."""
        return self._ageing is not None and self.device.drift.kind != "none"

    @property
    def found(self) -> np.ndarray:
        """Return the states that a write starts from, (rows, columns): the written states after drift. Must not be modified."""
        if self._ageing is None or not self.drifts:
            return self.state
        g = self.device.conductance(self.state)
        g = self._ageing.drifted(g, g)
        state = self.device.state(np.clip(g, 0, g.dtype.type(self.device.g_max_siemens)))
        return np.clip(state, self.parameters["low"], self.parameters["high"])

    @property
    def stuck(self) -> np.ndarray:
        """Devices that cannot be moved or carry no current, (rows, columns) bool."""
        if "low" not in self.parameters:
            return np.zeros_like(self.state, bool)
        return faulty(self.parameters, self.state.shape)

    @property
    def reference(self) -> np.ndarray | None:
        """States of the reference devices, (rows, columns), if the response has any."""
        return self.parameters.get("reference")

    def line_siemens(self, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the summed conductance of all devices on each line, tile by tile, in siemens (see `kernels.lines.line_sums`)."""
        if self._lines is None:
            device = self.device
            if not device.response.bounded:
                # These conductances can be negative.
                self._lines = line_sums(np.abs(self.conductance()), rows, columns)
            else:
                unit = device.siemens_per_state
                rest = device.g_min_siemens - device.response.window[0] * unit
                self._lines = line_sums(self.apparent, rows, columns, unit, rest)
        return self._lines

    def line_terms(self, rows: int, columns: int) -> list[tuple[np.ndarray, np.ndarray, Function | None]]:
        """Return `line_siemens` for every product in the current of a device, with its function of the voltage; None for ohmic."""
        conduction = self.device.conduction
        if conduction.linear:
            return [(*self.line_siemens(rows, columns), None)]
        return [(*line_sums(matrix, rows, columns), function) for matrix, function in conduction.terms(self.conductance())]

    def conductance(self) -> np.ndarray:
        """Return the conductances that a read finds, in siemens: (rows, columns)."""
        return self.device.conductance(self.apparent)

    def read_deviation(self, seconds: float) -> np.ndarray | None:
        """Return the standard deviation, in states, of the white noise of a read of ``seconds``: (rows, columns), or None.

        If it is the same for all devices, the array has the shape (1, 1).
        """
        device = self.device
        if device.read_noise.kind == "none":
            return None
        g = (
            np.zeros((1, 1), self.state.dtype, like=self.state)
            if device.read_noise.uniform
            else np.maximum(self.conductance(), 0)
        )
        return device.read_noise.deviation(g, device.nominal_siemens[1], seconds) / g.dtype.type(device.siemens_per_state)

    def read(self, volts: np.ndarray) -> np.ndarray:
        """Return bit-line currents in amperes (n, columns) for word-line voltages (n, rows), by Kirchhoff's law, without white noise."""
        return self._currents(volts, self.conductance())

    def read_transposed(self, volts: np.ndarray) -> np.ndarray:
        """Return word-line currents in amperes (n, rows) for bit-line voltages (n, columns)."""
        return self._currents(volts, self.conductance().T)

    def _currents(self, volts: np.ndarray, conductance: np.ndarray) -> np.ndarray:
        first, *others = (matmul(function(volts), matrix) for matrix, function in self.device.conduction.terms(conductance))
        return sum(others, start=first)
