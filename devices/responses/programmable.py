"""Devices that are programmed to a conductance, not moved by pulses."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, FiniteFloat
from typing_extensions import override

from analogpc.devices.responses.base import DeviceResponse
from analogpc.kernels.random.streams import Key


class Programmable(DeviceResponse):
    """A closed loop brings the state to any value from 0 to 1; how far off it ends is the device's `programming`.

    Attributes
    ----------
    overshoot, undershoot : float
        Errors of programming may leave the range: states from -undershoot to 1 + overshoot exist, and conductances accordingly.
    """

    kind: Literal["programmable"] = "programmable"
    overshoot: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    undershoot: Annotated[FiniteFloat, Field(ge=0)] = 0.0

    @property
    @override
    def window(self) -> tuple[float, float]:
        """The states that the conductance window stands for."""
        return -self.undershoot, 1.0 + self.overshoot

    @property
    @override
    def reach(self) -> float:
        """The largest weight of a pair."""
        return 1.0

    @property
    @override
    def unipolar(self) -> bool:
        """Targets are never negative."""
        return True

    @override
    def sample(self, key: Key, shape: tuple[int, int], dtype: np.dtype) -> dict[str, np.ndarray]:
        """The bounds, alike for all devices."""
        low, high = self.window
        return {"low": np.full(shape, low, dtype), "high": np.full(shape, high, dtype)}
