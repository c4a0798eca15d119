"""Where a training run stands, and the error of a run that cannot be resumed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from analogpc.devices.costs.meter import Meter


class ResumeError(ValueError):
    """A run cannot be resumed with what it was given."""


@dataclass
class Position:
    """Where a run stands: the epoch and batch that come next, and the tally of the epoch under way."""

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
