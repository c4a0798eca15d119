"""Statistical model of a pulse series, and its maximum-likelihood fit.

G' = G + d f_d(G) (1 + σ_c ξ) between readings y = G + e + σ_r η, with slow read noise e of memory φ (see `kernels.filters`). Noise of
steps accumulates and read noise of any colour does not, which distinguishes them. The likelihood is that of the filter. It is maximised
by Fisher scoring with Marquardt's damping, with innovations v_n and variances S_n, whose derivatives are differences of two filter runs:

    -∇ℓ = Σ v ∇v / S + ∇S (1 - v² / S) / (2 S),    I = Σ ∇v ∇vᵀ / S + ∇S ∇Sᵀ / (2 S²).

Devices differ by factors on their steps up and down and by the ends of their range. These have normal priors whose deviations, the
spreads from device to device, are estimated by the EM algorithm (empirical Bayes; see `hierarchy`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from analogpc.devices.calibration.families import GRID, Family
from analogpc.kernels.filters import filter_readings, filter_scores, filter_variants, mean_path

CYCLE, WHITE, SLOW, MEMORY, TOP, BOTTOM = range(6)
"""Parameters after those of the family: ln σ_c, ln σ_r, ln σ_e, ln of the memory in pulses, and hard bounds as places."""
EXTRA = 6
OWN = 4
"""Parameters of a device: ln of the factors on steps up and down, and shifts of the low and high end of its range."""
SHORTEST = math.log(2.0)
"""Logarithm of the shortest memory of slow noise, in pulses; noise with a memory below two pulses is white."""
_LEAST_LOG, _MOST_LOG = -11.0, 3.0
_DIFFERENCE = 1e-5
_CAREFUL = 0.05


@dataclass(frozen=True)
class Readings:
    """Scaled readings of pulse series, with a range of 0 to 1 for the mean device.

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

    @cached_property
    def inner(self) -> np.ndarray:
        """(n,) bool: whether a reading is not the first of its series."""
        return self.pulses >= 0

    @cached_property
    def inner_places(self) -> np.ndarray:
        """Indices of the readings that are not the first of their series, int64."""
        return np.flatnonzero(self.inner)


@dataclass(frozen=True)
class Fit:
    """A model with its parameters.

    Attributes
    ----------
    family : Family
    theta : (p + 6,)
        Parameters of the family, then the `EXTRA` ones.
    own : (devices, 4)
        Parameters of the devices; their mean is 0.
    spreads : (4,)
        Standard deviations of the columns of ``own`` from device to device.
    free : (p + 6,) bool
        Mask of the estimated entries of ``theta``; other noises are absent, other bounds infinite.
    loss : float
        Negative log-likelihood, up to a constant.
    information : (p + 6 + 4 devices,) squared
        Information matrix of all parameters, with the priors; zero where nothing was estimated.
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
        """Last six parameters."""
        return self.theta[-EXTRA:]

    @property
    def noise(self) -> tuple[float, float, float, float]:
        """σ_c, σ_r, σ_e and φ."""
        logs, free = self.extra.tolist(), self.free[-EXTRA:].tolist()
        cycle, white, slow = (
            math.exp(min(max(logs[k], _LEAST_LOG), _MOST_LOG)) if free[k] else 0.0 for k in (CYCLE, WHITE, SLOW)
        )
        # Without read noise the filter would divide by zero where a device does not move.
        return cycle, max(white, 1e-6), slow, math.exp(-math.exp(-min(max(logs[MEMORY], SHORTEST), 7.0)))

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
        """Name of the family, and whether it has hard bounds."""
        return f"{self.family.name} with hard bounds" if np.isfinite(self.bounds).any() else self.family.name

    @property
    def parameters(self) -> int:
        """Number of estimated entries of ``theta``."""
        return int(self.free.sum())

    @property
    def active(self) -> np.ndarray:
        """Indices of the device parameters that were estimated, counted after those of ``theta``."""
        if len(self.own) == 1:
            return np.zeros(0, int)
        columns = np.flatnonzero(self.spreads > 0)
        return (len(self.theta) + OWN * np.arange(len(self.own))[:, None] + columns).ravel()

    def marginal(self, mean_steps: bool = False) -> float:
        """Return the loss with device parameters, and optionally mean steps, integrated out by Laplace's approximation.

        Models, and a noise against its absence, are compared by the marginal likelihood of the whole hierarchy: at their best values,
        the parameters of many devices absorb a part of every accumulating noise.
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
        """Schwarz's information criterion (Ann. Stat. 6:461, 1978) of the whole hierarchy; smaller is better."""
        return 2 * self.marginal() + self.parameters * float(np.log(readings))

    def run(self, data: Readings) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return the result of `filter_readings` for the data."""
        tables = self.family.steps(self.theta[:-EXTRA])
        given = data.y, data.sign, data.pulses, data.device, tables, GRID, self.affine, self.bounds, self.noise
        return filter_readings(*given)

    def path(self, data: Readings, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance of the conductance without any reading, from ``start`` (n,) where a series begins."""
        tables = self.family.steps(self.theta[:-EXTRA])
        given = start, data.sign, data.pulses, data.device, tables, GRID, self.affine, self.bounds
        return mean_path(*given, self.noise[0])


