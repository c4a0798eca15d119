"""Program and verify: a digital copy of the weights learns, and the devices are written until they agree with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from typing_extensions import override

from analogpc.devices.bounds import Positive, PositiveInteger
from analogpc.devices.costs.digital import count_digital
from analogpc.devices.costs.line_counts import count_sensed
from analogpc.devices.costs.meter import count
from analogpc.devices.costs.paths import PROGRAMMED, SENSED
from analogpc.devices.costs.schedule import note
from analogpc.devices.device import Device
from analogpc.devices.mappings import Mapping
from analogpc.devices.matrix import NonFiniteError
from analogpc.devices.schemes.base import Scheme, refuse_pulses, total
from analogpc.kernels.gpu.arrays import copied

if TYPE_CHECKING:
    from analogpc.devices.matrix import Products
    from analogpc.devices.protocols import PulsedMatrix


class ProgramVerify(Scheme):
    """Apply every change to a digital target W*, and write the devices to it every ``every`` update cycles.

    All weights are read, device by device. Weights outside the tolerance get the number of pulses that the mean device would need,
    at least one, and are read again, until they are within the tolerance or their budget is spent. Devices that are programmed
    rather than pulsed are programmed again instead. The target is clipped to the range that two mean devices can hold. In the
    memory of the matrix, "failed" (n_in, n_out) marks the weights that missed the tolerance at the last write, and "converged" is
    the share of the others.

    Attributes
    ----------
    tolerance : float
    unit : "granule" or "siemens"
        Unit of the tolerance: the mean change of a weight per pulse, or a conductance difference in siemens.
    budget : int
        Largest number of pulses, or of programming attempts, per weight and write.
    single : bool
        Whether to send one pulse between two reads, instead of as many as the mean device would need.
    every : int
        Number of update cycles between writes.

    References
    ----------
    Alibart, Gao, Hoskins and Strukov, "High precision tuning of state for memristive devices by adaptable variation-tolerant
    algorithm", Nanotechnology 23:075201 (2012).
    """

    kind: Literal["program-verify"] = "program-verify"
    takes_increments: ClassVar[bool] = True
    tolerance: Positive = 1.0
    unit: Literal["granule", "siemens"] = "granule"
    budget: Annotated[int, Field(ge=1, le=2**20)] = 100
    single: bool = False
    every: PositiveInteger = 1

    @override
    def refuse(self, device: Device, mapping: Mapping) -> str:
        if not device.response.bounded:
            return "ideal devices need no verification; use the scheme 'ideal'"
        if device.response.pulsed:
            return refuse_pulses(device, mapping)
        if self.unit == "granule":
            return f"the device '{device.name}' has no pulses that define a tolerance in granules; set unit = 'siemens'"
        return ""

    @override
    def memory(self, shape: tuple[int, int], like: np.ndarray) -> dict[str, Any]:
        target = np.zeros(shape[::-1], like.dtype, like=like)
        return {"target": target, "cycles": 0, "rounds": 0, "failed": np.zeros_like(target, bool), "converged": 1.0}

    @override
    def begin(self, matrix: PulsedMatrix, weights: np.ndarray) -> None:
        matrix.memory["target"] = self._within_reach(matrix, copied(weights.T.astype(matrix.dtype, copy=False)))

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
        """Pulse or program, read and compare until all agree or spent their budget; each comparison synchronises with the GPU."""
        memory, device = matrix.memory, matrix.device
        # Reads that are compared with a target need no drift compensation.
        matrix.gain = 1.0
        wanted = memory["target"] / matrix.scale_grid()
        pulsed = device.response.pulsed
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
        """Return the difference from the target of the weights that are read (all, or those at ``where``), in units of state."""
        note(SENSED, matrix, count_sensed(matrix.meter, matrix.cells.arrays, matrix.cells.tile, where))
        found = matrix.cells.sensed(matrix.update_key.fold("sense"), matrix.memory["rounds"])
        return wanted - found
