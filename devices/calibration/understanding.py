"""Interpretation of a table of measured data: kind of measurement, columns in SI units, and doubts about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from analogpc.devices.calibration.headers import Column, column_of, unit_of
from analogpc.devices.calibration.tables import CalibrationError, Table, is_number, read_table

KINDS = ("pulses", "drift", "reads", "programming", "iv", "endurance", "step-table")
_LABELS = ("direction", "device", "cycle")
_MOST_SIEMENS, _LEAST_SIEMENS = 1e-2, 1e-12
DEFAULT_WINDOW = (1e-6, 25e-6)


@dataclass(frozen=True)
class Reading:
    """Interpretation of data that do not give it.

    Attributes
    ----------
    kind : str
        One of `KINDS`; if empty, it is inferred from the columns.
    unit : str
        Unit of the readings: S, mS, uS, nS, ohm, kohm, A, uA, nA or normalised; if empty, that of the header, or siemens.
    read_volts : float
        Voltage at which currents were read; 0 if unknown.
    window : (low, high), siemens
        Conductances of the lowest and highest reading of normalised data.
    """

    kind: str = ""
    unit: str = ""
    read_volts: float = 0.0
    window: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if self.kind and self.kind not in KINDS:
            raise CalibrationError(f"kind = '{self.kind}' is not allowed: one of {', '.join(KINDS)}")
        if self.unit and unit_of(self.unit) is None:
            raise CalibrationError(f"unit = '{self.unit}' is not allowed: S, mS, uS, nS, ohm, kohm, A, uA, nA or normalised")
        if self.read_volts < 0 or not np.isfinite(self.read_volts):
            raise CalibrationError(f"read_volts = {self.read_volts:g} is not allowed: a positive voltage")
        low, high = self.window
        if (low, high) != (0.0, 0.0) and not 0 <= low < high < np.inf:
            raise CalibrationError(
                f"window = {low:g} to {high:g} is not allowed: two conductances in siemens, the lower one first"
            )


@dataclass(frozen=True)
class Understood:
    """A table with its interpretation.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    table : Table
    columns : dict
        Values by quantity: float64 in SI units, or texts for direction, device and cycle.
    notes : tuple of str
        Notes on the interpretation.
    questions : tuple of str
        Implausible values.
    """

    kind: str
    table: Table
    columns: dict[str, Any]
    notes: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    meaning: tuple[tuple[str, str], ...] = field(default=())


def understand(source: str | Path | Mapping[str, Any], reading: Reading | None = None) -> Understood:
    """Read a file, or columns by name, and infer its kind.

    Raises
    ------
    CalibrationError
        In one sentence, if it cannot be read or nothing is recognised.
    """
    reading = reading or Reading()
    if not isinstance(source, (str, Path)):
        return _interpreted(_table_of(source), reading)
    table = read_table(source)
    if reading.kind in ("", "step-table") and (found := _step_table(table)) is not None:
        return Understood(
            "step-table", table, found, (f"{len(found['places'])} conductances by {len(found['chances'])} chances",)
        )
    return _interpreted(table, reading)


def _table_of(columns: Mapping[str, Any]) -> Table:
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise CalibrationError(f"the columns differ in length: {', '.join(f'{name} {n}' for name, n in lengths.items())}")
    texts = []
    for name, values in columns.items():
        if np.iscomplexobj(np.asarray(values)):
            raise CalibrationError(f"column '{name}' holds complex numbers: take the real part, or the magnitude, first")
        masked = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
        if masked is not None and masked.any():
            raise CalibrationError(f"column '{name}' is masked in {int(masked.sum())} places: leave these rows out")
        cells = values.tolist() if hasattr(values, "tolist") else list(values)
        texts.append(tuple(repr(float(v)) if isinstance(v, (int, float)) else str(v).strip() for v in cells))
    return Table("", "", tuple(str(name) for name in columns), tuple(texts), "columns by name")


def _step_table(table: Table) -> dict[str, Any] | None:
    """Parse a table of ΔG in CrossSim's layout: a row of conductances, a row of cumulative probabilities, then ΔG by probability."""
    rows = [[column[r] if r < len(column) else "" for column in table.columns] for r in range(table.rows)]
    numbers = [[float(cell) for cell in row if cell and is_number(cell)] for row in rows]
    numbers = [row for row in numbers if len(row) > 1]
    if table.header and all(is_number(name) for name in table.header if name):
        numbers = [[float(name) for name in table.header if name], *numbers]
    if len(numbers) < 6:
        return None
    places, chances, body = np.array(numbers[0]), np.array(numbers[1]), numbers[2:]
    if (np.diff(places) <= 0).any() or (np.diff(chances) < 0).any() or chances[0] < 0 or abs(chances[-1] - 1) > 1e-2:
        return None
    if len(body) != len(chances) or any(len(row) != len(places) for row in body):
        return None
    return {"places": places, "chances": np.clip(chances, 0, 1), "steps": np.array(body)}


