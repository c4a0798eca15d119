"""Validation of a crossbar with wires, and its orientation with all ports at index 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike

_DRIVE_ENDS, _SENSE_ENDS = ("left", "right", "both"), ("bottom", "top", "both")


class Lines(TypedDict, total=False):
    """Keyword arguments for the wires in the functions of `kernels.parasitics`; see there."""

    wire_ohms: float
    row_ohms: ArrayLike | None
    column_ohms: ArrayLike | None
    driver_ohms: float
    sense_ohms: float
    transposed: bool
    drive_end: str
    sense_end: str


@dataclass(frozen=True)
class Grid:
    """An array seen from its ports: index 0 of both axes is at the driven end of the word lines and the sensed end of the bit lines.

    Attributes
    ----------
    conductance : (rows, columns) float64 array
        Siemens.
    row : (rows, columns + 1) float64 array
        Segments of the word lines in ohms, driver included, from port to far end; the last is infinite if the end is open.
    column : (rows + 1, columns) float64 array
        Segments of the bit lines, likewise.
    places : tuple of two slices
        Slices that convert an array from this order to the caller's order, and back.
    """

    conductance: np.ndarray
    row: np.ndarray
    column: np.ndarray
    places: tuple[slice, slice]


_LEAST_OHMS = 1e-150


def _scalar(name: str, value: float) -> float:
    try:
        ohms = float(value)
    except (TypeError, ValueError):
        ohms = np.nan
    if not 0 <= ohms < np.inf:
        raise ValueError(f"{name} = {value!r} is not allowed: give a finite nonnegative resistance in ohms")
    return ohms


def _segments(
    name: str, ohms: ArrayLike, shape: tuple[int, int], axis: int, end: str, both: str, last: str, port: float
) -> np.ndarray:
    """Return the segments of one kind of lines in the order of a `Grid`, including the resistance at the ports."""
    values = np.asarray(ohms, np.float64)
    wanted = (shape[0] + (axis == 0), shape[1] + (axis == 1)) if end == both else shape
    if values.ndim and values.shape != wanted:
        raise ValueError(f"{name} has the shape {values.shape}, but must be one number or an array of the shape {wanted}")
    if not (values >= 0).all() or (not values.ndim and np.isinf(values)):
        raise ValueError(f"{name} must be resistances in ohms, not negative, and in an array infinite for an open segment")
    values = np.moveaxis(np.broadcast_to(values, wanted), axis, 0)
    values = values[::-1] if end == last else values
    if end != both:
        values = np.concatenate([values, np.full_like(values[:1], np.inf)])
    values = values.copy()
    values[0] += port
    values[-1] += port
    # The reciprocal of a smaller value would overflow; joints without resistance are treated exactly.
    values[values < _LEAST_OHMS] = 0.0
    return np.ascontiguousarray(np.moveaxis(values, 0, axis))


def grid_of(conductance: np.ndarray, lines: Lines) -> Grid:
    """Check the arguments of a caller, and orient them so that the ports are at index 0."""
    given = np.asarray(conductance)
    if given.ndim != 2 or not given.size or given.dtype not in (np.float32, np.float64):
        raise ValueError(f"conductance must be a matrix of float32 or float64, not {given.shape} of {given.dtype}")
    if not (given >= 0).all() or not np.isfinite(given).all():
        raise ValueError("conductance must be finite and not negative, in siemens")
    unknown = set(lines) - set(Lines.__annotations__)
    if unknown:
        raise TypeError(f"wires have no '{min(unknown)}'; they have {', '.join(Lines.__annotations__)}")
    drive_end, sense_end = lines.get("drive_end", "left"), lines.get("sense_end", "bottom")
    for name, end, allowed in (("drive_end", drive_end, _DRIVE_ENDS), ("sense_end", sense_end, _SENSE_ENDS)):
        if end not in allowed:
            raise ValueError(f"{name} = {end!r} is not allowed: give one of {', '.join(allowed)}")
    wire = _scalar("wire_ohms", lines.get("wire_ohms", 0.0))
    given_row, given_column = lines.get("row_ohms"), lines.get("column_ohms")
    row_ohms: ArrayLike = wire if given_row is None else given_row
    column_ohms: ArrayLike = wire if given_column is None else given_column
    ports = [_scalar("driver_ohms", lines.get("driver_ohms", 0.0)), _scalar("sense_ohms", lines.get("sense_ohms", 0.0))]
    if lines.get("transposed", False):
        ports.reverse()
    places = slice(None, None, -1 if sense_end == "bottom" else 1), slice(None, None, -1 if drive_end == "right" else 1)
    row = _segments("row_ohms", row_ohms, given.shape, 1, drive_end, "both", "right", ports[0])
    column = _segments("column_ohms", column_ohms, given.shape, 0, sense_end, "both", "bottom", ports[1])
    turned = np.ascontiguousarray(given[places], np.float64)
    return Grid(turned, np.ascontiguousarray(row[places[0]]), np.ascontiguousarray(column[:, places[1]]), places)


def sources_of(grid: Grid, volts: np.ndarray, transposed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the voltages at the ports of both kinds of lines, (n, rows) and (n, columns), in the order of the grid."""
    rows, columns = grid.conductance.shape
    driven, name = (columns, "columns") if transposed else (rows, "rows")
    given = np.asarray(volts)
    if given.ndim != 2 or given.shape[1] != driven or not np.isfinite(given).all():
        raise ValueError(f"volts must be finite and of the shape (n, {driven}), one for each of the {name}, not {given.shape}")
    if transposed:
        return np.zeros((len(given), rows)), np.ascontiguousarray(given[:, grid.places[1]], np.float64)
    return np.ascontiguousarray(given[:, grid.places[0]], np.float64), np.zeros((len(given), columns))


def as_given(values: np.ndarray, grid: Grid, like: np.ndarray) -> np.ndarray:
    """Convert (n, rows, columns) from the order of the grid to the caller's, and to the type of ``like``."""
    return np.array(values[:, grid.places[0], grid.places[1]], like.dtype, order="C")
