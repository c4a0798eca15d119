"""Node voltages of a grid of wires and devices: conjugate gradients around exact solutions of single lines.

A line with given voltages on the crossing lines is a ladder network. Seen from any crosspoint, the rest of the line is a voltage behind
a resistance (Thévenin), which two sweeps along the line convert to node voltages; segments without resistance and open segments need no
special treatment. Eliminating all word lines in this way gives a symmetric positive definite system for the bit lines, with the separate
bit lines as preconditioner. The coupling between lines is weak if the wires conduct better than the devices, so that few iterations are
needed, and each costs of the order of the number of crosspoints.
"""

from __future__ import annotations

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.threads import distribute


@compiled
def _factor(shunt, series, line, step, start, count, far, ladder):
    """Factorise one line: ``ladder[:, node]`` holds the factors of the sweeps; node = start + step * position."""
    beyond = far
    for position in range(count - 1, -1, -1):
        node = start + step * position
        d, r = shunt[node], series[line[0] + line[1] * position]
        if np.isinf(beyond):
            passed, behind = 0.0, 1.0 / d if d > 0 else np.inf
        else:
            passed = 1.0 / (1.0 + d * beyond)
            behind = beyond * passed
        # The voltage of a node, from the previous node and from the rest of the line.
        if r == 0 or np.isinf(behind):
            ladder[2, node], ladder[3, node] = 1.0, 0.0
        elif np.isinf(r):
            ladder[2, node], ladder[3, node] = 0.0, 1.0
        else:
            ladder[2, node], ladder[3, node] = behind / (r + behind), r / (r + behind)
        ladder[0, node] = passed
        ladder[1, node] = 0.0 if np.isinf(behind) else behind
        beyond = behind + r


@compiled
def _factor_grid(shunt, row, column, ladder_rows, ladder_columns):
    """Factorise both ladders of one array, (4, rows * columns) each."""
    rows, columns = row.shape[0], column.shape[1]
    flat_row, flat_column = row.reshape(-1), column.reshape(-1)
    for i in range(rows):
        line = (i * (columns + 1), 1)
        _factor(shunt, flat_row, line, 1, i * columns, columns, row[i, columns], ladder_rows)
    for j in range(columns):
        line = (j, columns)
        _factor(shunt, flat_column, line, columns, j, rows, column[rows, j], ladder_columns)


@compiled
def _sweep_rows(ladder, source, drawn, volts, rows, columns):
    """Compute the voltages of all word lines that supply the currents ``drawn`` in addition to their shunts."""
    for i in range(rows):
        behind = source[i]
        for node in range((i + 1) * columns - 1, i * columns - 1, -1):
            behind = ladder[0, node] * behind - ladder[1, node] * drawn[node]
            volts[node] = behind
        before = source[i]
        for node in range(i * columns, (i + 1) * columns):
            before = ladder[2, node] * before + ladder[3, node] * volts[node]
            volts[node] = before


@compiled
def _sweep_columns(ladder, source, drawn, volts, rows, columns):
    """Compute the voltages of all bit lines side by side."""
    last = (rows - 1) * columns
    for j in range(columns):
        volts[last + j] = ladder[0, last + j] * source[j] - ladder[1, last + j] * drawn[last + j]
    for node in range(last - 1, -1, -1):
        volts[node] = ladder[0, node] * volts[node + columns] - ladder[1, node] * drawn[node]
    for j in range(columns):
        volts[j] = ladder[2, j] * source[j] + ladder[3, j] * volts[j]
    for node in range(columns, rows * columns):
        volts[node] = ladder[2, node] * volts[node - columns] + ladder[3, node] * volts[node]


