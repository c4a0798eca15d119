"""The device without physics: any change, to any value, exactly."""

from __future__ import annotations

from typing import Literal

import numpy as np

from analogpc.devices.specification import Specification
from analogpc.kernels.random.streams import Key


class Ideal(Specification):
    """No pulses, no noise, no bounds: the state takes whatever value it is given.

    States from -1 to 1 stand for the conductance window of the device; others lie outside it, as no real device could.
    """

    kind: Literal["ideal"] = "ideal"

    @property
    def window(self) -> tuple[float, float]:
        """The states that the conductance window stands for."""
        return -1.0, 1.0

    @property
    def reach(self) -> float:
        """The nominal range."""
        return 1.0

    @property
    def unipolar(self) -> bool:
        """States have both signs."""
        return False

    def sample(self, key: Key, shape: tuple[int, int], dtype: np.dtype) -> dict[str, np.ndarray]:
        """No parameters."""
        return {}
