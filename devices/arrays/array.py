"""A grid of devices: conductances in siemens, and the physical operations on them."""

from __future__ import annotations

from typing import Any

import numpy as np
from typing_extensions import override

from analogpc.devices.arrays.ageing import Ageing
from analogpc.devices.arrays.population import population
from analogpc.devices.arrays.writes import WritableArray
from analogpc.devices.costs.meter import Count, count
from analogpc.devices.device import Device
from analogpc.devices.state import Settled, StateError, Stateful, Tree, stretched
from analogpc.kernels.checks import passing_seconds
from analogpc.kernels.gpu.arrays import Backend, copied, on_gpu
from analogpc.kernels.lines import weighted_count
from analogpc.kernels.memory import empty, without_zeros
from analogpc.kernels.pulses.batches import PulsedGrid, apply_batch
from analogpc.kernels.pulses.planes import MAX_BATCH
from analogpc.kernels.pulses.sent import SentColumns, SentRows
from analogpc.kernels.pulses.updates import PARAMETERS, apply_counts
from analogpc.kernels.random.streams import Key, steps_of


class Array(WritableArray, Stateful):
    """A grid of devices of one specification, word lines (rows) by bit lines (columns).

    The grid may be larger than a physical array: `crossbar` matrices keep one grid for a whole logical matrix and cut it into tiles
    when they read. Every device is drawn from its position in the grid, so the tiling does not change any device. Devices are drawn
    in main memory; a copy may be on a GPU, whose inputs and outputs are there too.

    Parameters
    ----------
    device : Device
        Specification of the devices.
    shape : (rows, columns)
    key : Key
        Random stream of the devices.
    dtype : numpy.dtype
        float32 or float64.
    parameters : dict of (rows, columns) arrays
        Parameters from `population`; by default drawn with the same key.

    Attributes
    ----------
    state : (rows, columns) array
        States of the devices at their last write (normalised; `Device.conductance` gives siemens).
    parameters : dict of (rows, columns) arrays
        Parameters that vary from device to device: steps, shapes, bounds, and "open" where a device carries no current.
    pulses : int
        Number of pulses that the devices have received.
    writes : int
        Number of writes so far, whichever devices they reached: the step of the noise of the next write.
    """

    specified = ("device",)
    pulses = Count()
    # Cached: whether rows may have constant steps.
    _constant: bool | None

    def __init__(
        self,
        device: Device,
        shape: tuple[int, int],
        key: Key,
        dtype: np.dtype,
        parameters: dict[str, np.ndarray] | None = None,
    ) -> None:
        self.device = device
        self.state = np.zeros(shape, dtype)
        drawn = population(device, shape, key, dtype) if parameters is None else parameters
        self.parameters = {name: without_zeros(values) for name, values in drawn.items()}
        self._age_seconds, self.pulses = 0.0, 0
        self._write_key, self.writes = key.fold("write"), 0
        self._clip()
        self._written = self.state.copy() if self._write_noise > 0 else None
        self._ageing = Ageing(device, shape, key.fold("ageing"), dtype) if device.ages else None
        self._apparent = self._lines = self._constant = None

    def pulse(
        self,
        rows: np.ndarray | SentRows,
        columns: np.ndarray | SentColumns,
        one_sided: bool,
        key: Key,
        first_step: Any,
        turned: bool = False,
        moved: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> tuple[Any, Any]:
        """Send pulse trains of n rank-one products along all lines (see `kernels.pulses.trains.trains`).

        Parameters
        ----------
        rows, columns : (n, rows) and (n, columns) uint32 arrays
            A pulse is downward if the signs of its lines differ. Trains that several grids receive are given as
            `SentRows` and their columns.
        one_sided : bool
            Whether only upward pulses reach the devices.
        key, first_step
            Random stream of the cycle-to-cycle noise.
        turned : bool
            Whether all directions are inverted.
        moved : (array, array) or None
            What `move_constant` returned, if it has been called with the same arguments.

        Returns
        -------
        pulses : int
            Number of pulses that devices received.
        siemens : float
            Sum over these pulses of the conductance of the device before the batch. On a GPU both are 0-d device arrays.

        Raises
        ------
        TypeError
            If the devices do not respond to pulses.
        """
        law = self.device.pulse_response.law
        if moved is not None and isinstance(rows, SentRows):
            fired, sums = moved
            steps = steps_of(first_step, len(rows))
            pulses = self._pulsed(one_sided, key, turned).move_others(rows, 0, steps, None, sums, fired)
            self._rewritten(None)
            count(self, pulses=pulses)
            return pulses, self._in_siemens(float(sums.sum()), pulses)
        shown = self.apparent
        # CPU kernels accumulate the states that they find; otherwise the states are kept for a later sum.
        summed = shown is self.state and len(rows) <= MAX_BATCH and not on_gpu(self.state)
        before = self._kept_state() if self.drifts or (shown is self.state and not summed) else None
        if shown is self.state and before is not None:
            shown = before
        drifted = self._catch_up(None)
        found = np.zeros(len(self.state)) if summed else None
        marked, wears = self._ageing is not None or self._written is not None, "pulses_left" in self.parameters
        received: Any = np.zeros_like(self.state, np.int32) if found is None or marked or wears else None
        given = self.state, rows, columns, self.parameters, law, one_sided, key, first_step
        pulses = apply_batch(*given, received, found, turned)
        weighted = weighted_count(received, shown) if found is None else float(found.sum())
        # Which devices fire is known only afterwards; the others keep their written state.
        touched = received != 0 if marked else None
        if drifted and before is not None and touched is not None:
            np.copyto(self.state, before, where=~touched)
        if received is not None:
            self._wear(received)
        self._rewritten(touched)
        count(self, pulses=pulses)
        return pulses, self._in_siemens(weighted, pulses)

    def _pulsed(self, one_sided: bool, key: Key, turned: bool) -> PulsedGrid:
        return PulsedGrid(self.state, self.parameters, self.device.pulse_response.law, one_sided, key, turned)

    @property
    def movable(self) -> bool:
        """Whether rows may have constant steps, and pulses change the states alone, which reads find as they are, in main memory."""
        watched = self._ageing is not None or self._written is not None or "pulses_left" in self.parameters
        if watched or self.drifts or on_gpu(self.state) or self.apparent is not self.state:
            return False
        if self._constant is None:
            self._constant = self._pulsed(False, Key(0), False).some_constant
        return self._constant

    def move_constant(
        self, sent: SentRows, one_sided: bool, key: Key, steps: np.ndarray, turned: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Do the part of `pulse` that consists of compiled calls alone: move the rows of constant steps.

        This is for at most `MAX_BATCH` products, and if `movable`; `pulse` is to be called next.
        """
        found = empty((len(self.state),), np.float64, self.state)
        return self._pulsed(one_sided, key, turned).move_constant(sent, 0, steps, None, found), found

    def pulse_arrays(self) -> list[np.ndarray]:
        """Return the states and the parameters of their steps, which pulses read and change."""
        return [self.state, *(self.parameters[name] for name in PARAMETERS)]

    def _kept_state(self) -> np.ndarray:
        """Return the present states, for use after they have changed."""
        kept = empty(self.state.shape, self.state.dtype, self.state)
        np.copyto(kept, self.state)
        return kept

    def _siemens(self, counts: np.ndarray, states: np.ndarray, total: Any) -> Any:
        """Return the sum of counts (``total`` in all) times the conductances of ``states``; both (rows, columns)."""
        return self._in_siemens(weighted_count(counts, states), total)

    def _in_siemens(self, weighted: Any, total: Any) -> Any:
        """Convert a sum over ``total`` states to the sum of their conductances."""
        unit = self.device.siemens_per_state
        rest = self.device.g_min_siemens - self.device.response.window[0] * unit
        return weighted * unit + total * rest

    def pulse_each(self, counts: np.ndarray, key: Key, step: int) -> tuple[Any, Any]:
        """Send every device its own number of pulses, ``counts`` (rows, columns) int32; negative counts are downward pulses.

        Returns
        -------
        pulses, siemens
            As returned by `pulse`.

        Raises
        ------
        TypeError
            If the devices do not respond to pulses.
        """
        law, touched = self.device.pulse_response.law, counts != 0
        sent = np.abs(counts)
        siemens = self._siemens(sent, self.apparent, sent.sum())
        self._catch_up(touched)
        pulses = apply_counts(self.state, counts, self.parameters, law, key, step)
        self._wear(sent)
        self._rewritten(touched)
        count(self, pulses=pulses)
        return pulses, siemens

    def reset(self, where: np.ndarray) -> None:
        """Reset the devices at ``where`` (rows, columns) bool, each time with fresh noise."""
        response = self.device.pulse_response
        place = self.parameters.get("reset", np.full_like(self.state, response.reset))
        if response.reset_std > 0:
            place = place + self._draw("reset") * self.state.dtype.type(response.reset_std)
        np.copyto(self.state, place, where=where)
        self._clip()
        self._wear(where)
        self._rewritten(where)

    def leak(self, cycles: float) -> None:
        """Let the states decay to their reset states and diffuse for the given number of update cycles."""
        decay, diffusion = self.parameters.get("decay"), self.parameters.get("diffusion")
        if cycles == 0 or (decay is None and diffusion is None):
            return
        before, kind = self.state.copy(), self.state.dtype.type
        walked = np.full_like(self.state, cycles, np.float64)
        if decay is not None:
            place = self.parameters.get("reset", kind(self.device.pulse_response.reset))
            log_kept = np.log1p(-np.minimum(decay.astype(np.float64), 1 - 1e-12)) * cycles
            self.state -= (self.state - place) * (-np.expm1(log_kept)).astype(kind)
            # Variance of the sum of ``cycles`` steps with the decay after each.
            walked = np.expm1(2 * log_kept) / np.expm1(2 * log_kept / cycles)
        if diffusion is not None:
            self.state += self._draw("diffusion") * diffusion * np.sqrt(walked).astype(kind)
            self.writes += 1
        self._clip()
        if self._written is not None:
            # The write noise of the last write does not change.
            self._written += self.state - before
            self._limit(self._written)
        self._apparent = self._lines = None

    def elapse(self, seconds: float) -> None:
        """Let time pass.

        Raises
        ------
        ValueError
            If ``seconds`` is negative or not finite.
        """
        seconds = passing_seconds(seconds)
        self._age_seconds += seconds
        if self.device.response.leaks:
            self.leak(seconds / self.device.pulse_response.cycle_seconds)
        if self._ageing is not None:
            self._ageing.elapse(seconds)
            self._apparent = self._lines = None

    def warm(self, kelvin: float) -> None:
        """Set the temperature of the devices."""
        if self._ageing is not None:
            self._ageing.kelvin = kelvin
            self._apparent = self._lines = None

    def key_streams(self, key: Key) -> None:
        """Draw all future noise of writing and ageing from ``key``."""
        self._write_key, self.writes = key.fold("write"), 0
        if self._ageing is not None:
            self._ageing.key_streams(key.fold("ageing"))

    @override
    def held(self) -> Tree:
        # Devices are drawn once; only their wear changes them.
        parameters = dict(self.parameters) if self.device.endurance.active else Settled(self.parameters)
        state = {"state": self.state, "parameters": parameters, "age_seconds": self._age_seconds}
        state |= {"write_key": self._write_key.value, "writes": self.writes, "pulses": self.pulses}
        if self._written is not None:
            state["written"] = self._written
        if self._ageing is not None:
            state["ageing"] = self._ageing.held()
        return state

    @classmethod
    def template(cls, device: Device, shape: tuple[int, int], dtype: np.dtype) -> dict[str, Any]:
        """Return the template of `held` for a grid of devices (rows, columns): one device shows its names and types."""
        return stretched(cls(device, (1, 1), Key(0), dtype).held(), shape)

    def refuse_state(self) -> None:
        """Reject states beyond the bounds of their devices, and future times, by a `StateError`."""
        parameters = self.parameters
        if "low" in parameters and not ((parameters["low"] <= self.state) & (self.state <= parameters["high"])).all():
            raise StateError("a device has a state beyond its bounds")
        if self._age_seconds < 0:
            raise StateError(f"age_seconds = {self._age_seconds} is not allowed: time passes forwards")
        if self._ageing is not None:
            self._ageing.refuse_state()

    @override
    def _adopt(self, tree: Tree, backend: Backend) -> None:
        self.state = copied(tree["state"], backend)
        self.parameters = {name: without_zeros(copied(values, backend)) for name, values in tree["parameters"].items()}
        self._age_seconds, self.pulses = tree["age_seconds"], tree["pulses"]
        self._write_key, self.writes = Key(tree["write_key"]), tree["writes"]
        self._written = copied(tree["written"], backend) if "written" in tree else None
        aged = {"device": self.device}
        self._ageing = Ageing.from_snapshot(aged, tree["ageing"], backend) if "ageing" in tree else None
        self._apparent = self._lines = self._constant = None
