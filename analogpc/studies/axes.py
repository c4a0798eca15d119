"""The axes of a study file: varied fields, their values, and the resulting settings."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

SEEDS = ("seed", "network_seed")
"""Fields for which a number in `[axes]` is the number of values."""


class AxesError(ValueError):
    """Raised for invalid axes of a study file; the message names the axis and the allowed values."""


@dataclass(frozen=True)
class Point:
    """One value of an axis.

    Attributes
    ----------
    cells : dict
        Entries of the table, by column.
    changes : dict
        Values of fields, by dotted path.
    special : list of dict
        Further changes of special cases, applied in order.
    """

    cells: dict[str, Any]
    changes: dict[str, Any]
    special: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Axis:
    """An axis of the grid; its values are combined with all values of the other axes."""

    name: str
    points: tuple[Point, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of the axis in the table."""
        return tuple(self.points[0].cells)


@dataclass(frozen=True)
class Range:
    """A field with values proposed by a search.

    Attributes
    ----------
    name : str
        Dotted path of the field, and name of its column.
    low, high : float
        Ends of the range, both included.
    log : bool
        Whether values are uniform on a logarithmic scale.
    step : float
        Distance between allowed values; 0 if all are allowed.
    whole : bool
        Whether values are integers: true if both ends are.
    choices : tuple
        Explicit values, instead of a range.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float = 0.0
    whole: bool = False
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True)
class SpecialCase:
    """Changed fields, or skipping, of the settings whose columns have certain values."""

    where: dict[str, tuple[Any, ...]]
    changes: dict[str, Any] = field(default_factory=dict)
    skip: bool = False

    def matches(self, cells: dict[str, Any]) -> bool:
        """Return whether the case applies to a setting with these columns."""
        return all(cells.get(name) in values for name, values in self.where.items())


def read_axes(tables: Any, base: dict[str, Any], known: Collection[str]) -> tuple[list[Axis], list[Range]]:
    """Parse the axes of a grid and the ranges of a search.

    Parameters
    ----------
    tables : dict
        The table `[axes]` of a study file. Its entries are

        - `field = [value, …]`: an axis of the grid;
        - `seed = n`: the seed of the study and the n - 1 that follow;
        - `"field, field" = [[value, value], …]`: fields that vary together;
        - `field = {name = value, …}`: values shown by name in the table;
        - `anything = {name = {field = value, …}, …}`: named variants of several fields;
        - `field = {low = …, high = …}` with `log = true` or `step = …`, and `field = {choices = […]}`: searched.
    base : dict
        The fields of the study that the axes vary.
    known : names
        All fields that such studies have.

    Raises
    ------
    AxesError
        If an entry has none of these forms.
    """
    if not isinstance(tables, dict):
        raise AxesError(f"axes = {tables!r} is not allowed: it is a table of fields and their values")
    axes, ranges = [], []
    for name, given in tables.items():
        if isinstance(given, dict) and _is_field(name, known) and ({"low", "high", "choices"} & set(given)):
            ranges.append(_range(name, given))
        else:
            axes.append(_axis(name, given, base, known))
    _refuse_repeated([column for axis in axes for column in axis.columns] + [one.name for one in ranges])
    return axes, ranges


def _is_field(path: str, known: Collection[str]) -> bool:
    return path.split(".")[0] in known


def _check_field(name: str, path: str, known: Collection[str]) -> None:
    if not path or not _is_field(path, known):
        first = path.split(".")[0]
        close = difflib.get_close_matches(first, known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"its fields are {', '.join(known)}"
        raise AxesError(f"axes: {name!r} varies '{path}', which is not a field of a study; {hint}")


def _refuse_repeated(columns: list[str]) -> None:
    for column in columns:
        if columns.count(column) > 1:
            raise AxesError(f"axes: '{column}' is varied by two axes; each field has one")


def _axis(name: str, given: Any, base: dict[str, Any], known: Collection[str]) -> Axis:
    if name in SEEDS and isinstance(given, int) and not isinstance(given, bool):
        if given < 1:
            raise AxesError(f"axes: {name} = {given} is not allowed: it is a number of seeds, at least 1")
        first = base.get(name, base.get("seed", 0))
        given = [first + number for number in range(given)]
    if isinstance(given, dict):
        return _named(name, given, known)
    if not isinstance(given, list):
        number = " (only the seed takes a number of values)" if isinstance(given, int) else ""
        raise AxesError(f"axes: {name} = {given!r} is not allowed: it is a list of values or a table of named values{number}")
    if not given:
        raise AxesError(f"axes: {name} = [] is not allowed: it has at least one value")
    paths = [path.strip() for path in name.split(",")]
    for path in paths:
        _check_field(name, path, known)
    if len(paths) == 1:
        points = [Point({name: label(value)}, {name: value}) for value in given]
    else:
        points = [_pair(name, paths, values) for values in given]
    return _distinct(Axis(name, tuple(points)))


def _pair(name: str, paths: list[str], values: Any) -> Point:
    if not isinstance(values, list) or len(values) != len(paths):
        raise AxesError(f"axes: {name!r} has the value {values!r}, but its values are lists of {len(paths)}")
    return Point({path: label(value) for path, value in zip(paths, values, strict=True)}, dict(zip(paths, values, strict=True)))


def _named(name: str, given: dict[str, Any], known: Collection[str]) -> Axis:
    if not given:
        raise AxesError(f"axes: {name} = {{}} is not allowed: it has at least one named value")
    if _is_field(name, known):
        return Axis(name, tuple(Point({name: shown}, {name: value}) for shown, value in given.items()))
    points = []
    for shown, fields in given.items():
        if not isinstance(fields, dict):
            _check_field(name, name, known)
        for path in fields:
            _check_field(f"{name}.{shown}", path, known)
        points.append(Point({name: shown}, dict(fields)))
    return Axis(name, tuple(points))


def _distinct(axis: Axis) -> Axis:
    shown = [tuple(point.cells.values()) for point in axis.points]
    for one in shown:
        if shown.count(one) > 1:
            raise AxesError(f"axes: {axis.name} has the value {', '.join(map(str, one))} twice")
    return axis


def _range(name: str, given: dict[str, Any]) -> Range:
    known = {"low", "high", "log", "step", "choices"}
    if unknown := set(given) - known:
        raise AxesError(f"axes: {name} has no '{min(unknown)}'; a searched field has low and high (with log or step), or choices")
    if "choices" in given:
        choices = given["choices"]
        if set(given) != {"choices"} or not isinstance(choices, list) or not choices:
            raise AxesError(f"axes: {name} = {given!r} is not allowed: choices is a list of values, without other entries")
        return Range(name, choices=tuple(choices))
    low, high = given.get("low"), given.get("high")
    log, step = given.get("log", False), given.get("step", 0)
    numbers = [one for one in (low, high, step) if isinstance(one, (int, float)) and not isinstance(one, bool)]
    if len(numbers) != 3 or not isinstance(log, bool):
        raise AxesError(f"axes: {name} = {given!r} is not allowed: low, high and step are numbers, log is true or false")
    assert low is not None
    assert high is not None
    if not low < high or step < 0 or (log and (low <= 0 or step)):
        raise AxesError(f"axes: {name} = {given!r} is not allowed: low is below high, above 0 if log, and log excludes step")
    return Range(name, low, high, log, step, whole=all(isinstance(one, int) for one in (low, high, step)))


def label(value: Any) -> Any:
    """Format a value for the table: a string or number unchanged, otherwise its fields on one line."""
    if isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, dict):
        return ", ".join(f"{name}={label(one)}" for name, one in value.items())
    return " ".join(str(label(one)) for one in value) if isinstance(value, (list, tuple)) else str(value)


def read_exceptions(given: Any, columns: list[str], known: Collection[str]) -> list[SpecialCase]:
    """Parse the tables `[[exceptions]]` of a study file, each with `where` and either `set` or `skip = true`.

    Raises
    ------
    AxesError
        If an exception has another form, or names an unknown column.
    """
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise AxesError("exceptions must be tables in double brackets: [[exceptions]]")
    made = []
    for one in given:
        if unknown := set(one) - {"where", "set", "skip"}:
            raise AxesError(f"exceptions have no '{min(unknown)}': write where, and set or skip")
        where, changes, skip = one.get("where"), one.get("set", {}), one.get("skip", False)
        if not isinstance(where, dict) or not where or not isinstance(changes, dict) or bool(changes) == (skip is True):
            raise AxesError(
                "exceptions need where = {column = value or list of values}, and either set = {field = value} or skip = true"
            )
        for name in where:
            if name not in columns:
                raise AxesError(f"exceptions: there is no axis '{name}'; the axes are {', '.join(columns)}")
        for path in changes:
            _check_field("exceptions", path, known)
        sets = {name: tuple(values) if isinstance(values, list) else (values,) for name, values in where.items()}
        made.append(SpecialCase(sets, changes, skip is True))
    return made


def grid(axes: list[Axis], exceptions: list[SpecialCase]) -> Iterator[Point]:
    """Yield every combination of the values of all axes, the last axis fastest, with its exceptions."""
    for points in itertools.product(*(axis.points for axis in axes)):
        cells = {name: cell for point in points for name, cell in point.cells.items()}
        changes = {path: value for point in points for path, value in point.changes.items()}
        met = [one for one in exceptions if one.matches(cells)]
        if any(one.skip for one in met):
            continue
        yield Point(cells, changes, tuple(one.changes for one in met))
