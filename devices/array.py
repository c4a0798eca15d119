"""A grid of devices: conductances in siemens, and what can physically be done to them."""

from __future__ import annotations

from typing import Any

import numpy as np

from analogpc.devices.device import Device
from analogpc.devices.responses import PulseResponse
from analogpc.kernels.streams import Key, normals


class Array:
    """A grid of devices of one kind, word lines (rows) by bit lines (columns).

    The grid may be larger than a physical array: `crossbar` matrices keep one grid for a whole logical matrix and cut it into
    tiles when they read. Every device is drawn from its place in the grid, so that cutting changes no device.

    Parameters
    ----------
    device : Device
        What each of them is.
    shape : (rows, columns)
    key : Key
        Which devices these are.
    dtype : numpy.dtype
        float32 or float64.

    Attributes
    ----------
    state : (rows, columns) array
        The devices' own states (normalised; `Device.conductance` gives siemens).
    parameters : dict of (rows, columns) arrays
        What differs from device to device: steps, slopes, bounds.
    age_seconds : float
        Time passed since the array was made. The responses at hand lose nothing with time.
    """

    def __init__(self, device: Device, shape: tuple[int, int], key: Key, dtype: np.dtype) -> None:
        self.device = device
        self.state = np.zeros(shape, dtype)
        self.parameters = device.response.sample(key.fold("devices"), shape, dtype)
        self.age_seconds = 0.0
        self._write_key = key.fold("write")
        self._writes = 0
        noisy = isinstance(device.response, PulseResponse) and device.response.write_noise_std > 0
        self._apparent = self.state.copy() if noisy else None

    @property
    def apparent(self) -> np.ndarray:
        """The states that a read finds, (rows, columns): with write noise, if the devices have any. Not to be written to."""
        return self.state if self._apparent is None else self._apparent

    @property
    def stuck(self) -> np.ndarray:
        """True where a device cannot move, (rows, columns) bool."""
        if "low" not in self.parameters:
            return np.zeros(self.state.shape, bool)
        return self.parameters["low"] == self.parameters["high"]

    def conductance(self) -> np.ndarray:
        """What a read finds, in siemens: (rows, columns)."""
        return self.device.conductance(self.apparent)

    def read(self, volts: np.ndarray) -> np.ndarray:
        """Bit-line currents in amperes (n, columns) for word-line voltages (n, rows), by Ohm and Kirchhoff."""
        return volts @ self.conductance()

    def read_transposed(self, volts: np.ndarray) -> np.ndarray:
        """Word-line currents in amperes (n, rows) for bit-line voltages (n, columns)."""
        return volts @ self.conductance().T

    def program(self, target: np.ndarray) -> None:
        """Bring every device to ``target`` (rows, columns), states, as near as its bounds allow, with fresh write noise."""
        self.state[...] = target
        self._clip()
        self._rewrite(np.ones(self.state.shape, bool))

    def shift(self, change: np.ndarray) -> None:
        """Change every state by exactly ``change`` (rows, columns), up to its bounds: an idealised write."""
        self.state += change
        self._clip()
        self._rewrite(change != 0)

    def pulse(self, rows: np.ndarray, columns: np.ndarray, key: Key, first_step: int) -> int:
        """Send pulse trains of n rank-one products along all lines (see `kernels.pulses.trains`).

        Parameters
        ----------
        rows, columns : (n, rows) and (n, columns) uint32 arrays
        key, first_step
            Stream of the cycle-to-cycle noise.

        Returns
        -------
        int
            Pulses that devices received.

        Raises
        ------
        TypeError
            If the devices do not answer to pulses.
        """
        response = self.device.response
        if not isinstance(response, PulseResponse):
            raise TypeError(f"the device '{self.device.name}' does not answer to pulses")
        touched = np.zeros(self.state.shape, bool)
        pulses = response.pulse(self.state, rows, columns, self.parameters, key, first_step, touched)
        self._rewrite(touched)
        return pulses

    def elapse(self, seconds: float) -> None:
        """Let time pass."""
        if not seconds >= 0:
            raise ValueError(f"seconds = {seconds!r} is not allowed: time passes forwards")
        self.age_seconds += seconds

    def _clip(self) -> None:
        if "low" in self.parameters:
            np.clip(self.state, self.parameters["low"], self.parameters["high"], out=self.state)

    def _rewrite(self, touched: np.ndarray) -> None:
        """Draw the write noise of the devices that were just written anew."""
        response = self.device.response
        if self._apparent is None or not isinstance(response, PulseResponse):
            return
        noise = normals(self._write_key, self._writes, self.state.shape, self.state.dtype)
        self._writes += 1
        noise *= self.state.dtype.type(response.write_noise_std * response.dw_min)
        noise += self.state
        np.clip(noise, *(self.state.dtype.type(end) for end in response.window), out=noise)
        np.copyto(self._apparent, noise, where=touched)

    def copy(self) -> Array:
        """An independent array in the same state."""
        twin = Array.__new__(Array)
        twin.device = self.device
        twin.restore(self.dump())
        return twin

    def key_streams(self, key: Key) -> None:
        """Draw the coming write noise from ``key``."""
        self._write_key, self._writes = key.fold("write"), 0

    def dump(self) -> dict[str, Any]:
        """Everything an array holds."""
        state = {"state": self.state, "parameters": dict(self.parameters), "age_seconds": self.age_seconds}
        state |= {"write_key": self._write_key.value, "writes": self._writes}
        if self._apparent is not None:
            state["apparent"] = self._apparent
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `dump` gave."""
        self.state = np.array(state["state"])
        self.parameters = {name: np.array(values) for name, values in state["parameters"].items()}
        self.age_seconds = state["age_seconds"]
        self._write_key, self._writes = Key(state["write_key"]), state["writes"]
        self._apparent = np.array(state["apparent"]) if "apparent" in state else None