def _interpreted(table: Table, reading: Reading) -> Understood:
    """Interpret a table with one column per quantity, or one column per curve."""
    found = [column_of(name) for name in table.header]
    roles = [one.role for one in found]
    readings = [
        k for k, role in enumerate(roles) if role in ("conductance", "resistance", "current", "normalised", "result", "after")
    ]
    if table.header and _two_ways(table):
        return _wide(table, reading, list(range(len(table.columns))))
    stuck = any(role in ("stuck_low", "stuck_high") for role in roles)
    if stuck or (table.header and len(readings) >= 1 and len({roles[k] for k in readings}) >= 1 and _is_long(table, roles)):
        return _long(table, reading, found)
    numeric = [k for k, column in enumerate(table.columns) if column and all(is_number(c) for c in column if c)]
    others = [k for k in numeric if not roles or roles[k] in ("", "conductance", "resistance", "current", "normalised")]
    if not others or (table.header and len(others) < 2 and len(table.columns) > 1 and not any(roles)):
        known = ", ".join(table.header) or "none"
        raise CalibrationError(f"no column of readings is recognised; the data have the columns {known}")
    if table.header and "pulse" in roles and len(others) == 0:
        raise CalibrationError("the data need one column 'conductance' (siemens), 'resistance' or 'current'")
    return _wide(table, reading, others)


def _two_ways(table: Table) -> bool:
    ways = [_way_of(name) for name in table.header]
    return set(ways) == {1, -1} and all(way is not None for way in ways)


def _is_long(table: Table, roles: list[str]) -> bool:
    """Whether there is one column of readings besides columns that describe them."""
    named = [role for role in roles if role in ("conductance", "resistance", "current", "normalised", "result")]
    return len(named) <= 2 or "device" in roles or "cycle" in roles or "direction" in roles


def _way_of(name: str) -> int | None:
    text = name.lower()
    for words, way in (
        (("ltp", "potentiation", "up", "set", "increasing", "+1"), 1),
        (("ltd", "depression", "down", "reset", "decreasing", "-1"), -1),
    ):
        if any(text.strip() == word or text.startswith((word + " ", word + "_", word + "[", word + "(")) for word in words):
            return way
    return None


def _numbers(values: tuple[str, ...], name: str) -> np.ndarray:
    """Convert a column to finite numbers, float64."""
    out = np.empty(len(values))
    for i, value in enumerate(values):
        if not is_number(value):
            raise CalibrationError(f"column '{name}', data row {i + 1}: {value!r} is not a number")
        out[i] = float(value)
        if not np.isfinite(out[i]):
            raise CalibrationError(f"column '{name}', data row {i + 1}: {value!r} is not finite")
    return out


def _long(table: Table, reading: Reading, found: list[Any]) -> Understood:
    columns: dict[str, Any] = {}
    meaning: list[tuple[str, str]] = []
    places: dict[str, str] = {}
    for name, column, cells in zip(table.header, found, table.columns, strict=True):
        role = column.role
        if not role:
            meaning.append((name, "not used"))
            continue
        if role in places:
            raise CalibrationError(f"the data need one column '{role}', and have '{places[role]}' and '{name}'")
        places[role] = name
        _fits(name, column)
        if role in _LABELS:
            columns[role] = cells
        else:
            columns[role] = _numbers(cells, name) * (column.factor if not (reading.unit and role in _READINGS) else 1.0)
        meaning.append((name, f"{role}{' in ' + column.unit if column.unit else ''}"))
    columns, notes, questions = _in_siemens(columns, places, found, reading, table)
    kind = reading.kind or _kind_of(columns)
    return Understood(kind, table, columns, tuple(notes), tuple(questions), tuple(meaning))


_UNITS = {
    "conductance": "S, mS, uS or nS",
    "target": "S, mS, uS or nS",
    "result": "S, mS, uS or nS",
    "before": "S, mS, uS or nS",
    "after": "S, mS, uS or nS",
    "resistance": "ohm, kohm or Mohm",
    "current": "A, mA, uA or nA",
    "volts": "V or mV",
    "pulse_volts": "V or mV",
    "seconds": "s, ms, min, h or days",
}


