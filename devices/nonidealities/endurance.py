"""Endurance: devices that fail after many pulses and become stuck at one end of their range."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from pydantic import Field

from analogpc.devices.bounds import Positive
from analogpc.devices.nonidealities.faults import random_places
from analogpc.devices.specification import Specification
from analogpc.kernels.random.streams import Key

Life = Annotated[float, Field(gt=0, allow_inf_nan=True)]


class Endurance(Specification):
    """Lifetimes of devices in pulses, with a Weibull distribution: a fraction 1 - exp(-(n / life)^shape) is stuck after n pulses.

    A device that is stuck at one end cannot become stuck at the other. Programming and resetting count as one pulse; idealised writes
    cause no wear. Devices fail after the batch of pulses in which their life ends.

    Attributes
    ----------
    stuck_low_pulses, stuck_high_pulses : float
        Number of pulses after which 63 % of the devices would be stuck at the low and at the high end; infinite by default.
    stuck_low_shape, stuck_high_shape : float
        Weibull shapes: below 1 early failures prevail, above 1 wear.

    References
    ----------
    Weibull, J. Appl. Mech. 18:293 (1951).
    """

    stuck_low_pulses: Life = math.inf
    stuck_low_shape: Positive = 1.0
    stuck_high_pulses: Life = math.inf
    stuck_high_shape: Positive = 1.0

    @property
    def active(self) -> bool:
        """Whether any device can fail."""
        return math.isfinite(self.stuck_low_pulses) or math.isfinite(self.stuck_high_pulses)

    def fraction(self, pulses: np.ndarray) -> np.ndarray:
        """Return the fraction of devices that have failed after the given number of pulses each."""
        hazard = (pulses / self.stuck_low_pulses) ** self.stuck_low_shape
        return -np.expm1(-hazard - (pulses / self.stuck_high_pulses) ** self.stuck_high_shape)

    def sample(self, key: Key, shape: tuple[int, int]) -> dict[str, np.ndarray]:
        """Draw the lifetimes of the devices of a grid from their positions.

        Returns
        -------
        dict
            "life": number of pulses until a device fails, float64; "high": bool, whether it fails at the high end. Each of ``shape``.
        """
        lives = [
            life * (-np.log(random_places(key.fold(name), shape))) ** (1 / power)
            for name, life, power in (
                ("low", self.stuck_low_pulses, self.stuck_low_shape),
                ("high", self.stuck_high_pulses, self.stuck_high_shape),
            )
        ]
        return {"life": np.minimum(*lives), "high": lives[1] < lives[0]}
