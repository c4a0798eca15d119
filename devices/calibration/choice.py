"""Which family of steps and which noises the data ask for, and how well each noise is known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import uniform_filter1d

from analogpc.devices.calibration.families import PLACES, SMOOTH, TABLES, Family
from analogpc.devices.calibration.state_space import (
    BOTTOM,
    CYCLE,
    EXTRA,
    MEMORY,
    SLOW,
    TOP,
    WHITE,
    Fit,
    Readings,
    climb,
    covariance,
    with_devices,
)

LR_90 = 1.353
"""A log-likelihood that is lower by so much bounds the 90 % interval of one parameter (Wilks, Ann. Math. Stat. 9:60, 1938)."""
_LEAST_SIGMA_LOG = -9.5
_BLOCKS = 12
_MANY = 5000
_WELL_KNOWN = 0.15
# White noise, slow noise, its memory in pulses, and whether the steps make nearly all of the scatter.
_STARTS = (
    (True, False, 10.0, False),
    (True, False, 10.0, True),
    (False, True, 3.0, False),
    (True, True, 3.0, False),
    (True, True, 25.0, False),
)


@dataclass(frozen=True)
class Ranked:
    """A family that was tried.

    Attributes
    ----------
    fit : Fit
    criterion : float
        Schwarz's, the smaller the better.
    """

    fit: Fit
    criterion: float


def rough_steps(data: Readings) -> tuple[np.ndarray, np.ndarray]:
    """Straight lines through the mean differences of readings in blocks: steps up and down at `PLACES`, positive."""
    out = []
    breaks = np.flatnonzero((data.pulses < 0) | (np.diff(data.sign, prepend=0) != 0))
    for way in (1, -1):
        places, rises, weights = [], [], []
        for run in np.split(np.arange(len(data.y)), breaks):
            if len(run) < 3 or data.sign[run[-1]] != way:
                continue
            for block in np.array_split(run, min(_BLOCKS, len(run) // 2)):
                count = data.pulses[block[1:]].sum()
                if len(block) < 2 or count <= 0:
                    continue
                half = max(1, len(block) // 3)
                span = (np.cumsum(np.maximum(data.pulses[block], 0))[-half:].mean()) - np.cumsum(
                    np.maximum(data.pulses[block], 0)
                )[:half].mean()
                rises.append(way * (data.y[block[-half:]].mean() - data.y[block[:half]].mean()) / max(span, 1))
                places.append(data.y[block].mean())
                weights.append(len(block) ** 1.5)
        whole = max(float(np.average(rises, weights=weights)) if rises else 0.0, 1e-5)
        line = np.full(len(PLACES), whole)
        if len(rises) >= 4 and np.ptp(places) > 0.2:
            slope, offset = np.polyfit(places, rises, 1, w=np.sqrt(weights))
            line = np.clip(offset + slope * PLACES, 0.1 * whole, 10 * whole)
        out.append(line)
    return out[0], out[1]


def _first_noise(data: Readings) -> tuple[float, float]:
    """White noise from second differences, and a part of the steps' scatter, to start from."""
    inner = data.inner[1:] & data.inner[:-1]
    bends = np.diff(data.y, 2)[inner[1:]] if inner[1:].any() else np.array([0.01])
    white = max(float(np.sqrt(np.mean(bends**2) / 6)), 1e-4)
    return white, 0.3


def _free(family_parameters: int, white: bool, slow: bool, hard: bool = False) -> np.ndarray:
    free = np.ones(family_parameters + EXTRA, bool)
    extra = free[-EXTRA:]
    extra[WHITE], extra[SLOW], extra[MEMORY] = white, slow, slow
    extra[TOP] = extra[BOTTOM] = hard
    return free


def begin(family: Family, data: Readings, white: bool, slow: bool, memory: float) -> Fit:
    """A fit to start from."""
    theta = family.start(*rough_steps(data))
    noise, cycle = _first_noise(data)
    extra = np.array([np.log(cycle), np.log(noise), np.log(noise), np.log(memory), 1.0, 0.0])
    own = np.zeros((data.devices, 4))
    return Fit(family, np.concatenate([theta, extra]), own, np.zeros(4), _free(len(theta), white, slow))


def _devices(fit: Fit, data: Readings) -> tuple[int, ...]:
    """The places of the devices' own parameters, which stay while families and noises are compared."""
    return tuple(range(len(fit.theta), len(fit.theta) + fit.own.size)) if data.devices > 1 else ()


