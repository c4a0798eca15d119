"""Transfer matrix of a grid of wires and devices by nested dissection: blocks of the grid are joined in pairs.

Crosspoints are joined to leaves, leaves to blocks, and blocks to the whole grid; every seam is eliminated when it is closed, while
blocks are small. The work therefore grows with the third power of the number of lines, instead of the fourth for elimination by lines.

References
----------
George, "Nested dissection of a regular finite element mesh", SIAM J. Numer. Anal. 10:345 (1973).
"""

from __future__ import annotations

import functools
import itertools

import numpy as np
from threadpoolctl import ThreadpoolController

from analogpc.kernels.wires.grid import Grid
from analogpc.kernels.wires.port_blocks import BOTTOM, LEFT, RIGHT, SPARE, TOP, Block, join, join_far, join_neighbours, leaves

_LEAF = 9
_APART = 16


def _levels(lines: int) -> tuple[int, int]:
    """Return the leaf edge and the number of doublings that cover ``lines``."""
    doublings = 0
    while -(-lines >> doublings) > _LEAF:
        doublings += 1
    return -(-lines >> doublings), doublings


def _padded(values: np.ndarray, shape: tuple[int, int], fill: float) -> np.ndarray:
    """Return ``values`` in the corner of a larger array; lines without resistance or devices extend the open ends without effect."""
    out = np.full(shape, fill, values.dtype)
    out[: values.shape[0], : values.shape[1]] = values
    return out


def _reduced(
    conductance: np.ndarray,
    row: np.ndarray,
    column: np.ndarray,
    row_spare: np.ndarray,
    column_spare: np.ndarray,
    spares: int,
    keep: tuple[bool, bool],
) -> Block:
    """Return one block for a whole grid whose near ends are at index 0 of both axes.

    Parameters
    ----------
    conductance : (rows, columns) float64 array
        Siemens.
    row, column : (rows, columns) float64 arrays
        Resistance in ohms of the segment on the near side of each crosspoint, finite.
    row_spare, column_spare : (rows, columns) int64 arrays
        -1, or the number of the spare port that replaces that segment; the line starts anew there.
    spares : int
        Number of spare ports.
    keep : (bool, bool)
        Whether the RIGHT and the TOP ports are needed.

    Returns
    -------
    Block
    """
    rows, columns = conductance.shape
    (down, row_levels), (across, column_levels) = _levels(rows), _levels(columns)
    shape = down << row_levels, across << column_levels
    wired = _padded(conductance, shape, 0.0), _padded(row, shape, 0.0), _padded(column, shape, 0.0)
    begun = _padded(row_spare, shape, -1), _padded(column_spare, shape, -1)
    matrix = leaves(*wired, *begun, down, across, spares)
    count = 1 << row_levels, 1 << column_levels
    block = Block(matrix.reshape(*count, *matrix.shape[1:]), _ports(down, across, spares))
    while count[0] * count[1] > _APART:
        sideways = _sideways(down, across, count)
        block = join_neighbours(block, sideways)
        down, across, count = _grown(down, across, count, sideways)
    blocks = [[Block(block.matrix[p, q], block.ports) for q in range(count[1])] for p in range(count[0])]
    if not keep[0]:
        blocks = [[*line[:-1], line[-1].dropped(RIGHT)] for line in blocks]
    if not keep[1]:
        blocks[-1] = [each.dropped(TOP) for each in blocks[-1]]
    while count != (1, 1):
        sideways = _sideways(down, across, count)
        if sideways:
            blocks = [[join(*pair, RIGHT, LEFT) for pair in zip(line[::2], line[1::2], strict=True)] for line in blocks]
        else:
            both = zip(blocks[::2], blocks[1::2], strict=True)
            blocks = [[join(a, b, TOP, BOTTOM) for a, b in zip(*pair, strict=True)] for pair in both]
        down, across, count = _grown(down, across, count, sideways)
    last = blocks[0][0]
    lines = rows, columns, spares, rows, columns
    return Block(last.matrix, tuple(ports[:used] for ports, used in zip(last.ports, lines, strict=True)))


def _ports(down: int, across: int, spares: int) -> tuple[np.ndarray, ...]:
    """Return the indices of the ports of a leaf."""
    sizes = np.array([down, across, spares, down, across])
    return tuple(np.split(np.arange(sizes.sum()), np.cumsum(sizes)[:-1]))


def _sideways(down: int, across: int, count: tuple[int, int]) -> bool:
    """Whether to join left with right next, rather than bottom with top: across the shorter seam."""
    return count[0] == 1 or (count[1] > 1 and across <= down)


