"""Fit of a model to pulse series in siemens: scaling, selection of family and noises, devices, intervals, and the mean curve."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats
from scipy.ndimage import uniform_filter1d

from analogpc.devices.calibration.choice import Ranked, noise_models, penalty, presses, rank_families, refit
from analogpc.devices.calibration.families import PLACES, PiecewiseFamily
from analogpc.devices.calibration.hierarchy import with_devices
from analogpc.devices.calibration.measurements import CalibrationError, PulseData
from analogpc.devices.calibration.noise_intervals import noise_intervals
from analogpc.devices.calibration.restricted import restricted_climb
from analogpc.devices.calibration.state_space import EXTRA, Fit, Readings

FEWEST_PULSES = 8


@dataclass(frozen=True)
class PulseFit:
    """A model of pulse series with its uncertainty.

    Attributes
    ----------
    fit : Fit
        Fit in units of place: conductance = ``base`` + ``unit`` times place.
    data : Readings
        Scaled readings.
    base, unit : float
        Conductance of place 0, and of one unit, in siemens.
    ranking : list of Ranked
        All families that were fitted, best first.
    noises : tuple of (value, low, high)
        σ_c (of a step), σ_r and σ_e (of the range) with their 90 % intervals.
    covariance : (parameters,) squared
        Covariance of ``fit.theta`` and ``fit.own``.
    mean, band : (n,)
        Noise-free conductance as a place, from the best start of every series; standard deviation of a reading about it.
    """

    fit: Fit
    data: Readings
    base: float
    unit: float
    ranking: list[Ranked]
    noises: tuple[tuple[float, float, float], ...]
    covariance: np.ndarray
    mean: np.ndarray
    band: np.ndarray

    def steps_at(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Steps up and down at ``places`` and their standard errors, all positive, in units of the range.

        1.645 of these errors give a 90 % interval; errors based on the spread of few devices are enlarged by Student's t. The errors
        include the differences between families that fit nearly as well, by their Akaike weights (Buckland, Burnham and Augustin,
        Biometrics 53:603, 1997).
        """
        fit, count = self.fit, len(self.fit.theta)
        up, down = (np.interp(places, PLACES, one) for one in fit.family.steps(fit.theta[:-EXTRA]))
        slopes = np.zeros((2, len(places), count))
        for k in range(count - EXTRA):
            # Differences over a standard error, on the steeper side: a step that is clipped at zero may be nonzero.
            size = float(np.clip(np.sqrt(self.covariance[k, k]), 1e-6, 1.0))
            for sign in (-size, size):
                theta = fit.theta[:-EXTRA].copy()
                theta[k] += sign
                for which, (one, before) in enumerate(zip(fit.family.steps(theta), (up, down), strict=True)):
                    slope = (np.interp(places, PLACES, one) - before) / sign
                    slopes[which, :, k] = np.where(np.abs(slope) > np.abs(slopes[which, :, k]), slope, slopes[which, :, k])
        errors = np.sqrt(np.maximum(np.einsum("wpi,ij,wpj->wp", slopes, self.covariance[:count, :count], slopes), 0))
        best = np.stack([up, down])
        errors = np.sqrt(errors**2 + self._between_families(places, best)) * self._students(best, errors)
        return up, down, errors[0], errors[1]

    def _between_families(self, places: np.ndarray, best: np.ndarray) -> np.ndarray:
        """Return the mean square differences (2, places) of the steps of other families from those of the ``best`` one."""
        if not any(one.fit.label == self.fit.label for one in self.ranking):
            return np.zeros_like(best)
        count = np.log(self.data.inner.sum())
        # From Schwarz's criterion to Akaike's.
        scores = np.array([one.criterion - one.fit.parameters * (count - 2) for one in self.ranking])
        weights = np.exp((scores.min() - scores) / 2)
        others = [one.fit.family.steps(one.fit.theta[:-EXTRA]) for one in self.ranking]
        apart = np.array([[np.interp(places, PLACES, way) for way in steps] for steps in others])
        # Relative to the same family in the ranking, since later changes of the fit are not differences between families.
        middle = next(k for k, one in enumerate(self.ranking) if one.fit.label == self.fit.label)
        return np.einsum("f,fwp->wp", weights / weights.sum(), (apart - apart[middle]) ** 2)

    def _students(self, steps: np.ndarray, errors: np.ndarray) -> np.ndarray:
        """Return factors (2, places) on standard errors by the Welch-Satterthwaite degrees of freedom (Biometrics Bull. 2:110, 1946)."""
        devices = len(self.fit.own)
        if devices == 1:
            return np.ones_like(errors)
        by_devices = steps * self.fit.spreads[:2, None] / np.sqrt(devices)
        share = np.clip(by_devices / np.maximum(errors, 1e-12), 1e-3, 1.0)
        return stats.t.ppf(0.95, (devices - 1) / share**4) / stats.norm.ppf(0.95)


