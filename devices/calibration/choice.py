"""Selection of the family of steps and of the noise model by the data."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import uniform_filter1d

from analogpc.devices.calibration.families import PLACES, SMOOTH, TABLES, Family
from analogpc.devices.calibration.hierarchy import with_devices
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
)

NOISE_PENALTY = 1.5
"""Gain in log-likelihood that justifies a parameter of the read noise."""
_BLOCKS = 12
# White noise, slow noise, its memory in pulses, and whether the steps cause nearly all of the scatter.
_STARTS = (
    (True, False, 10.0, False),
    (True, False, 10.0, True),
    (False, True, 3.0, False),
    (True, True, 3.0, False),
    (True, True, 25.0, False),
)


@dataclass(frozen=True)
class Ranked:
    """A family that was fitted.

    Attributes
    ----------
    fit : Fit
    criterion : float
        Schwarz's criterion; smaller is better.
    """

    fit: Fit
    criterion: float


def rough_steps(data: Readings) -> tuple[np.ndarray, np.ndarray]:
    """Fit straight lines to the mean differences of readings in blocks: steps up and down at `PLACES`, positive."""
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
    """Return initial values: white noise from second differences, and a part of the steps' scatter."""
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


def _begin(family: Family, theta: np.ndarray, data: Readings, white: bool, slow: bool, memory: float) -> Fit:
    """Return an initial fit for approximately known steps."""
    noise, cycle = _first_noise(data)
    extra = np.array([np.log(cycle), np.log(noise), np.log(noise), np.log(memory), 1.0, 0.0])
    own = np.zeros((data.devices, 4))
    return Fit(family, np.concatenate([theta, extra]), own, np.zeros(4), _free(len(theta), white, slow))


def refit(fit: Fit, data: Readings, family: Family, hard: bool = False) -> Fit:
    """Fit another family, starting from ``fit`` with the same device parameters."""
    steps = fit.family.steps(fit.theta[:-EXTRA])
    # Another family may need a noise that vanished for this one.
    awake = fit.extra.copy()
    awake[[CYCLE, WHITE, SLOW]] = np.maximum(awake[[CYCLE, WHITE, SLOW]], [-3.0, -8.0, -8.0])
    theta = np.concatenate([family.start(*steps), awake])
    extra = fit.free[-EXTRA:]
    free = _free(len(theta) - EXTRA, bool(extra[WHITE]), bool(extra[SLOW]), hard)
    moved = replace(fit, family=family, theta=theta, free=free, information=None)
    return climb(moved, data, tolerance=0.02)


def noise_models(data: Readings, start: Fit | None = None, few: bool = False) -> list[Fit]:
    """Return the best fits with white, slow and both read noises, best first; ``few`` starts give a coarse result.

    Every fit includes the whole hierarchy: its devices have the parameters that belong to its noises.
    """
    family = start.family if start is not None else TABLES[1]
    theta = start.theta[:-EXTRA] if start is not None else family.start(*rough_steps(data))
    found: dict[tuple[bool, bool], Fit] = {}
    common: Fit | None = start
    for white, slow, memory, still in _STARTS[2:4] if few else _STARTS:
        first = _begin(family, theta, data, white, slow, memory)
        if still:
            first.theta[-EXTRA:][[WHITE, SLOW]] -= 4.0
        if start is not None:
            extra = first.extra.copy()
            extra[CYCLE] = max(start.extra[CYCLE], extra[CYCLE] if still else np.log(0.05))
            extra[[TOP, BOTTOM]] = start.extra[[TOP, BOTTOM]]
            free = _free(len(theta), white, slow, bool(start.free[-EXTRA + TOP]))
            first = replace(first, theta=np.concatenate([theta, extra]), free=free)
        if common is None and data.devices > 1:
            fit = common = with_devices(first, data, presses(data), rounds=2)
        else:
            if common is not None:
                first = replace(first, own=common.own, spreads=common.spreads)
            fit = climb(first, data, tolerance=0.02)
        if (white, slow) not in found or noise_score(fit) < noise_score(found[white, slow]):
            found[white, slow] = fit
    return sorted(found.values(), key=noise_score)


def noise_score(fit: Fit) -> float:
    """Criterion for noise models: marginal loss plus `NOISE_PENALTY` for each parameter of the read noise."""
    return fit.marginal() + penalty(fit)


def penalty(fit: Fit) -> float:
    """Return the penalty for the read noises of a fit."""
    return NOISE_PENALTY * int(fit.free[-EXTRA:][[WHITE, SLOW, MEMORY]].sum())


def rank_families(fit: Fit, data: Readings) -> list[Ranked]:
    """Fit all families, best first; tables are refined until the criterion has worsened twice."""
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
        # The best table again, with hard bounds.
        best = min((r for r in ranked if r.fit.family in TABLES), key=lambda r: r.criterion)
        one = refit(best.fit, data, best.fit.family, hard=True)
        ranked.append(Ranked(one, one.criterion(count)))
    ranked.sort(key=lambda r: r.criterion)
    # Decreasing straight lines are equivalent to soft bounds.
    soft = next(r.criterion for r in ranked if r.fit.label == "soft bounds")
    return [r for r in ranked if r.fit.label != "linear" or r.criterion < soft - 0.5]


def presses(data: Readings) -> bool:
    """Whether readings accumulate at an end of the range where a device hardly moves, as at a hard bound."""
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
