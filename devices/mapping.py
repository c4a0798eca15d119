"""How a logical weight is shared between devices."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, FiniteFloat

from analogpc.devices.device import Device
from analogpc.devices.specification import Specification


class DifferentialPair(Specification):
    """A weight is the difference of two devices, W = scale (w+ - w-), read as the difference of two bit-line currents.

    Attributes
    ----------
    minus : "active" or "reference"
        What the second device is: one like the first that is pulsed the opposite way (W then moves by two steps per coincidence,
        and on average the up/down asymmetry of single devices cancels), or a fixed reference at the state of zero weight.
    headroom : float
        Room to grow: the nominal device range stands for this many times the largest weight at programming time. Less room means
        finer steps and less noise in units of weight, and earlier limits.
    """

    kind: Literal["differential-pair"] = "differential-pair"
    minus: Literal["reference", "active"] = "active"
    headroom: Annotated[FiniteFloat, Field(gt=0)] = 2.0

    @property
    def active_devices(self) -> int:
        """Devices per weight that learn: 1 or 2."""
        return 1 if self.minus == "reference" else 2

    def scale(self, weights: np.ndarray, device: Device) -> float:
        """The logical weight of one unit of state difference; 1 for ideal devices, which have no range to fill."""
        largest = float(np.abs(weights).max(initial=0.0))
        if device.response.kind == "ideal" or largest == 0:
            return 1.0
        return self.headroom * largest / (device.response.reach * self.active_devices)

    def split(self, difference: np.ndarray) -> list[np.ndarray]:
        """The target states of the active devices for a wanted state difference."""
        if self.minus == "reference":
            return [difference]
        return [difference / 2, -difference / 2]
