"""Intervals of the noises: restricted likelihood over all noise models that are compatible with the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from analogpc.devices.calibration.restricted import restricted_climb
from analogpc.devices.calibration.state_space import CYCLE, EXTRA, MEMORY, SLOW, WHITE, Fit, Readings, covariance

LR_90 = float(stats.chi2.ppf(0.9, 1)) / 2
"""Drop of the log-likelihood at the ends of the 90 % interval of one parameter (Wilks, Ann. Math. Stat. 9:60, 1938)."""
LR_90_PAIR = float(stats.chi2.ppf(0.9, 2)) / 2
"""Drop at the edge of the joint 90 % region of two parameters.

The interval of σ_e is the projection of its joint region with the memory. A memory that exceeds the measured trains leaves σ_e
undetermined, so that the likelihood is far from normal; the drop of one parameter then covers too rarely.
"""
_LEAST_SIGMA_LOG = -9.5
_WELL_KNOWN = 0.1
_CLOSE = 0.05
"""Distance from the end of an interval, in standard errors over √2, from which a straight line is accurate."""
_FAINT = -7.0
"""Initial logarithm of a read noise that is added to a model without it."""


class _Profile:
    """Restricted likelihood R of a noise model (see `restricted`) against the logarithm of one noise, minimised over the rest.

    R may have several local minima, such as one noise replacing another: each of ``starts`` descends, and the lowest result counts.
    """

    def __init__(self, starts: Sequence[Fit], data: Readings, which: int) -> None:
        self.data, self.place = data, len(starts[0].theta) - EXTRA + which
        self.near = [(fit, fit.marginal(mean_steps=True)) for fit in starts]
        self.found: dict[float, tuple[float, Fit]] = {}

    @property
    def middle(self) -> float:
        """Parameter with the lowest known R."""
        best = min(self.near, key=lambda one: one[1])[0]
        return float(np.clip(best.theta[self.place], _LEAST_SIGMA_LOG + 1, 3))

    def __call__(self, value: float) -> float:
        if value not in self.found:
            options: list[tuple[float, Fit]] = []
            for number, (near, least) in enumerate(self.near):
                # Start from the best known point: a noise that vanished elsewhere would never return.
                fit, loss = self._descended(near, least, value)
                if loss < least:
                    self.near[number] = fit, loss
                # Starts that have met at a new minimum would descend alike from now on.
                if loss < least and any(abs(loss - other) < 0.01 and _alike(fit, before) for other, before in options):
                    self.near[number] = fit, np.inf
                options.append((loss, fit))
            self.near = [one for one in self.near if one[1] < np.inf]
            self.found[value] = min(options, key=lambda one: one[0])
        return self.found[value][0]

    def _descended(self, near: Fit, least: float, value: float) -> tuple[Fit, float]:
        theta = near.theta.copy()
        if theta[self.place] == value:
            return near, least
        theta[self.place] = value
        return restricted_climb(replace(near, theta=theta), self.data, (self.place,))


def whole_models(models: Sequence[Fit], data: Readings) -> list[Fit]:
    """Return the local minima of R in the full noise model, found from every noise model; lowest first."""
    out: list[tuple[Fit, float]] = []
    for model in models:
        theta, free = model.theta.copy(), model.free.copy()
        for which in (WHITE, SLOW):
            if not free[-EXTRA + which]:
                theta[-EXTRA + which] = _FAINT
        free[-EXTRA:][[WHITE, SLOW, MEMORY]] = True
        fit, value = restricted_climb(replace(model, theta=theta, free=free, information=None), data)
        if not any(abs(value - other) < 0.05 and _alike(fit, before) for before, other in out):
            out.append((fit, value))
    return [fit for fit, _ in sorted(out, key=lambda one: one[1])]


def _alike(one: Fit, other: Fit) -> bool:
    """Whether two fits have the same noises, to a tenth of a step and of the larger read noise."""
    a, b = np.array(one.noise[:3]), np.array(other.noise[:3])
    return bool((np.abs(a - b) < 0.1 * np.array([1, *2 * [max(a[1:].max(), b[1:].max())]])).all())


@dataclass(frozen=True)
class Noises:
    """Noises estimated from pulse series.

    Attributes
    ----------
    fit : Fit
        Selected noise model at its restricted-likelihood estimate.
    cycle, white, slow : (value, low, high)
        σ_c, σ_r and σ_e with their 90 % intervals.
    covariance : (parameters,) squared
        Covariance of all parameters, averaged over the uncertainty of σ_c, on which the errors of the steps depend.
    """

    fit: Fit
    cycle: tuple[float, float, float]
    white: tuple[float, float, float]
    slow: tuple[float, float, float]
    covariance: np.ndarray


def noise_intervals(models: Sequence[Fit], data: Readings) -> Noises:
    """Return the fit of the selected noise model, and the 90 % intervals of all noises.

    The intervals are those of the full noise model; that of σ_c is joined with its interval in the selected model, and that of σ_e is
    the one of all its pairs with the memory (`LR_90_PAIR`). Where the data cannot distinguish two noises, the intervals cover both
    possibilities. A noise that was not found also has an interval, from 0 to what the data allow. A low end is 0 if the data do not
    exclude that. If all noises are known to a tenth and R has one minimum, its curvature gives the same intervals, and no profile is
    computed.

    Parameters
    ----------
    models : sequence of Fit
        Noise models at their restricted-likelihood estimates (`restricted_climb`), the selected one first.
    data : Readings
    """
    chosen, whole = models[0], whole_models(models, data)
    first = len(chosen.theta) - EXTRA
    known = _well_known(whole)
    errors = covariance(chosen)
    if not known.size:
        cycle = _Profile([chosen], data, CYCLE)
        _, *ends = _interval_of(cycle, cycle.middle)
        chosen = min(cycle.near, key=lambda one: one[1])[0]
    out = []
    for which, drop in ((CYCLE, LR_90), (WHITE, LR_90), (SLOW, LR_90_PAIR)):
        if known.size:
            middle, half = float(whole[0].theta[first + which]), np.sqrt(2 * drop) * float(known[which])
            low, high = middle - half, middle + half
        else:
            profile = _Profile(whole, data, which)
            _, low, high = _interval_of(profile, profile.middle, drop)
            if which == CYCLE:
                low, high = min(low, ends[0]), max(high, ends[1])
                errors = _averaged(profile)
        value = chosen.noise[which] if chosen.free[first + which] else 0.0
        out.append((value, min(float(np.exp(low)), value), max(float(np.exp(high)), value)))
    return Noises(chosen, out[0], out[1], out[2], errors)


def _well_known(whole: Sequence[Fit]) -> np.ndarray:
    """Return the standard errors of the logarithms of σ_c, σ_r and σ_e; empty if one is too large for a normal likelihood."""
    if len(whole) > 1:
        return np.zeros(0)
    first = len(whole[0].theta) - EXTRA
    errors = np.sqrt(np.diag(covariance(whole[0]))[first + np.array([CYCLE, WHITE, SLOW])])
    faint = np.array(whole[0].noise[:3]) < np.exp(_FAINT)
    return errors if (errors < _WELL_KNOWN).all() and not faint.any() else np.zeros(0)


def _averaged(profile: _Profile) -> np.ndarray:
    """Return the covariance of all parameters, and of their estimates, over σ_c with a density of exp(-R)."""
    places = sorted(profile.found)
    fits = [profile.found[place][1] for place in places]
    losses = np.array([profile.found[place][0] for place in places])
    weights = np.gradient(np.exp(places)) * np.exp(losses.min() - losses)
    weights /= weights.sum()
    all_of = np.array([np.concatenate([fit.theta, fit.own.ravel()]) for fit in fits])
    off = all_of - weights @ all_of
    return sum(w * covariance(fit) for w, fit in zip(weights, fits, strict=True)) + (off * weights[:, None]).T @ off


def _interval_of(profile: Callable[[float], float], middle: float, drop: float = LR_90) -> tuple[float, float, float]:
    """Return the minimum of a profile, and the points on both sides where it is higher by ``drop``; -inf if there is none."""
    grid = {value: profile(value) for value in middle + np.array([0.0, -0.5, 0.5])}
    # Outwards until the likelihood has dropped enough on both sides, or the noise has no effect.
    for way in (-1, 1):
        step, end = 0.6, middle + 0.5 * way
        while grid[end] - min(grid.values()) < 1.3 * drop and _LEAST_SIGMA_LOG < end < 4:
            end += way * step
            grid[end], step = profile(end), 1.4 * step
    least = min(grid, key=lambda p: grid[p])
    if least != middle and least > _LEAST_SIGMA_LOG + 1:
        for turn in range(4):
            value = _between(grid, halve=turn < 2)
            grid[value] = profile(value)
    places = np.array(sorted(grid))
    losses = np.array([grid[p] for p in places])
    best = int(np.argmin(losses))

    def over(loss: float) -> float:
        # The square root of a likelihood ratio is nearly linear.
        return float(np.sqrt(max(loss - losses[best], 0.0)) - np.sqrt(drop))

    excess = np.array([over(loss) for loss in losses])

    def crossing(way: int) -> float:
        # The outermost crossing: with several noise models there may be a gap between their intervals.
        outside = [k for k in range(len(places)) if way * (k - best) > 0 and excess[k] >= 0]
        inside = [k for k in range(len(places)) if way * (k - best) >= 0 and excess[k] < 0]
        k = max(inside, key=lambda i: way * i)
        if not [o for o in outside if way * (o - k) > 0]:
            return -np.inf if way < 0 else float(places[-1])
        near, far, low, high = places[k], places[k + way], excess[k], excess[k + way]
        for _ in range(2):
            place = near + (far - near) * float(np.clip(-low / (high - low), 0.15, 0.85))
            if (value := over(profile(place))) > 0:
                far, high = place, value
            else:
                near, low = place, value
            if abs(value) < _CLOSE:
                break
        return float(near + (far - near) * -low / (high - low))

    low, high = crossing(-1), crossing(1)
    return float(places[best]), low, high


def _between(grid: dict[float, float], halve: bool) -> float:
    """Return a point nearer to the minimum: the middle of the wider adjacent gap, or the vertex of a parabola through three points."""
    places = sorted(grid)
    best = min(range(len(places)), key=lambda k: grid[places[k]])
    around = places[max(best - 1, 0) : best + 2]
    if not halve and len(around) == 3:
        (a, b, c), (fa, fb, fc) = around, (grid[p] for p in around)
        fall, rise = (fb - fa) / (b - a), (fc - fb) / (c - b)
        if rise > fall:
            vertex = (a + b) / 2 - fall * (c - a) / (2 * (rise - fall))
            # Not at a known point of the curve.
            if min(abs(vertex - p) for p in around) > 0.05 * (c - a):
                return float(np.clip(vertex, a + 0.1 * (b - a), c - 0.1 * (c - b)))
    wide = max(range(len(around) - 1), key=lambda k: around[k + 1] - around[k])
    return (around[wide] + around[wide + 1]) / 2
