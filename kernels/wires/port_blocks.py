"""Blocks of a grid of wires and devices, described by their ports, and the joining of two blocks to one.

A block of rows x columns crosspoints is described by its behaviour at its ports. The *near* end of a line is the one towards its source
or sense amplifier, the other the *far* end. For given voltages v at the near ends and outward currents i at the far ends,

    [near currents; far voltages] = H [v; i],        H = [[Y, P^T], [P, -Z]],

where Y and Z are symmetric and positive semidefinite, so that H is symmetric. In this mixed form a wire without resistance is regular
(P = 1, Z = 0), and small wire resistances lose no digits, unlike in nodal analysis.

A device of conductance G between the far ends of word line a and bit line b is a rank-one update: with h = H[a] - H[b] and
zeta = h[b] - h[a], H becomes H + h h^T G / (1 + G zeta). Joining the far ends of a block A with the near ends of a block B costs one
factorisation of I + Z_A Y_B, which is never singular.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.threads import distribute

LEFT, BOTTOM, SPARE, RIGHT, TOP = range(5)
Index = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def leaves(
    conductance: np.ndarray,
    row: np.ndarray,
    column: np.ndarray,
    row_spare: np.ndarray,
    column_spare: np.ndarray,
    down: int,
    across: int,
    spares: int,
) -> np.ndarray:
    """Return H of every leaf of ``down`` x ``across`` crosspoints, with ports in the order LEFT, BOTTOM, SPARE, RIGHT, TOP."""
    count = (conductance.shape[0] // down) * (conductance.shape[1] // across)
    size = 2 * (down + across) + spares
    out = np.zeros((count, size, size))
    given = conductance, row, column, row_spare, column_spare, down, across, spares
    distribute(lambda first, stop: _leaves(first, stop, *given, out), count)
    return out


@compiled(allocates=True)
def _leaves(first, stop, conductance, row, column, row_spare, column_spare, down, across, spares, out):
    count_across = conductance.shape[1] // across
    right = down + across + spares
    size = right + down + across
    for leaf in range(first, stop):
        top_row, left_column = leaf // count_across * down, leaf % count_across * across
        matrix, h = out[leaf], np.empty(size)
        for line in range(down + across):
            matrix[line, right + line] = matrix[right + line, line] = 1.0
        for i in range(down):
            for j in range(across):
                here = top_row + i, left_column + j
                a, b = right + i, right + down + j
                for port, ohms, spare in ((a, row[here], row_spare[here]), (b, column[here], column_spare[here])):
                    if spare >= 0:
                        matrix[port, :] = 0.0
                        matrix[:, port] = 0.0
                        matrix[port, down + across + spare] = matrix[down + across + spare, port] = 1.0
                    matrix[port, port] -= ohms
                if conductance[here] > 0:
                    _connect(matrix, h, a, b, conductance[here])


@compiled
def _connect(matrix, h, a, b, conductance):
    """Connect a device between the far ports a and b."""
    size = len(h)
    for p in range(size):
        h[p] = matrix[a, p] - matrix[b, p]
    remaining = 1.0 / (1.0 + conductance * (h[b] - h[a]))
    gain = conductance * remaining
    for p in range(size):
        if h[p] != 0:
            factor = gain * h[p]
            for q in range(size):
                matrix[p, q] += factor * h[q]
    # The end with the larger impedance again, as the other end plus the remaining difference: this avoids cancellation.
    if matrix[a, a] > matrix[b, b]:
        a, b, remaining = b, a, -remaining
    for p in range(size):
        if p != a:
            matrix[a, p] = matrix[p, a] = matrix[b, p] + remaining * h[p]
    matrix[a, a] = matrix[a, b] + remaining * h[a]


@dataclass(frozen=True)
class Block:
    """One or several (leading axes) blocks of equal shape.

    Attributes
    ----------
    matrix : (..., ports, ports) float64 array
        Matrix H.
    ports : tuple of five int arrays
        Indices of the LEFT, BOTTOM, SPARE, RIGHT and TOP ports in ``matrix``, each in the order of the lines.
    """

    matrix: np.ndarray
    ports: tuple[np.ndarray, ...]

    def part(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return some rows and columns of H, (..., first, second)."""
        return self.matrix[..., first[:, None], second]

    def dropped(self, *sides: int) -> Block:
        """Return the block with the far ports of these sides left open permanently."""
        empty = np.zeros(0, np.int64)
        return Block(self.matrix, tuple(empty if side in sides else ports for side, ports in enumerate(self.ports)))


