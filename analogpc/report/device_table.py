"""Devices in tables: their figures of merit as short strings, the list of `analogpc devices`, and the summary of a calibration."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.table import Table

from analogpc.devices.device import Device
from analogpc.devices.device_numbers import HOUR, DeviceNumbers, device_numbers

if TYPE_CHECKING:
    from analogpc.devices.calibration.assembly import DeviceFit

LIST_COLUMNS = ("name", "response", "states", "asymmetry", "d2d", "c2c", "write", "drift", "µS")
LIST_NOTE = (
    "states: range over the mean step at zero weight, or levels two standard deviations of programming apart; asymmetry: (up - down) "
    "/ (up + down) at zero weight / its mean magnitude over the range; d2d, c2c: spread of a step from device to device and from "
    "pulse to pulse, relative to the mean step; write: noise of writing, of the range; drift: change from 1 h to 10 h after writing, "
    "mean ± spread, of the range, or lifetime τ; µS: conductance window. All parameters of a device: analogpc devices NAME"
)
"""Explanation of the columns."""


def device_list(listed: list[Device]) -> Table:
    """Return the table of devices, at most 120 columns wide for the presets."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in LIST_COLUMNS:
        table.add_column(column, justify="left" if column in ("name", "response") else "right", no_wrap=True)
    for device in listed:
        row = cells(device_numbers(device))
        table.add_row(*(row[column] for column in LIST_COLUMNS))
    return table


def cells(numbers: DeviceNumbers) -> dict[str, str]:
    """Return the figures of merit as short strings by column; a dash where not applicable or zero."""
    n = numbers
    return {
        "name": n.name,
        "response": n.kind,
        "states": "∞" if math.isinf(n.states) else f"{n.states:,.0f}" if n.states >= 100 else f"{n.states:.3g}",
        "asymmetry": _asymmetry_cell(n),
        "d2d": "–" if n.step_dtod is None else f"{n.step_dtod:.3g}",
        "c2c": "–" if n.step_ctoc is None else f"{n.step_ctoc:.3g}",
        "write": _percent(n.write_noise),
        "read": _percent(n.read_noise),
        "slow": _percent(n.slow_noise),
        "drift": _drift_cell(n),
        "µS": "–".join(_microsiemens(end) for end in n.window_siemens),
        "symmetry point": _symmetry_cell(n),
        "pulses": "–" if n.pulses is None else f"{n.pulses:,}",
    }


def _percent(fraction: float) -> str:
    return "–" if fraction == 0 else f"{100 * fraction:.2g} %"


def _microsiemens(siemens: float) -> str:
    """Format with four digits, and an exponent only if needed."""
    micro = siemens * 1e6
    return f"{micro:.4g}" if micro == 0 or micro >= 1e-3 else f"{micro:.1e}".replace("e-0", "e-")


def _asymmetry_cell(n: DeviceNumbers) -> str:
    if n.asymmetry_mean is None:
        return "–"
    if n.asymmetry is None:
        return "one-sided"
    return f"{100 * n.asymmetry:.0f} / {100 * n.asymmetry_mean:.0f} %".replace("-0 ", "0 ").replace("-", "−")


def _symmetry_cell(n: DeviceNumbers) -> str:
    if n.symmetric is None:
        return "–"
    if n.symmetric:
        return "everywhere"
    if n.symmetry_state is None or n.symmetry_siemens is None:
        return "none"
    return f"{_microsiemens(n.symmetry_siemens)} µS (w = {n.symmetry_state:.3g})".replace("= -", "= −")


def _drift_cell(n: DeviceNumbers) -> str:
    if math.isfinite(n.lifetime_seconds):
        return f"τ {duration(n.lifetime_seconds)}"
    if n.drift_mean == 0 and n.drift_std == 0:
        return "–"
    return f"{100 * n.drift_mean:.1f} ± {100 * n.drift_std:.1f} %".replace("-0.0 ", "0.0 ").replace("-", "−")


def duration(seconds: float) -> str:
    """Format a time in the largest unit with a value of at least one."""
    for unit, length in (("years", 365 * 24 * HOUR), ("days", 24 * HOUR), ("h", HOUR), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def fit_table(fit: DeviceFit) -> Table:
    """Return the table of fitted parameters, with 90 % intervals where available."""
    row, device, pulses = cells(device_numbers(fit.device)), fit.device, fit.pulses
    table = Table("fitted", "value", "90 % interval", box=None, padding=(0, 2, 0, 0))
    rows: list[tuple[str, str, str]] = [("device", device.name, ""), ("window (µS)", row["µS"], "")]
    rows += [("measured", f"{one.kind}, {one.readings:,} values", one.file) for one in device.provenance.sources]
    if pulses is not None:
        rows.append(("steps", pulses.family, ""))
    for one in device.provenance.intervals:
        factor, unit = (1e9, "nS") if one.unit == "siemens" else (1.0, one.unit)
        value, least, most = (factor * number for number in (one.value, one.low, one.high))
        rows.append((f"{one.name} ({unit})" if unit else one.name, f"{value:.4g}", f"{least:.4g} to {most:.4g}"))
    rows += [
        ("states", row["states"], ""),
        ("asymmetry", row["asymmetry"], ""),
        ("d2d spread (of a step)", row["d2d"], ""),
    ]
    if pulses is not None:
        curves = pulses.checks.curve_r_squared
        rows += [
            ("rms of data minus fit (nS)", f"{pulses.residual_rms * 1e9:.3g}", ""),
            ("R²", f"{pulses.r_squared:.4f}", f"single curves {curves.min():.3f} to {curves.max():.3f}"),
            ("within the 90 % band", f"{pulses.checks.coverage:.1%}", ""),
        ]
    rows.append(("verdict", device.provenance.verdict, ""))
    for line in rows:
        table.add_row(*line)
    return table
