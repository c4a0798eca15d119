"""Checks of a fit: coverage, mean curve, ends of the range and whiteness. A failed check rejects the fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from analogpc.devices.calibration.pulse_fit import PulseFit
from analogpc.devices.calibration.state_space import Readings

LAGS = 20
_COVERAGE = (0.80, 0.98)
_LEAST_R2 = 0.5
_MOST_CORRELATION = 0.25


@dataclass(frozen=True)
class Checks:
    """Results of the checks of a fit.

    Attributes
    ----------
    coverage : float
        Fraction of the readings within the 90 % interval predicted by the model from the previous readings.
    r_squared : float
        R² of the mean curve, over all series.
    curve_r_squared : (series,)
        R² of every series.
    ends : dict
        For "up" and "down" at "low" and "high": mean step of the data, of the model, and the standard error of their difference,
        in units of the range.
    autocorrelation : (20,)
        Autocorrelation of the standardised innovations, lags 1 to 20.
    p_white : float
        p-value of the Ljung-Box test that they are white (Biometrika 65:297, 1978).
    failures, remarks : tuple of str
        Reasons why the fit cannot be trusted, and caveats.
    """

    coverage: float
    r_squared: float
    curve_r_squared: np.ndarray
    ends: dict[str, dict[str, tuple[float, float, float]]]
    autocorrelation: np.ndarray
    p_white: float
    failures: tuple[str, ...]
    remarks: tuple[str, ...]


def check(fitted: PulseFit) -> Checks:
    """Run all checks of a fit."""
    data = fitted.data
    surprise, variance, _, _ = fitted.fit.run(data)
    z = (surprise / np.sqrt(variance))[data.inner]
    coverage = float((np.abs(z) < stats.norm.ppf(0.95)).mean())
    residual = data.y - fitted.mean
    series = np.cumsum(data.pulses < 0) - 1
    count = np.bincount(series)
    own_mean = (np.bincount(series, data.y) / count)[series]
    curves = 1 - np.bincount(series, residual**2) / np.maximum(np.bincount(series, (data.y - own_mean) ** 2), 1e-30)
    r_squared = float(1 - np.mean(residual**2) / np.var(data.y))
    correlation, p_white = _whiteness(z, data)
    ends = _ends(fitted)
    failures, remarks = [], []
    n = len(z)
    slack = 3 * np.sqrt(0.09 / n)
    if not _COVERAGE[0] - slack < coverage < _COVERAGE[1] + slack:
        failures.append(f"{coverage:.0%} of the readings lie within the 90 % band that the model predicts")
    if r_squared < _LEAST_R2:
        failures.append(f"the mean curve has an R² of {r_squared:.2f}, at least {_LEAST_R2:g} is required")
    largest = int(np.argmax(np.abs(correlation)))
    if abs(correlation[largest]) > max(_MOST_CORRELATION, 5 / np.sqrt(n)):
        failures.append(f"the prediction errors are correlated by {correlation[largest]:.2f} over {largest + 1} pulses")
    elif p_white < 1e-4:
        remarks.append(f"the prediction errors are slightly correlated: correlations of up to {abs(correlation[largest]):.2f}")
    for way, places in ends.items():
        for end, (found, model, error) in places.items():
            off = abs(model - found)
            if off > 4 * error and off > 0.5 * max(abs(found), abs(model)):
                failures.append(
                    f"at the {end} end the mean step {way} is {_times(fitted, found)} in the data and {_times(fitted, model)} in the model"
                )
            elif off > 3 * error and off > 0.2 * abs(found):
                remarks.append(
                    f"at the {end} end the mean step {way} is {_times(fitted, found)} in the data and {_times(fitted, model)} in the model"
                )
    kurtosis = float(np.mean(z**4))
    if kurtosis > 6:
        remarks.append(f"the prediction errors have heavy tails (fourth moment {kurtosis:.1f}, normal 3): jumps or outliers")
    return Checks(coverage, r_squared, curves, ends, correlation, p_white, tuple(failures), tuple(remarks))


def _times(fitted: PulseFit, value: float) -> str:
    siemens = value * fitted.unit
    for factor, unit in ((1e3, "mS"), (1e6, "µS"), (1e9, "nS")):
        if abs(siemens) * factor >= 0.1:
            return f"{siemens * factor:.3g} {unit}"
    return f"{siemens * 1e12:.3g} pS"


def _whiteness(z: np.ndarray, data: Readings) -> tuple[np.ndarray, float]:
    """Return the autocorrelation within series, pooled, and the p-value of the hypothesis that it is noise."""
    series = (np.cumsum(data.pulses < 0) - 1)[data.inner]
    z = np.clip(z, -4, 4) - np.clip(z, -4, 4).mean()
    total, out, statistic, n = float(z @ z), np.zeros(LAGS), 0.0, len(z)
    for lag in range(1, min(LAGS, n - 2) + 1):
        together = series[lag:] == series[:-lag]
        out[lag - 1] = float((z[lag:] * z[:-lag])[together].sum()) / max(total, 1e-30)
        statistic += out[lag - 1] ** 2 / max(int(together.sum()), 1)
    return out, float(stats.chi2.sf(n * n * statistic, LAGS))


def _ends(fitted: PulseFit) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Return the mean steps in the outer quarters of the range, of the data and of the model."""
    data, fit = fitted.data, fitted.fit
    left = np.flatnonzero(data.inner) - 1
    right = left + 1
    rise = data.sign[right] * (data.y[right] - data.y[left])
    # The mean of the model changes from reading to reading, from the mean curve.
    expected = data.sign[right] * (fitted.mean[right] - fitted.mean[left])
    own = fit.affine[data.device[left]]
    place = (fitted.mean[left] - own[:, 0]) / own[:, 1]
    count = np.maximum(data.pulses[right], 1)
    _, white, slow, _ = fit.noise
    out: dict[str, dict[str, tuple[float, float, float]]] = {}
    for way, word in ((1, "up"), (-1, "down")):
        out[word] = {}
        for end, here in (("low", place < 0.25), ("high", place > 0.75)):
            use = here & (data.sign[right] == way)
            if use.sum() < 5:
                continue
            pulses = float(count[use].sum())
            # Differences of neighbours telescope to the ends of the runs.
            runs = 1 + int((np.diff(np.flatnonzero(use)) > 1).sum())
            ends = 2 * runs * (white**2 + slow**2)
            error = np.sqrt(ends + float(np.sum((fit.noise[0] * expected[use]) ** 2))) / pulses
            out[word][end] = (float(rise[use].sum()) / pulses, float(expected[use].sum()) / pulses, error)
    return out