def _fits(name: str, column: Column) -> None:
    """Reject a unit that does not belong to the quantity."""
    if not column.unit or column.role not in _UNITS:
        return
    quantity = _ALIKE.get(column.role, column.role)
    known = (unit_of(column.unit) or ("", 1.0))[0]
    # Headers in any case: "us" with a conductance means microsiemens.
    loose = quantity == "conductance" and known == "seconds" and column.unit.lower().endswith("s")
    if known not in (quantity, "normalised") and not loose:
        raise CalibrationError(f"column '{name}': '{column.unit}' is no unit of it; allowed are {_UNITS[column.role]}")


_ALIKE = {
    "before": "conductance",
    "after": "conductance",
    "target": "conductance",
    "result": "conductance",
    "pulse_volts": "volts",
}
_READINGS = ("conductance", "resistance", "current", "normalised", "result", "target")


def _in_siemens(
    columns: dict[str, Any], places: dict[str, str], found: list[Any], reading: Reading, table: Table
) -> tuple[dict[str, Any], list[str], list[str]]:
    """Return the readings as a column of conductances."""
    notes: list[str] = []
    given = [role for role in ("conductance", "normalised", "resistance", "current") if role in columns]
    iv = reading.kind == "iv" or ("volts" in columns and "current" in columns and "pulse" not in columns and len(given) == 1)
    if iv or not given:
        return columns, notes, []
    # A column of currents besides one of conductances is a by-product.
    if {"conductance", "resistance"} <= set(given) or {"conductance", "normalised"} <= set(given):
        raise CalibrationError(f"the data need one column 'conductance', and have '{places[given[0]]}' and '{places[given[1]]}'")
    role = given[0]
    values = columns.pop(role)
    for other in given[1:]:
        columns.pop(other)
    unit = next((one.unit for one in found if one.role == role), "")
    quantity, factor = unit_of(reading.unit) if reading.unit else (role, 1.0)  # type: ignore[misc]
    siemens, said, questions = siemens_of(values * factor, quantity, unit or reading.unit, columns.get("volts"), reading)
    columns["conductance"] = siemens
    return columns, [*notes, *said], questions


def siemens_of(
    values: np.ndarray, quantity: str, unit: str, volts: np.ndarray | None, reading: Reading
) -> tuple[np.ndarray, list[str], list[str]]:
    """Convert readings in SI units of ``quantity`` to conductances; also return assumptions and doubts."""
    notes: list[str] = []
    if quantity == "resistance":
        if (values <= 0).any():
            raise CalibrationError(f"a resistance of {values.min():g} ohm is not allowed: resistances are positive")
        values = 1 / values
        notes.append("conductance = 1 / resistance")
    elif quantity == "current":
        if reading.read_volts:
            values = values / reading.read_volts
            notes.append(f"conductance = current / {reading.read_volts:g} V")
        elif volts is not None and (volts != 0).all():
            values = values / volts
            notes.append("conductance = current / voltage, row by row")
        else:
            raise CalibrationError("currents need the voltage at which they were read: a column of volts, or --read-volts")
    elif quantity == "normalised":
        low, high = reading.window if reading.window[1] else DEFAULT_WINDOW
        values = low + (values - values.min()) / max(float(np.ptp(values)), 1e-300) * (high - low)
        word = "stand for" if reading.window[1] else "are assumed to stand for"
        notes.append(f"normalised readings {word} {low * 1e6:g} to {high * 1e6:g} µS{'' if reading.window[1] else ' (--window)'}")
        return values, notes, []
    if len(values) and (np.median(values) < 0 or (values < 0).mean() > 0.2 or values.min() < -0.3 * np.abs(values).max()):
        raise CalibrationError(
            f"conductances are negative (down to {values.min():.3g} S): add back an offset that was subtracted, or, for normalised "
            "data, say so (--unit normalised)"
        )
    return values, notes, _implausible(values, unit)


