"""Faults: devices that are stuck, open, or on a broken line. All are drawn once, from the position of the device."""

from __future__ import annotations

import numpy as np
from pydantic import model_validator

from analogpc.devices.bounds import Fraction
from analogpc.devices.specification import Specification
from analogpc.kernels.random.streams import Key, uniforms


def random_places(key: Key, shape: tuple[int, int]) -> np.ndarray:
    """Return uniform numbers in (0, 1], ``shape``, float64, each a function of its row and column only, not of the shape."""
    return np.stack([uniforms(key, row, shape[1], np.float64) for row in range(shape[0])]) if shape[0] else np.empty(shape)


class Faults(Specification):
    """Probabilities of the faults.

    Attributes
    ----------
    stuck_low, stuck_high, stuck_random : float
        A device is stuck at the low end of the range, at its high end, or at a uniformly drawn conductance between them; the sum
        is at most 1.
    open_devices : float
        A device does not conduct at all, stuck or not.
    dead_rows, dead_columns : float
        A row or a column of one physical array is broken: none of its devices carries a current.
    """

    stuck_low: Fraction = 0.0
    stuck_high: Fraction = 0.0
    stuck_random: Fraction = 0.0
    open_devices: Fraction = 0.0
    dead_rows: Fraction = 0.0
    dead_columns: Fraction = 0.0

    @model_validator(mode="after")
    def _one_fault_each(self) -> Faults:
        total = self.stuck_low + self.stuck_high + self.stuck_random
        # Probabilities such as 0.7 + 0.2 + 0.1 miss 1 by a rounding error.
        if total > 1 + 1e-12:
            raise ValueError(f"stuck_low + stuck_high + stuck_random = {total:g} must not exceed 1")
        return self

    @property
    def active(self) -> bool:
        """Whether anything can be broken."""
        return any(getattr(self, name) > 0 for name in type(self).model_fields)

    def sample(
        self, key: Key, shape: tuple[int, int], tile_rows: int, tile_columns: int, dtype: np.dtype
    ) -> dict[str, np.ndarray]:
        """Draw the faults of a grid of devices that is cut into physical arrays.

        Every kind of fault has its own stream, and a place has the same numbers in a grid of any size. A higher probability of one
        kind therefore only adds faults of that kind (a random stuck conductance may become a low one), and other faults of the
        devices or another tiling do not move them.

        Parameters
        ----------
        key : Key
        shape : (rows, columns)
            Shape of the grid.
        tile_rows, tile_columns : int
            Shape of a physical array; arrays at the edges may be smaller.
        dtype : numpy.dtype
            Type of "level".

        Returns
        -------
        dict
            "stuck": bool, the device cannot be moved; "level": fraction of the range at which it is stuck, 0 for other devices;
            "open": bool, no current flows. Each (rows, columns).
        """
        rows, columns = shape
        chance = random_places(key.fold("stuck"), shape)
        low = chance <= self.stuck_low
        high = ~low & (chance > 1 - self.stuck_high)
        random = ~low & ~high & (chance <= self.stuck_low + self.stuck_random)
        level = high.astype(dtype)
        if self.stuck_random > 0:
            level[random] = random_places(key.fold("level"), shape)[random]
        broken = np.zeros(shape, bool)
        if self.open_devices > 0:
            broken |= random_places(key.fold("open"), shape) <= self.open_devices
        row_tiles, column_tiles = -(-rows // tile_rows), -(-columns // tile_columns)
        if self.dead_rows > 0:
            dead = random_places(key.fold("rows"), (rows, column_tiles)) <= self.dead_rows
            broken |= np.repeat(dead, tile_columns, axis=1)[:, :columns]
        if self.dead_columns > 0:
            dead = random_places(key.fold("columns"), (row_tiles, columns)) <= self.dead_columns
            broken |= np.repeat(dead, tile_rows, axis=0)[:rows]
        return {"stuck": low | high | random, "level": level, "open": broken}

    @staticmethod
    def apply(g: np.ndarray, masks: dict[str, np.ndarray], g_min_siemens: float, g_max_siemens: float) -> np.ndarray:
        """Return conductances with the faults applied, in siemens, like ``g``.

        Parameters
        ----------
        g : (rows, columns) array
            Conductances that working devices would have, in siemens.
        masks : dict
            From `sample`.
        g_min_siemens, g_max_siemens : float
            Range between whose ends the levels lie.
        """
        levels = masks["level"].astype(g.dtype, copy=False) * (g_max_siemens - g_min_siemens) + g_min_siemens
        return np.where(masks["open"], g.dtype.type(0), np.where(masks["stuck"], levels, g))
