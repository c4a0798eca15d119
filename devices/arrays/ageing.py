"""Effects of time on a grid of written devices: drift, slow noise, and the read temperature."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from analogpc.devices.device import Device
from analogpc.devices.state import StateError, Stateful, Tree
from analogpc.kernels.gpu.arrays import Backend, backend_of, copied
from analogpc.kernels.random.streams import Key, normals


class Ageing(Stateful):
    """History of a grid of devices: time and target of the last write of each, and the slow noise accumulated since.

    Published statistics of drift are functions of the conductance that programming aimed at. If programming has errors, this target
    is stored besides the result, and so is the part of the error that was clipped at the end of the range: a deviation that grows
    with time grows about the target and is clipped once.

    Parameters
    ----------
    device : Device
    shape : (rows, columns)
    key : Key
        Random stream of the devices and their noise.
    dtype : numpy.dtype

    Attributes
    ----------
    kelvin : float
        Temperature of the devices.
    """

    specified = ("device",)

    def __init__(self, device: Device, shape: tuple[int, int], key: Key, dtype: np.dtype) -> None:
        self.device, self.kelvin = device, 300.0
        self._key, self._steps = key, 0
        # A clock that runs faster at high temperature. In double precision, so that minutes are resolved after years.
        self._clock_seconds = 0.0
        self._held: dict[str, np.ndarray] = {"written_seconds": np.zeros(shape)}
        held = self._held
        if device.programming.kind != "exact":
            held["target_siemens"], held["cut_siemens"] = np.zeros(shape, dtype), np.zeros(shape, dtype)
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

    def present(self, written: np.ndarray, meant: np.ndarray) -> np.ndarray:
        """Return the conductances that a read finds now, (rows, columns), siemens; not yet clipped.

        Parameters
        ----------
        written, meant : (rows, columns) arrays
            Conductances in siemens at the last write, with and without the noise of writing.
        """
        device, held = self.device, self._held
        g = self.drifted(written, meant)
        if device.flicker.active:
            g = device.flicker.conductance(g, written, device.nominal_siemens[1], held["flicker_modes"])
        if device.telegraph.active:
            g = g * device.telegraph.factor(held["telegraph_high"], held["telegraph_loss"])
        if device.thermal.active:
            g = g * device.thermal.factor(self.kelvin, held.get("thermal_xi", g))
        return g

    def drifted(self, written: np.ndarray, meant: np.ndarray) -> np.ndarray:
        """Return the conductances that a write finds, (rows, columns), siemens: `present` without noise and temperature."""
        device, held = self.device, self._held
        if device.drift.kind == "none":
            return written
        since = self._clock_seconds - held["written_seconds"]
        start = written + held["cut_siemens"] if "cut_siemens" in held else written
        target = held.get("target_siemens", meant)
        return device.drift.conductance(start, since, device.nominal_siemens[1], held.get("drift_xi", written), target)

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

    def rewritten(self, touched: np.ndarray, meant: np.ndarray, aimed: tuple[np.ndarray, np.ndarray] | None = None) -> None:
        """Restart the clocks and the slow noise of devices that were just written.

        Parameters
        ----------
        touched : (rows, columns) bool array
            The written devices.
        meant : (rows, columns) array
            Conductances in siemens after the write, without the noise of writing.
        aimed : two (rows, columns) arrays
            For programming: the target conductances in siemens, and the part of the errors that was clipped at the ends of the range.
            The target of other writes is their result.
        """
        self._held["written_seconds"][touched] = self._clock_seconds
        if "target_siemens" in self._held:
            target, cut = (meant, np.zeros_like(meant)) if aimed is None else aimed
            np.copyto(self._held["target_siemens"], target, where=touched)
            np.copyto(self._held["cut_siemens"], cut, where=touched)
        if "flicker_modes" in self._held:
            modes, flicker = self._held["flicker_modes"], self.device.flicker
            fresh = np.zeros_like(modes)
            if self.device.drift.kind == "power-law":
                # In that model, the time just after writing is t0 after the last pulse.
                flicker.evolve(fresh, self.device.drift.t0_seconds, self._key.fold("start"), self._steps)
                self._steps += 1
            np.copyto(modes, fresh, where=np.broadcast_to(touched, modes.shape))

    def key_streams(self, key: Key) -> None:
        """Draw future noise from ``key``; the devices stay the same."""
        self._key, self._steps = key, 0

    @property
    @override
    def backend(self) -> Backend:
        return backend_of(self._held["written_seconds"])

    @override
    def held(self) -> Tree:
        scalars = {"clock_seconds": self._clock_seconds, "kelvin": self.kelvin, "key": self._key.value, "steps": self._steps}
        return scalars | dict(self._held)

    def refuse_state(self) -> None:
        """Reject future times and invalid temperatures, by a `StateError`."""
        if self._clock_seconds < 0 or (self._held["written_seconds"] > self._clock_seconds).any():
            raise StateError("a device was written at a time in the future")
        if self.kelvin <= 0:
            raise StateError(f"kelvin = {self.kelvin} is not a temperature")

    @override
    def _adopt(self, tree: Tree, backend: Backend) -> None:
        state = dict(tree)
        self._clock_seconds, self.kelvin = state.pop("clock_seconds"), state.pop("kelvin")
        self._key, self._steps = Key(state.pop("key")), state.pop("steps")
        self._held = {name: copied(values, backend) for name, values in state.items()}