def fit_pulses(data: PulseData, nodes: int | None = None) -> PulseFit:
    """Fit steps, noises and devices to pulse series.

    Parameters
    ----------
    data : PulseData
    nodes : int, optional
        Number of nodes of a table, instead of the family selected by the data.

    Raises
    ------
    CalibrationError
        If the data hold too few pulses in a direction, or do not follow them.
    """
    readings, base, unit = _scaled(data)
    # Coarse fit first, so that the range is that of the conductances instead of noisy readings.
    first = noise_models(readings, few=True)[0]
    readings, base, unit = _rescaled(readings, first, base, unit)
    first = noise_models(readings)[0]
    ranking = rank_families(first, readings)
    best = ranking[0].fit if nodes is None else refit(ranking[0].fit, readings, PiecewiseFamily(f"table of {nodes}", nodes))
    if readings.devices > 1:
        best = with_devices(best, readings, presses(readings))
    restricted = [restricted_climb(model, readings)[0] for model in noise_models(readings, best)]
    noises = noise_intervals(sorted(restricted, key=lambda one: one.marginal(mean_steps=True) + penalty(one)), readings)
    best = noises.fit
    mean, band = mean_curve(best, readings)
    three = (noises.cycle, noises.white, noises.slow)
    return PulseFit(best, readings, base, unit, ranking, three, noises.covariance, mean, band)


def _scaled(data: PulseData) -> tuple[Readings, float, float]:
    """Return readings scaled to 0 to 1, or raise with the reason why they cannot be used."""
    first = np.diff(data.series, prepend=-1) != 0
    pulses = np.where(first, -1, np.diff(data.pulse, prepend=0)).astype(np.int64)
    sign = data.direction.astype(np.int64)
    inner = pulses >= 0
    for word, way in (("up", 1), ("down", -1)):
        count = int((inner & (sign == way)).sum())
        if count < FEWEST_PULSES:
            raise CalibrationError(
                f"the data hold {count} readings after pulses {word}; at least {FEWEST_PULSES} in each direction are needed"
            )
    y = data.conductance
    base, unit = float(y.min()), float(np.ptp(y))
    if unit <= 1e-9 * np.abs(y).max(initial=0) or not _follows(data, first):
        raise CalibrationError("the conductance does not follow the pulses beyond its noise: no pulse series can be recognised")
    return Readings((y - base) / unit, sign, pulses, data.device.astype(np.int64), len(data.device_names)), base, unit


def _follows(data: PulseData, first: np.ndarray) -> bool:
    """Whether runs of pulses move the conductance in their direction, up and down, by more than the noise of their ends."""
    breaks = np.flatnonzero(first | (np.diff(data.direction, prepend=0) != 0))
    bends = np.diff(data.conductance, 2)[(np.diff(data.series)[:-1] == 0) & (np.diff(data.series)[1:] == 0)]
    noise = float(np.sqrt(np.mean(bends**2) / 6)) if len(bends) else 0.0
    for way in (1, -1):
        nets, variances = [], []
        for run in np.split(np.arange(len(data.pulse)), breaks):
            if len(run) < 2 or data.direction[run[-1]] != way:
                continue
            own, part = data.conductance[run], max(1, len(run) // 4)
            nets.append(way * (own[-part:].mean() - own[:part].mean()))
            variances.append(2 * noise**2 / part)
        # Noise alone moves the mean equally often in either direction; the test requires four standard errors.
        if sum(nets) <= 4 * np.sqrt(sum(variances)) or sum(nets) <= 0:
            return False
    return True


def _rescaled(data: Readings, fit: Fit, base: float, unit: float) -> tuple[Readings, float, float]:
    """Rescale so that the conductances of the mean device have places from 0 to 1."""
    _, _, mean, _ = fit.run(data)
    mean = uniform_filter1d(mean, 3, mode="nearest")
    ends = np.array([[mean[data.device == d].min(), mean[data.device == d].max()] for d in range(data.devices)])
    low, high = ends.mean(axis=0)
    width = max(high - low, 1e-6)
    return replace(data, y=(data.y - low) / width), base + unit * float(low), unit * float(width)


def mean_curve(fit: Fit, data: Readings) -> tuple[np.ndarray, np.ndarray]:
    """Return the noise-free conductance from the best start of every series, and the deviation of readings about it."""
    series = np.cumsum(data.pulses < 0) - 1
    first = np.flatnonzero(data.pulses < 0)
    starts = fit.run(data)[2][first]
    for _ in range(8):
        path, _ = fit.path(data, starts[series])
        slope = (fit.path(data, starts[series] + 1e-5)[0] - path) / 1e-5
        weight = np.bincount(series, slope**2)
        change = np.bincount(series, slope * (data.y - path)) / np.maximum(weight, 1e-9)
        starts = starts + np.clip(change, -0.1, 0.1)
        if np.abs(change).max() < 1e-6:
            break
    path, variance = fit.path(data, starts[series])
    _, white, slow, _ = fit.noise
    return path, np.sqrt(variance + white**2 + slow**2)
