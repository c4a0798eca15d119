"""Conversion of a measured table of ΔG, by conductance and cumulative probability, to a response of measured steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analogpc.devices.calibration.parts import Panel, Part
from analogpc.devices.calibration.tables import CalibrationError
from analogpc.devices.calibration.understanding import Understood
from analogpc.devices.responses import MeasuredSteps

_SHOWN = (0.05, 0.5, 0.95)


def step_table_part(tables: Sequence[Understood]) -> Part:
    """Return the response of two tables, one upwards and one downwards, distinguished by the sign of their mean steps.

    Raises
    ------
    CalibrationError
        If there is not one of each, or they do not overlap.
    """
    means = [float(np.trapezoid(one.columns["steps"], one.columns["chances"], axis=0).mean()) for one in tables]
    up = [one for one, mean in zip(tables, means, strict=True) if mean > 0]
    down = [one for one, mean in zip(tables, means, strict=True) if mean < 0]
    if len(up) != 1 or len(down) != 1:
        raise CalibrationError(f"steps need one table upwards and one downwards; there are {len(up)} and {len(down)}")
    rise, fall = up[0].columns, down[0].columns
    low, high = max(rise["places"][0], fall["places"][0]), min(rise["places"][-1], fall["places"][-1])
    if high <= low:
        raise CalibrationError("the tables upwards and downwards share no conductance")
    count = max(len(rise["places"]), len(fall["places"]))
    places = np.linspace(low, high, count)
    chances = np.unique(np.concatenate([rise["chances"], fall["chances"], [0.0, 1.0]]))
    quantiles = [_resampled(one, places, chances, sign) for one, sign in ((rise, 1), (fall, -1))]
    half = (high - low) / 2
    middle = [float(np.trapezoid(q, chances, axis=1).mean()) for q in quantiles]
    size = (middle[0] + middle[1]) / 2 / half
    beta = (middle[0] - middle[1]) / (middle[0] + middle[1])
    tables_of = [q / half / (size * (1 + sign * beta)) for q, sign in zip(quantiles, (1, -1), strict=True)]
    response = MeasuredSteps(
        dw_min=size,
        up_down=beta,
        chances=tuple(chances.tolist()),
        quantiles_up=_rows(tables_of[0]),
        quantiles_down=_rows(tables_of[1]),
    )
    remarks = [f"mean steps of {middle[0] * 1e9:.4g} nS up and {middle[1] * 1e9:.4g} nS down, drawn with their measured scatter"]
    for word, q in (("up", quantiles[0]), ("down", quantiles[1])):
        wrong = np.array([np.interp(0.0, row, chances) for row in q])
        if wrong.max() > 0.05:
            remarks.append(f"up to {wrong.max():.0%} of the pulses {word} do not move the device, or move it the other way")
    return Part(
        kind="step-table",
        fields={"response": response, "g_min_siemens": float(low), "g_max_siemens": float(high)},
        intervals=(),
        panel=_panel(rise, fall, places, chances, quantiles),
        assumptions=("the table's scatter holds the noise of its readings, too, which enters as noise of the steps",),
        remarks=tuple(remarks),
        window=(float(low), float(high)),
    )


def _rows(table: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """Round quantiles to six digits, more than any measurement has."""
    return tuple(tuple(float(f"{value:.6g}") for value in row) for row in table)


def _resampled(table: dict[str, np.ndarray], places: np.ndarray, chances: np.ndarray, sign: int) -> np.ndarray:
    """Return quantiles (places, chances) of the step in the direction of the pulse, in siemens."""
    known, steps = table["chances"], table["steps"]
    if sign < 0:
        # The distribution of -ΔG: chances and steps in reverse order.
        known, steps = 1 - known[::-1], -steps[::-1]
    # Equal chances would give two quantiles at one of them.
    known = known + 1e-12 * np.arange(len(known))
    by_chance = np.array([np.interp(chances, known, column) for column in np.maximum.accumulate(steps, axis=0).T])
    return np.array([np.interp(places, table["places"], by_chance[:, k]) for k in range(len(chances))]).T


def _panel(
    rise: dict[str, np.ndarray], fall: dict[str, np.ndarray], places: np.ndarray, chances: np.ndarray, quantiles: list[np.ndarray]
) -> Panel:
    panel = Panel("Measured steps: 5 %, median, 95 %", "conductance (µS)", "ΔG of one pulse (µS)")
    for table, q, sign, word in ((rise, quantiles[0], 1, "up"), (fall, quantiles[1], -1, "down")):
        for chance in _SHOWN:
            own = np.array([np.interp(chance, table["chances"], column) for column in table["steps"].T])
            panel.points.append((table["places"] * 1e6, own * 1e6, f"{word}, table" if chance == 0.5 else ""))
            level = chance if sign > 0 else 1 - chance
            model = np.array([np.interp(level, chances, row) for row in q])
            panel.lines.append((places * 1e6, sign * model * 1e6, f"{word}, device" if chance == 0.5 else ""))
    return panel
