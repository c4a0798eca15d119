"""Simulated current-voltage sweeps of physical models, for many variants of their parameters at once.

The voltage is linear between samples. The state follows the exponential Euler method, u + f t (e^z - 1) / z with z = t df/du, which is
exact where the rate is linear in the state (Hochbruck and Ostermann, Acta Numerica 19:209, 2010); fast switching takes shorter steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from analogpc.devices.physics import PhysicalModel

_LARGEST_MOVE, _MOST_STEPS, _NUDGE = 0.1, 60, 1e-4
_HALVINGS = 24
_FASTEST = 1e200


@dataclass(frozen=True)
class Sweeps:
    """Sampled sweeps.

    Attributes
    ----------
    volts, amperes : (series, samples)
    seconds : (series, samples)
        Time since the previous sample; 0 for the first one and for padding.
    used : (series, samples) bool
        False for padding at the end of shorter series.
    compliance : (negative, positive)
        Largest magnitude of the current in each polarity, in amperes; infinite without a limit.
    """

    volts: np.ndarray
    amperes: np.ndarray
    seconds: np.ndarray
    used: np.ndarray
    compliance: tuple[float, float] = (np.inf, np.inf)

    def turned(self) -> Sweeps:
        """Return the sweeps with both signs reversed."""
        return Sweeps(-self.volts, -self.amperes, self.seconds, self.used, self.compliance[::-1])


def simulate(model: PhysicalModel, devices: SimpleNamespace, start: np.ndarray, sweeps: Sweeps) -> np.ndarray:
    """Return the currents of a model during sweeps.

    Parameters
    ----------
    model : PhysicalModel
    devices : namespace
        Parameters of the model; numbers or arrays (variants, 1).
    start : (variants, series)
        Initial state as the fraction of the way from its lower to its upper limit.
    sweeps : Sweeps

    Returns
    -------
    (variants, series, samples), amperes
    """
    low, high = model.limits(1.0, devices)
    span, place = high - low, np.clip(start, 0.0, 1.0)
    out = np.empty((*place.shape, sweeps.volts.shape[1]))
    before = sweeps.volts[:, 0]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for k, (volts, seconds) in enumerate(zip(sweeps.volts.T, sweeps.seconds.T, strict=True)):
            if seconds.any():
                place = _moved(model, devices, (low, span), place, (before + volts) / 2, seconds, sweeps.compliance)
            state = low + span * place
            out[:, :, k] = model.current(_limited(model, devices, volts, state, sweeps.compliance), state, devices)
            before = volts
    return out


def _moved(
    model: PhysicalModel,
    devices: SimpleNamespace,
    limits: tuple[np.ndarray | float, np.ndarray | float],
    place: np.ndarray,
    volts: np.ndarray,
    seconds: np.ndarray,
    compliance: tuple[float, float],
) -> np.ndarray:
    """Return the states after ``seconds`` (series,) at ``volts`` (series,)."""
    low, span = limits

    def rate(at: np.ndarray) -> np.ndarray:
        state = low + span * at
        found = model.rate(_limited(model, devices, volts, state, compliance), state, devices) / span
        found = np.minimum(np.maximum(found, -_FASTEST), _FASTEST)
        return np.where(np.isnan(found), 0.0, found)

    left = np.broadcast_to(seconds, place.shape)
    for _ in range(_MOST_STEPS):
        speed = rate(place)
        speed = np.where((place >= 1) & (speed > 0) | (place <= 0) & (speed < 0), 0.0, speed)
        if not (speed * left).any():
            break
        nudge = np.where(place < 0.5, _NUDGE, -_NUDGE)
        slope = (rate(place + nudge) - speed) / nudge
        # A rate that falls with the motion approaches its limit smoothly, for any length of the step.
        quick = np.where(slope < 0, np.inf, _LARGEST_MOVE / np.maximum(np.abs(speed), 1e-300))
        step = np.minimum(left, quick)
        z = np.minimum(np.maximum(slope * step, -60.0), 2.0)
        factor = np.where(np.abs(z) < 1e-6, 1.0, np.expm1(z) / np.where(z == 0, 1.0, z))
        place = np.minimum(np.maximum(place + speed * step * factor, 0.0), 1.0)
        left = left - step
        if not (left > 0).any():
            break
    return place


def _limited(
    model: PhysicalModel, devices: SimpleNamespace, volts: np.ndarray, state: np.ndarray, compliance: tuple[float, float]
) -> np.ndarray:
    """Return the voltages across devices whose current the instrument limits."""
    if not np.isfinite(compliance).any():
        return volts
    most = np.where(volts < 0, *compliance)
    over = np.abs(model.current(volts, state, devices)) > most
    if not over.any():
        return volts
    # The current grows with the voltage: bisection.
    low, high = np.zeros(over.shape), np.where(over, 1.0, 0.0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = np.abs(model.current(middle * volts, state, devices)) > most
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.where(over, low, 1.0) * volts
