"""Physical arrays of a logical matrix, as they are exported and reported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analogpc.kernels.gpu.arrays import to_host

if TYPE_CHECKING:
    from analogpc.devices.crossbars.crossbar_matrix import CrossbarMatrix


@dataclass(frozen=True)
class Tile:
    """One physical array: its part of the logical matrix and its conductances; all arrays are in main memory.

    Attributes
    ----------
    rows, columns : slice
        Inputs and outputs of the logical matrix.
    conductances : dict of (rows, columns) arrays
        Conductances in siemens, by the names of the legs, and what is subtracted: "minus" or, as one column, "reference".
    stuck : (rows, columns) bool array
        Weights of which at least one device cannot move or carries no current.
    scale : (columns,) array
        Logical weight per unit of state difference, drift compensation included.
    """

    rows: slice
    columns: slice
    conductances: dict[str, np.ndarray]
    stuck: np.ndarray
    scale: np.ndarray


def tiles_of(matrix: CrossbarMatrix) -> Iterator[Tile]:
    """Yield the physical arrays, row of tiles by row of tiles.

    A fixed reference appears as the second device of a pair, at the conductance of zero weight. Devices that reads add to the weights,
    such as fast cells, have names like "fast.plus".
    """
    (n_out, n_in), substrate = matrix.shape, matrix.substrate
    seen = {"": matrix.cells} | {f"{name}.": matrix.extra[name] for name in substrate.scheme.visible}
    stuck = np.logical_or.reduce([to_host(cells.stuck) for cells in seen.values()])
    for number, top in enumerate(range(0, n_in, substrate.rows)):
        for left in range(0, n_out, substrate.columns):
            place = slice(top, min(top + substrate.rows, n_in)), slice(left, min(left + substrate.columns, n_out))
            held = {
                f"{prefix}{name}": to_host(conductances)
                for prefix, cells in seen.items()
                for name, conductances in cells.conductances(place).items()
            }
            yield Tile(*place, held, stuck[place], matrix.scales[number, place[1]] * matrix.gain)
