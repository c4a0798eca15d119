"""Wire resistance: the effective conductances of a crossbar with wires.

The circuit is that of badcrossbar: word line i is driven through a driver resistance, bit line j is sensed at virtual ground through a
sense resistance, every crosspoint has one wire segment towards the driver and one towards the sense amplifier, and a device connects the
two lines there; the other ends are open unless ``drive_end`` or ``sense_end`` is "both". With linear devices this is a linear network,
so that the bit-line currents are an effective conductance matrix times the word-line voltages.

References
----------
Joksas and Mehonic, "badcrossbar: a Python tool for computing and plotting currents and voltages in passive crossbar arrays",
SoftwareX 12:100617 (2020), for the circuit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike

from analogpc.kernels.wires import ladders
from analogpc.kernels.wires.dissection import transfer
from analogpc.kernels.wires.grid import Lines, as_given, grid_of, sources_of


def effective_conductance(
    conductance: np.ndarray,
    wire_ohms: float = 0.0,
    *,
    row_ohms: ArrayLike | None = None,
    column_ohms: ArrayLike | None = None,
    driver_ohms: float = 0.0,
    sense_ohms: float = 0.0,
    transposed: bool = False,
    drive_end: str = "left",
    sense_end: str = "bottom",
) -> np.ndarray:
    """Effective conductances of an array with wires: line currents into virtual ground per voltage on the crossing lines.

    Exact for linear devices, at a cost of the order of lines**3 (nested dissection, see `kernels.dissection`), all in float64. Wires
    without resistance are exact too: without any resistance the result equals the conductances. The loss of digits beyond rounding is
    given by the largest finite line resistance times device conductance.

    Parameters
    ----------
    conductance : (rows, columns) array, float32 or float64
        In siemens; zero is an open device.
    wire_ohms : float
        Resistance of every wire segment, in ohms.
    row_ohms, column_ohms : float or array, optional
        Segments of the word lines and of the bit lines, replacing ``wire_ohms``. An array of (rows, columns) holds the segment from
        each crosspoint towards the driver or the sense amplifier. Lines with both ends connected have one segment more:
        (rows, columns + 1) from left to right, or (rows + 1, columns) from top to bottom. ``inf`` is an open segment.
    driver_ohms, sense_ohms : float
        Resistance at every connected end of a driven line and of a sensed line.
    transposed : bool
        Drive the bit lines and sense the word lines, at the same ends.
    drive_end : "left", "right" or "both"
        Connected ends of the word lines.
    sense_end : "bottom", "top" or "both"
        Connected ends of the bit lines. Row 0 is at the top.

    Returns
    -------
    (columns, rows) array, siemens
        Or (rows, columns) if ``transposed``; in the type of ``conductance``. Multiply by the vector of voltages.

    Raises
    ------
    ValueError
        If an argument is not allowed.

    Examples
    --------
    >>> effective_conductance(np.array([[1e-3]]), wire_ohms=500.0)
    array([[0.0005]])
    """
    lines = Lines(wire_ohms=wire_ohms, row_ohms=row_ohms, column_ohms=column_ohms, driver_ohms=driver_ohms, sense_ohms=sense_ohms)
    lines |= Lines(transposed=transposed, drive_end=drive_end, sense_end=sense_end)
    grid = grid_of(conductance, lines)
    if not grid.row[:, :-1].any() and not grid.column[:-1].any():
        return np.array(conductance if transposed else conductance.T, order="C")
    matrix = transfer(grid)[grid.places[1], grid.places[0]]
    # The network is reciprocal: what bit line j gets from word line i, word line i gets from bit line j.
    return np.array(matrix.T if transposed else matrix, conductance.dtype, order="C")


def node_voltages(conductance: np.ndarray, volts: np.ndarray, **lines: Unpack[Lines]) -> tuple[np.ndarray, np.ndarray]:
    """Return the voltages on both sides of every device, for given inputs.

    Parameters
    ----------
    conductance : (rows, columns) array, float32 or float64
        Siemens.
    volts : (n, rows) array
        Word-line voltages; (n, columns) bit-line voltages if ``transposed``.
    **lines
        The wires, see `effective_conductance`.

    Returns
    -------
    word, bit : (n, rows, columns) arrays, volts
        In the type of ``conductance``, computed in float64. A floating node, on a piece of a line between open segments without any
        device, has no defined voltage: its value has no meaning.
    """
    grid = grid_of(conductance, lines)
    sources = sources_of(grid, volts, lines.get("transposed", False))
    nothing = np.zeros((1, *grid.conductance.shape))
    word, bit = ladders.solve(grid.conductance[None], nothing, grid.row, grid.column, *sources)
    return as_given(word, grid, conductance), as_given(bit, grid, conductance)


def device_voltages(conductance: np.ndarray, volts: np.ndarray, **lines: Unpack[Lines]) -> np.ndarray:
    """Return the voltage across every device, word line minus bit line, (n, rows, columns) volts; parameters as in `node_voltages`."""
    word, bit = node_voltages(conductance, volts, **lines)
    return word - bit


def sensitivity(conductance: np.ndarray, volts: np.ndarray, **lines: Unpack[Lines]) -> np.ndarray:
    """Return the derivatives of the sensed currents with respect to the conductances, from the circuit and its adjoint.

    Parameters
    ----------
    conductance : (rows, columns) array, float32 or float64
        Siemens.
    volts : (rows,) array
        Word-line voltages; (columns,) bit-line voltages if ``transposed``.
    **lines
        The wires, see `effective_conductance`.

    Returns
    -------
    (columns, rows, columns) array, volts
        Element [c, i, j] is the derivative of the current of bit line c by the conductance at (i, j); (rows, rows, columns)
        with the currents of word lines if ``transposed``.
    """
    grid, transposed = grid_of(conductance, lines), lines.get("transposed", False)
    nothing = np.zeros((1, *grid.conductance.shape))
    wires = grid.conductance[None], nothing, grid.row, grid.column
    word, bit = ladders.solve(*wires, *sources_of(grid, np.asarray(volts)[None], transposed))
    # One volt at one sensed port at a time, in the caller's order of the ports.
    sensed = grid.conductance.shape[0 if transposed else 1]
    adjoint_word, adjoint_bit = ladders.solve(*wires, *sources_of(grid, np.eye(sensed), not transposed))
    return as_given(-(word - bit) * (adjoint_word - adjoint_bit), grid, conductance)


def nonlinear_currents(
    conductance: np.ndarray,
    volts: np.ndarray,
    law: tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]] | float,
    *,
    tolerance: float = 1e-9,
    **lines: Unpack[Lines],
) -> np.ndarray:
    """Return the sensed currents of an array of nonlinear devices, each carrying I = G s(V).

    Newton's method: every step solves the wires exactly with devices linearised at their own voltages, for each input separately. A
    step that would increase the deviation of the currents from the law is shortened.

    Parameters
    ----------
    conductance : (rows, columns) array, float32 or float64
        Siemens at small voltages.
    volts : (n, rows) array
        Word-line voltages; (n, columns) bit-line voltages if ``transposed``.
    law : (s, slope) or float
        Function s, odd and increasing, in volts, and its derivative, both of arrays; or the voltage V_s of s(V) = V_s sinh(V / V_s).
    tolerance : float
        Largest deviation of a device's current from its law, relative to the largest current of that input.
    **lines
        The wires, see `effective_conductance`.

    Returns
    -------
    (n, columns) array, amperes
        Currents into virtual ground; (n, rows) if ``transposed``. In the type of ``conductance``, computed in float64.

    Raises
    ------
    ArithmeticError
        If an input does not converge.
    """
    s, slope = _sinh(law) if isinstance(law, (int, float)) else law
    grid, transposed = grid_of(conductance, lines), lines.get("transposed", False)
    sources = sources_of(grid, volts, transposed)
    nothing = np.zeros((1, *grid.conductance.shape))
    g = grid.conductance
    word, bit = ladders.solve(g[None], nothing, grid.row, grid.column, *sources)
    across = word - bit
    carried = g * across
    for _ in range(100):
        off = g * s(across) - carried
        worst = np.abs(off).max(axis=(1, 2))
        largest = np.abs(carried).max(axis=(1, 2))
        open_ = ~(worst <= tolerance * largest)
        if not open_.any():
            # Counted from word line to bit line, hence out of virtual ground when the word lines are sensed.
            currents = -carried.sum(axis=2) if transposed else carried.sum(axis=1)
            return np.array(currents[:, grid.places[0 if transposed else 1]], conductance.dtype, order="C")
        here = np.flatnonzero(open_)
        tangent = g * slope(across[here])
        beside = g * s(across[here]) - tangent * across[here]
        word, bit = ladders.solve(tangent, beside, grid.row, grid.column, sources[0][here], sources[1][here])
        step, wanted = word - bit - across[here], tangent * (word - bit) + beside - carried[here]
        across[here], carried[here] = _shortened(g, s, across[here], carried[here], step, wanted)
    raise ArithmeticError(f"the nonlinear devices did not converge to {tolerance:g} for {here.size} of {len(across)} inputs")


def _sinh(volts: float) -> tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    if not 0 < volts < np.inf:
        raise ValueError(f"law = {volts!r} is not allowed: the voltage of a sinh law is positive and finite")
    return (lambda v: volts * np.sinh(v / volts)), (lambda v: np.cosh(v / volts))


def _shortened(
    g: np.ndarray, s: Callable, across: np.ndarray, carried: np.ndarray, step: np.ndarray, change: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Apply the part of a step that lowers the deviation, for every input separately; any part satisfies Kirchhoff's laws."""
    before = np.linalg.norm(g * s(across) - carried, axis=(1, 2))
    length = np.ones((len(across), 1, 1))
    for _ in range(30):
        now = np.linalg.norm(g * s(across + length * step) - carried - length * change, axis=(1, 2))
        worse = ~(now < before)
        if not worse.any():
            break
        length[worse] /= 2
    return across + length * step, carried + length * change
