"""Writes to a grid of devices other than pulses, and what follows every write: bounds, wear, write noise and clocks."""

from __future__ import annotations

from typing import Any

import numpy as np

from analogpc.devices.arrays.reads import ReadableArray
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.pulses.writes import move_within, part_of, rewrite_some
from analogpc.kernels.random.streams import Key, normals

_SPARSE = 0.125
"""Share of rewritten devices below which noise is drawn for these alone, one after the other."""


class WritableArray(ReadableArray):
    """Base class of `Array` with the writes that set or shift states; the subclass sends pulses and ages.

    Attributes
    ----------
    writes : int
        Number of writes so far, whichever devices they reached: the step of the noise of the next write.
    """

    writes: int
    _write_key: Key

    def program(self, target: np.ndarray, where: np.ndarray | None = None) -> None:
        """Program devices to the states ``target`` (rows, columns), as precisely as levels, programming and bounds allow.

        By default all devices, or those at ``where`` (rows, columns) bool.
        """
        device, kind = self.device, self.state.dtype.type
        target, aimed = target.astype(self.state.dtype, copy=False), None
        discrete = np.isfinite(device.levels.count) or device.levels.positions
        if discrete or device.programming.kind != "exact":
            low, high = (kind(end) for end in device.nominal_siemens)
            g = device.conductance(target)
            if discrete:
                g = device.levels.nearest(g, low, high)
            if device.programming.kind != "exact":
                meant = np.maximum(g, 0)
                g = device.programming.programmed(meant, high, self._draw("program"))
                aimed = meant, self._cut_off(g)
            target = device.state(g)
        touched = np.ones_like(self.state, bool) if where is None else where
        np.copyto(self.state, target, where=touched)
        self._clip()
        self._wear(touched)
        self._rewritten(touched, aimed)

    def _cut_off(self, g: np.ndarray) -> np.ndarray:
        """Distance of conductances beyond the window, (rows, columns), siemens; 0 for devices with their own ends within it."""
        low, high = (g.dtype.type(end) for end in self.device.response.window)
        beyond_low = np.where(self.parameters["low"] == low, np.minimum(g - self.device.g_min_siemens, 0), 0)
        beyond_high = np.where(self.parameters["high"] == high, np.maximum(g - self.device.g_max_siemens, 0), 0)
        return np.where(self.stuck, 0, beyond_low + beyond_high).astype(g.dtype)

    @property
    def _write_noise(self) -> float:
        """Standard deviation of the write noise, in states."""
        return self.device.response.write_noise

    def _draw(self, name: str) -> np.ndarray:
        """Draw standard normal numbers for the next write, (rows, columns)."""
        return normals(self._write_key.fold(name), self.writes, self.state.shape, self.state.dtype, like=self.state)

    def shift(self, change: np.ndarray, unit: Any = 1.0, share: float = 1.0) -> None:
        """Change every state by exactly ``change / unit * share`` (rows, columns), up to its bounds: an idealised write."""
        if self.drifts or "low" not in self.parameters:
            change, unit, share = part_of(change, unit, share), 1.0, 1.0
        if self.drifts:
            self._catch_up(change != 0)
        if "low" in self.parameters:
            touched = move_within(self.state, change, self.parameters["low"], self.parameters["high"], unit, share)
        else:
            touched = change != 0
            self.state += change
        self._rewritten(touched)

    def forget(self) -> None:
        """Discard values cached from the states, after these were changed from outside the array."""
        self._apparent = self._lines = None

    def _clip(self) -> None:
        if "low" in self.parameters:
            np.clip(self.state, self.parameters["low"], self.parameters["high"], out=self.state)

    def _wear(self, received: np.ndarray) -> None:
        """Reduce the remaining life of devices by the received pulses; devices without remaining life become stuck."""
        if "pulses_left" not in self.parameters:
            return
        left = self.parameters["pulses_left"]
        left -= received
        worn = (left <= 0) & (self.parameters["low"] != self.parameters["high"])
        for bound in ("low", "high"):
            np.copyto(self.parameters[bound], self.parameters["worn_state"], where=worn)
        self._clip()

    def _limit(self, states: np.ndarray) -> None:
        """Clip states to the window in place."""
        np.clip(states, *(states.dtype.type(end) for end in self.device.response.window), out=states)

    def _catch_up(self, where: np.ndarray | None) -> bool:
        """Set devices (all, or ``where``) to the state that a write finds; return False if they already have it."""
        found = self.found
        if found is self.state:
            return False
        if where is None:
            self.state[...] = found
        else:
            np.copyto(self.state, found, where=where)
        return True

    def _rewritten(self, touched: np.ndarray | None, aimed: tuple[np.ndarray, np.ndarray] | None = None) -> None:
        """Draw new write noise for devices that were just written, and restart their clocks (see `Ageing.rewritten`).

        ``touched`` (rows, columns) bool marks these devices; None if devices have neither write noise nor clocks.
        """
        self.writes += 1
        self._apparent = self._lines = None
        if touched is None:
            return
        if self._ageing is not None:
            self._ageing.rewritten(touched, self.device.conductance(self.state), aimed)
        if self._written is None:
            return
        if not on_gpu(touched) and np.count_nonzero(touched) < _SPARSE * touched.size:
            ends = self.device.response.window
            rewrite_some(self._written, self.state, touched, ends, self._write_noise, self._write_key, self.writes - 1)
        else:
            noisy = normals(self._write_key, self.writes - 1, self.state.shape, self.state.dtype, like=self.state)
            noisy *= self.state.dtype.type(self._write_noise)
            noisy += self.state
            self._limit(noisy)
            np.copyto(self._written, noisy, where=touched)