def refit(fit: Fit, data: Readings, family: Family, hard: bool = False) -> Fit:
    """Another family from where ``fit`` is, devices as they are there."""
    steps = fit.family.steps(fit.theta[:-EXTRA])
    # A noise that has faded for one family may be needed by another.
    awake = fit.extra.copy()
    awake[[CYCLE, WHITE, SLOW]] = np.maximum(awake[[CYCLE, WHITE, SLOW]], [-3.0, -8.0, -8.0])
    theta = np.concatenate([family.start(*steps), awake])
    extra = fit.free[-EXTRA:]
    free = _free(len(theta) - EXTRA, bool(extra[WHITE]), bool(extra[SLOW]), hard)
    moved = replace(fit, family=family, theta=theta, free=free, information=None)
    return climb(moved, data, _devices(moved, data), tolerance=0.02)


def choose_noise(data: Readings, start: Fit | None = None, few: bool = False) -> Fit:
    """White, slow or both read noises, by Schwarz's criterion; from ``few`` starts where a coarse answer will do."""
    family = start.family if start is not None else TABLES[1]
    best, least = None, np.inf
    common: Fit | None = None
    for white, slow, memory, still in _STARTS[2:4] if few else _STARTS:
        first = begin(family, data, white, slow, memory)
        if still:
            first.theta[-EXTRA:][[WHITE, SLOW]] -= 4.0
        if start is not None:
            extra = first.extra.copy()
            extra[CYCLE] = max(start.extra[CYCLE], extra[CYCLE] if still else np.log(0.05))
            first = replace(first, theta=np.concatenate([start.theta[:-EXTRA], extra]), own=start.own, spreads=start.spreads)
            first = replace(first, free=_free(len(first.theta) - EXTRA, white, slow, bool(start.free[-EXTRA + TOP])))
            first.theta[-EXTRA + TOP], first.theta[-EXTRA + BOTTOM] = start.extra[TOP], start.extra[BOTTOM]
        if common is not None:
            first = replace(first, own=common.own, spreads=common.spreads)
        if start is None and common is None and data.devices > 1:
            fit = common = with_devices(first, data, presses(data), rounds=2)
        else:
            fit = climb(first, data, _devices(first, data), tolerance=0.02)
        score = fit.criterion(int(data.inner.sum()))
        if score < least - 1e-9:
            best, least = fit, score
    assert best is not None
    return best


def rank_families(fit: Fit, data: Readings) -> list[Ranked]:
    """All families, the best first; tables become finer as long as the criterion does not say twice that it is enough."""
    count = int(data.inner.sum())
    ranked = []
    hard = presses(data)
    for family in SMOOTH:
        one = refit(fit, data, family)
        ranked.append(Ranked(one, one.criterion(count)))
        if hard or family.name == "constant":
            one = refit(fit, data, family, hard=True)
            ranked.append(Ranked(one, one.criterion(count)))
    least, worse, coarse = np.inf, 0, fit
    for table in TABLES:
        one = refit(coarse, data, table)
        ranked.append(Ranked(one, one.criterion(count)))
        coarse, worse = one, worse + (ranked[-1].criterion > least)
        least = min(least, ranked[-1].criterion)
        if worse > 1:
            break
    if hard:
        # The best table once more, with hard bounds.
        best = min((r for r in ranked if r.fit.family in TABLES), key=lambda r: r.criterion)
        one = refit(best.fit, data, best.fit.family, hard=True)
        ranked.append(Ranked(one, one.criterion(count)))
    ranked.sort(key=lambda r: r.criterion)
    # Straight lines that fade are soft bounds by another name.
    soft = next(r.criterion for r in ranked if r.fit.label == "soft bounds")
    return [r for r in ranked if r.fit.label != "linear" or r.criterion < soft - 0.5]


def presses(data: Readings) -> bool:
    """Whether readings pile up where a device, at its end of the range, hardly moves any more, as at a hard bound."""
    y = uniform_filter1d(data.y, 5, mode="nearest")
    for way in (1, -1):
        own = data.inner & (data.sign == way)
        if own.sum() < 20:
            continue
        reached = way * y[own]
        top = np.quantile(reached, 0.99)
        span = top - np.quantile(reached, 0.01)
        if (reached > top - 0.03 * span).mean() > 0.15:
            return True
    return False


