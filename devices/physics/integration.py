"""Integration of the state of many devices through one pulse, with individual step sizes.

Dormand-Prince 5(4) with step control per device (Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, II.5).
Position is measured as the fraction u of the way from one limit to the other, so the same tolerances apply to metres and fractions.
Where the rate vanishes at the limit, y = -ln(1 - u) is integrated instead: the approach to the limit, stiff in u, is a straight line
in y.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from analogpc.devices.physics.base import PhysicalModel

_A = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)

# An asymptotic limit is approached up to this fraction of the way; closer distances are lost in rounding.
_NEAREST = 1e-12
_MOST_STEPS = 100_000


def advance(
    model: PhysicalModel,
    devices: SimpleNamespace | None,
    state: np.ndarray,
    volts: np.ndarray,
    seconds: np.ndarray,
    tolerance: float,
) -> np.ndarray:
    """Return the noise-free states after ``seconds`` at ``volts``, see `PhysicalModel.pulse`; all arrays of one shape, float64.

    Raises
    ------
    ValueError
        If the current or the rate is not finite.
    RuntimeError
        If a pulse needs more than 100,000 steps.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        rate = np.asarray(model.rate(volts, state, devices), np.float64)
        finite = np.isfinite(rate) & np.isfinite(model.current(volts, state, devices))
    if not finite.all():
        worst = float(np.broadcast_to(volts, rate.shape)[~finite][0])
        raise ValueError(f"{type(model).__name__}: current and rate of change are not finite at {worst:g} V")
    shape = rate.shape
    low, high = (np.broadcast_to(limit, shape) for limit in model.limits(volts, devices))
    origin, target = np.where(rate > 0, low, high), np.where(rate > 0, high, low)
    start = np.broadcast_to(state, shape)
    moving = (rate != 0) & (seconds > 0) & (np.abs(target - start) > 0) & (origin != target)
    way = np.where(moving, target - origin, 1.0)
    first = np.where(moving, (start - origin) / way, 0.0)
    path = _Path(model, devices, volts, origin, way)
    fraction = path.follow(np.clip(first, 0.0, 1.0), np.where(moving, np.broadcast_to(seconds, shape), 0.0), tolerance)
    # The start is returned unchanged where nothing moves, and the limit exactly where it is reached.
    return np.where(moving, np.where(fraction >= 1, target, origin + way * fraction), start)


class _Path:
    """Path of each device from its origin to its target."""

    def __init__(
        self, model: PhysicalModel, devices: SimpleNamespace | None, volts: np.ndarray, origin: np.ndarray, way: np.ndarray
    ) -> None:
        self.model, self.devices, self.volts, self.origin, self.way = model, devices, volts, origin, way
        self.settles = model.settles
        self.end = -np.log(_NEAREST) if self.settles else 1.0

    def speed(self, y: np.ndarray) -> np.ndarray:
        """Return dy/dt, which is nonnegative."""
        y = np.clip(y, 0.0, self.end)
        fraction = -np.expm1(-y) if self.settles else y
        with np.errstate(over="ignore", invalid="ignore"):
            rate = self.model.rate(self.volts, self.origin + self.way * fraction, self.devices) / self.way
        return rate * np.exp(y) if self.settles else rate

    def follow(self, fraction: np.ndarray, seconds: np.ndarray, tolerance: float) -> np.ndarray:
        """Return the fractions of the way after ``seconds``."""
        y = np.minimum(-np.log1p(-np.minimum(fraction, 1 - _NEAREST)), self.end) if self.settles else fraction
        began, left = y.copy(), seconds.astype(np.float64)
        slope = self.speed(y)
        size = np.minimum(left, 1e-3 / np.maximum(slope, 1e-300))
        for _ in range(_MOST_STEPS):
            active = (left > 0) & (y < self.end) & (slope > 0)
            if not active.any():
                moved = -np.expm1(-y) if self.settles else np.minimum(y, 1.0)
                return np.where(y == began, fraction, moved)
            h = np.where(active, np.minimum(size, left), 0.0)
            stages = [slope]
            for row in _A[1:]:
                stages.append(self.speed(y + h * sum(a * k for a, k in zip(row, stages, strict=True))))
            trial = y + h * sum(a * k for a, k in zip(_A[-1], stages, strict=False))
            error = np.abs(h * sum(e * k for e, k in zip(_ERROR, stages, strict=True)))
            scale = tolerance * (1e-6 + np.abs(trial)) if self.settles else tolerance
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                ratio = error / scale
                factor = np.where(np.isfinite(ratio), 0.9 * ratio**-0.2, 0.1)
            accepted = active & (ratio <= 1)
            y = np.where(accepted, np.maximum(trial, y), y)
            left = np.where(accepted, np.where(h >= left, 0.0, left - h), left)
            size = np.where(active, h * np.clip(factor, 0.1, 5.0), size)
            slope = np.where(accepted, stages[-1], slope)
        raise RuntimeError(f"{type(self.model).__name__}: a pulse needs more than {_MOST_STEPS} integration steps; shorten it")
