"""Fit of endurance data: stuck devices against cycles, as initial faults and as lifetimes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from analogpc.devices.calibration.parts import Z_90, Panel, Part, column
from analogpc.devices.calibration.tables import CalibrationError
from analogpc.devices.calibration.understanding import Understood
from analogpc.devices.nonidealities import Endurance, Faults
from analogpc.devices.provenance import Interval

PULSES_A_CYCLE = 2
_LEAST_R2 = 0.5


@dataclass(frozen=True)
class _Growth:
    """Initial stuck fractions, and the Weibull law of later failures: life in cycles and shape, with errors of the logarithms."""

    start: float
    cycles: float = np.inf
    shape: float = 1.0
    errors: tuple[float, float] = (0.0, 0.0)
    r_squared: float = 1.0

    def fraction(self, cycles: np.ndarray) -> np.ndarray:
        return self.start - (1 - self.start) * np.expm1(-((cycles / self.cycles) ** self.shape))


def endurance_part(part: Understood) -> Part:
    """Fit initial faults, and the Weibull law by which other devices fail.

    A law needs three fractions that differ from the first; with fewer, the faults are those of the last row.

    Raises
    ------
    CalibrationError
        If there are no cycles, or values are not fractions.
    """
    raw = part.columns.get("cycle", part.columns.get("pulse"))
    if raw is None:
        raise CalibrationError("endurance needs a column of cycles")
    cycles = np.array([float(value) for value in raw])
    if (cycles < 0).any() or not np.isfinite(cycles).all():
        raise CalibrationError(f"{cycles.min():g} cycles are not allowed: cycles are not negative")
    order = np.argsort(cycles, kind="stable")
    cycles = cycles[order]
    names = [name for name in ("stuck_low", "stuck_high") if name in part.columns]
    found = {name: column(part, name)[order] for name in names}
    if max(values.max() for values in found.values()) > 1:
        found = {name: values / 100 for name, values in found.items()}
    if any((values < 0).any() for values in found.values()) or (np.sum(list(found.values()), axis=0) > 1).any():
        raise CalibrationError("fractions of stuck devices lie between 0 and 1, or 0 and 100 %, together")
    panel = Panel("Endurance", "cycles", "fraction stuck", log_x=True)
    faults: dict[str, float] = {}
    lives: dict[str, float] = {}
    intervals, assumptions, failures = [], [], []
    for name, values in found.items():
        word, growth = name.replace("_", " "), _growth(cycles, values)
        panel.points.append((cycles, values, word))
        faults[name] = growth.start
        if not np.isfinite(growth.cycles):
            assumptions.append(f"too few rows show how devices become {word}: the fraction stays that of the last row")
            continue
        if growth.r_squared < _LEAST_R2:
            failures.append(f"the fraction {word} does not grow by a Weibull law (R² of {growth.r_squared:.2f})")
        lives |= {f"{name}_pulses": PULSES_A_CYCLE * growth.cycles, f"{name}_shape": growth.shape}
        span = np.geomspace(max(cycles[cycles > 0].min(), 1e-9), cycles.max(), 60)
        panel.lines.append((span, growth.fraction(span), f"Weibull, {word}"))
        life = ("pulses until 63 % are", PULSES_A_CYCLE * growth.cycles, "pulses", f"endurance.{name}_pulses")
        shape = ("Weibull shape,", growth.shape, "", f"endurance.{name}_shape")
        for (title, value, unit, field), error in zip((life, shape), growth.errors, strict=True):
            factor = float(np.exp(Z_90 * min(error, 5.0)))
            low, high = value / factor, value * factor
            intervals.append(Interval(name=f"{title} {word}", value=value, low=low, high=high, unit=unit, field=field))
    if lives:
        assumptions.append(
            f"a cycle is one pulse up and one down, and every pulse of training wears a device as much; {cycles.max():g} cycles were "
            "measured, and what comes later follows the law"
        )
    fields = {"faults": Faults(**faults), "endurance": Endurance(**lives)}
    return Part("endurance", fields, tuple(intervals), panel, tuple(assumptions), failures=tuple(failures))


def _growth(cycles: np.ndarray, values: np.ndarray) -> _Growth:
    """Fit the law of one end; cycles in ascending order."""
    start = float(values[0]) if cycles[0] == 0 else 0.0
    if (values > start).sum() < 3 or len(np.unique(cycles[cycles > 0])) < 3 or start >= 1:
        return _Growth(float(values[-1]))
    # Fraction lost among the devices that worked at the start.
    share = (values - start) / (1 - start)
    first = (0.5 * cycles.max(), 1.0)
    inside = (share > 0) & (share < 1) & (cycles > 0)
    if inside.sum() >= 2 and np.ptp(np.log(cycles[inside])) > 0:
        # A straight line in the Weibull plot.
        shape, offset = np.polyfit(np.log(cycles[inside]), np.log(-np.log1p(-share[inside])), 1)
        shape = float(np.clip(shape, 0.05, 20))
        first = (float(np.exp(np.clip(-offset / shape, 0, 80))), shape)

    def rest(p: np.ndarray) -> np.ndarray:
        return -np.expm1(-((cycles / np.exp(p[0])) ** np.exp(p[1]))) - share

    found = least_squares(rest, np.log(first), x_scale=[1.0, 0.3], bounds=([-10, -4], [90, 4]), max_nfev=500)
    freedom = max(len(cycles) - 2, 1)
    spread = np.linalg.pinv(found.jac.T @ found.jac) * float((found.fun**2).sum()) / freedom
    r_squared = 1 - float((found.fun**2).sum()) / max(float(((share - share.mean()) ** 2).sum()), 1e-30)
    errors = np.sqrt(np.maximum(np.diag(spread), 0))
    return _Growth(start, float(np.exp(found.x[0])), float(np.exp(found.x[1])), (float(errors[0]), float(errors[1])), r_squared)