class _Profile:
    """Restricted log-likelihood (with a minus) against the logarithm of one noise, everything else at its best.

    The information of the mean steps enters by half the logarithm of its determinant (Patterson and Thompson, Biometrika 58:545,
    1971): what was spent on the mean is not counted as evidence of little noise.
    """

    def __init__(self, fit: Fit, data: Readings, place: int) -> None:
        self.data, self.place, self.near, self.last = data, place, fit, fit
        count = len(fit.theta)
        self.family = np.arange(count - EXTRA)
        # With thousands of readings the mean hardly depends on the noise; only the step noise and few readings need it refitted.
        still: tuple[int, ...] = tuple(range(count - EXTRA)) if place != count - EXTRA + CYCLE or data.y.size > _MANY else ()
        self.held = (place, *still, *_devices(fit, data))
        self.refitted = not still

    def __call__(self, value: float) -> float:
        # From the best known place: a noise that has faded elsewhere would never come back.
        theta = self.near.theta.copy()
        theta[self.place] = value
        fit = climb(replace(self.near, theta=theta), self.data, self.held, rounds=20, tolerance=1e-2)
        self.last = fit
        if fit.loss < self.near.loss:
            self.near = fit
        if not self.refitted:
            return fit.loss
        assert fit.information is not None
        block = fit.information[np.ix_(self.family, self.family)]
        block = block + 1e-4 * np.eye(len(block))
        return fit.loss + float(np.linalg.slogdet(block)[1]) / 2


def settle_noise(fit: Fit, data: Readings, which: int) -> tuple[Fit, tuple[float, float, float]]:
    """The fit at the restricted-likelihood estimate of σ_c, σ_r or σ_e; the estimate and its 90 % interval.

    The low end of the interval is 0 where the data do not exclude that.
    """
    place = len(fit.theta) - EXTRA + which
    if not fit.free[place]:
        return fit, (0.0, 0.0, 0.0)
    if which != CYCLE:
        error = float(np.sqrt(covariance(fit)[place, place]))
        if error < _WELL_KNOWN:
            value = float(np.exp(fit.theta[place]))
            return fit, (value, value * float(np.exp(-1.645 * error)), value * float(np.exp(1.645 * error)))
    profile = _Profile(fit, data, place)
    middle = float(np.clip(fit.theta[place], _LEAST_SIGMA_LOG + 1, 3))
    grid = {value: profile(value) for value in middle + np.array([0.0, -0.5, 0.5])}
    # Outwards until the likelihood has fallen enough on both sides, or the noise makes no difference any more.
    for way in (-1, 1):
        step, end = 0.6, middle + 0.5 * way
        while grid[end] - min(grid.values()) < 1.3 * LR_90 and _LEAST_SIGMA_LOG < end < 4:
            end += way * step
            grid[end], step = profile(end), 1.4 * step
    places = np.array(sorted(grid))
    if places[np.argmin([grid[p] for p in places])] > _LEAST_SIGMA_LOG + 1:
        for _ in range(4):
            best = int(np.argmin([grid[p] for p in places]))
            gaps = [(places[k + 1] - places[k], k) for k in (best - 1, best) if 0 <= k < len(places) - 1]
            _, k = max(gaps)
            value = (places[k] + places[k + 1]) / 2
            grid[value] = profile(value)
            places = np.array(sorted(grid))
    losses = np.array([grid[p] for p in places])
    best = int(np.argmin(losses))
    excess = losses - losses[best] - LR_90

    def crossing(way: int) -> float:
        k = best
        while 0 <= k + way < len(places) and excess[k + way] < 0:
            k += way
        if not 0 <= k + way < len(places):
            return -np.inf if way < 0 else float(places[-1])
        inside, outside, low, high = places[k], places[k + way], excess[k], excess[k + way]
        for _ in range(3):
            middle = inside + (outside - inside) * float(np.clip(-low / (high - low), 0.15, 0.85))
            over = profile(middle) - losses[best] - LR_90
            if over > 0:
                outside, high = middle, over
            else:
                inside, low = middle, over
        return float(inside + (outside - inside) * -low / (high - low))

    low, high = crossing(-1), crossing(1)
    profile(float(places[best]))
    settled = replace(profile.last, information=None)
    return settled, (float(np.exp(places[best])), float(np.exp(low)), float(np.exp(high)))
