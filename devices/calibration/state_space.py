"""The statistical model of a pulse series, and its maximum-likelihood fit.

G' = G + d f_d(G) (1 + σ_c ξ) between readings y = G + e + σ_r η, with slow read noise e of memory φ (see `kernels.filters`). Noise of
steps adds up and read noise of any colour does not: that is how they are told apart. The likelihood is the filter's. It is climbed by
Fisher scoring with Marquardt's damping: with innovations v_n and variances S_n, whose derivatives are differences of two filter runs,

    -∇ℓ = Σ v ∇v / S + ∇S (1 - v² / S) / (2 S),    I = Σ ∇v ∇vᵀ / S + ∇S ∇Sᵀ / (2 S²).

Devices differ by factors on their steps up and down and by the ends of their range. These have normal priors whose deviations, the
spreads from device to device, are estimated by the EM algorithm (empirical Bayes).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from analogpc.devices.calibration.families import GRID, Family
from analogpc.kernels.filters import filter_readings, mean_path

CYCLE, WHITE, SLOW, MEMORY, TOP, BOTTOM = range(6)
"""Places behind the family's parameters: ln σ_c, ln σ_r, ln σ_e, ln of the memory in pulses, and hard bounds as places."""
EXTRA = 6
OWN = 4
"""Parameters of a device: ln of the factors on steps up and down, and shifts of the low and high end of its range."""
_LEAST_LOG, _MOST_LOG = -11.0, 3.0
_DIFFERENCE = 1e-5
_CAREFUL = 0.05
_FIRST_SPREADS = np.array([0.3, 0.3, 0.05, 0.05])


@dataclass(frozen=True)
class Readings:
    """Scaled readings of pulse series: a range of 0 to 1 for the mean device.

    Attributes
    ----------
    y : (n,) float64
    sign, pulses, device : (n,) int64
        As in `kernels.filters.filter_readings`.
    devices : int
    """

    y: np.ndarray
    sign: np.ndarray
    pulses: np.ndarray
    device: np.ndarray
    devices: int

    @property
    def inner(self) -> np.ndarray:
        """(n,) bool: not the first of a series."""
        return self.pulses >= 0


