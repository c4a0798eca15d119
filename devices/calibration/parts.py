"""What one measurement gives a device: the contract of the kinds of measurement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analogpc.devices.calibration.tables import CalibrationError
from analogpc.devices.calibration.understanding import Understood
from analogpc.devices.provenance import Interval

Z_90 = 1.645
"""Standard errors of a 90 % interval."""


@dataclass(frozen=True)
class Panel:
    """What a picture of a measurement shows.

    Attributes
    ----------
    title, x, y : str
        Title and axes.
    points, lines : list of (x, y, label)
        Measured points, and what the model says.
    log_x : bool
    """

    title: str
    x: str
    y: str
    points: list[tuple[np.ndarray, np.ndarray, str]] = field(default_factory=list)
    lines: list[tuple[np.ndarray, np.ndarray, str]] = field(default_factory=list)
    log_x: bool = False


@dataclass(frozen=True)
class Part:
    """What a measurement gives a device.

    Attributes
    ----------
    kind : str
    fields : dict
        Fields of the device.
    intervals : tuple of Interval
    assumptions, remarks, failures : tuple of str
        What was taken without a measurement, what to know, and why the fit cannot be trusted.
    window : (low, high)
        Lowest and highest conductance that was measured, in siemens; zeros if none was.
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
    """A column that a kind of measurement needs."""
    if name not in part.columns:
        raise CalibrationError(
            f"a measurement of the kind '{part.kind}' needs a column '{name}'; there are {', '.join(part.columns)}"
        )
    return part.columns[name]


def groups(part: Understood, *names: str) -> np.ndarray:
    """Number of the series (n,) of each row, by device, cycle and level as far as there are any."""
    n = max(len(values) for values in part.columns.values())
    keys = [np.unique(np.array(part.columns[name]), return_inverse=True)[1] for name in names if name in part.columns]
    if not keys:
        return np.zeros(n, np.int64)
    return np.unique(np.column_stack(keys), axis=0, return_inverse=True)[1].ravel()


def interval(name: str, value: float, error: float, unit: str = "", field: str = "", least: float = -np.inf) -> Interval:
    """A number with its 90 % interval by its standard error."""
    low, high = max(value - Z_90 * error, least), value + Z_90 * error
    return Interval(name=name, value=float(value), low=float(low), high=float(high), unit=unit, field=field)