@compiled(allocates=True)
def _solve(shunt, current, row, column, source_rows, source_columns, tolerance, iterations, word, bit):
    """Solve for one set of sources; return the number of iterations, or -1."""
    rows, columns = row.shape[0], column.shape[1]
    size = rows * columns
    ladder_rows, ladder_columns = np.empty((4, size)), np.empty((4, size))
    _factor_grid(shunt, row, column, ladder_rows, ladder_columns)
    zero_rows, zero_columns = np.zeros(rows), np.zeros(columns)
    drawn, answer, residual = np.empty(size), np.empty(size), np.empty(size)
    z, p, cp = np.empty(size), np.empty(size), np.empty(size)
    _sweep_rows(ladder_rows, source_rows, current, word, rows, columns)
    for k in range(size):
        drawn[k] = -(shunt[k] * word[k] + current[k])
    _sweep_columns(ladder_columns, source_columns, drawn, bit, rows, columns)
    for k in range(size):
        drawn[k] = current[k] - shunt[k] * bit[k]
    _sweep_rows(ladder_rows, source_rows, drawn, answer, rows, columns)
    power = 0.0
    for k in range(size):
        residual[k] = shunt[k] * (answer[k] - word[k])
        word[k] = answer[k]
        power += shunt[k] * (word[k] ** 2 + bit[k] ** 2)
    before = 0.0
    for count in range(iterations):
        for k in range(size):
            drawn[k] = -residual[k]
        _sweep_columns(ladder_columns, zero_columns, drawn, z, rows, columns)
        energy = 0.0
        for k in range(size):
            energy += residual[k] * z[k]
        if energy <= tolerance * tolerance * power:
            return count
        ratio = energy / before if count else 0.0
        for k in range(size):
            p[k] = z[k] + (ratio * p[k] if count else 0.0)
            cp[k] = residual[k] + (ratio * cp[k] if count else 0.0)
            drawn[k] = -shunt[k] * p[k]
        before = energy
        _sweep_rows(ladder_rows, zero_rows, drawn, answer, rows, columns)
        curvature = 0.0
        for k in range(size):
            drawn[k] = cp[k] - shunt[k] * answer[k]
            curvature += p[k] * drawn[k]
        if not curvature > 0:
            return -1
        length = energy / curvature
        for k in range(size):
            bit[k] += length * p[k]
            word[k] += length * answer[k]
            residual[k] -= length * drawn[k]
    return -1


@compiled
def _solve_some(first, stop, shunt, current, row, column, source_rows, source_columns, tolerance, iterations, word, bit, used):
    for n in range(first, stop):
        own, given = shunt[n % len(shunt)], current[n % len(current)]
        args = row, column, source_rows[n], source_columns[n], tolerance, iterations
        used[n] = _solve(own, given, *args, word[n], bit[n])


def solve(
    shunt: np.ndarray,
    current: np.ndarray,
    row: np.ndarray,
    column: np.ndarray,
    source_rows: np.ndarray,
    source_columns: np.ndarray,
    tolerance: float = 1e-13,
) -> tuple[np.ndarray, np.ndarray]:
    """Return node voltages of word lines and bit lines that are connected by conductances and current sources.

    Parameters
    ----------
    shunt : (n or 1, rows, columns) float64 array
        Conductances in siemens.
    current : (n or 1, rows, columns) float64 array
        Current in amperes from word line to bit line in parallel with each conductance; zero where that is zero.
    row, column : (rows, columns + 1) and (rows + 1, columns) float64 arrays
        Segments of the lines in ohms, from the port to the far end.
    source_rows, source_columns : (n, rows) and (n, columns) float64 arrays
        Volts at the ports.
    tolerance : float
        Relative error in the norm of the dissipated power.

    Returns
    -------
    word, bit : (n, rows, columns) float64 arrays
        Volts.

    Raises
    ------
    ArithmeticError
        If the iteration does not converge.
    """
    n, (rows, columns) = len(source_rows), shunt.shape[1:]
    word, bit = np.empty((n, rows, columns)), np.empty((n, rows, columns))
    used, limit = np.zeros(n, np.int64), 20 * (rows + columns) + 1000
    flat = shunt.reshape(-1, rows * columns), current.reshape(-1, rows * columns)
    wires = row, column, source_rows, source_columns
    given = *flat, *wires, tolerance, limit, word.reshape(n, -1), bit.reshape(n, -1), used
    distribute(lambda first, stop: _solve_some(first, stop, *given), n)
    if (used < 0).any():
        raise ArithmeticError(f"node voltages did not converge to {tolerance:g} for {np.count_nonzero(used < 0)} of {n} inputs")
    return word, bit
