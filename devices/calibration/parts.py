"""Results of one measurement: the interface of the kinds of measurement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analogpc.devices.calibration.tables import CalibrationError
from analogpc.devices.calibration.understanding import Understood
from analogpc.devices.provenance import Interval

Z_90 = 1.645
"""Half width of a 90 % interval in standard errors."""


@dataclass(frozen=True)
class Panel:
    """Contents of a plot of a measurement.

    Attributes
    ----------
    title, x, y : str
        Title and axes.
    points, lines : list of (x, y, label)
        Measured points, and curves of the model.
    log_x, log_y : bool
    """

    title: str
    x: str
    y: str
    points: list[tuple[np.ndarray, np.ndarray, str]] = field(default_factory=list)
    lines: list[tuple[np.ndarray, np.ndarray, str]] = field(default_factory=list)
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True)
class Part:
    """Contribution of a measurement to a device.

    Attributes
    ----------
    kind : str
    fields : dict
        Fields of the device.
    intervals : tuple of Interval
    assumptions, remarks, failures : tuple of str
        Values assumed without a measurement, caveats, and reasons why the fit cannot be trusted.
    window : (low, high)
        Lowest and highest measured conductance, in siemens; zeros if none was measured.
    panel : Panel
    """

    kind: str
    fields: dict[str, Any]
    intervals: tuple[Interval, ...]
    panel: Panel
    assumptions: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    window: tuple[float, float] = (0.0, 0.0)


def column(part: Understood, name: str) -> np.ndarray:
    """Return a column that a kind of measurement needs."""
    if name not in part.columns:
        raise CalibrationError(
            f"a measurement of the kind '{part.kind}' needs a column '{name}'; there are {', '.join(part.columns)}"
        )
    return part.columns[name]


def groups(part: Understood, *names: str) -> np.ndarray:
    """Return the index of the series (n,) of each row, by device, cycle and level as far as given."""
    n = max(len(values) for values in part.columns.values())
    keys = [np.unique(np.array(part.columns[name]), return_inverse=True)[1] for name in names if name in part.columns]
    if not keys:
        return np.zeros(n, np.int64)
    return np.unique(np.column_stack(keys), axis=0, return_inverse=True)[1].ravel()


def interval(name: str, value: float, error: float, unit: str = "", field: str = "", least: float = -np.inf) -> Interval:
    """Return a number with its 90 % interval from its standard error."""
    low, high = max(value - Z_90 * error, least), value + Z_90 * error
    return Interval(name=name, value=float(value), low=float(low), high=float(high), unit=unit, field=field)