@dataclass(frozen=True)
class Fit:
    """A model with its parameters.

    Attributes
    ----------
    family : Family
    theta : (p + 6,)
        Parameters of the family, then the `EXTRA` ones.
    own : (devices, 4)
        Parameters of the devices, 0 on average.
    spreads : (4,)
        Standard deviations of the columns of ``own`` from device to device.
    free : (p + 6,) bool
        Which of ``theta`` were estimated; noises that are not are absent, bounds that are not are infinite.
    loss : float
        Minus the log-likelihood, less a constant.
    information : (p + 6 + 4 devices,) squared
        Of all parameters, with the priors; zero where nothing was estimated.
    """

    family: Family
    theta: np.ndarray
    own: np.ndarray
    spreads: np.ndarray
    free: np.ndarray
    loss: float = np.inf
    information: np.ndarray | None = None

    @property
    def extra(self) -> np.ndarray:
        """The last six parameters."""
        return self.theta[-EXTRA:]

    @property
    def noise(self) -> tuple[float, float, float, float]:
        """σ_c, σ_r, σ_e and φ."""
        logs, free = self.extra.tolist(), self.free[-EXTRA:].tolist()
        cycle, white, slow = (
            math.exp(min(max(logs[k], _LEAST_LOG), _MOST_LOG)) if free[k] else 0.0 for k in (CYCLE, WHITE, SLOW)
        )
        # Without any read noise the filter would divide by zero where a device does not move.
        return cycle, max(white, 1e-6), slow, math.exp(-math.exp(-min(max(logs[MEMORY], -1.0), 7.0)))

    @property
    def bounds(self) -> tuple[float, float]:
        """Hard bounds as places."""
        low, high = (float(self.extra[k]) if self.free[-EXTRA + k] else None for k in (BOTTOM, TOP))
        return -np.inf if low is None else low, np.inf if high is None else high

    @property
    def affine(self) -> np.ndarray:
        """(devices, 4): offset, width and factors of each device."""
        out = np.empty_like(self.own)
        out[:, 0] = self.own[:, 2]
        np.maximum(1 + self.own[:, 3] - self.own[:, 2], 0.05, out=out[:, 1])
        np.exp(self.own[:, :2], out=out[:, 2:])
        return out

    @property
    def label(self) -> str:
        """The family, and whether it has hard bounds."""
        return f"{self.family.name} with hard bounds" if np.isfinite(self.bounds).any() else self.family.name

    @property
    def parameters(self) -> int:
        """How many of ``theta`` were estimated."""
        return int(self.free.sum())

    @property
    def active(self) -> np.ndarray:
        """Places of the devices' own parameters that were estimated, behind those of ``theta``."""
        if len(self.own) == 1:
            return np.zeros(0, int)
        columns = np.flatnonzero(self.spreads > 0)
        return (len(self.theta) + OWN * np.arange(len(self.own))[:, None] + columns).ravel()

    def marginal(self, mean_steps: bool = False) -> float:
        """The loss with the devices' own parameters, and the ``mean_steps``, integrated out by Laplace's approximation.

        A model is compared with another, and a noise with none, by what the whole hierarchy makes of the data: at their best values
        the own parameters of many devices take up a part of every noise that adds up.
        """
        assert self.information is not None
        places, priors = self.active, 0.0
        if len(places):
            priors = len(self.own) * float(np.log(np.maximum(self.spreads[self.spreads > 0], 1e-4)).sum())
        if mean_steps:
            places = np.concatenate([np.arange(len(self.theta) - EXTRA), places])
        if not len(places):
            return self.loss
        block = self.information[np.ix_(places, places)] + 1e-4 * np.eye(len(places))
        return self.loss + float(np.linalg.slogdet(block)[1]) / 2 + priors

    def criterion(self, readings: int) -> float:
        """Schwarz's information criterion (Ann. Stat. 6:461, 1978) of the whole hierarchy, the smaller the better."""
        return 2 * self.marginal() + self.parameters * float(np.log(readings))

    def run(self, data: Readings) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What `filter_readings` says of the data."""
        tables = self.family.steps(self.theta[:-EXTRA])
        given = data.y, data.sign, data.pulses, data.device, tables, GRID, self.affine, self.bounds, self.noise
        return filter_readings(*given)

    def path(self, data: Readings, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of the conductance without any reading, from ``start`` (n,) where a series begins."""
        tables = self.family.steps(self.theta[:-EXTRA])
        given = start, data.sign, data.pulses, data.device, tables, GRID, self.affine, self.bounds
        return mean_path(*given, self.noise[0])


def loss_of(fit: Fit, data: Readings) -> float:
    """Minus the log-likelihood, less a constant, with the priors."""
    surprise, variance, _, _ = fit.run(data)
    inner = data.inner
    v, s = surprise[inner], variance[inner]
    value = float((np.log(s) + v * v / s).sum() / 2) + _prior(fit)[0]
    return value if np.isfinite(value) else np.inf


def _prior(fit: Fit) -> tuple[float, np.ndarray, np.ndarray]:
    """Loss, gradient and curvature (a matrix) of the priors of all parameters.

    The memory of the slow noise is known to a factor of e² about 12 pulses; a bend of an exponential to 4; from one node of a table
    to the next the logarithm of the step goes on as before to 1.5. The last does not change when a table becomes finer.
    """
    count = len(fit.theta)
    size = count + fit.own.size
    gradient, curvature, tables = np.zeros(size), np.zeros(size), np.zeros((size, size))
    memory = count - EXTRA + MEMORY
    gradient[memory], curvature[memory] = (fit.theta[memory] - 2.5) / 4, 1 / 4
    value = (fit.theta[memory] - 2.5) ** 2 / 8
    if fit.family.name == "exponential":
        for k in (2, 5):
            value += fit.theta[k] ** 2 / 32
            gradient[k], curvature[k] = fit.theta[k] / 16, 1 / 16
    nodes = getattr(fit.family, "nodes", 0)
    for first in (0, nodes) if nodes else ():
        bends, squares = _bends(nodes)
        part = slice(first, first + nodes)
        kinks = bends @ fit.theta[part]
        value += float(kinks @ kinks) / 2
        gradient[part] += bends.T @ kinks
        tables[part, part] += squares
    if len(fit.own) > 1:
        weight = np.broadcast_to(1 / np.maximum(fit.spreads, 1e-4) ** 2, fit.own.shape)
        value += float((weight * fit.own**2).sum() / 2)
        gradient[count:], curvature[count:] = (weight * fit.own).ravel(), weight.ravel()
    return value, gradient, tables + np.diag(curvature)


