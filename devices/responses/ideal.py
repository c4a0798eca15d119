"""Ideal device: states change exactly, to any value."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from typing_extensions import override

from analogpc.devices.responses.base import DeviceResponse
from analogpc.kernels.random.streams import Key


class Ideal(DeviceResponse):
    """Ideal response without pulses, noise and bounds: the state takes any given value.

    States from -1 to 1 represent the conductance window of the device; other states lie outside it, which no real device allows.
    """

    kind: Literal["ideal"] = "ideal"
    bounded: ClassVar[bool] = False
    headroom: ClassVar[float] = 2.0

    @property
    @override
    def window(self) -> tuple[float, float]:
        """States that the conductance window represents."""
        return -1.0, 1.0

    @property
    @override
    def reach(self) -> float:
        """Nominal range of the states."""
        return 1.0

    @property
    @override
    def unipolar(self) -> bool:
        """States have both signs."""
        return False

    @override
    def sample(self, key: Key, shape: tuple[int, int], dtype: np.dtype) -> dict[str, np.ndarray]:
        """Return no parameters."""
        return {}
