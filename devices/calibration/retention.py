"""Fit of conductances over time after programming: power-law drift, exponential loss, or a spread that grows about the mean."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import least_squares

from analogpc.devices.calibration.bake import pairs_part
from analogpc.devices.calibration.hierarchy import spread_interval
from analogpc.devices.calibration.parts import Panel, Part, column, groups, interval
from analogpc.devices.calibration.tables import CalibrationError
from analogpc.devices.calibration.understanding import Understood
from analogpc.devices.nonidealities import ConstantExponent, LogarithmicExponent, PowerLawDrift, Relaxation, Retention
from analogpc.devices.provenance import Interval

_LEAST_R2 = 0.1


def drift_part(part: Understood) -> Part:
    """Fit the drift of a device with the best model.

    Every device and level is a series. The power law G = G_1 (t / t_1)^-ν is fitted to each series, with t_1 its first time; the
    exponential loss to all series together. If the mean hardly moves but the spread grows, the relaxation model uses the spreads.
    """
    if "before" in part.columns:
        return pairs_part(part)
    seconds, g = column(part, "seconds"), column(part, "conductance") * 1e6
    if (seconds < 0).any():
        raise CalibrationError(f"a time of {seconds.min():g} s is not allowed: seconds since programming are not negative")
    if (g <= 0).any():
        raise CalibrationError("drift needs conductances that are positive")
    series = groups(part, "device", "level", "cycle")
    times = np.unique(seconds)
    if len(times) < 2:
        raise CalibrationError("drift needs readings at two times at least")
    first = float(times[times > 0][0])
    # A reading at time zero was taken within the first interval.
    t0 = first if times[0] > 0 else max(first, 1e-9)
    shifted = seconds / t0 if times[0] > 0 else 1 + seconds / t0
    names, noise = np.unique(series), 0.0
    slopes, variances, starts, residual = [], [], [], np.zeros(len(g))
    for s in names:
        own = np.flatnonzero(series == s)
        if len(np.unique(shifted[own])) < 2:
            continue
        x, y = np.log(shifted[own]), np.log(g[own])
        centred = x - x.mean()
        slope = float(centred @ y / (centred @ centred))
        rest = y - y.mean() - slope * centred
        residual[own] = rest
        slopes.append(-slope)
        variances.append(float(1 / (centred @ centred)))
        starts.append(float(np.exp(y.mean() - slope * x.mean())))
    if not slopes:
        raise CalibrationError("drift needs a device that was read at two times at least")
    freedom = max(len(g) - 2 * len(slopes), 1)
    noise = float(np.sqrt((residual**2).sum() / freedom)) if len(g) > 2 * len(slopes) else 0.0
    nu, errors = np.array(slopes), noise**2 * np.array(variances)
    level = np.array(starts)
    loss = _exponential(seconds, g, series)
    powers = len(g) * np.log(max((residual**2).mean(), 1e-16)) + 2 * len(nu) * np.log(len(g))
    exponential = len(g) * np.log(max(loss[0], 1e-16)) + (len(nu) + 2) * np.log(len(g))
    mean, known = float(nu.mean()), float(np.sqrt((errors.mean() + nu.var()) / len(nu)))
    panel = _panel(seconds, g, series, names)
    window = (float(g.min()) * 1e-6, float(g.max()) * 1e-6)
    if mean < -2 * known and mean < -0.005:
        grown = f"conductances grow with time (exponent {-mean:.3g} ± {known:.2g}), which no drift model here describes"
        return Part("drift", {}, (), panel, failures=(grown,), window=window)
    if len(nu) >= 5 and abs(mean) < 2 * known and len(times) >= 2:
        grown_part = _relaxation(seconds, g, series, times, panel, window)
        if grown_part is not None:
            return grown_part
    if loss[1] is not None and exponential < powers - 6 and len(times) >= 4:
        return _retained(loss, seconds, series, panel, window)
    return _power_law(nu, errors, level, t0, seconds, panel, window, noise)


def _power_law(
    nu: np.ndarray,
    errors: np.ndarray,
    level: np.ndarray,
    t0: float,
    seconds: np.ndarray,
    panel: Panel,
    window: tuple[float, float],
    noise: float,
) -> Part:
    spread, low, high = spread_interval(nu, errors) if len(nu) > 2 else (0.0, 0.0, 0.0)
    mean, known = float(nu.mean()), float(np.sqrt(np.mean(errors + spread**2) / len(nu)))
    exponent: Any = ConstantExponent(mean=max(mean, 0.0), std=spread)
    remarks = [f"power law with an exponent of {mean:.3g} ± {known:.2g} from {t0:.3g} s on"]
    x = np.log(level / level.max())
    intervals: list[Interval] = []
    if len(nu) >= 8 and np.ptp(x) > 0.5:
        weight = 1 / np.sqrt(errors + spread**2 + 1e-12)
        design = np.column_stack([x, np.ones_like(x)]) * weight[:, None]
        solution = np.linalg.lstsq(design, nu * weight, rcond=None)[0]
        error = float(np.sqrt(np.linalg.inv(design.T @ design)[0, 0]))
        if abs(solution[0]) > 3 * error:
            ends = np.clip(solution[0] * np.array([x.min(), 0.0]) + solution[1], 0, None)
            rest = spread_interval(nu - solution[0] * x, errors)[0]
            exponent = LogarithmicExponent(
                mean_slope=float(solution[0]),
                mean_offset=float(solution[1]),
                mean_least=float(ends.min()),
                mean_most=float(ends.max()),
                std_slope=0.0,
                std_offset=rest,
                std_least=rest,
                std_most=rest,
            )
            remarks.append(f"the exponent depends on the conductance: {solution[0]:+.3g} ± {error:.2g} per factor e")
            intervals.append(
                interval("exponent per factor e of conductance", float(solution[0]), error, "", "drift.exponent.mean_slope")
            )
    constant = isinstance(exponent, ConstantExponent)
    intervals.insert(0, interval("drift exponent", mean, known, "", "drift.exponent.mean" if constant else "", least=0.0))
    if len(nu) > 2:
        field = "drift.exponent.std" if constant else ""
        intervals.append(Interval(name="spread of the drift exponent", value=spread, low=low, high=high, field=field))
    else:
        remarks.append(f"{len(nu)} series do not determine the spread of the drift exponent, which is taken as zero")
    span = np.geomspace(max(t0, 1e-9), max(float(seconds.max()), 2 * t0), 60)
    for start in np.quantile(level, [0.1, 0.5, 0.9]) if len(level) > 2 else level:
        value = float(exponent.nu(np.array([start]), float(level.max()), np.zeros(1))[0])
        panel.lines.append((span, start * (span / t0) ** -value, "power law" if not panel.lines else ""))
    return Part(
        "drift",
        {"drift": PowerLawDrift(t0_seconds=t0, exponent=exponent)},
        tuple(intervals),
        panel,
        assumptions=(f"conductances are as programmed until {t0:.3g} s, the time of the first reading",),
        remarks=(*remarks, f"readings scatter by {noise:.1%} about the power law"),
        window=window,
    )


def _exponential(seconds: np.ndarray, g: np.ndarray, series: np.ndarray) -> tuple[float, np.ndarray | None, np.ndarray]:
    """Fit a common exponential loss: relative mean squared residual, (ln lifetime, rest in µS), and the starts of the series."""
    count = int(series.max()) + 1
    starts = np.array([g[series == s][np.argsort(seconds[series == s])[:1]].mean() for s in range(count)])
    span = float(np.ptp(seconds))
    if span <= 0 or len(np.unique(seconds)) < 4:
        return np.inf, None, starts

    def residual(p: np.ndarray) -> np.ndarray:
        kept = np.exp(-seconds / np.exp(p[0]))
        start = np.exp(p[2:])[series]
        return (p[1] + (start - p[1]) * kept) / g - 1

    first = np.concatenate([[np.log(span / 2), 0.5 * g.min()], np.log(starts)])
    low = np.concatenate([[np.log(span) - 12, 0.0], np.full(count, -20)])
    high = np.concatenate([[np.log(span) + 8, max(g.max(), 1e-9)], np.full(count, 20)])
    found = least_squares(residual, first, bounds=(low, high), max_nfev=200)
    error = np.linalg.pinv(found.jac.T @ found.jac) * float(np.mean(found.fun**2))
    return float(np.mean(found.fun**2)), np.concatenate([found.x[:2], np.sqrt(np.diag(error)[:2])]), np.exp(found.x[2:])


def _retained(
    loss: tuple[float, np.ndarray | None, np.ndarray],
    seconds: np.ndarray,
    series: np.ndarray,
    panel: Panel,
    window: tuple[float, float],
) -> Part:
    assert loss[1] is not None
    log_life, rest, life_error, rest_error = loss[1]
    life = float(np.exp(log_life))
    span = np.geomspace(max(seconds[seconds > 0].min(), 1e-9), seconds.max(), 60)
    for start in np.quantile(loss[2], [0.1, 0.5, 0.9]):
        panel.lines.append((span, rest + (start - rest) * np.exp(-span / life), "exponential loss" if not panel.lines else ""))
    error = float(min(life_error, 5.0))
    intervals = (
        Interval(
            name="lifetime",
            value=life,
            low=life * float(np.exp(-1.645 * error)),
            high=life * float(np.exp(1.645 * error)),
            unit="seconds",
            field="drift.lifetime_seconds",
        ),
        interval("resting conductance", float(rest) * 1e-6, float(rest_error) * 1e-6, "siemens", "drift.rest_siemens", least=0.0),
    )
    model = Retention(lifetime_seconds=life, rest_siemens=float(rest) * 1e-6)
    remarks = (
        "an exponential loss fits better than a power law",
        "the spread of the lifetime was not fitted and is taken as zero",
    )
    assumptions = ("the temperature of the measurement holds: no activation energy was measured",)
    return Part("drift", {"drift": model}, intervals, panel, assumptions=assumptions, remarks=remarks, window=window)


def _relaxation(
    seconds: np.ndarray, g: np.ndarray, series: np.ndarray, times: np.ndarray, panel: Panel, window: tuple[float, float]
) -> Part | None:
    """Return the growing spread about the initial conductances; None if it does not grow."""
    start = np.array([g[series == s][np.argmin(seconds[series == s])] for s in range(int(series.max()) + 1)])
    change = g - start[series]
    later = times[times > seconds.min()]
    sigma = np.array([change[seconds == t].std() for t in later])
    counts = np.array([(seconds == t).sum() for t in later])
    if len(later) < 1 or counts.min() < 5 or sigma[-1] < 0.005 * g.mean():
        return None
    # Half of the variance of the first difference may be noise of two readings.
    base = float(max(sigma[0], 1e-6)) / np.sqrt(2) if len(later) > 1 else 1e-6
    kept = (float(times[times > 0][0]) / 2 if times[0] == 0 else float(times[0]), *later.tolist())
    top = float(g.max())
    model = Relaxation(
        times_seconds=tuple(max(t, 1e-9) for t in kept),
        coefficients=((base,), *((float(s),) for s in sigma)),
        reference_siemens=top * 1e-6,
    )
    panel.lines.append((later, g.mean() + sigma, "mean ± spread since the first reading"))
    panel.lines.append((later, g.mean() - sigma, ""))
    known = sigma[-1] / np.sqrt(2 * counts[-1])
    estimate = interval(f"spread after {later[-1]:.3g} s", float(sigma[-1]) * 1e-6, float(known) * 1e-6, "siemens", least=0.0)
    remarks = ("the mean stays and the spread grows: relaxation",)
    return Part("drift", {"drift": model}, (estimate,), panel, remarks=remarks, window=window)


def _panel(seconds: np.ndarray, g: np.ndarray, series: np.ndarray, names: np.ndarray) -> Panel:
    panel = Panel("After programming", "seconds", "conductance (µS)", log_x=True)
    for number, s in enumerate(names[:60]):
        own = np.flatnonzero(series == s)
        own = own[np.argsort(seconds[own])]
        use = seconds[own] > 0
        panel.points.append((seconds[own][use], g[own][use], "measured" if number == 0 else ""))
    return panel
