"""Fast estimate of the effective conductances of a crossbar with wires, for small changes of its devices.

Every device is treated separately: the word line that drives it and the bit line that senses it are ladders whose other crosspoints
lead to ground, each through its device and the resistance of the line behind it. Paths across more than two lines are neglected, so the
estimate is good where wires have little effect, and its *change* with the conductances is better still.
"""

from __future__ import annotations

from typing import Unpack

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.sharing import over_slices
from analogpc.kernels.threads import distribute
from analogpc.kernels.wires.grid import Lines, grid_of

_PART = 2**14
"""Least number of crosspoints for one thread."""


@compiled
def _look(shunt, series, transfer, impedance):
    """Return the Thévenin equivalent of a line at each crosspoint, without its own device, per volt at the ports.

    ``shunt`` (lines, crosspoints) S, ``series`` (lines, crosspoints + 1) ohms, the last finite if the far end has a port too.
    """
    lines, count = shunt.shape
    for i in range(lines):
        ohms, volts = series[i, 0], 1.0
        for j in range(count):
            impedance[i, j], transfer[i, j] = ohms, 0.0 if np.isinf(ohms) else volts
            ohms, volts = _passed(ohms, volts, shunt[i, j])
            ohms += series[i, j + 1]
        ohms, volts = series[i, count], 0.0 if np.isinf(series[i, count]) else 1.0
        for j in range(count - 1, -1, -1):
            before = impedance[i, j]
            if np.isinf(before):
                impedance[i, j], transfer[i, j] = ohms, 0.0 if np.isinf(ohms) else volts
            elif not np.isinf(ohms) and before + ohms > 0:
                impedance[i, j] = before * ohms / (before + ohms)
                transfer[i, j] = (transfer[i, j] * ohms + volts * before) / (before + ohms)
            ohms, volts = _passed(ohms, volts, shunt[i, j])
            ohms += series[i, j]


@compiled
def _passed(ohms, volts, shunt):
    """Return the equivalent of a source behind a resistance with a parallel shunt."""
    if shunt == 0:
        return ohms, volts
    if np.isinf(ohms):
        return 1.0 / shunt, 0.0
    rest = 1.0 / (1.0 + shunt * ohms)
    return ohms * rest, volts * rest


@compiled
def _screen(first, stop, g, z_row, z_column, across, down):
    """Compute the shunts of the lines: every device in series with the resistance of the line behind it."""
    for i in range(first, stop):
        for j in range(g.shape[1]):
            across[i, j] = g[i, j] / (1.0 + g[i, j] * z_column[j, i]) if g[i, j] > 0 else 0.0
            down[j, i] = g[i, j] / (1.0 + g[i, j] * z_row[i, j]) if g[i, j] > 0 else 0.0


@compiled
def _join(first, stop, g, t_row, z_row, t_column, z_column, out):
    for i in range(first, stop):
        for j in range(g.shape[1]):
            if g[i, j] > 0:
                out[i, j] = t_row[i, j] * t_column[j, i] * g[i, j] / (1.0 + g[i, j] * (z_row[i, j] + z_column[j, i]))


def _estimate(g: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Return the estimate, (rows, columns); ``column`` is (columns, rows + 1)."""
    across, down, out = g.copy(), g.T.copy(), np.zeros(g.shape)
    (t_row, z_row), (t_column, z_column) = np.empty((2, *g.shape)), np.empty((2, *down.shape))
    grain = 1 + _PART // max(1, g.shape[1])
    for sweep in range(2):
        over_slices(_look, _PART, (across, row, t_row, z_row))
        over_slices(_look, _PART, (down, column, t_column, z_column))
        if sweep == 0:
            distribute(lambda first, stop: _screen(first, stop, g, z_row, z_column, across, down), len(g), grain)
    distribute(lambda first, stop: _join(first, stop, g, t_row, z_row, t_column, z_column, out), len(g), grain)
    return out


def estimated_conductance(conductance: np.ndarray, **lines: Unpack[Lines]) -> np.ndarray:
    """Approximate `kernels.parasitics.effective_conductance`, in time of the order of the number of devices.

    Parameters
    ----------
    conductance : (rows, columns) array, float32 or float64
        Siemens.
    **lines
        The wires, see `effective_conductance`.

    Returns
    -------
    (columns, rows) array, siemens
        Or (rows, columns) if ``transposed``; in the type of ``conductance``, computed in float64.
    """
    grid = grid_of(conductance, lines)
    estimate = _estimate(grid.conductance, grid.row, np.ascontiguousarray(grid.column.T))[grid.places]
    return np.array(estimate if lines.get("transposed", False) else estimate.T, conductance.dtype, order="C")
