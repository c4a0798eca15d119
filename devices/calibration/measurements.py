"""Measured conductance against pulse number: reading and validation of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import uniform_filter1d

from analogpc.devices.calibration.tables import CalibrationError
from analogpc.devices.calibration.understanding import Reading, Understood, understand

__all__ = ["CalibrationError", "PulseData", "pulse_data", "read_pulse_data"]

_UP = {"up", "+1", "1", "+", "1.0", "ltp", "potentiation", "pot", "set", "p", "increase"}
_DOWN = {"down", "-1", "-", "-1.0", "ltd", "depression", "dep", "reset", "d", "decrease"}
# A turning point counts if the conductance has come back by this fraction of its range.
_RETURN = 0.2


@dataclass(frozen=True)
class PulseData:
    """Measured pulse curves, sorted by device, cycle and pulse number.

    Attributes
    ----------
    pulse : (n,) int64
        Pulse number; the conductance was read after that pulse. Numbers may be missing.
    conductance : (n,) float64, siemens
    direction : (n,) int8
        +1 or -1: direction of that pulse. The first one of a series has no meaning.
    series : (n,) int64
        Index of the unbroken series of a row: one cycle of one device.
    device : (n,) int64
        Index of the device, from 0.
    device_names : tuple of str
    directions_inferred : bool
        Whether the directions come from the trend of the data.
    notes : tuple of str
        Notes on how the data were read.
    """

    pulse: np.ndarray
    conductance: np.ndarray
    direction: np.ndarray
    series: np.ndarray
    device: np.ndarray
    device_names: tuple[str, ...]
    directions_inferred: bool
    notes: tuple[str, ...] = ()


def read_pulse_data(source: str | Path | Mapping[str, Any], reading: Reading | None = None) -> PulseData:
    """Read measured pulse curves.

    Parameters
    ----------
    source : path, or mapping of column name to sequence
        A file, or its columns: one of ``conductance``, ``resistance`` or ``current`` with units in their names; optionally ``pulse``,
        an integer; ``direction``, up or down (or +1 and -1, LTP and LTD, set and reset), of the pulse *before* the reading, or a
        ``pulse voltage`` whose sign gives it; ``device`` and ``cycle``, any names. A cycle starts a new series. Alternatively, one
        column per curve.
    reading : Reading, optional
        Interpretation of data that do not give it.

    Returns
    -------
    PulseData

    Raises
    ------
    CalibrationError
        With the reason, in one sentence.
    """
    found = understand(source, reading)
    if found.kind != "pulses":
        raise CalibrationError(f"no pulses can be recognised: the data look like the kind '{found.kind}'")
    return pulse_data([found])


def pulse_data(parts: Sequence[Understood]) -> PulseData:
    """Combine pulse series of one or several tables; devices with the same name are the same device.

    Raises
    ------
    CalibrationError
        With the reason, in one sentence.
    """
    read = [_one(part, number if len(parts) > 1 else None) for number, part in enumerate(parts)]
    notes = tuple(dict.fromkeys(note for part in parts for note in (*part.questions, *part.notes)))
    notes += tuple(dict.fromkeys(note for one in read for note in one.notes if note not in notes))
    if len(read) == 1:
        return replace(read[0], notes=notes)
    names = list(dict.fromkeys(name for one in read for name in one.device_names))
    device = np.concatenate([np.array([names.index(name) for name in one.device_names])[one.device] for one in read])
    first = np.cumsum([0, *(int(one.series.max()) + 1 for one in read)])
    series = np.concatenate([one.series + first[k] for k, one in enumerate(read)])
    columns = [np.concatenate([getattr(one, name) for one in read]) for name in ("pulse", "conductance", "direction")]
    order = np.lexsort((columns[0], series, device))
    _, series = np.unique(series[order], return_inverse=True)
    # Series are numbered in the order of their rows.
    _, where = np.unique(series, return_index=True)
    rank = np.empty(len(where), np.int64)
    rank[np.argsort(where)] = np.arange(len(where))
    pulse, conductance, direction = (column[order] for column in columns)
    inferred = any(one.directions_inferred for one in read)
    return PulseData(pulse, conductance, direction, rank[series], device[order], tuple(names), inferred, notes)


def _one(part: Understood, number: int | None) -> PulseData:
    columns = part.columns
    if "conductance" not in columns:
        raise CalibrationError("the data need one column 'conductance' (siemens), 'resistance' or 'current'")
    conductance = columns["conductance"]
    n, notes = len(conductance), []
    names, device = np.unique(np.array(columns.get("device", ["0"] * n)), return_inverse=True)
    _, cycle = np.unique(np.array(columns.get("cycle", ["0"] * n)), return_inverse=True)
    _, series = np.unique(device * (cycle.max(initial=0) + 1) + cycle, return_inverse=True)
    if "pulse" in columns:
        pulse, said = _whole(columns["pulse"])
        notes += said
    elif "seconds" in columns and "direction" not in columns and "pulse_volts" not in columns:
        raise CalibrationError("no pulses can be recognised: the data hold times, but neither pulses nor their directions")
    else:
        pulse = np.zeros(n, np.int64)
        for s in range(series.max(initial=-1) + 1):
            pulse[series == s] = np.arange((series == s).sum())
        notes.append("pulses are counted row by row")
    order = np.lexsort((pulse, cycle, device))
    pulse, conductance, device, series = pulse[order], conductance[order], device[order], series[order]
    twice = (np.diff(pulse) == 0) & (np.diff(series) == 0)
    if twice.any() and ("direction" in columns or "pulse_volts" in columns):
        direction = _given(columns)[order]
        again = _restarted(columns, device, order, names)
        if again is None:
            raise CalibrationError(
                f"pulse {pulse[:-1][twice][0]} of device '{names[device[:-1][twice][0]]}' occurs twice in one cycle"
            )
        pulse, series = again
        notes.append("pulse numbers restart at every change of direction")
        return PulseData(
            pulse,
            columns["conductance"],
            _given(columns),
            series,
            _devices(columns, n),
            tuple(map(str, names)),
            False,
            tuple(notes),
        )
    if twice.any():
        raise CalibrationError(
            f"pulse {pulse[:-1][twice][0]} of device '{names[device[:-1][twice][0]]}' occurs twice in one cycle"
        )
    inferred = "direction" not in columns and "pulse_volts" not in columns
    if inferred:
        whole = [_trend(conductance[series == s]) for s in range(series.max(initial=-1) + 1)]
        direction = np.concatenate(whole or [np.zeros(0)])
    else:
        direction = _given(columns)[order]
    return PulseData(
        pulse, conductance, direction.astype(np.int8), series, device, tuple(map(str, names)), inferred, tuple(notes)
    )


def _devices(columns: dict[str, Any], n: int) -> np.ndarray:
    return np.unique(np.array(columns.get("device", ["0"] * n)), return_inverse=True)[1]


def _restarted(
    columns: dict[str, Any], device: np.ndarray, order: np.ndarray, names: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return continued numbers and unbroken series if pulse numbers restart within rows in their own order, otherwise None."""
    n = len(order)
    pulse, way, owner = _whole(columns["pulse"])[0], _given(columns), _devices(columns, n)
    cycle = np.unique(np.array(columns.get("cycle", ["0"] * n)), return_inverse=True)[1]
    joined = (np.diff(owner) == 0) & (np.diff(cycle) == 0)
    turned = joined & (np.diff(way) != 0)
    step = np.where(turned, 1, np.diff(pulse))
    if len(np.unique(owner)) * len(np.unique(cycle)) != (~joined).sum() + 1 or (step[joined] <= 0).any():
        return None
    out, series = np.zeros(n, np.int64), np.zeros(n, np.int64)
    out[1:] = np.where(joined, step, 0)
    series[1:] = np.cumsum(~joined)
    starts = np.flatnonzero(np.concatenate([[True], ~joined]))
    total = np.cumsum(out)
    return total - np.repeat(total[starts], np.diff([*starts, n])), series


