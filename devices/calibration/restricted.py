"""Noises by restricted likelihood, in which fitted mean steps and device parameters do not count as evidence of low noise.

R(ψ) = min over λ of -ℓ(ψ, λ) + ln det I_λλ / 2, with the noises ψ and everything else λ (Patterson and Thompson, Biometrika 58:545,
1971; the determinant is Laplace's approximation). R is minimised over the noises directly, since a maximum of
the joint likelihood need not be one of the restricted likelihood.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analogpc.devices.calibration.state_space import CYCLE, EXTRA, MEMORY, SLOW, WHITE, Fit, Readings, climb_some, derivatives

NOISES = (CYCLE, WHITE, SLOW, MEMORY)
_DIFFERENCE = 0.02
_RIDGE = 0.05
MANY = 3000
"""Number of readings above which mean steps hardly depend on the noises and are kept constant."""


def restricted_climb(
    fit: Fit, data: Readings, fixed: tuple[int, ...] = (), rounds: int = 25, tolerance: float = 1e-2
) -> tuple[Fit, float]:
    """Maximise the restricted likelihood near ``fit``; return the fit and R. Noises at the indices ``fixed`` of theta are constant."""
    first = len(fit.theta) - EXTRA
    noises = tuple(first + k for k in NOISES if fit.free[first + k])
    moving = np.array([place for place in noises if place not in fixed])
    if data.inner.sum() > MANY:
        return _with_steps_as_they_are(fit, data, fixed, noises)
    fit, gradient = climb_some(fit, data, noises, 10, 5e-3)
    value, damping = fit.marginal(mean_steps=True), 1e-3
    while rounds > 0 and len(moving) and damping < 1e3:
        slope, curvature = _slope(fit, data, gradient, moving, noises)
        scale = np.sqrt(np.maximum(np.diag(curvature), 1e-8))
        while rounds > 0 and damping < 1e3:
            rounds -= 1
            # Poorly determined noises (nearly absent ones) get short steps, and nothing changes by more than a factor of e.
            matrix = curvature / np.outer(scale, scale) + np.diag(damping + _RIDGE / scale**2)
            change = np.clip(-np.linalg.solve(matrix, slope / scale) / scale, -1.0, 1.0)
            if -float(slope @ change) < tolerance:
                return fit, value
            theta = fit.theta.copy()
            theta[moving] += change
            trial, pull = climb_some(replace(fit, theta=theta), data, noises, 10, 5e-3)
            other = trial.marginal(mean_steps=True)
            if other < value:
                fit, gradient, value, damping = trial, pull, other, max(damping / 5, 1e-6)
                break
            damping *= 8
    return fit, value


def _with_steps_as_they_are(fit: Fit, data: Readings, fixed: tuple[int, ...], noises: tuple[int, ...]) -> tuple[Fit, float]:
    """`restricted_climb` for many readings: means and variances of normal errors are orthogonal (Cox and Reid, JRSS B 49:1, 1987)."""
    steps = tuple(place for place in range(len(fit.theta)) if place not in noises)
    fit, _ = climb_some(fit, data, (*steps, *fixed), 20, 1e-2, leave_out=True)
    loss, _, information = derivatives(fit, data)
    fit = replace(fit, loss=loss, information=information)
    return fit, fit.marginal(mean_steps=True)


def _slope(
    fit: Fit, data: Readings, gradient: np.ndarray, moving: np.ndarray, noises: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient and curvature of R with respect to the noises ``moving``, with everything else re-optimised."""
    assert fit.information is not None
    slope = gradient[moving].copy()
    here = fit.marginal(mean_steps=True) - fit.loss
    for k, place in enumerate(moving):
        theta = fit.theta.copy()
        theta[place] += _DIFFERENCE
        _, _, information = derivatives(replace(fit, theta=theta), data, noises)
        other = replace(fit, information=information)
        slope[k] += (other.marginal(mean_steps=True) - fit.loss - here) / _DIFFERENCE
    rest = np.setdiff1d(np.flatnonzero(np.diag(fit.information) > 0), noises)
    cross = fit.information[np.ix_(moving, rest)]
    inner = fit.information[np.ix_(rest, rest)] + 1e-6 * np.eye(len(rest))
    return slope, fit.information[np.ix_(moving, moving)] - cross @ np.linalg.solve(inner, cross.T)