@lru_cache
def _bends(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Second differences of a table's logarithms over their deviation, as a matrix, and its square."""
    bends = np.diff(np.eye(nodes), 2, axis=0) / 1.5
    return bends, bends.T @ bends


def _moved(fit: Fit, change: np.ndarray) -> Fit:
    count = len(fit.theta)
    return replace(fit, theta=fit.theta + change[:count], own=fit.own + change[count:].reshape(fit.own.shape))


def derivatives(fit: Fit, data: Readings, fixed: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Loss, gradient and information of all parameters; those of ``fixed`` (bool) are left out."""
    inner, count = data.inner, len(fit.theta)
    surprise, variance, _, _ = fit.run(data)
    v, s = surprise[inner], variance[inner]
    device = data.device[inner]
    size = count + fit.own.size
    gradient, information = np.zeros(size), np.zeros((size, size))

    def slope(moved: Fit) -> tuple[np.ndarray, np.ndarray]:
        other = moved.run(data)
        return (other[0][inner] - v) / _DIFFERENCE, (other[1][inner] - s) / _DIFFERENCE

    shared = np.flatnonzero(fit.free & ~fixed[:count])
    parts = []
    for place in shared:
        theta = fit.theta.copy()
        theta[place] += _DIFFERENCE
        parts.append(slope(replace(fit, theta=theta)))
    owned = []
    active = np.flatnonzero(fit.spreads > 0) if len(fit.own) > 1 else np.zeros(0, int)
    if len(active):
        for k in active:
            own = fit.own.copy()
            own[:, k] += _DIFFERENCE
            owned.append(slope(replace(fit, own=own)))
    by_v = np.array([one[0] for one in parts + owned]) / np.sqrt(s)
    by_s = np.array([one[1] for one in parts + owned]) / (np.sqrt(2) * s)
    pulls = by_v * (v / np.sqrt(s)) + by_s * ((1 - v * v / s) / np.sqrt(2))
    few = len(shared)
    gradient[shared] = pulls[:few].sum(axis=1)
    information[np.ix_(shared, shared)] = by_v[:few] @ by_v[:few].T + by_s[:few] @ by_s[:few].T
    # Readings of a device lie together; where its series are apart, their parts add up.
    breaks = np.flatnonzero(np.diff(device)) + 1
    for first, last in zip([0, *breaks], [*breaks, len(device)], strict=True) if owned else ():
        at = count + OWN * device[first] + active
        own_v, own_s = by_v[few:, first:last], by_s[few:, first:last]
        gradient[at] += pulls[few:, first:last].sum(axis=1)
        information[at[:, None], at] += own_v @ own_v.T + own_s @ own_s.T
        information[shared[:, None], at] += by_v[:few, first:last] @ own_v.T + by_s[:few, first:last] @ own_s.T
    if owned:
        information[count:, :count] = information[:count, count:].T
    value, pull, curvature = _prior(fit)
    use = np.concatenate([fit.free, np.tile(fit.spreads > 0, len(fit.own))]) & ~fixed
    gradient += np.where(use, pull, 0)
    information += np.where(np.outer(use, use), curvature, 0)
    return float((np.log(s) + v * v / s).sum() / 2) + value, gradient, information


def climb(fit: Fit, data: Readings, fixed: tuple[int, ...] = (), rounds: int = 60, tolerance: float = 1e-3) -> Fit:
    """The fit of greatest likelihood near ``fit``; parameters of the family at the places ``fixed`` stay.

    It ends when a step promises less than ``tolerance`` of a unit of the log-likelihood.
    """
    size = len(fit.theta) + fit.own.size
    held = np.zeros(size, bool)
    held[list(fixed)] = True
    damping = 1e-3
    loss, gradient, information = derivatives(fit, data, held)
    for _ in range(rounds):
        diagonal = np.diag(information).copy()
        use = diagonal > 0
        matrix = information[np.ix_(use, use)]
        scale = np.sqrt(diagonal[use])
        matrix = matrix / np.outer(scale, scale)
        change = np.zeros(size)
        # What is hardly known (a noise that is nearly absent) gets short steps, and nothing moves by more than a factor of e.
        ridge = damping + _CAREFUL / diagonal[use]
        change[use] = np.clip(-np.linalg.solve(matrix + np.diag(ridge), gradient[use] / scale) / scale, -1.0, 1.0)
        if -float(gradient @ change) < tolerance and damping <= 0.1:
            break
        moved = _moved(fit, change)
        if loss_of(moved, data) < loss:
            fit, damping = moved, max(damping / 5, 1e-9)
            loss, gradient, information = derivatives(fit, data, held)
        else:
            damping = max(damping * 8, 1e-4)
            if damping > 1e8:
                break
    return replace(fit, loss=loss, information=information)


def covariance(fit: Fit) -> np.ndarray:
    """Of all parameters, from the information; zero where nothing was estimated."""
    assert fit.information is not None
    diagonal = np.diag(fit.information)
    use = diagonal > 0
    scale = np.sqrt(diagonal[use])
    scaled = fit.information[np.ix_(use, use)] / np.outer(scale, scale)
    inverse = np.linalg.inv(scaled + 1e-9 * np.eye(len(scaled)))
    out = np.zeros_like(fit.information)
    out[np.ix_(use, use)] = inverse / np.outer(scale, scale)
    return out


def with_devices(fit: Fit, data: Readings, bounded: bool, rounds: int = 6) -> Fit:
    """The fit with parameters of its own for every device, and their spreads.

    The ends of a device's range are known only where it is ``bounded``: where its readings pile up there.
    """
    if data.devices == 1:
        return climb(fit, data)
    if not (fit.spreads > 0).any():
        fit = replace(
            fit, own=np.zeros((data.devices, OWN)), spreads=np.where([True, True, bounded, bounded], _FIRST_SPREADS, 0.0)
        )
    for turn in range(rounds):
        fit = climb(fit, data, rounds=8 if turn else 40, tolerance=1e-2)
        centred, variances = own_estimates(fit)
        before, spreads = fit.spreads, spreads_of(centred, variances)
        fit = replace(fit, spreads=np.where(before > 0, np.maximum(spreads, 1e-3), 0.0))
        active = before > 0
        if np.abs(np.log(fit.spreads[active] / before[active])).max() < 0.05:
            break
    return climb(fit, data, tolerance=1e-2)


def own_estimates(fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Parameters of the devices as their own data have them, without the pull of the prior, and their variances: (devices, 4) each."""
    count, values, variances = len(fit.theta), np.zeros_like(fit.own), np.zeros_like(fit.own)
    assert fit.information is not None
    active = np.flatnonzero(fit.spreads > 0)
    prior = np.diag(1 / np.maximum(fit.spreads[active], 1e-4) ** 2)
    for d in range(len(fit.own)):
        place = count + OWN * d + active
        whole = fit.information[np.ix_(place, place)]
        alone = whole - prior + 1e-6 * np.eye(len(active))
        inverse = np.linalg.pinv(alone, hermitian=True)
        values[d, active], variances[d, active] = inverse @ whole @ fit.own[d, active], np.maximum(np.diag(inverse), 0)
    return values, variances


def spreads_of(values: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Deviations τ from device to device of estimates with known variances, by restricted likelihood: (columns,)."""
    return np.array([spread_interval(values[:, k], variances[:, k])[0] for k in range(values.shape[1])])


def spread_interval(values: np.ndarray, variances: np.ndarray, drop: float = 1.353) -> tuple[float, float, float]:
    """τ of values N(μ, τ² + variance), and where its restricted log-likelihood is lower by ``drop`` (90 % by default)."""
    scale = max(float(np.std(values)), float(np.sqrt(variances.mean())), 1e-9)
    taus = scale * np.concatenate([[0.0], np.geomspace(1e-3, 20, 600)])
    total = taus[:, None] ** 2 + variances + 1e-18
    weight = 1 / total
    mean = (weight * values).sum(axis=1) / weight.sum(axis=1)
    logs = -(np.log(total).sum(axis=1) + (weight * (values - mean[:, None]) ** 2).sum(axis=1) + np.log(weight.sum(axis=1))) / 2
    best = int(np.argmax(logs))
    inside = np.flatnonzero(logs >= logs[best] - drop)
    return float(taus[best]), float(taus[inside[0]]), float(taus[inside[-1]])