def _whole(values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return integer pulse numbers, rounded if a figure was digitised."""
    if np.abs(values).max(initial=0) > 2**53:
        raise CalibrationError("pulse numbers beyond 2^53 are not allowed")
    off = np.abs(values - np.round(values))
    if off.max(initial=0) == 0:
        return values.astype(np.int64), []
    rounded = np.round(values).astype(np.int64)
    if len(np.unique(rounded)) < 0.5 * len(np.unique(values)):
        raise CalibrationError(f"pulse = {values[off > 0][0]:g} is not allowed: pulses have whole numbers")
    return rounded, [f"{int((off > 0).sum())} pulse numbers are not whole, as after digitising, and were rounded"]


def _given(columns: dict[str, Any]) -> np.ndarray:
    """Return directions from their column, or from the sign of the pulses."""
    if "direction" not in columns:
        volts = columns["pulse_volts"]
        if (volts == 0).any():
            raise CalibrationError("a pulse voltage of 0 V gives no direction")
        return np.sign(volts).astype(np.int8)
    values = columns["direction"]
    out = np.empty(len(values), np.int8)
    for i, value in enumerate(values):
        text = str(value).strip().lower()
        if text not in _UP | _DOWN:
            raise CalibrationError(f"column 'direction', data row {i + 1}: {value!r} is not allowed: up or down, +1 or -1")
        out[i] = 1 if text in _UP else -1
    return out


def _trend(y: np.ndarray) -> np.ndarray:
    """Infer the directions of one series from its runs up and down.

    A run ends where the curve comes back by a fifth of the range. Its last reading is the last one before that which noise cannot
    distinguish from the extreme: on a plateau, pulses still have the old direction.
    """
    n = len(y)
    direction = np.ones(n)
    if n < 3:
        return direction
    smooth = uniform_filter1d(y, 3, mode="nearest")
    if (way := _one_way(y)) != 0:
        return way * direction
    noise = np.std(np.diff(y, 2)) / np.sqrt(6)
    back = max(_RETURN * np.ptp(smooth), 4 * noise)
    sense = 1.0 if np.argmax(smooth) > np.argmin(smooth) else -1.0
    # A curve that falls by `back` before it rises that much starts downwards.
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


def _one_way(y: np.ndarray) -> int:
    """Return 1 or -1 if a series is monotonic from its first to its last quarter, such as a ramp; 0 if it turns."""
    wide = uniform_filter1d(y, max(3, len(y) // 10), mode="nearest")
    net = wide[-1] - wide[0]
    back = (np.maximum.accumulate(wide) - wide if net > 0 else wide - np.minimum.accumulate(wide)).max()
    return int(np.sign(net)) if len(y) >= 8 and abs(net) > 0.5 * np.ptp(wide) and back < 0.25 * abs(net) else 0
