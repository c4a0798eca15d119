"""Program and verify: a digital copy of the weights learns, and the devices are written after it until they agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, FiniteFloat
from typing_extensions import override

from analogpc.devices.costs.digital import count_digital
from analogpc.devices.costs.line_counts import count_sensed
from analogpc.devices.costs.meter import count
from analogpc.devices.costs.schedule import PROGRAMMED, SENSED, note
from analogpc.devices.device import Device
from analogpc.devices.mappings import Mapping
from analogpc.devices.matrix import NonFiniteError
from analogpc.devices.responses import PulseResponse
from analogpc.devices.schemes.base import Scheme, refuse_pulses, total
from analogpc.kernels.gpu.arrays import copied

if TYPE_CHECKING:
    from analogpc.devices.matrix import Products
    from analogpc.devices.protocols import PulsedMatrix


class ProgramVerify(Scheme):
    """The digital target W* takes every change; every ``every`` update cycles the devices are brought back to it.

    All weights are read, device by device; those that are off by more than the tolerance get the pulses that the mean device would
    need, one at least, and are read again, until they are within the tolerance or their budget is spent. Devices that are programmed
    rather than pulsed are programmed anew instead. What a weight cannot reach is cut from the target: it stays within what two
    mean devices can hold. In the memory of the matrix, "failed" (n_in, n_out) tells which weights missed the tolerance at the last
    writing and "converged" the share of those that did not.

    Attributes
    ----------
    tolerance : float
    unit : "granule" or "siemens"
        Of the tolerance: the mean change of a weight by one pulse, or conductance difference.
    budget : int
        Pulses, or times of programming, that a weight may take at one writing.
    single : bool
        One pulse between two reads, rather than as many as the mean device would need.
    every : int
        Update cycles between writings.

    References
    ----------
    Alibart, Gao, Hoskins and Strukov, "High precision tuning of state for memristive devices by adaptable variation-tolerant
    algorithm", Nanotechnology 23:075201 (2012).
    """

    kind: Literal["program-verify"] = "program-verify"
    takes_increments: ClassVar[bool] = True
    tolerance: Annotated[FiniteFloat, Field(gt=0)] = 1.0
    unit: Literal["granule", "siemens"] = "granule"
    budget: Annotated[int, Field(ge=1, le=2**20)] = 100
    single: bool = False
    every: Annotated[int, Field(ge=1)] = 1

    @override
    def refuse(self, device: Device, mapping: Mapping) -> str:
        if not device.response.bounded:
            return "ideal devices need no verification; use the scheme 'ideal'"
        if isinstance(device.response, PulseResponse):
            return refuse_pulses(device, mapping)
        if self.unit == "granule":
            return f"the device '{device.name}' has no pulses to measure a tolerance in; give it in siemens"
        return ""

    @override
    def memory(self, matrix: PulsedMatrix, weights: np.ndarray) -> dict[str, Any]:
        target = self._within_reach(matrix, copied(weights.T.astype(matrix.dtype, copy=False)))
        return {"target": target, "cycles": 0, "rounds": 0, "failed": np.zeros_like(target, bool), "converged": 1.0}

    def _within_reach(self, matrix: PulsedMatrix, target: np.ndarray) -> np.ndarray:
        reach = matrix.scale_grid() * matrix.dtype.type(matrix.reach)
        return np.clip(target, -reach, reach)

    @override
    def learn(self, matrix: PulsedMatrix, products: Products, rate: float) -> None:
        self._move(matrix, matrix.dtype.type(rate) * total(matrix, products))

    @override
    def increment(self, matrix: PulsedMatrix, change: np.ndarray) -> None:
        if not np.isfinite(change).all():
            raise NonFiniteError("an update is not finite")
        self._move(matrix, change.T)

    def _move(self, matrix: PulsedMatrix, change: np.ndarray) -> None:
        memory = matrix.memory
        memory["target"] = self._within_reach(matrix, memory["target"] + change)
        count_digital(matrix, 0, 2 * change.size)
        memory["cycles"] += 1
        if memory["cycles"] % self.every == 0:
            self._write(matrix)

    def _write(self, matrix: PulsedMatrix) -> None:
        """Pulse or program, read and compare, until all agree or have spent their budget; every comparison waits for a GPU."""
        memory, device = matrix.memory, matrix.device
        # What is compared with its target needs no compensation of a drift.
        matrix.gain = 1.0
        wanted = memory["target"] / matrix.scale_grid()
        pulsed = isinstance(device.response, PulseResponse)
        step = matrix.granules() / matrix.scale_grid()
        allowed = step * wanted.dtype.type(self.tolerance)
        if self.unit == "siemens":
            allowed = np.full_like(wanted, self.tolerance / device.siemens_per_state)
        spent = np.zeros_like(wanted, np.int64)
        error = self._error(matrix, wanted, None)
        while True:
            missed = np.abs(error) > allowed
            again = missed & (spent < self.budget)
            if not again.any():
                break
            counts = np.where(again, np.sign(error), 0)
            if pulsed:
                if not self.single:
                    needed = np.maximum(np.rint(np.abs(error) / step), 1)
                    counts *= np.minimum(needed, self.budget - spent)
                matrix.pulse_each(counts.astype(np.int32), matrix.update_key.fold("verify"), memory["rounds"])
            else:
                matrix.cells.program(wanted, again)
                count(matrix.meter, programmed=again.sum() * len(matrix.cells.arrays))
                note(PROGRAMMED, matrix, min(matrix.shape[1], matrix.cells.tile[0]))
            memory["rounds"] += 1
            spent += np.abs(counts).astype(np.int64)
            error = np.where(again, self._error(matrix, wanted, again), error)
        memory["failed"], memory["converged"] = missed, float(1 - missed.mean())
        count(matrix.meter, unverified=missed.sum())

    def _error(self, matrix: PulsedMatrix, wanted: np.ndarray, where: np.ndarray | None) -> np.ndarray:
        """How far the weights that are read, all or those at ``where``, are from the target, in units of state."""
        note(SENSED, matrix, count_sensed(matrix.meter, matrix.cells.arrays, matrix.cells.tile, where))
        found = matrix.cells.sensed(matrix.update_key.fold("sense"), matrix.memory["rounds"])
        return wanted - found
