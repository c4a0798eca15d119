"""Preparation of current-voltage sweeps: samples, compliance, and the features from which fits of physical models start."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analogpc.devices.calibration.sweeps import Sweeps
from analogpc.devices.calibration.tables import CalibrationError

_SAMPLES, _SERIES = 100, 4
_SWEEP_VOLTS_PER_SECOND = 1.0
_LEAST_CHANGE = 0.15
"""Change of the logarithm of the conductance over a few samples that counts as switching."""


@dataclass(frozen=True)
class Landmarks:
    """Features of sweeps from which fits start; voltages are magnitudes.

    Attributes
    ----------
    raising : float
        Sign of the voltages that raise the conductance.
    low_ohms, high_ohms : float
        Resistances at small voltages, after switching on and off.
    volts_on, volts_off : float
        Voltages at the fastest changes of the conductance, up and down.
    most_on, most_off : float
        Largest voltages of either polarity.
    duration : float
        Time of a sweep in seconds.
    """

    raising: float
    low_ohms: float
    high_ohms: float
    volts_on: float
    volts_off: float
    most_on: float
    most_off: float
    duration: float


def sweeps_of(volts: np.ndarray, amperes: np.ndarray, seconds: np.ndarray | None, series: np.ndarray) -> tuple[Sweeps, list[str]]:
    """Return the sweeps of up to four series, at most 100 samples each, and what was assumed."""
    said: list[str] = []
    names = np.unique(series)
    if len(names) > _SERIES:
        names = names[np.linspace(0, len(names) - 1, _SERIES).round().astype(int)]
        said.append(f"the physical model is fitted to {_SERIES} of {len(np.unique(series))} sweeps")
    rows = []
    for name in names:
        own = np.flatnonzero(series == name)
        own = own[np.unique(np.linspace(0, len(own) - 1, min(len(own), _SAMPLES)).round().astype(int))]
        if seconds is None:
            times = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(volts[own])))]) / _SWEEP_VOLTS_PER_SECOND
        else:
            times = seconds[own]
            if (np.diff(times) < 0).any():
                raise CalibrationError("the times of a sweep must not decrease from row to row")
        rows.append((volts[own], amperes[own], np.diff(times, prepend=times[0])))
    if seconds is None:
        said.append("the sweep has no times: 1 V/s is assumed, and the speeds of the model scale with it")
    longest = max(len(row[0]) for row in rows)
    padded = [
        np.array([np.pad(row[k], (0, longest - len(row[0])), "edge" if k < 2 else "constant") for row in rows]) for k in range(3)
    ]
    used = np.array([np.arange(longest) < len(row[0]) for row in rows])
    compliance = (_compliance(-padded[0][used], -padded[1][used]), _compliance(padded[0][used], padded[1][used]))
    for word, most in zip(("negative", "positive"), compliance, strict=True):
        if np.isfinite(most):
            said.append(
                f"the {word} current is limited to {most:.3g} A by the instrument: the voltage across the device is lower there"
            )
    return Sweeps(padded[0], padded[1], padded[2], used, compliance), said


def _compliance(volts: np.ndarray, amperes: np.ndarray) -> float:
    """Return the limit of the positive current: many samples near the largest one, at voltages that differ by 40 % and more."""
    positive = (volts > 0) & (amperes > 0)
    if positive.sum() < 6:
        return np.inf
    v, i = volts[positive], amperes[positive]
    plateau = i > 0.93 * np.quantile(i, 0.98)
    flat = plateau.sum() >= 6 and v[plateau].max() > 1.4 * np.quantile(v[plateau], 0.1)
    return float(np.median(i[plateau])) if flat else np.inf


def landmarks(sweeps: Sweeps) -> Landmarks:
    """Return the features of sweeps, or raise if they do not switch in opposite polarities."""
    raises, falls = [], []
    small = []
    top = float(np.abs(sweeps.volts).max())
    for volts, amperes, used in zip(sweeps.volts, sweeps.amperes, sweeps.used, strict=True):
        read = used & (np.abs(volts) > 0.04 * top) & (volts * amperes > 0)
        logs, v = np.log(amperes[read] / volts[read]), volts[read]
        small.append(logs[np.abs(v) < 0.35 * top])
        # Over a few samples, so that noise does not decide; a change counts at the polarity in which it occurs.
        gap = max(2, len(v) // 40)
        change, at = logs[gap:] - logs[:-gap], (v[gap:] + v[:-gap]) / 2
        same = v[gap:] * v[:-gap] > 0
        raises.append((float(np.where(same, change, -np.inf).max()), float(at[np.argmax(np.where(same, change, -np.inf))])))
        falls.append((float(np.where(same, change, np.inf).min()), float(at[np.argmin(np.where(same, change, np.inf))])))
    on, off = (float(np.median([one[1] for one in found])) for found in (raises, falls))
    for word, found in (("up", raises), ("down", falls)):
        if max(abs(one[0]) for one in found) < _LEAST_CHANGE:
            raise CalibrationError(
                f"the sweep does not switch the conductance {word}: a physical model needs both directions, for instance two cycles"
            )
    if on * off >= 0:
        raise CalibrationError(
            "the sweep raises and lowers the conductance at the same polarity: the physical models need switching on and off at opposite "
            "voltages"
        )
    levels = np.concatenate(small) if sum(len(one) for one in small) else np.zeros(0)
    if len(levels) < 4:
        raise CalibrationError("the sweep has too few samples at small voltages to tell the two resistances")
    low, high = np.quantile(levels, [0.03, 0.97])
    raising = float(np.sign(on))
    most_on, most_off = float((raising * sweeps.volts).max()), float((-raising * sweeps.volts).max())
    duration = float(sweeps.seconds.sum(axis=1).max())
    return Landmarks(raising, float(np.exp(-high)), float(np.exp(-low)), abs(on), abs(off), most_on, most_off, duration)