def loss_of(fit: Fit, data: Readings) -> float:
    """Return the negative log-likelihood, up to a constant, with the priors."""
    surprise, variance, _, _ = fit.run(data)
    v, s = surprise[data.inner_places], variance[data.inner_places]
    value = float((np.log(s) + v * v / s).sum() / 2) + _prior(fit)[0]
    return value if np.isfinite(value) else np.inf


def _prior(fit: Fit) -> tuple[float, np.ndarray, np.ndarray]:
    """Return loss, gradient and curvature (a matrix) of the priors of all parameters.

    The prior on the memory of the slow noise is a factor of e² about 12 pulses; on the bend of an exponential, 4; on the second
    difference of the logarithms of the steps of a table, 1.5. The last does not depend on the resolution of the table.
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
    """Return second differences of a table's logarithms over their deviation, as a matrix, and its square."""
    bends = np.diff(np.eye(nodes), 2, axis=0) / 1.5
    return bends, bends.T @ bends


def _innovations(fits: Sequence[Fit], data: Readings) -> tuple[np.ndarray, np.ndarray]:
    """Return innovations and variances (fits, readings) of fits of one family."""
    tables: dict[bytes, int] = {}
    steps: list[tuple[np.ndarray, np.ndarray]] = []
    which = []
    for fit in fits:
        key = fit.theta[:-EXTRA].tobytes()
        if key not in tables:
            tables[key] = len(steps)
            steps.append(fit.family.steps(fit.theta[:-EXTRA]))
        which.append(tables[key])
    same = fits[0].affine
    affine = np.array([same if fit.own is fits[0].own else fit.affine for fit in fits])
    bounds = np.array([fit.bounds for fit in fits])
    given = data.y, data.sign, data.pulses, data.device, np.array(steps), np.array(which), GRID, affine, bounds
    return filter_variants(*given, np.array([fit.noise for fit in fits]))


def _moved(fit: Fit, change: np.ndarray) -> Fit:
    count = len(fit.theta)
    return replace(fit, theta=fit.theta + change[:count], own=fit.own + change[count:].reshape(fit.own.shape))


