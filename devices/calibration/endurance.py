"""Endurance: how many devices are stuck after how many cycles."""

from __future__ import annotations

import numpy as np
from scipy.optimize import least_squares

from analogpc.devices.calibration.parts import Panel, Part, column, interval
from analogpc.devices.calibration.tables import CalibrationError
from analogpc.devices.calibration.understanding import Understood
from analogpc.devices.nonidealities import Faults


def endurance_part(part: Understood) -> Part:
    """Faults after the cycles of the last row, and the Weibull law of their growth.

    Devices of the simulation do not wear out while they learn: the faults are those of the last row.
    """
    raw = part.columns.get("cycle", part.columns.get("pulse"))
    if raw is None:
        raise CalibrationError("endurance needs a column of cycles")
    cycles = np.array([float(value) for value in raw])
    fractions = {}
    for name in ("stuck_low", "stuck_high"):
        if name in part.columns:
            values = column(part, name)
            fractions[name] = values / 100 if values.max() > 1 else values
    total = sum(fractions.values())
    if (np.array(total) < 0).any() or (np.array(total) > 1).any():
        raise CalibrationError("fractions of stuck devices lie between 0 and 1, or 0 and 100 %")
    order = np.argsort(cycles)
    last = order[-1]
    faults = Faults(**{name: float(values[last]) for name, values in fractions.items()})
    panel = Panel("Endurance", "cycles", "fraction stuck", log_x=True)
    intervals = []
    for name, values in fractions.items():
        word = name.replace("_", " ")
        panel.points.append((cycles[order], values[order], word))
        if (values > 0).sum() < 3 or (cycles <= 0).all():
            continue

        def rest(p: np.ndarray, values: np.ndarray = values) -> np.ndarray:
            return -np.expm1(-((np.maximum(cycles, 1e-9) / np.exp(p[0])) ** np.exp(p[1]))) - values

        found = least_squares(rest, np.array([np.log(cycles.max()) + 2.0, 0.0]), max_nfev=300)
        scale, shape = float(np.exp(found.x[0])), float(np.exp(found.x[1]))
        error = np.sqrt(np.diag(np.linalg.pinv(found.jac.T @ found.jac)) * float(np.mean(found.fun**2)))
        intervals.append(interval(f"cycles until 63 % are {word}", scale, scale * float(min(error[0], 5)), "cycles", "", 0.0))
        intervals.append(interval(f"Weibull shape, {word}", shape, shape * float(min(error[1], 5)), "", "", 0.0))
        span = np.geomspace(max(cycles[cycles > 0].min(), 1e-9), cycles.max(), 60)
        panel.lines.append((span, -np.expm1(-((span / scale) ** shape)), f"Weibull, {word}"))
    assumption = (
        f"faults are those after {cycles[last]:g} cycles, the last ones measured: devices do not wear out while they learn"
    )
    return Part("endurance", {"faults": faults}, tuple(intervals), panel, assumptions=(assumption,))
