"""Devices that are programmed to a conductance instead of being pulsed."""

from __future__ import annotations

from typing import Literal

import numpy as np
from typing_extensions import override

from analogpc.devices.bounds import NonNegative
from analogpc.devices.responses.base import DeviceResponse
from analogpc.kernels.random.streams import Key


class Programmable(DeviceResponse):
    """A closed loop brings the state to any value from 0 to 1; the device's `programming` gives the remaining error.

    Attributes
    ----------
    overshoot, undershoot : float
        Extension of the range by programming errors: states lie from -undershoot to 1 + overshoot, and conductances accordingly.
    """

    kind: Literal["programmable"] = "programmable"
    overshoot: NonNegative = 0.0
    undershoot: NonNegative = 0.0

    @property
    @override
    def window(self) -> tuple[float, float]:
        """States that the conductance window represents."""
        return -self.undershoot, 1.0 + self.overshoot

    @property
    @override
    def reach(self) -> float:
        """Largest weight of a pair."""
        return 1.0

    @property
    @override
    def unipolar(self) -> bool:
        """Always true: targets are never negative."""
        return True

    @override
    def sample(self, key: Key, shape: tuple[int, int], dtype: np.dtype) -> dict[str, np.ndarray]:
        """Return the bounds, equal for all devices."""
        low, high = self.window
        return {"low": np.full(shape, low, dtype), "high": np.full(shape, high, dtype)}