def _merged(a: Block, b: Block, far_a: int, side_b: int) -> tuple[Index, tuple[np.ndarray, ...], int]:
    """Return the joined and kept ports of two blocks, and the new indices of the kept ones; spare ports are shared by both.

    Returns
    -------
    tuple of six arrays
        Joined and kept ports of ``a``, the same of ``b``, the new indices of the kept ports of ``a`` and of ``b``.
    tuple
        Ports of the new block.
    int
        Number of these ports.
    """
    keep_a = [ports if side != far_a else ports[:0] for side, ports in enumerate(a.ports)]
    keep_b = [ports if side != side_b else ports[:0] for side, ports in enumerate(b.ports)]
    place_a, place_b, start = [], [], 0
    for side in range(5):
        place_a.append(start + np.arange(len(keep_a[side])))
        start += len(keep_a[side])
        place_b.append(place_a[side] if side == SPARE else start + np.arange(len(keep_b[side])))
        start += 0 if side == SPARE else len(keep_b[side])
    ports = tuple(places if side == SPARE else np.concatenate([places, place_b[side]]) for side, places in enumerate(place_a))
    index = a.ports[far_a], np.concatenate(keep_a), b.ports[side_b], np.concatenate(keep_b)
    return (*index, np.concatenate(place_a), np.concatenate(place_b)), ports, start


@compiled
def _gather(matrix, first, second, out):
    for p in range(len(first)):
        for q in range(len(second)):
            out[p, q] = matrix[first[p], second[q]]


@compiled
def _store(matrix, index, place, change, sign, out):
    """Add the kept part of ``matrix``, changed, to ``out``."""
    for p in range(len(index)):
        for q in range(len(index)):
            out[place[p], place[q]] += matrix[index[p], index[q]] + sign * change[p, q]


@compiled(allocates=True)
def _view(work, start, rows, columns):
    return work[start : start + rows * columns].reshape(rows, columns)


@compiled(allocates=True)
def _join(a, b, seam_a, keep_a, seam_b, keep_b, place_a, place_b, out, work):
    """Join one pair: with W = 1 / (I + Z_A Y_B), the current in the seam is W^T (Y_B alpha + beta), its voltage W (alpha - Z_A beta)."""
    k, p, q = len(seam_a), len(keep_a), len(keep_b)
    size = max(p, q)
    z, y = _view(work, 0, k, k), _view(work, k * k, k, k)
    product = _view(work, 2 * k * k, k, k)
    e, f = _view(work, 3 * k * k, k, p), _view(work, 3 * k * k + k * p, k, q)
    start = 3 * k * k + k * (p + q)
    ke, kf, corner = _view(work, start, k, p), _view(work, start, k, q), start + k * size
    _gather(a, seam_a, seam_a, z)
    for i in range(k):
        for j in range(k):
            z[i, j] = -z[i, j]
    _gather(b, seam_b, seam_b, y)
    _gather(a, seam_a, keep_a, e)
    _gather(b, seam_b, keep_b, f)
    np.dot(z, y, product)
    for i in range(k):
        product[i, i] += 1.0
    inverse = np.linalg.inv(product)
    out[:] = 0.0
    np.dot(y, inverse, product)
    np.dot(product, e, ke)
    aa = _view(work, corner, p, p)
    np.dot(e.T, ke, aa)
    _store(a, keep_a, place_a, aa, 1.0, out)
    np.dot(inverse, z, product)
    np.dot(product, f, kf)
    bb = _view(work, corner, q, q)
    np.dot(f.T, kf, bb)
    _store(b, keep_b, place_b, bb, -1.0, out)
    np.dot(inverse.T, f, kf)
    ab = _view(work, corner, p, q)
    np.dot(e.T, kf, ab)
    for i in range(p):
        for j in range(q):
            out[place_a[i], place_b[j]] += ab[i, j]
            out[place_b[j], place_a[i]] += ab[i, j]


