"""Programming errors: deviations of the results from their targets, as a function of the target."""

from __future__ import annotations

from typing import Any

import numpy as np

from analogpc.devices.calibration.parts import Panel, Part, column, interval
from analogpc.devices.calibration.tables import CalibrationError
from analogpc.devices.calibration.understanding import Understood
from analogpc.devices.nonidealities import ConstantSpread, PolynomialSpread, ProportionalSpread

FEWEST = 20


def deviation_model(g: np.ndarray, error: np.ndarray) -> tuple[str, np.ndarray, np.ndarray]:
    """Select a constant, proportional or quadratic deviation of normal errors by Schwarz's criterion.

    Parameters
    ----------
    g, error : (n,)
        Conductances, and deviations from their mean; in the same unit.

    Returns
    -------
    name : "constant", "proportional" or "polynomial"
    coefficients : (k,)
        Coefficients of σ: one number, one number, or three by powers of g.
    deviation : (n,)
        σ at g.
    """
    size, n = np.abs(error), len(g)
    options: list[tuple[str, np.ndarray, np.ndarray]] = [("constant", np.array([error.std()]), np.full(n, error.std()))]
    relative = float(np.sqrt(np.mean((error / g) ** 2))) if (g > 0).all() else np.inf
    if np.isfinite(relative):
        options.append(("proportional", np.array([relative]), relative * g))
    if len(np.unique(g)) >= 4:
        # E|ξ| = sqrt(2 / π): a regression of the magnitudes, weighted by their own fit, twice.
        weight = np.ones(n)
        for _ in range(3):
            powers = np.polynomial.polynomial.polyfit(g, size * np.sqrt(np.pi / 2), 2, w=weight)
            fitted = np.polynomial.polynomial.polyval(g, powers)
            weight = 1 / np.maximum(fitted, 0.05 * error.std())
        if (fitted > 0).all():
            options.append(("polynomial", powers, fitted))
    scores = [2 * np.log(sigma).sum() + ((error / sigma) ** 2).sum() + len(c) * np.log(n) for _, c, sigma in options]
    return options[int(np.argmin(scores))]


def programming_part(part: Understood) -> Part:
    """Fit the programming noise of a device, and report the systematic offset, which no device model contains."""
    target = column(part, "target")
    result = part.columns["result"] if "result" in part.columns else column(part, "conductance")
    if len(target) < FEWEST:
        raise CalibrationError(f"the data hold {len(target)} programmed devices; at least {FEWEST} are needed")
    if (target < 0).any() or np.ptp(result) == 0:
        raise CalibrationError("programming needs targets that are not negative, and results that differ")
    g, error = target * 1e6, (result - target) * 1e6
    levels = np.unique(g)
    offset = np.array([error[g == level].mean() for level in levels]) if len(levels) <= len(g) / 5 else None
    trend = np.interp(g, levels, offset) if offset is not None else np.polyval(np.polyfit(g, error, 1), g)
    name, coefficients, sigma = deviation_model(g, error - trend)
    spread: Any
    if name == "constant":
        spread = ConstantSpread(std_siemens=float(coefficients[0]) * 1e-6)
        field, value, unit = "programming.std_siemens", spread.std_siemens, "siemens"
    elif name == "proportional":
        spread = ProportionalSpread(relative=float(coefficients[0]))
        field, value, unit = "programming.relative", spread.relative, "of the target"
    else:
        top = float(g.max())
        relative = tuple(float(c * top**k) for k, c in enumerate(coefficients))
        spread = PolynomialSpread(coefficients=relative, reference_siemens=top * 1e-6)
        field, value, unit = "", float(sigma.mean()) * 1e-6, "siemens, on average"
    known = value / np.sqrt(2 * len(g))
    share = float(np.abs(trend).mean() / max(sigma.mean(), 1e-12))
    remarks = [f"programming noise is {name}"]
    if share > 0.2:
        remarks.append(
            f"results lie {trend.mean():+.3g} µS off their targets on average, which a program-and-verify loop would remove"
        )
    order = np.argsort(g)
    panel = Panel("Programming errors", "target (µS)", "result minus target (µS)")
    panel.points.append((g, error, "measured"))
    panel.lines.extend([(g[order], (trend + s * sigma)[order], "± σ" if s > 0 else "") for s in (1, -1)])
    return Part(
        kind="programming",
        fields={"programming": spread},
        intervals=(interval("programming noise", value, known, unit, field, least=0.0),),
        panel=panel,
        assumptions=("systematic offsets of programming are taken for calibrated away",),
        remarks=tuple(remarks),
        window=(float(target.min()), float(target.max())),
    )