def _grown(down: int, across: int, count: tuple[int, int], sideways: bool) -> tuple[int, int, tuple[int, int]]:
    if sideways:
        return down, 2 * across, (count[0], count[1] // 2)
    return 2 * down, across, (count[0] // 2, count[1])


def _spare(conductance: np.ndarray, row: np.ndarray, prolonged: bool, first: int, ohms: float) -> tuple[np.ndarray, np.ndarray]:
    """Replace open segments: a piece of a line held only by devices gets a port of its own, with zero current.

    Parameters
    ----------
    conductance : (lines, crosspoints) array
        Updated in place: the only device of such a piece carries no current and is removed.
    row : (lines, crosspoints) array
        Segment resistances, infinite where open.
    prolonged : bool
        Whether the far ends continue elsewhere.
    first : int
        Number of the first port.
    ohms : float
        A resistance of the order of that of the devices.

    Returns
    -------
    (lines, crosspoints) float64 array, (lines, crosspoints) int64 array
        Finite segments, and the number of the port that replaces a segment, or -1. Such a port gets a resistance, which does not
        affect the result, so that it can be joined to a line without resistance.
    """
    spare = np.full(row.shape, -1, np.int64)
    for line in np.flatnonzero(np.isinf(row).any(axis=1)):
        begins = [*np.flatnonzero(np.isinf(row[line])), row.shape[1]]
        for begin, end in itertools.pairwise(begins):
            goes_on = prolonged and end == row.shape[1]
            devices = np.count_nonzero(conductance[line, begin:end])
            if goes_on or devices > 1:
                spare[line, begin] = first
                first += 1
            else:
                conductance[line, begin:end] = 0.0
    return np.where(np.isinf(row), np.where(spare >= 0, ohms, 0.0), row), spare


def _halves(lines: int, both: bool) -> list[tuple[slice, slice]]:
    """Return the crosspoints of a line as seen from each port, and the segments on their near sides."""
    if not both:
        return [(slice(0, lines), slice(0, lines))]
    cut = (lines + 1) // 2
    return [(slice(0, cut), slice(0, cut)), (slice(lines - 1, cut - 1, -1), slice(lines, cut, -1))]


@functools.cache
def _blas() -> ThreadpoolController:
    # Kernels take BLAS from there; its threads can only be limited once it is loaded. Only wires need it, and loading takes long.
    import scipy.linalg  # noqa: F401

    return ThreadpoolController()


def transfer(grid: Grid) -> np.ndarray:
    """Return bit-line currents per word-line voltage, (columns, rows) float64, in the order of the grid.

    The products are too small to be shared between BLAS threads; with one thread the bits do not depend on their number either.
    """
    with _blas().limit(limits=1, user_api="blas"):
        return _transfer(grid)


def _transfer(grid: Grid) -> np.ndarray:
    both = [bool(np.isfinite(last).any()) for last in (grid.column[-1], grid.row[:, -1])]
    # A line of one crosspoint and two ports gets a second crosspoint without a device, so that it has two halves.
    extra = [int(both[axis] and grid.conductance.shape[axis] == 1) for axis in (0, 1)]
    conductance = np.pad(grid.conductance, ((0, extra[0]), (0, extra[1])))
    row = np.pad(grid.row, ((0, extra[0]), (0, extra[1])))
    column = np.pad(grid.column, ((0, extra[0]), (0, extra[1])))
    shape = conductance.shape
    parts, spares, ohms = [], 0, 1 / (conductance.max() or 1.0)
    for down, above in _halves(shape[0], both[0]):
        for across, beside in _halves(shape[1], both[1]):
            own = conductance[down, across].copy()
            rows, row_spare = _spare(own, row[down, beside], both[1], spares, ohms)
            spares = max(spares, int(row_spare.max()) + 1)
            columns, column_spare = _spare(own.T, column[above, across].T, both[0], spares, ohms)
            spares = max(spares, int(column_spare.max()) + 1)
            parts.append((own, rows, columns.T, row_spare, column_spare.T))
    blocks = [_reduced(*part, spares, (both[1], both[0])) for part in parts]
    order = np.arange(shape[0]), np.arange(shape[1])
    order_rows = np.concatenate([order[0][down] for down, _ in _halves(shape[0], both[0]) for _ in range(1 + both[1])])
    order_columns = np.concatenate([order[1][across] for across, _ in _halves(shape[1], both[1])])
    if both[1]:
        seam, pairs = (shape[1] + 1) // 2, zip(blocks[::2], blocks[1::2], _halves(shape[0], both[0]), strict=True)
        blocks = [join_far(a, b, RIGHT, row[down, seam]) for a, b, (down, _) in pairs]
    if both[0]:
        blocks = [join_far(blocks[0], blocks[1], TOP, column[(shape[0] + 1) // 2, order_columns])]
        order_columns = np.tile(order_columns, 2)
    reduced = _closed(blocks[0])
    matrix = np.zeros(shape[::-1])
    np.add.at(matrix, (order_columns[:, None], order_rows), -reduced)
    return matrix[: grid.conductance.shape[1], : grid.conductance.shape[0]]


def _closed(block: Block) -> np.ndarray:
    """Return currents into the BOTTOM ports per voltage at the LEFT ports with zero current through the spare ports."""
    left, bottom, spare = (block.ports[side] for side in (LEFT, BOTTOM, SPARE))
    matrix = block.part(bottom, left)
    if not len(spare):
        return matrix
    own = block.part(spare, spare)
    scale = np.sqrt(np.diag(own))
    scale = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    # Pieces that are connected only to each other have no defined voltage: singular, and without effect.
    inverse = np.linalg.pinv(own * scale[:, None] * scale, 1e-12, hermitian=True)
    return matrix - (block.part(bottom, spare) * scale) @ inverse @ (block.part(spare, left) * scale[:, None])
