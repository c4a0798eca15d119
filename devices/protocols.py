"""What update schemes and mappings need of a matrix on hardware, and no more: a matrix that has these verbs can be given to any of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    from analogpc.devices.costs.meter import Meter
    from analogpc.devices.device import Device
    from analogpc.kernels.random.streams import Key

PulsedLegs = Literal["all", "plus", "minus"]
"""Devices of a weight that pulses reach: all, or those that count positively or negatively."""


class PulsedArray(Protocol):
    """A grid of devices (rows, columns), one for each leg of a mapping."""

    state: np.ndarray

    @property
    def apparent(self) -> np.ndarray:
        """The states that a read finds now."""

    def conductance(self) -> np.ndarray:
        """What a read finds, in siemens."""

    def line_siemens(self, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
        """Conductance of all devices on a line, tile by tile, in siemens."""

    def reset(self, where: np.ndarray) -> None:
        """Reset the devices at ``where`` (rows, columns) bool."""

    def pulse_each(self, counts: np.ndarray, key: Key, step: int) -> tuple[Any, Any]:
        """Send every device its own number of pulses; what was received, and its conductance in siemens."""


class DeviceGrid(Protocol):
    """All devices of the weights, or of the extra cells of a scheme."""

    @property
    def arrays(self) -> Sequence[PulsedArray]:
        """The grids (n_in, n_out), one for each leg of the mapping."""

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and columns of a physical array."""

    def program(self, wanted: np.ndarray, where: np.ndarray | None = None) -> None:
        """Bring the weights to state differences (n_in, n_out), all of them or those at ``where``."""

    def difference(self) -> np.ndarray:
        """The state differences (n_in, n_out) that an ideal read finds."""

    def sensed(self, key: Key, step: int) -> np.ndarray:
        """The state differences (n_in, n_out) that reads of single devices find, with their noise."""


class PulsedMatrix(Protocol):
    """A logical matrix W (n_out, n_in) whose devices are written.

    Attributes
    ----------
    shape : (n_out, n_in)
    dtype : numpy.dtype
    meter : Meter
    memory : dict
        What the update scheme remembers of the matrix.
    gain : float
        What all outputs are multiplied by to make up for drift.
    """

    shape: tuple[int, int]
    dtype: np.dtype
    meter: Meter
    memory: dict[str, Any]
    gain: float

    @property
    def device(self) -> Device:
        """What its devices are."""

    @property
    def cells(self) -> DeviceGrid:
        """The devices of the weights."""

    @property
    def extra(self) -> Mapping[str, DeviceGrid]:
        """Further devices that the scheme asked for, by name (see `Scheme.extra_cells`)."""

    @property
    def reach(self) -> float:
        """The largest difference of states that the mean devices of a weight can hold in both directions."""

    @property
    def anchor(self) -> np.ndarray:
        """An array on the backend of the matrix: for ``like`` of the functions that make arrays."""

    @property
    def granularity(self) -> float:
        """Mean logical change of one coincidence where the scale is largest; 0 for devices without pulses."""

    @property
    def update_key(self) -> Key:
        """Stream of the updates."""

    @property
    def update_cycles(self) -> int:
        """Update cycles so far."""

    @property
    def maintenance_key(self) -> Key:
        """Stream of the noise of what the mapping does besides learning."""

    def granules(self, lines: Any = slice(None)) -> np.ndarray:
        """Mean logical change of one coincidence at every weight: (n_in, n_out), or a number if all are alike."""

    def scale_grid(self, lines: Any = slice(None)) -> np.ndarray:
        """Logical weight per unit of state difference, gain included: (n_in, n_out), or a number if all are alike."""

    def zeros(self, dtype: Any = None) -> np.ndarray:
        """Zeros (n_in, n_out) on the backend of the matrix."""

    def one_by_one(self, lines: slice) -> np.ndarray:
        """Inputs (lines, n_in) that drive some word lines, one of them in each."""

    def blocks(self) -> list[tuple[slice, np.ndarray | None]]:
        """Inputs that share their scales, and those scales relative to the largest, (n_out,): None where all are that one."""

    def shift(self, change: np.ndarray) -> None:
        """Write a logical change (n_in, n_out) exactly, up to the bounds of the devices."""

    def pulse(
        self,
        inputs: slice,
        pre: np.ndarray,
        post: np.ndarray,
        gain_pre: np.ndarray,
        gain_post: np.ndarray,
        length: np.ndarray,
        cells: str | None = None,
        *,
        deterministic: bool = False,
        separate: bool = False,
        legs: PulsedLegs = "all",
    ) -> None:
        """Apply n rank-one products by pulse trains; see `CrossbarMatrix.pulse`."""

    def pulse_each(self, counts: np.ndarray, key: Key, step: int, cells: str | None = None) -> None:
        """Send the devices of every weight their own number of pulses (n_in, n_out) int32, negative ones to lower it."""

    def read_extra(self, name: str, x: np.ndarray) -> np.ndarray:
        """Read the extra cells of that name alone: (n, n_in) -> (n, n_out), in logical units."""
