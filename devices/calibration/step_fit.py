"""The step of a device as a function of its conductance, from noisy readings of it.

Readings y_n = G_n + r ε_n of a device that moves by G_{n+1} = G_n + d s_d(G_n) (1 + σ ξ_n). The noise of the reading is in both
sides of "step against conductance": differences of readings, plotted over the readings, slope down even for a constant step. So the
conductances are unknowns too: they and the steps at the nodes are fitted together, readings weighted by 1/r² and steps by
1/(σ s)² (an errors-in-variables fit; Fuller, Measurement Error Models, 1987). Both noises come from the likelihood of the
differences, whose neighbours share a reading (covariance -r²). The second differences of the nodes carry a normal prior whose width
is estimated as well (empirical Bayes), so that a curve is as smooth as its data say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded, solveh_banded
from scipy.ndimage import uniform_filter1d
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

_LEAST_READ, _LEAST_CYCLE = 1e-5, 1e-3
_TINY = 1e-16  # Keeps covariances of nearly noise-free data positive in rounding.
_ROUNDS, _NEWTON = 8, 2
_SETTLED = 0.05  # A round that moves no step by more than this many of its standard errors is the last.


@dataclass(frozen=True)
class Intervals:
    """The stretches between neighbouring readings of a series, with conductances scaled to the range.

    Attributes
    ----------
    readings : (n,)
    left : (m,) int
        Reading at the beginning of each interval; its end is the next reading.
    pulses, sign, device : (m,)
        Pulses within it, their direction (+1 or -1), and whose they are.
    """

    readings: np.ndarray
    left: np.ndarray
    pulses: np.ndarray
    sign: np.ndarray
    device: np.ndarray

    @property
    def lean(self) -> np.ndarray:
        """Where in an interval its mean step is taken: at the mean of the states before each of its pulses, (p - 1) / 2p."""
        return (self.pulses - 1) / (2 * self.pulses)

    @property
    def follows(self) -> np.ndarray:
        """Whether each interval but the last begins at the reading at which the one before ended, (m - 1,) bool."""
        return np.diff(self.left) == 1


@dataclass
class StepFit:
    """The result, in the scaled unit.

    Attributes
    ----------
    grid : (k,)
        Nodes.
    steps, covariance : (2, k), (2k, 2k)
        Sizes of the steps up and down at the nodes, both positive, and their covariance.
    conductance : (n,)
        Estimates of the true conductances behind the readings.
    read_noise, cycle_noise : float
        Standard deviations r, absolute, and σ, relative to the step.
    noise_errors : (2,)
        Relative standard errors of the two.
    scales, scale_variances : (devices, 2), (devices, 2, 2)
        Steps of each device relative to ``steps``, up and down, and their covariances.
    """

    grid: np.ndarray
    steps: np.ndarray
    covariance: np.ndarray
    conductance: np.ndarray
    read_noise: float
    cycle_noise: float
    noise_errors: np.ndarray
    scales: np.ndarray
    scale_variances: np.ndarray

    def at(self, direction: int, place: np.ndarray) -> np.ndarray:
        """Sizes of the steps up (0) or down (1) at ``place``."""
        return np.interp(place, self.grid, self.steps[direction])

    def errors_at(self, direction: int, place: np.ndarray) -> np.ndarray:
        """Standard errors of `at`."""
        k = len(self.grid)
        hats = _hats(self.grid, place)[0]
        block = self.covariance[direction * k : (direction + 1) * k, direction * k : (direction + 1) * k]
        return np.sqrt(np.einsum("ij,jk,ik->i", hats, block, hats))


def fit_steps(data: Intervals, nodes: int, devices: int) -> StepFit:
    """Fit the model of the module to ``data``; ``nodes`` per direction."""
    # Many small products: threads would cost more than they bring.
    with threadpool_limits(1, user_api="blas"):
        return _fit(data, nodes, devices)


def _fit(data: Intervals, nodes: int, devices: int) -> StepFit:
    conductance = _smooth(data)
    grid = np.linspace(conductance.min(), conductance.max(), nodes)
    scales, variances = np.ones((devices, 2)), np.zeros((devices, 2, 2))
    theta, roughness = _first_steps(data, conductance, grid), 1.0
    noise = _first_noise(data, _mean_steps(data, conductance, grid, theta, scales))
    covariance = np.zeros((2 * nodes, 2 * nodes))
    curvature = _second_differences(nodes)
    for _ in range(_ROUNDS):
        grid, theta = _follow_range(grid, theta, conductance)
        step = _mean_steps(data, conductance, grid, theta, scales)
        noise = _noise(data, step, noise)
        if devices > 1:
            scales, variances = _device_scales(data, conductance, grid, theta, noise, devices)
        before = theta
        for _ in range(_NEWTON):
            conductance, theta, covariance = _update(data, conductance, grid, theta, scales, noise, roughness)
        bends = curvature @ theta
        roughness = float(np.sqrt((bends @ bends + np.trace(curvature @ covariance @ curvature.T)) / len(bends)))
        if (np.abs(theta - before) < _SETTLED * np.sqrt(np.diag(covariance))).all():
            break
    errors = _noise_errors(data, _mean_steps(data, conductance, grid, theta, scales), noise)
    read, cycle = noise
    return StepFit(grid, theta.reshape(2, nodes), covariance, conductance, read, cycle, errors, scales, variances)


def _follow_range(grid: np.ndarray, theta: np.ndarray, conductance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes over the range of the present estimates, with the steps carried over, straight on beyond the old nodes."""
    moved = np.linspace(conductance.min(), conductance.max(), len(grid))
    steps = []
    for values in theta.reshape(2, -1):
        first, last = (values[1] - values[0]) / (grid[1] - grid[0]), (values[-1] - values[-2]) / (grid[-1] - grid[-2])
        beyond = last * np.maximum(moved - grid[-1], 0) + first * np.minimum(moved - grid[0], 0)
        steps.append(np.interp(moved, grid, values) + beyond)
    return moved, np.concatenate(steps)


