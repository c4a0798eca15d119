"""Fast estimate of the effective conductances of a crossbar with wires, for small changes of its devices.

Every device is treated separately: the word line that drives it and the bit line that senses it are ladders whose other crosspoints
lead to ground, each through its device and the resistance of the line behind it. Paths across more than two lines are neglected, so the
estimate is good where wires have little effect, and its *change* with the conductances is better still.
"""

from __future__ import annotations

from typing import Unpack

import numba as nb
import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.wires.grid import Lines, grid_of


@compiled
def _look(shunt, series, far, transfer, impedance):
    """Return the Thévenin equivalent of a line at each crosspoint, without its own device, per volt at the ports.

    ``shunt`` (lines, crosspoints) S, ``series`` (lines, crosspoints + 1) ohms; ``far`` whether the far end has a port too.
    """
    lines, count = shunt.shape
    for i in range(lines):
        ohms, volts = series[i, 0], 1.0
        for j in range(count):
            impedance[i, j], transfer[i, j] = ohms, 0.0 if np.isinf(ohms) else volts
            ohms, volts = _passed(ohms, volts, shunt[i, j])
            ohms += series[i, j + 1]
        ohms, volts = series[i, count], 1.0 if far else 0.0
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


@compiled(parallel=True)
def _estimate(g, row, column):
    """Return the estimate, (rows, columns); ``column`` is (columns, rows + 1)."""
    rows, columns = g.shape
    across, down = g.copy(), g.T.copy()
    t_row, z_row = np.empty((rows, columns)), np.empty((rows, columns))
    t_column, z_column = np.empty((columns, rows)), np.empty((columns, rows))
    for once in range(2):
        for i in nb.prange(rows):
            far = not np.isinf(row[i, columns])
            _look(across[i : i + 1], row[i : i + 1], far, t_row[i : i + 1], z_row[i : i + 1])
        for j in nb.prange(columns):
            far = not np.isinf(column[j, rows])
            _look(down[j : j + 1], column[j : j + 1], far, t_column[j : j + 1], z_column[j : j + 1])
        if once == 0:
            for i in nb.prange(rows):
                for j in range(columns):
                    across[i, j] = g[i, j] / (1.0 + g[i, j] * z_column[j, i]) if g[i, j] > 0 else 0.0
                    down[j, i] = g[i, j] / (1.0 + g[i, j] * z_row[i, j]) if g[i, j] > 0 else 0.0
    out = np.zeros((rows, columns))
    for i in nb.prange(rows):
        for j in range(columns):
            if g[i, j] > 0:
                out[i, j] = t_row[i, j] * t_column[j, i] * g[i, j] / (1.0 + g[i, j] * (z_row[i, j] + z_column[j, i]))
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
