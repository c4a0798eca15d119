"""What time does to a grid of devices after they were written: drift, slow noise, and the temperature they are read at."""

from __future__ import annotations

from typing import Any

import numpy as np

from analogpc.devices.device import Device
from analogpc.kernels.gpu.arrays import Backend, copied
from analogpc.kernels.random.streams import Key, normals


class Ageing:
    """The history of a grid of devices: when each was last written, and the slow noise that has built up since.

    Parameters
    ----------
    device : Device
    shape : (rows, columns)
    key : Key
        Which devices these are, and their noise.
    dtype : numpy.dtype

    Attributes
    ----------
    kelvin : float
        Temperature of the devices.
    """

    def __init__(self, device: Device, shape: tuple[int, int], key: Key, dtype: np.dtype) -> None:
        self.device, self.kelvin = device, 300.0
        self._key, self._steps = key, 0
        # A clock that runs faster in the heat. In double precision, so that minutes do not vanish beside years.
        self._clock_seconds = 0.0
        self._held: dict[str, np.ndarray] = {"written_seconds": np.zeros(shape)}
        held = self._held
        if device.drift.draws:
            held["drift_xi"] = normals(key.fold("drift"), 0, shape, dtype)
        if device.thermal.draws:
            held["thermal_xi"] = normals(key.fold("thermal"), 0, shape, dtype)
        if device.flicker.active:
            held["flicker_modes"] = device.flicker.start(shape, dtype)
        if device.telegraph.active:
            held |= {
                f"telegraph_{name}": values for name, values in device.telegraph.sample(key.fold("trap"), shape, dtype).items()
            }
            held["telegraph_high"] = device.telegraph.start(key.fold("high"), 0, shape)

    def present(self, written: np.ndarray) -> np.ndarray:
        """The conductances that a read finds now for those that were ``written``, (rows, columns), siemens; not yet clipped."""
        device, held = self.device, self._held
        g = self.drifted(written)
        if device.flicker.active:
            g = device.flicker.conductance(g, written, device.nominal_siemens[1], held["flicker_modes"])
        if device.telegraph.active:
            g = g * device.telegraph.factor(held["telegraph_high"], held["telegraph_loss"])
        if device.thermal.active:
            g = g * device.thermal.factor(self.kelvin, held.get("thermal_xi", g))
        return g

    def drifted(self, written: np.ndarray) -> np.ndarray:
        """The conductances that a write finds, (rows, columns), siemens: those of `present` without noise and temperature."""
        device = self.device
        if device.drift.kind == "none":
            return written
        since = self._clock_seconds - self._held["written_seconds"]
        return device.drift.conductance(written, since, device.nominal_siemens[1], self._held.get("drift_xi", written))

    def elapse(self, seconds: float) -> None:
        """Let time pass."""
        device, held = self.device, self._held
        self._clock_seconds += seconds * device.drift.acceleration(self.kelvin)
        if device.flicker.active:
            device.flicker.evolve(held["flicker_modes"], seconds, self._key.fold("flicker"), self._steps)
        if device.telegraph.active:
            slowness, high = held["telegraph_slowness"], held["telegraph_high"]
            device.telegraph.evolve(high, slowness, seconds, self._key.fold("telegraph"), self._steps)
        self._steps += 1

    def rewritten(self, touched: np.ndarray) -> None:
        """Devices where ``touched`` (rows, columns) bool were just written: their clocks and their slow noise start anew."""
        self._held["written_seconds"][touched] = self._clock_seconds
        if "flicker_modes" in self._held:
            modes, flicker = self._held["flicker_modes"], self.device.flicker
            fresh = np.zeros_like(modes)
            if self.device.drift.kind == "power-law":
                # The moment after writing is, in that model, t0 after the last pulse.
                flicker.evolve(fresh, self.device.drift.t0_seconds, self._key.fold("start"), self._steps)
                self._steps += 1
            np.copyto(modes, fresh, where=np.broadcast_to(touched, modes.shape))

    def key_streams(self, key: Key) -> None:
        """Draw the coming noise from ``key``; the devices stay the same."""
        self._key, self._steps = key, 0

    def dump(self) -> dict[str, Any]:
        """Everything that is held."""
        scalars = {"clock_seconds": self._clock_seconds, "kelvin": self.kelvin, "key": self._key.value, "steps": self._steps}
        return scalars | dict(self._held)

    def restore(self, state: dict[str, Any], backend: Backend) -> None:
        """Take over what `dump` gave, wherever its arrays are, on a backend."""
        state = dict(state)
        self._clock_seconds, self.kelvin = state.pop("clock_seconds"), state.pop("kelvin")
        self._key, self._steps = Key(state.pop("key")), state.pop("steps")
        self._held = {name: copied(values, backend) for name, values in state.items()}