def _implausible(values: np.ndarray, unit: str) -> list[str]:
    """Return a question if no device has such conductances, with the unit that would be plausible."""
    size = float(np.median(np.abs(values))) if len(values) else 1e-6
    if _LEAST_SIEMENS <= size <= _MOST_SIEMENS or size == 0:
        return []
    for word, factor in (("mS", 1e-3), ("uS", 1e-6), ("nS", 1e-9), ("S", 1e6)):
        if 1e-8 <= size * factor <= 1e-3:
            sense = f"; --unit {word} would make it {size * factor * 1e6:.3g} µS" if word != "S" else "; is the unit right?"
            return [f"a device of {size:.3g} siemens is hardly possible{sense}"]
    return [f"a device of {size:.3g} siemens is hardly possible; is the unit right{f' ({unit})' if unit else ''}?"]


def _kind_of(columns: dict[str, Any]) -> str:
    """Infer the kind of measurement from its columns."""
    has = columns.keys()
    if "stuck_low" in has or "stuck_high" in has:
        return "endurance"
    if {"before", "after"} <= has:
        return "drift"
    if "target" in has and ("result" in has or "conductance" in has):
        return "programming"
    if "conductance" not in has and "volts" in has and "current" in has:
        return "iv"
    if "read" in has:
        return "reads"
    if "pulse" not in has and "direction" not in has and "seconds" in has:
        times = np.unique(columns["seconds"])
        even = len(times) > 20 and np.ptp(np.diff(times)) < 0.2 * np.median(np.diff(times))
        return "reads" if even else "drift"
    return "pulses"


def _wide(table: Table, reading: Reading, places: list[int]) -> Understood:
    """Interpret a table with one column per cycle, device or direction; or a single column."""
    notes: list[str] = []
    texts = [table.columns[k] for k in places]
    names = [table.header[k] if table.header else f"column {k + 1}" for k in places]
    curves = []
    for name, cells in zip(names, texts, strict=True):
        kept = tuple(cell for cell in cells if cell)
        curves.append(_numbers(kept, name))
    if len(curves) > 1 and _counts(curves[0]) and (not table.header or column_of(names[0]).role in ("pulse", "")):
        count, curves, names = curves[0], curves[1:], names[1:]
        notes.append(f"the first column counts the pulses from {count[0]:g}")
    columns = [column_of(name) for name in names] if table.header else []
    role = next((one.role for one in columns if one.role in _READINGS), "")
    factor = next((one.factor for one in columns if one.unit and one.factor != 1.0), 1.0)
    values = np.concatenate(curves) if curves else np.zeros(0)
    unit = next((one.unit for one in columns if one.unit), "")
    if reading.unit:
        quantity, factor = unit_of(reading.unit)  # type: ignore[misc]
    elif role:
        quantity = role
    elif unit and unit_of(unit):
        quantity = unit_of(unit)[0]  # type: ignore[index]
    else:
        # No description: numbers of the size of a conductance are taken as conductances.
        size = float(np.median(np.abs(values))) if len(values) else 0.0
        quantity = "conductance" if _LEAST_SIEMENS <= size <= _MOST_SIEMENS and values.min() >= 0 else "normalised"
        if quantity == "conductance":
            notes.append("readings without a unit are taken for siemens: if they are amperes, say --unit A --read-volts V")
        else:
            notes.append("readings are normalised")
    siemens, said, questions = siemens_of(values * factor, quantity, unit, None, reading)
    ways = [_way_of(name) for name in names]
    lengths = [len(curve) for curve in curves]
    out: dict[str, Any] = {"conductance": siemens, "pulse": np.concatenate([np.arange(n, dtype=np.float64) for n in lengths])}
    device = [any(word in name.lower() for word in ("dev", "cell", "die")) for name in names]
    labels = np.repeat([f"{k:04d} {name}" for k, name in enumerate(names)], lengths)
    out["device" if all(device) and len(names) > 1 else "cycle"] = tuple(labels.tolist())
    if all(way is not None for way in ways):
        out["direction"] = tuple(np.repeat(["up" if way == 1 else "down" for way in ways], lengths).tolist())
    notes = [f"{len(curves)} curve(s) of {min(lengths)} to {max(lengths)} readings, a column for each", *notes, *said]
    return Understood(reading.kind or "pulses", table, out, tuple(notes), tuple(questions), tuple((n, "a curve") for n in names))


def _counts(values: np.ndarray) -> bool:
    """Whether a column counts pulses: integers that increase by one, or nearly so after digitising."""
    return (
        len(values) > 2
        and values[0] >= 0
        and bool((np.diff(values) > 0).all())
        and np.ptp(values) >= 0.9 * (len(values) - 1)
        and (np.abs(values - np.round(values)).max() < 0.45 and values.max() >= 2)
    )