def _smooth(data: Intervals) -> np.ndarray:
    """Moving averages of the readings within each run of one direction, to start from."""
    out = data.readings.copy()
    breaks = np.flatnonzero(~data.follows | (np.diff(data.sign) != 0)) + 1
    for run in np.split(np.arange(len(data.left)), breaks):
        rows = slice(data.left[run[0]], data.left[run[-1]] + 2)
        out[rows] = uniform_filter1d(data.readings[rows], min(5, len(run)), mode="nearest")
    return out


def _hats(grid: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Linear interpolation as a matrix (places, nodes), and the derivative of its rows; constant beyond the grid."""
    k, gap = len(grid), grid[1] - grid[0]
    position = np.clip((place - grid[0]) / gap, 0, k - 1)
    left = np.minimum(position.astype(int), k - 2)
    rows, share = np.arange(len(place)), position - left
    hats, slopes = np.zeros((len(place), k)), np.zeros((len(place), k))
    hats[rows, left], hats[rows, left + 1] = 1 - share, share
    inside = ((place >= grid[0]) & (place <= grid[-1])).astype(np.float64)
    slopes[rows, left], slopes[rows, left + 1] = -inside / gap, inside / gap
    return hats, slopes


def _design(data: Intervals, conductance: np.ndarray, grid: np.ndarray, scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean move of every interval as a matrix on the nodes of both directions, and its derivative by the place."""
    place = conductance[data.left] + data.lean * (conductance[data.left + 1] - conductance[data.left])
    direction = (data.sign < 0).astype(int)
    factor = (data.sign * data.pulses * scales[data.device, direction])[:, None]
    both = []
    for matrix in _hats(grid, place):
        wide = np.zeros((len(place), 2 * len(grid)))
        for d in (0, 1):
            wide[:, d * len(grid) : (d + 1) * len(grid)] = np.where((direction == d)[:, None], factor * matrix, 0.0)
        both.append(wide)
    return both[0], both[1]


def _mean_steps(data: Intervals, conductance: np.ndarray, grid: np.ndarray, theta: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """The mean move of every interval, (m,)."""
    return _design(data, conductance, grid, scales)[0] @ theta


def _second_differences(nodes: int) -> np.ndarray:
    """Those of the nodes of both directions as a matrix."""
    one = np.diff(np.eye(nodes), 2, axis=0)
    return np.block([[one, np.zeros_like(one)], [np.zeros_like(one), one]])


def _first_steps(data: Intervals, conductance: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Smoothed least squares of the moves of the smoothed readings."""
    design = _design(data, conductance, grid, np.ones((data.device.max() + 1, 2)))[0]
    moves = np.diff(conductance)[data.left]
    ridge = _second_differences(len(grid)) * np.sqrt(len(moves))
    stacked = np.vstack([design, ridge, 1e-6 * np.eye(2 * len(grid))])
    return np.linalg.lstsq(stacked, np.concatenate([moves, np.zeros(len(stacked) - len(moves))]), rcond=None)[0]


def _bands(data: Intervals, step: np.ndarray, read: float, cycle: float) -> np.ndarray:
    """The covariance of the differences of readings, upper banded form (2, m)."""
    bands = np.zeros((2, len(step)))
    bands[1] = 2 * read**2 + cycle**2 * step**2 / data.pulses + _TINY
    bands[0, 1:] = np.where(data.follows, -(read**2), 0.0)
    return bands


def _loss(data: Intervals, step: np.ndarray, logs: np.ndarray) -> float:
    """Minus the log-likelihood of the differences of readings, less a constant; ``logs`` are ln r and ln σ."""
    e = np.diff(data.readings)[data.left] - step
    read, cycle = np.maximum(np.exp(logs), (_LEAST_READ, _LEAST_CYCLE))
    factor = cholesky_banded(_bands(data, step, read, cycle))
    return float(np.log(factor[1]).sum() + e @ cho_solve_banded((factor, False), e) / 2)


def _first_noise(data: Intervals, step: np.ndarray) -> tuple[float, float]:
    """Read and cycle-to-cycle noise from the covariance of neighbouring differences, to start from."""
    e = np.diff(data.readings)[data.left] - step
    shared = -np.mean((e[1:] * e[:-1])[data.follows]) if data.follows.any() else 0.0
    read = np.sqrt(np.clip(shared, 0.05 * np.mean(e**2) / 2, np.mean(e**2) / 2.1) + _LEAST_READ**2)
    cycle = np.sqrt(max(np.mean(e**2) - 2 * read**2, 0.0) / max(np.mean(step**2), 1e-12)) + _LEAST_CYCLE
    return float(read), float(cycle)


def _noise(data: Intervals, step: np.ndarray, start: tuple[float, float]) -> tuple[float, float]:
    """Maximum-likelihood read and cycle-to-cycle noise."""
    simplex = np.log(start) + 0.2 * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    options = {"xatol": 3e-3, "fatol": 1e-3, "maxiter": 200, "initial_simplex": simplex}
    best = minimize(lambda logs: _loss(data, step, logs), np.log(start), method="Nelder-Mead", options=options).x
    read, cycle = np.maximum(np.exp(best), (_LEAST_READ, _LEAST_CYCLE))
    return float(read), float(cycle)


def _noise_errors(data: Intervals, step: np.ndarray, noise: tuple[float, float], h: float = 0.02) -> np.ndarray:
    """Relative standard errors of both noises, from the curvature of the loss; infinite where the data do not tell."""
    best, shift, hessian = np.log(noise), h * np.eye(2), np.zeros((2, 2))
    for i, j, a, b in ((i, j, a, b) for i in (0, 1) for j in (0, 1) for a in (-1, 1) for b in (-1, 1)):
        hessian[i, j] += a * b * _loss(data, step, best + a * shift[i] + b * shift[j]) / (4 * h * h)
    curved = np.diag(hessian)
    if (curved > 0).all() and np.linalg.det(hessian) > 0:
        return np.sqrt(np.diag(np.linalg.inv(hessian)))
    return np.array([1 / np.sqrt(d) if d > 0 else np.inf for d in curved])


def _update(
    data: Intervals,
    conductance: np.ndarray,
    grid: np.ndarray,
    theta: np.ndarray,
    scales: np.ndarray,
    noise: tuple[float, float],
    roughness: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One Gauss-Newton step for conductances and nodes; the conductances, a tridiagonal block, are eliminated first."""
    read, cycle = noise
    design, slopes = _design(data, conductance, grid, scales)
    step, slope = design @ theta, slopes @ theta
    # A step that is fitted as nearly zero would get endless weight.
    size = np.maximum(np.abs(step), 0.05 * np.mean(np.abs(step)))
    weight = data.pulses / (cycle * size) ** 2
    to_left, to_right = -1 - slope * (1 - data.lean), 1 - slope * data.lean
    residual = np.diff(conductance)[data.left] - step
    n, left = len(conductance), data.left
    bands, gradient, cross = np.zeros((2, n)), (conductance - data.readings) / read**2, np.zeros((n, len(theta)))
    bands[1] = 1 / read**2
    for rows, jacobian in ((left, to_left), (left + 1, to_right)):
        # Every reading begins at most one interval and ends at most one: no row occurs twice.
        bands[1, rows] += weight * jacobian**2
        gradient[rows] += weight * jacobian * residual
        cross[rows] -= (weight * jacobian)[:, None] * design
    bands[0, left + 1] = weight * to_left * to_right
    curvature = _second_differences(len(grid)) / max(roughness, 1e-9)
    prior = curvature.T @ curvature + 1e-6 * np.eye(len(theta))
    block = (design * weight[:, None]).T @ design + prior
    right = -design.T @ (weight * residual) + prior @ theta
    solved = solveh_banded(bands, np.column_stack([cross, gradient]))
    covariance = np.linalg.inv(block - cross.T @ solved[:, :-1])
    change = -covariance @ (right - cross.T @ solved[:, -1])
    moved = -(solved[:, -1] + solved[:, :-1] @ change)
    return conductance + moved, theta + change, (covariance + covariance.T) / 2


def _device_scales(
    data: Intervals, conductance: np.ndarray, grid: np.ndarray, theta: np.ndarray, noise: tuple[float, float], devices: int
) -> tuple[np.ndarray, np.ndarray]:
    """Generalised least squares of each device's differences on the common steps; the mean over devices is 1."""
    step = _mean_steps(data, conductance, grid, theta, np.ones((devices, 2)))
    moves = np.diff(data.readings)[data.left]
    scales, variances = np.ones((devices, 2)), np.zeros((devices, 2, 2))
    for d in range(devices):
        own = np.flatnonzero(data.device == d)
        columns = np.column_stack([np.where(data.sign[own] > 0, step[own], 0.0), np.where(data.sign[own] < 0, step[own], 0.0)])
        part = replace(data, left=data.left[own], pulses=data.pulses[own])
        solved = solveh_banded(_bands(part, step[own], *noise), np.column_stack([columns, moves[own]]))
        normal = columns.T @ solved[:, :2]
        if (np.diag(normal) > 0).all():
            variances[d] = np.linalg.inv(normal)
            scales[d] = np.maximum(variances[d] @ (columns.T @ solved[:, 2]), 0.05)
    return scales / scales.mean(axis=0), variances
