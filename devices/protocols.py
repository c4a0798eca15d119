"""Interfaces that update schemes and mappings need of a matrix on hardware; any matrix that implements them can be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    from analogpc.devices.costs.meter import Meter
    from analogpc.devices.device import Device
    from analogpc.kernels.random.streams import Key

PulsedLegs = Literal["all", "plus", "minus"]
"""Devices of a weight that pulses reach: all, or those with positive or negative sign."""


class PulsedArray(Protocol):
    """A grid of devices (rows, columns), one per leg of a mapping."""

    state: np.ndarray

    @property
    def apparent(self) -> np.ndarray:
        """States that a read finds now."""

    def conductance(self) -> np.ndarray:
        """Return the conductances that a read finds, in siemens."""

    def line_siemens(self, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the summed conductance of all devices on each line, tile by tile, in siemens."""

    def reset(self, where: np.ndarray) -> None:
        """Reset the devices at ``where`` (rows, columns) bool."""

    def pulse_each(self, counts: np.ndarray, key: Key, step: int) -> tuple[Any, Any]:
        """Send every device its own number of pulses; return the number received and their conductance in siemens."""


class DeviceGrid(Protocol):
    """All devices of the weights, or of the extra cells of a scheme."""

    @property
    def arrays(self) -> Sequence[PulsedArray]:
        """Grids (n_in, n_out), one per leg of the mapping."""

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and columns of a physical array."""

    def program(self, wanted: np.ndarray, where: np.ndarray | None = None) -> None:
        """Program the weights, all or those at ``where``, to the given state differences (n_in, n_out)."""

    def difference(self) -> np.ndarray:
        """Return the state differences (n_in, n_out) that an ideal read finds."""

    def sensed(self, key: Key, step: int) -> np.ndarray:
        """Return the state differences (n_in, n_out) found by noisy reads of single devices."""


class PulsedMatrix(Protocol):
    """A logical matrix W (n_out, n_in) whose devices are written.

    Attributes
    ----------
    shape : (n_out, n_in)
    dtype : numpy.dtype
    meter : Meter
    memory : dict
        Memory of the update scheme for this matrix.
    gain : float
        Factor on all outputs that compensates for drift.
    """

    shape: tuple[int, int]
    dtype: np.dtype
    meter: Meter
    memory: dict[str, Any]
    gain: float

    @property
    def device(self) -> Device:
        """Specification of its devices."""

    @property
    def cells(self) -> DeviceGrid:
        """The devices of the weights."""

    @property
    def extra(self) -> Mapping[str, DeviceGrid]:
        """Further devices requested by the scheme, by name (see `Scheme.extra_cells`)."""

    @property
    def reach(self) -> float:
        """Largest difference of states that the mean devices of a weight can hold in both directions."""

    @property
    def anchor(self) -> np.ndarray:
        """An array on the backend of the matrix, for the ``like`` argument of array constructors."""

    @property
    def granularity(self) -> float:
        """Mean logical change per coincidence where the scale is largest; 0 for devices without pulses."""

    @property
    def update_key(self) -> Key:
        """Random stream of the updates."""

    @property
    def update_cycles(self) -> int:
        """Number of update cycles so far."""

    @property
    def maintenance_key(self) -> Key:
        """Random stream of the maintenance by the mapping."""

    def granules(self, lines: Any = slice(None)) -> np.ndarray:
        """Return the mean logical change per coincidence for every weight: (n_in, n_out), or a number if all are equal."""

    def scale_grid(self, lines: Any = slice(None)) -> np.ndarray:
        """Return the logical weight per unit of state difference, gain included: (n_in, n_out), or a number if all are equal."""

    def zeros(self, dtype: Any = None) -> np.ndarray:
        """Return zeros (n_in, n_out) on the backend of the matrix."""

    def one_by_one(self, lines: slice) -> np.ndarray:
        """Return inputs (lines, n_in) that drive the given word lines one at a time."""

    def blocks(self) -> list[tuple[slice, np.ndarray | None]]:
        """Return inputs that share their scales, with those scales relative to the largest, (n_out,), or None if all equal it."""

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
        """Apply n rank-one products, one after the other, by pulse trains.

        Parameters
        ----------
        inputs : slice
            Driven word lines.
        pre, post : (n, driven word lines) and (n, n_out) arrays
        gain_pre, gain_post : (n,) float64 arrays
            Pulse probability per unit of value. These and ``length`` are in main memory.
        length : (n,) int64 array
            Number of slots used.
        cells : str or None
            Name of extra cells to pulse instead of the weights.
        deterministic : bool
            Trains with a fixed number of pulses (see `schemes.deterministic_trains`) instead of random ones.
        separate : bool
            Send first all upward pulses of all products, then all downward ones: two passes for each polarity of the inputs.
        legs : "all", "plus" or "minus"
            Devices that are reached: all of a weight, or those with positive or negative sign.
        """

    def pulse_each(self, counts: np.ndarray, key: Key, step: int, cells: str | None = None) -> None:
        """Send the devices of every weight their own number of pulses (n_in, n_out) int32; negative counts lower it."""

    def read_extra(self, name: str, x: np.ndarray) -> np.ndarray:
        """Read only the extra cells of that name: (n, n_in) -> (n, n_out), in logical units."""