def derivatives(fit: Fit, data: Readings, fixed: tuple[int, ...] = ()) -> tuple[float, np.ndarray, np.ndarray]:
    """Return loss, gradient and information of all parameters, without those at the indices ``fixed`` of theta."""
    count = len(fit.theta)
    size = count + fit.own.size
    gradient, information = np.zeros(size), np.zeros((size, size))
    free = fit.free.copy()
    free[list(fixed)] = False
    shared = np.flatnonzero(free)
    active = np.flatnonzero(fit.spreads > 0) if len(fit.own) > 1 else np.zeros(0, int)
    moved = [replace(fit, theta=fit.theta + _DIFFERENCE * (np.arange(count) == place)) for place in shared]
    # A device parameter is varied for all devices together, since no device depends on that of another.
    moved += [replace(fit, own=fit.own + _DIFFERENCE * (np.arange(OWN) == k)) for k in active]
    surprises, variances = _innovations([fit, *moved], data)
    places, few = data.inner_places, len(shared)
    given = surprises, variances, places, data.device, data.devices, _DIFFERENCE, few
    scores, information[np.ix_(shared, shared)], own, cross = filter_scores(*given)
    gradient[shared] = scores[:few].sum(axis=1)
    if len(active):
        at = count + OWN * np.arange(data.devices)[:, None] + active
        gradient[at] = scores[few:].T
        information[at[:, :, None], at[:, None, :]] = own
        information[shared[None, :, None], at[:, None, :]] = cross
        information[count:, :count] = information[:count, count:].T
    v, s = surprises[0, places], variances[0, places]
    value, pull, curvature = _prior(fit)
    use = np.concatenate([free, np.tile(fit.spreads > 0, len(fit.own))])
    gradient += np.where(use, pull, 0)
    information += np.where(np.outer(use, use), curvature, 0)
    return float((np.log(s) + v * v / s).sum() / 2) + value, gradient, information


def climb(fit: Fit, data: Readings, rounds: int = 60, tolerance: float = 1e-3) -> Fit:
    """Return the maximum-likelihood fit near ``fit``.

    Stops when the expected gain of a step is below ``tolerance`` in log-likelihood.
    """
    return climb_some(fit, data, (), rounds, tolerance)[0]


def climb_some(
    fit: Fit, data: Readings, fixed: tuple[int, ...], rounds: int = 60, tolerance: float = 1e-3, leave_out: bool = False
) -> tuple[Fit, np.ndarray]:
    """Maximise like `climb` with constant parameters at the indices ``fixed`` of theta; also return the gradient.

    The information and the gradient are of all parameters, unless ``leave_out`` removes the fixed ones.
    """
    moves = np.ones(len(fit.theta) + fit.own.size, bool)
    moves[list(fixed)] = False
    damping, without = 1e-3, fixed if leave_out else ()
    loss, gradient, information = derivatives(fit, data, without)
    for _ in range(rounds):
        diagonal = np.diag(information).copy()
        use = (diagonal > 0) & moves
        matrix = information[np.ix_(use, use)]
        scale = np.sqrt(diagonal[use])
        matrix = matrix / np.outer(scale, scale)
        change = np.zeros(len(moves))
        # Poorly determined parameters (a nearly absent noise) get short steps, and nothing changes by more than a factor of e.
        ridge = damping + _CAREFUL / diagonal[use]
        change[use] = np.clip(-np.linalg.solve(matrix + np.diag(ridge), gradient[use] / scale) / scale, -1.0, 1.0)
        if -float(gradient @ change) < tolerance and damping <= 0.1:
            break
        moved = _moved(fit, change)
        if loss_of(moved, data) < loss:
            fit, damping = moved, max(damping / 5, 1e-9)
            loss, gradient, information = derivatives(fit, data, without)
        else:
            damping = max(damping * 8, 1e-4)
            if damping > 1e8:
                break
    return replace(fit, loss=loss, information=information), gradient


def covariance(fit: Fit) -> np.ndarray:
    """Return the covariance of all parameters, from the information; zero where nothing was estimated."""
    assert fit.information is not None
    diagonal = np.diag(fit.information)
    use = diagonal > 0
    scale = np.sqrt(diagonal[use])
    scaled = fit.information[np.ix_(use, use)] / np.outer(scale, scale)
    inverse = np.linalg.inv(scaled + 1e-9 * np.eye(len(scaled)))
    out = np.zeros_like(fit.information)
    out[np.ix_(use, use)] = inverse / np.outer(scale, scale)
    return out
