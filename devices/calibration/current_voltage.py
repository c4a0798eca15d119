"""Fit of the conduction law and its constant to current-voltage sweeps; sweeps that switch the device give a physical model."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from analogpc.devices.calibration.parts import Panel, Part, column, groups, interval
from analogpc.devices.calibration.switched_part import switched_part
from analogpc.devices.calibration.tables import CalibrationError
from analogpc.devices.calibration.understanding import Understood
from analogpc.devices.nonidealities import Cubic, MiloRRAM, Ohmic, Sinh

FEWEST = 6
_SWITCHED = 0.2


def iv_part(part: Understood) -> Part:
    """Fit the best conduction law to the sweeps, with a separate conductance for every device and level.

    Sweeps that switch the device give a physical model instead (`switched_part`).
    """
    volts, amperes = column(part, "volts"), column(part, "current")
    series = groups(part, "device", "level", "cycle")
    top = float(np.abs(volts).max())
    if len(np.unique(volts)) < FEWEST or top == 0:
        raise CalibrationError(f"a sweep needs {FEWEST} different voltages at least")
    if np.sum(volts * amperes) <= 0:
        raise CalibrationError("the current flows against the voltage: check the signs of both columns")
    hysteresis = _hysteresis(volts, amperes, series)
    if hysteresis > _SWITCHED:
        return switched_part(part, series, hysteresis)
    count = len(volts)

    def rest(shape: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the sum of squares and the conductances for currents G times a shape."""
        own = np.bincount(series, shape * amperes) / np.maximum(np.bincount(series, shape**2), 1e-300)
        return float(((amperes - own[series] * shape) ** 2).sum()), own

    options: list[tuple[str, float, Any, np.ndarray, int]] = []
    error, own = rest(volts)
    options.append(("ohmic", error, Ohmic(), own, 0))
    sinh = minimize_scalar(
        lambda s: rest(np.exp(s) * np.sinh(volts / np.exp(s)))[0], bounds=(np.log(top / 20), np.log(top * 20)), method="bounded"
    )
    scale = float(np.exp(sinh.x))
    error, own = rest(scale * np.sinh(volts / scale))
    options.append(("sinh", error, Sinh(scale_volts=scale), own, 1))
    most = 0.9 / top**2
    cubic = minimize_scalar(lambda c: rest(volts * (1 - c * volts**2))[0], bounds=(0, most), method="bounded")
    error, own = rest(volts * (1 - cubic.x * volts**2))
    options.append(("cubic", error, Cubic(per_square_volt=float(cubic.x)), own, 1))
    milo = MiloRRAM()
    own = np.maximum(rest(volts)[1], 1e-12)
    if own.min() >= 40e-6 and own.max() <= 300e-6 and top <= 0.55:
        error = float(((amperes - milo.current(own[series], volts)) ** 2).sum())
        options.append(("milo-rram", error, milo, own, 0))
    scores = [count * np.log(max(e, 1e-40) / count) + k * np.log(count) for _, e, _, _, k in options]
    order = np.argsort(scores)
    name, error, law, own, _ = options[order[0]]
    runner = options[order[1]]
    remarks = [f"conduction: {name}, ahead of {runner[0]} by {scores[order[1]] - scores[order[0]]:.3g} in Schwarz's criterion"]
    r2 = 1 - error / float(((amperes - amperes.mean()) ** 2).sum())
    failures = (f"the {name} law has an R² of {r2:.2f}, at least 0.9 is required",) if r2 < 0.9 else ()
    intervals = []
    if name == "sinh":
        low, high = _profile(lambda s: rest(s * np.sinh(volts / s))[0], scale, error, count)
        intervals.append(
            interval("voltage scale of the sinh", scale, (high - low) / 3.29, "volts", "conduction.scale_volts", 0.0)
        )
    panel = Panel(f"Current against voltage: {name}", "volts", "current (µA)")
    for number, s in enumerate(np.unique(series)[:20]):
        mine = np.flatnonzero(series == s)
        mine = mine[np.argsort(volts[mine])]
        panel.points.append((volts[mine], amperes[mine] * 1e6, "measured" if number == 0 else ""))
        panel.lines.append((volts[mine], law.current(np.full(len(mine), own[s]), volts[mine]) * 1e6, name if number == 0 else ""))
    window = (float(own.min()), float(own.max()))
    return Part("iv", {"conduction": law}, tuple(intervals), panel, remarks=tuple(remarks), failures=failures, window=window)


def _profile(loss: Any, best: float, least: float, count: int) -> tuple[float, float]:
    """Return the points at which the log-likelihood of normal errors is lower by 1.35."""
    ends = []
    for way in (-1, 1):
        factor = np.exp(way * np.geomspace(1e-4, 3, 200))
        worse = count / 2 * np.log(np.array([loss(best * f) for f in factor]) / max(least, 1e-300))
        ends.append(best * float(factor[np.argmax(worse > 1.353)] if (worse > 1.353).any() else factor[-1]))
    return ends[0], ends[1]


def _hysteresis(volts: np.ndarray, amperes: np.ndarray, series: np.ndarray) -> float:
    """Relative difference between currents at the same voltage in the up and down sweeps."""
    worst = 0.0
    for s in np.unique(series):
        own = np.flatnonzero(series == s)
        v, i = volts[own], amperes[own]
        way = np.sign(np.diff(v, prepend=v[0]))
        ups, downs = way > 0, way < 0
        if ups.sum() < 4 or downs.sum() < 4:
            continue
        at = np.linspace(max(v[ups].min(), v[downs].min()), min(v[ups].max(), v[downs].max()), 30)
        one, other = (np.interp(at, v[w][np.argsort(v[w])], i[w][np.argsort(v[w])]) for w in (ups, downs))
        worst = max(worst, float(np.abs(one - other).mean() / max(np.abs(i).mean(), 1e-300)))
    return worst