@compiled
def _join_some(first, stop, matrix, down, across, seam_a, keep_a, seam_b, keep_b, place_a, place_b, out, work):
    """Join some of the pairs of a grid of blocks, ``down`` x ``across`` per pair."""
    columns = out.shape[1]
    for pair in range(first, stop):
        i, j = pair // columns, pair % columns
        a, b = matrix[i * down, j * across], matrix[i * down + down - 1, j * across + across - 1]
        _join(a, b, seam_a, keep_a, seam_b, keep_b, place_a, place_b, out[i, j], work)


def _work(index: Index) -> int:
    """Return the size of the working space of `_join`."""
    k, p, _, q = (len(each) for each in index[:4])
    return 3 * k * k + k * (p + q + max(p, q)) + max(p, q) ** 2


def join(a: Block, b: Block, far: int, near: int) -> Block:
    """Join the ``far`` side of ``a`` (RIGHT or TOP) with the ``near`` side of ``b`` (LEFT or BOTTOM)."""
    index, ports, size = _merged(a, b, far, near)
    out = np.empty((size, size))
    _join(a.matrix, b.matrix, *index, out, np.empty(_work(index)))
    return Block(out, ports)


def join_neighbours(blocks: Block, sideways: bool) -> Block:
    """Join every second block of a grid of them, (blocks, blocks, ports, ports), with its right neighbour, or with the one above."""
    far, near = (RIGHT, LEFT) if sideways else (TOP, BOTTOM)
    index, ports, size = _merged(blocks, blocks, far, near)
    down, across = (1, 2) if sideways else (2, 1)
    out = np.empty((blocks.matrix.shape[0] // down, blocks.matrix.shape[1] // across, size, size))
    given, room = (blocks.matrix, down, across, *index, out), _work(index)
    distribute(lambda first, stop: _join_some(first, stop, *given, np.empty(room)), out.shape[0] * out.shape[1])
    return Block(out, ports)


def join_far(a: Block, b: Block, far: int, ohms: np.ndarray) -> Block:
    """Join the ``far`` sides of two blocks through resistors, (lines,) ohms, for lines with a source at both ends."""
    (seam_a, keep_a, seam_b, keep_b, place_a, place_b), ports, size = _merged(a, b, far, far)
    joined = np.isfinite(ohms)
    total = -a.part(seam_a, seam_a) - b.part(seam_b, seam_b) + np.diag(np.where(joined, ohms, 0.0))
    # A line without any resistance: the split of its current between the two sources is arbitrary, and only the sum is used.
    apart = ~joined | (np.diag(total) <= 0)
    total[apart], total[:, apart] = 0.0, 0.0
    total[apart, apart] = 1.0
    e, f = a.part(seam_a, keep_a), b.part(seam_b, keep_b)
    e[apart], f[apart] = 0.0, 0.0
    ke, kf = np.linalg.solve(total, e), np.linalg.solve(total, f)
    out = np.zeros((size, size))
    out[place_a[:, None], place_a] += a.part(keep_a, keep_a) + e.T @ ke
    out[place_b[:, None], place_b] += b.part(keep_b, keep_b) + f.T @ kf
    out[place_a[:, None], place_b] -= e.T @ kf
    out[place_b[:, None], place_a] -= kf.T @ e
    return Block(out, ports)
