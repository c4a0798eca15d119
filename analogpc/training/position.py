"""The position of a training run, and the error of a run that cannot be resumed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from analogpc.devices.costs.meter import Meter


class ResumeError(ValueError):
    """Raised if a run cannot be resumed with the given arguments."""


@dataclass
class Position:
    """Position of a run: the next epoch and batch, and the running sums of the current epoch."""

    epoch: int = 0
    batch: int = 0
    seen: int = 0
    correct: int = 0
    loss: float = 0.0
    energies: np.ndarray = field(default_factory=lambda: np.zeros(0))
    seconds: float = 0.0
    meter: Meter = field(default_factory=Meter)
    stopped_early: bool = False
    stop_reason: str = ""
