"""Sign pulses: products are accumulated digitally, and only the sign of the sum is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from typing_extensions import override

from analogpc.devices.bounds import NonNegative, PositiveInteger
from analogpc.devices.costs.digital import count_digital
from analogpc.devices.device import Device
from analogpc.devices.mappings import Mapping
from analogpc.devices.schemes.base import Scheme, refuse_pulses, total
from analogpc.kernels.gpu.arrays import as_type

if TYPE_CHECKING:
    from analogpc.devices.matrix import Products
    from analogpc.devices.protocols import PulsedMatrix


class SignPulses(Scheme):
    """Manhattan rule: every weight whose accumulated change exceeds a threshold gets the same pulses in its direction.

    The change of ``every`` update cycles is accumulated, its sign is written, and the accumulator is cleared. The device and
    ``pulses`` determine the step of a weight; the learning rate only scales the comparison with a threshold in granules.

    Attributes
    ----------
    threshold : float
        Changes up to this magnitude are not written; zero is never written.
    threshold_unit : "granule" or "rms"
        Unit of the threshold: the mean change of a weight per pulse, or the root mean square of the accumulated change over the
        matrix.
    pulses : int
        Number of pulses sent to each weight above the threshold.
    every : int
        Number of update cycles that are accumulated.

    References
    ----------
    Zamanidoost, Bayat, Strukov and Kataeva, "Manhattan rule training for memristive crossbar circuit pattern classifiers", WISP
    2015.
    """

    kind: Literal["sign-pulses"] = "sign-pulses"
    takes_increments: ClassVar[bool] = True
    threshold: NonNegative = 0.0
    threshold_unit: Literal["granule", "rms"] = "granule"
    pulses: PositiveInteger = 1
    every: PositiveInteger = 1

    @override
    def refuse(self, device: Device, mapping: Mapping) -> str:
        return refuse_pulses(device, mapping)

    @property
    @override
    def repeatable(self) -> bool:
        return self.every == 1

    @property
    @override
    def counters(self) -> tuple[str, ...]:
        return ("cycles",)

    @override
    def memory(self, shape: tuple[int, int], like: np.ndarray) -> dict[str, Any]:
        return {"sum": np.zeros(shape[::-1], like.dtype, like=like), "cycles": 0}

    @override
    def learn(self, matrix: PulsedMatrix, products: Products, rate: float) -> None:
        self._add(matrix, as_type(rate, matrix.dtype) * total(matrix, products))

    @override
    def increment(self, matrix: PulsedMatrix, change: np.ndarray) -> None:
        self._add(matrix, change.T)

    def _add(self, matrix: PulsedMatrix, change: np.ndarray) -> None:
        memory = matrix.memory
        memory["sum"] += change
        count_digital(matrix, 0, 2 * change.size)
        memory["cycles"] += 1
        if self.every > 1 and memory["cycles"] % self.every:
            return
        summed = memory["sum"]
        unit = matrix.granules()
        if self.threshold_unit == "rms":
            # In double precision, so that the result does not depend on the order of summation.
            unit = np.sqrt(np.mean(np.square(summed), dtype=np.float64)).astype(matrix.dtype)
        chosen = np.abs(summed) > unit * matrix.dtype.type(self.threshold)
        counts = np.where(chosen, np.sign(summed), 0).astype(np.int32) * np.int32(self.pulses)
        matrix.pulse_each(counts, matrix.update_key.fold("sign"), memory["cycles"])
        summed[...] = 0
