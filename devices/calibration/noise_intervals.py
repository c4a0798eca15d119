"""How well each noise is known: restricted likelihood over all noise models that the data leave open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from analogpc.devices.calibration.state_space import CYCLE, EXTRA, WHITE, Fit, Readings, climb, covariance

LR_90 = 1.353
"""A log-likelihood that is lower by so much bounds the 90 % interval of one parameter (Wilks, Ann. Math. Stat. 9:60, 1938)."""
_LEAST_SIGMA_LOG = -9.5
_WELL_KNOWN = 0.15


class _Profile:
    """Restricted log-likelihood (with a minus) of one noise model against ln σ_c, everything else at its best.

    Mean steps and the devices' own parameters are integrated out (Patterson and Thompson, Biometrika 58:545, 1971): what was spent
    on them is not counted as evidence of little noise.
    """

    def __init__(self, fit: Fit, data: Readings) -> None:
        self.data, self.near, self.place = data, fit, len(fit.theta) - EXTRA + CYCLE
        self.found: dict[float, tuple[float, Fit]] = {}

    def __call__(self, value: float) -> float:
        if value not in self.found:
            # From the best known place: a noise that has faded elsewhere would never come back.
            theta = self.near.theta.copy()
            theta[self.place] = value
            fit = climb(replace(self.near, theta=theta), self.data, (self.place,), rounds=20, tolerance=1e-2)
            if fit.loss < self.near.loss:
                self.near = fit
            self.found[value] = fit.marginal(mean_steps=True), fit
        return self.found[value][0]


def settle_cycle_noise(models: Sequence[Fit], data: Readings) -> tuple[Fit, tuple[float, float, float]]:
    """The fit at the restricted-likelihood estimate of σ_c in the chosen noise model; the estimate and its 90 % interval.

    The interval is that of the richest noise model, joined with that of the chosen one: where the data cannot tell slow read noise
    from noise of the steps, it holds what either would say. Its low end is 0 where the data do not exclude that.

    Parameters
    ----------
    models : sequence of Fit
        The chosen noise model first.
    data : Readings
    """
    found = []
    richest = max(models, key=lambda one: one.parameters)
    profiles = [_Profile(fit, data) for fit in ([models[0]] if richest is models[0] else [models[0], richest])]
    for profile in profiles:
        place = float(np.clip(profile.near.extra[CYCLE], _LEAST_SIGMA_LOG + 1, 3))
        found.append(_interval_of(profile, place))
    best, low, high = found[0][0], min(one[1] for one in found), max(one[2] for one in found)
    fit = profiles[0].found[best][1]
    return replace(fit, information=None), (float(np.exp(best)), float(np.exp(low)), float(np.exp(high)))


def read_noise_interval(fit: Fit, data: Readings, which: int) -> tuple[float, float, float]:
    """σ_r or σ_e with its 90 % interval, whose low end is 0 where the data do not exclude that."""
    place = len(fit.theta) - EXTRA + which
    if not fit.free[place]:
        return 0.0, 0.0, 0.0
    error = float(np.sqrt(covariance(fit)[place, place]))
    if which == WHITE and error < _WELL_KNOWN:
        value = float(np.exp(fit.theta[place]))
        return value, value * float(np.exp(-1.645 * error)), value * float(np.exp(1.645 * error))
    # The mean steps hardly depend on it.
    held = (place, *range(len(fit.theta) - EXTRA), *range(len(fit.theta), len(fit.theta) + fit.own.size))

    def loss(value: float) -> float:
        theta = fit.theta.copy()
        theta[place] = value
        return climb(replace(fit, theta=theta), data, held, rounds=20, tolerance=1e-2).loss

    _, low, high = _interval_of(loss, float(np.clip(fit.theta[place], _LEAST_SIGMA_LOG + 1, 3)))
    # The device gets the value of the fit.
    value = float(np.exp(fit.theta[place]))
    return value, min(float(np.exp(low)), value), max(float(np.exp(high)), value)


def _interval_of(profile: Callable[[float], float], middle: float) -> tuple[float, float, float]:
    """Where a profile is least, and where it is higher by `LR_90` on both sides; -inf where it never is."""
    grid = {value: profile(value) for value in middle + np.array([0.0, -0.5, 0.5])}
    # Outwards until the likelihood has fallen enough on both sides, or the noise makes no difference any more.
    for way in (-1, 1):
        step, end = 0.6, middle + 0.5 * way
        while grid[end] - min(grid.values()) < 1.3 * LR_90 and _LEAST_SIGMA_LOG < end < 4:
            end += way * step
            grid[end], step = profile(end), 1.4 * step
    if min(grid, key=lambda p: grid[p]) > _LEAST_SIGMA_LOG + 1:
        for turn in range(4):
            value = _between(grid, halve=turn < 2)
            grid[value] = profile(value)
    places = np.array(sorted(grid))
    losses = np.array([grid[p] for p in places])
    best = int(np.argmin(losses))
    excess = losses - losses[best] - LR_90

    def crossing(way: int) -> float:
        # The outermost crossing: several noise models may leave a gap between what each allows.
        outside = [k for k in range(len(places)) if way * (k - best) > 0 and excess[k] >= 0]
        inside = [k for k in range(len(places)) if way * (k - best) >= 0 and excess[k] < 0]
        k = max(inside, key=lambda i: way * i)
        if not [o for o in outside if way * (o - k) > 0]:
            return -np.inf if way < 0 else float(places[-1])
        near, far, low, high = places[k], places[k + way], excess[k], excess[k + way]
        for _ in range(3):
            middle = near + (far - near) * float(np.clip(-low / (high - low), 0.15, 0.85))
            over = profile(middle) - losses[best] - LR_90
            if over > 0:
                far, high = middle, over
            else:
                near, low = middle, over
        return float(near + (far - near) * -low / (high - low))

    low, high = crossing(-1), crossing(1)
    return float(places[best]), low, high


def _between(grid: dict[float, float], halve: bool) -> float:
    """A place nearer to the least value: the middle of the wider gap beside it, or the vertex of the parabola through three places."""
    places = sorted(grid)
    best = min(range(len(places)), key=lambda k: grid[places[k]])
    around = places[max(best - 1, 0) : best + 2]
    if not halve and len(around) == 3:
        (a, b, c), (fa, fb, fc) = around, (grid[p] for p in around)
        fall, rise = (fb - fa) / (b - a), (fc - fb) / (c - b)
        if rise > fall:
            vertex = (a + b) / 2 - fall * (c - a) / (2 * (rise - fall))
            # Not where the curve is known already.
            if min(abs(vertex - p) for p in around) > 0.05 * (c - a):
                return float(np.clip(vertex, a + 0.1 * (b - a), c - 0.1 * (c - b)))
    wide = max(range(len(around) - 1), key=lambda k: around[k + 1] - around[k])
    return (around[wide] + around[wide + 1]) / 2
