"""The device without physics: any change, to any value, exactly."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from typing_extensions import override

from analogpc.devices.responses.base import DeviceResponse
from analogpc.kernels.random.streams import Key


class Ideal(DeviceResponse):
    """No pulses, no noise, no bounds: the state takes whatever value it is given.

    States from -1 to 1 stand for the conductance window of the device; others lie outside it, as no real device could.
    """

    kind: Literal["ideal"] = "ideal"
    bounded: ClassVar[bool] = False
    headroom: ClassVar[float] = 2.0

    @property
    @override
    def window(self) -> tuple[float, float]:
        """The states that the conductance window stands for."""
        return -1.0, 1.0

    @property
    @override
    def reach(self) -> float:
        """The nominal range."""
        return 1.0

    @property
    @override
    def unipolar(self) -> bool:
        """States have both signs."""
        return False

    @override
    def sample(self, key: Key, shape: tuple[int, int], dtype: np.dtype) -> dict[str, np.ndarray]:
        """No parameters."""
        return {}
