"""Measured conductance against pulse number: the CSV format, and what must be true of such data before anything is fitted."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import uniform_filter1d

_UP, _DOWN = {"up", "+1", "1", "+", "1.0"}, {"down", "-1", "-", "-1.0"}
_COLUMNS = ("pulse", "conductance", "conductance_us", "direction", "device", "cycle")
# A turning point counts when the conductance has come back by this fraction of its range.
_RETURN = 0.2


class CalibrationError(ValueError):
    """Measured data cannot be used; the message is one sentence that says why."""


@dataclass(frozen=True)
class PulseData:
    """Measured pulse curves, sorted by device, cycle and pulse number.

    Attributes
    ----------
    pulse : (n,) int64
        Pulse number; the conductance was read after that pulse. Numbers may be left out.
    conductance : (n,) float64, siemens
    direction : (n,) int8
        +1 or -1: the direction of that pulse. The first one of a series says nothing.
    series : (n,) int64
        Which unbroken series a row belongs to: one cycle of one device.
    device : (n,) int64
        Which device, numbered from 0.
    device_names : tuple of str
    directions_inferred : bool
        Whether the directions come from the trend of the data.
    """

    pulse: np.ndarray
    conductance: np.ndarray
    direction: np.ndarray
    series: np.ndarray
    device: np.ndarray
    device_names: tuple[str, ...]
    directions_inferred: bool


def read_pulse_data(source: str | Path | Mapping[str, Any]) -> PulseData:
    """Read measured pulse curves.

    Parameters
    ----------
    source : path, or mapping of column name to sequence
        A CSV file with one header line (lines that begin with ``#`` are passed over), or its columns: ``pulse``, a whole number;
        ``conductance`` in siemens, or ``conductance_us`` in microsiemens; if known ``direction``, up or down (or +1 and -1), of
        the pulse *before* the reading; ``device`` and ``cycle``, any names. A cycle starts a new series.

    Returns
    -------
    PulseData

    Raises
    ------
    CalibrationError
        In one sentence.
    """
    columns = _from_file(source) if isinstance(source, (str, Path)) else _from_mapping(source)
    if "pulse" not in columns:
        raise CalibrationError(f"the data need a column 'pulse'; they have {', '.join(columns) or 'none'}")
    given = [name for name in ("conductance", "conductance_us") if name in columns]
    if len(given) != 1:
        raise CalibrationError("the data need one column 'conductance' (siemens) or 'conductance_us' (microsiemens)")
    pulse = _numbers(columns["pulse"], "pulse")
    if (pulse != np.round(pulse)).any() or np.abs(pulse).max(initial=0) > 2**53:
        raise CalibrationError(f"pulse = {pulse[pulse != np.round(pulse)][:1]} is not allowed: pulses have whole numbers")
    conductance = _numbers(columns[given[0]], given[0]) * (1e-6 if given[0] == "conductance_us" else 1.0)
    n = len(pulse)
    names, device = np.unique(np.array([str(v).strip() for v in columns.get("device", ["0"] * n)]), return_inverse=True)
    _, cycle = np.unique(np.array([str(v).strip() for v in columns.get("cycle", ["0"] * n)]), return_inverse=True)
    order = np.lexsort((pulse, cycle, device))
    pulse, conductance, device, cycle = pulse[order].astype(np.int64), conductance[order], device[order], cycle[order]
    _, series = np.unique(device * (cycle.max(initial=0) + 1) + cycle, return_inverse=True)
    twice = (np.diff(pulse) == 0) & (np.diff(series) == 0)
    if twice.any():
        raise CalibrationError(
            f"pulse {pulse[:-1][twice][0]} of device '{names[device[:-1][twice][0]]}' occurs twice in one cycle"
        )
    if "direction" in columns:
        direction = _directions(columns["direction"])[order]
    else:
        direction = np.concatenate([_trend(conductance[series == s]) for s in range(series.max(initial=-1) + 1)] or [np.zeros(0)])
    return PulseData(
        pulse, conductance, direction.astype(np.int8), series, device, tuple(map(str, names)), "direction" not in columns
    )


def _from_file(path: str | Path) -> dict[str, list[str]]:
    """The columns of a CSV file, as text."""
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = [
                row for row in csv.reader(line for line in file if not line.startswith("#")) if any(cell.strip() for cell in row)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CalibrationError(f"{path} cannot be read as CSV: {getattr(error, 'strerror', None) or error}") from None
    if not rows:
        raise CalibrationError(f"{path} is empty")
    header = [cell.strip().lower() for cell in rows[0]]
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(header):
            raise CalibrationError(f"{path}: data row {number} has {len(row)} cells and the header {len(header)}")
    return {name: [row[i] for row in rows[1:]] for i, name in enumerate(header) if name in _COLUMNS}


def _from_mapping(columns: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The columns, which must be known and equally long."""
    unknown = [name for name in columns if name not in _COLUMNS]
    if unknown:
        raise CalibrationError(f"the data have no use for a column '{unknown[0]}'; columns are {', '.join(_COLUMNS)}")
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise CalibrationError(f"the columns differ in length: {', '.join(f'{name} {n}' for name, n in lengths.items())}")
    return {name: list(values) for name, values in columns.items()}


def _numbers(values: list[Any], name: str) -> np.ndarray:
    """A column of finite numbers, float64."""
    out = np.empty(len(values))
    for i, value in enumerate(values):
        try:
            out[i] = float(value)
        except (TypeError, ValueError):
            raise CalibrationError(f"column '{name}', data row {i + 1}: {value!r} is not a number") from None
        if not np.isfinite(out[i]):
            raise CalibrationError(f"column '{name}', data row {i + 1}: {value!r} is not finite")
    return out


def _directions(values: list[Any]) -> np.ndarray:
    """A column of directions as +1 and -1."""
    out = np.empty(len(values))
    for i, value in enumerate(values):
        text = str(value).strip().lower()
        if text not in _UP | _DOWN:
            raise CalibrationError(f"column 'direction', data row {i + 1}: {value!r} is not allowed: up or down, +1 or -1")
        out[i] = 1 if text in _UP else -1
    return out


def _trend(y: np.ndarray) -> np.ndarray:
    """Directions of one series from its runs up and down.

    A run ends where the curve comes back by a fifth of the range. Its last reading is the last one, before that, which the noise
    cannot tell from the extreme: on a plateau pulses still push the old way.
    """
    n = len(y)
    direction = np.ones(n)
    if n < 3:
        return direction
    smooth = uniform_filter1d(y, 3, mode="nearest")
    noise = np.std(np.diff(y, 2)) / np.sqrt(6)
    back = max(_RETURN * np.ptp(smooth), 4 * noise)
    sense = 1.0 if np.argmax(smooth) > np.argmin(smooth) else -1.0
    # A curve that falls by `back` before it ever rises that much begins downwards.
    for i in range(n):
        fallen, risen = smooth[: i + 1].max() - smooth[i], smooth[i] - smooth[: i + 1].min()
        if max(fallen, risen) >= back:
            sense = 1.0 if risen >= fallen else -1.0
            break
    start, extreme = 0, 0
    for i in range(n):
        if sense * smooth[i] > sense * smooth[extreme]:
            extreme = i
        elif sense * (smooth[extreme] - smooth[i]) >= back:
            near = np.flatnonzero(sense * (y[extreme] - y[extreme : i + 1]) <= 2 * noise)
            turn = extreme + int(near[-1])
            direction[start : turn + 1] = sense
            start, extreme, sense = turn + 1, i, -sense
    direction[start:] = sense
    return direction
