"""Device parameters and their spreads from device to device, estimated by the EM algorithm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analogpc.devices.calibration.state_space import OWN, Fit, Readings, climb

_FIRST_SPREADS = np.array([0.3, 0.3, 0.05, 0.05])


def with_devices(fit: Fit, data: Readings, bounded: bool, rounds: int = 6) -> Fit:
    """Return the fit with separate parameters for every device, and their spreads.

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
    """Return device parameters from their own data, without the effect of the prior, and their variances: (devices, 4) each."""
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
    """Return device-to-device deviations τ of estimates with known variances, by restricted likelihood: (columns,)."""
    return np.array([spread_interval(values[:, k], variances[:, k])[0] for k in range(values.shape[1])])


def spread_interval(values: np.ndarray, variances: np.ndarray, drop: float = 1.353) -> tuple[float, float, float]:
    """Return τ of values N(μ, τ² + variance), and where its restricted log-likelihood is lower by ``drop`` (90 % by default)."""
    scale = max(float(np.std(values)), float(np.sqrt(variances.mean())), 1e-9)
    taus = scale * np.concatenate([[0.0], np.geomspace(1e-3, 20, 600)])
    total = taus[:, None] ** 2 + variances + 1e-18
    weight = 1 / total
    mean = (weight * values).sum(axis=1) / weight.sum(axis=1)
    logs = -(np.log(total).sum(axis=1) + (weight * (values - mean[:, None]) ** 2).sum(axis=1) + np.log(weight.sum(axis=1))) / 2
    best = int(np.argmax(logs))
    inside = np.flatnonzero(logs >= logs[best] - drop)
    return float(taus[best]), float(taus[inside[0]]), float(taus[inside[-1]])
