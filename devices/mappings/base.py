"""Base class of the mappings, which distribute a logical weight over devices."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from analogpc.devices.bounds import NonNegativeInteger, Positive
from analogpc.devices.device import Device
from analogpc.devices.families import Member
from analogpc.kernels.random.streams import Key

if TYPE_CHECKING:
    from analogpc.devices.protocols import PulsedMatrix


@dataclass(frozen=True)
class Leg:
    """One device of every weight; the devices of a leg form a grid.

    Attributes
    ----------
    name : str
    factor : float
        Factor of its state in the analog sum of its group. A negative factor also inverts the direction of pulses.
    group : int
        Legs of one group share a converter: their currents are added or subtracted before it; groups are added digitally after it.
    """

    name: str
    factor: float = 1.0
    group: int = 0


class Mapping(Member):
    """Base class of the mappings, with the fields that all of them share.

    Attributes
    ----------
    headroom : float
        Ratio of the nominal device range to the largest weight at programming time. Less headroom gives finer steps and less noise
        in units of weight, but earlier saturation; below 1 the largest weights are clipped.
    scaling : "matrix", "tile" or "column"
        Unit with its own digital scale, fitted to its largest weight: the matrix, each array, or each output of each array.
    clip_deviations : float
        Weights further than this many standard deviations from the mean of all weights are clipped before programming.
    spare_rows, spare_columns : int
        Additional lines of every array; the lines with most stuck devices are disconnected and carry no current. Their positions
        are assumed to be known from a test of the array.
    compensate : bool
        If one device of a weight is stuck, program its partners to compensate as far as they can.
    """

    family_name: ClassVar[str] = "mapping"
    headroom: Positive = 2.0
    scaling: Literal["matrix", "tile", "column"] = "matrix"
    clip_deviations: Annotated[float, Field(gt=0, le=math.inf)] = math.inf
    spare_rows: NonNegativeInteger = 0
    spare_columns: NonNegativeInteger = 0
    compensate: bool = False

    @property
    @abstractmethod
    def legs(self) -> tuple[Leg, ...]:
        """Devices of a weight that are programmed and may learn."""

    @property
    def group_weights(self) -> tuple[float, ...]:
        """Digital weight of each group."""
        return (1.0,)

    @property
    def subtracts(self) -> Literal["nothing", "device", "column"]:
        """Reference that is subtracted from the legs: nothing, a device for every weight, or a column of devices of the array."""
        return "nothing"

    @property
    def takes_pulses(self) -> bool:
        """Whether coincident pulses on the lines implement an update."""
        return True

    @property
    def one_sided(self) -> bool:
        """Whether devices are only pulsed upwards."""
        return False

    def refuse(self, device: Device) -> str:
        """Return the reason why this mapping is not compatible with a device; empty if it is."""
        return ""

    @abstractmethod
    def range(self, device: Device) -> float:
        """Largest difference of states that the mean devices of a weight can hold in both directions."""

    @abstractmethod
    def steps(self, device: Device) -> float:
        """Mean change of the state difference per coincidence, in steps of a device."""

    @abstractmethod
    def split(self, difference: np.ndarray, device: Device) -> Iterable[np.ndarray]:
        """Return the target states of all legs for the given state differences."""

    def difference(self, states: list[np.ndarray], subtracted: np.ndarray | float) -> np.ndarray:
        """Return the state difference of the ``states`` of all legs, less the subtracted state (array or number)."""
        total = None
        for leg, state in zip(self.legs, states, strict=True):
            part = state * state.dtype.type(leg.factor * self.group_weights[leg.group])
            total = part if total is None else total + part
        assert total is not None
        return total - total.dtype.type(subtracted) if isinstance(subtracted, float) else total - subtracted

    def shares(self, device: Device) -> tuple[float, ...] | None:
        """Return the shares of all legs in every change of the difference; None if they depend on the states (see `changes`)."""
        return None

    def changes(self, change: np.ndarray, states: list[np.ndarray], device: Device) -> list[np.ndarray]:
        """Return the changes of the states of all legs for a given change of the difference."""
        wanted = self.difference(states, self.rest(device)) + change
        return [target - state for target, state in zip(self.split(wanted, device), states, strict=True)]

    def fills_range(self, device: Device) -> bool:
        """Whether weights are scaled to the device range; ideal devices have no range."""
        return device.response.bounded

    def rest(self, device: Device) -> float:
        """State that represents zero weight and is subtracted from all others; 0 for pairs."""
        return 0.0

    @property
    def repeatable(self) -> bool:
        """Whether all update cycles perform the same operations (see `Matrix.repeatable`)."""
        return True

    def maintain(self, matrix: PulsedMatrix) -> None:
        """Perform the maintenance that the hardware does after every update cycle, besides learning."""

    def receives(self, product: np.ndarray, leg: int, key: Key) -> np.ndarray | None:
        """Return which of the rank-one products numbered (n,) reach a leg, (n,) bool; None for all. Draws use ``key``."""
        return None

    def scales(self, weights: np.ndarray, device: Device, rows: int, columns: int) -> np.ndarray:
        """Logical weight of one unit of state difference, for each output of each array along the inputs: (arrays, n_out).

        Equal to 1 for ideal devices, which have no range.

        Parameters
        ----------
        weights : (n_out, n_in) array
        device : Device
        rows, columns : int
            Number of lines of an array.
        """
        n_out, n_in = weights.shape
        starts = range(0, n_in, rows)
        if not self.fills_range(device):
            return np.ones((len(starts), n_out))
        largest = np.stack([np.abs(weights[:, start : start + rows]).max(axis=1) for start in starts]).astype(np.float64)
        if self.scaling == "tile":
            for left in range(0, n_out, columns):
                block = largest[:, left : left + columns]
                block[...] = block.max(axis=1, keepdims=True)
        elif self.scaling == "matrix":
            largest[...] = largest.max()
        # A zero matrix, array or column can have any scale; the overall scale keeps its steps as large as those of the others.
        overall = largest.max(initial=0.0)
        # Scales that are not finite are rejected by the caller.
        with np.errstate(over="ignore"):
            unit = self.range(device) if overall == 0 else self.headroom * np.where(largest > 0, largest, overall)
        return np.broadcast_to(unit / self.range(device), largest.shape).copy()

    def clipped(self, weights: np.ndarray) -> np.ndarray:
        """Return the clipped weights."""
        if math.isinf(self.clip_deviations):
            return weights
        # Relative to the largest weight, so that the square of a finite weight cannot overflow.
        largest = float(np.abs(weights).max(initial=0.0)) or 1.0
        relative = weights.astype(np.float64) / largest
        mean, reach = relative.mean() if weights.size else 0.0, self.clip_deviations * (relative.std() if weights.size else 0.0)
        inside = np.abs(relative - mean) <= reach
        cut = np.clip(relative, max(mean - reach, -1.0), min(mean + reach, 1.0)) * largest
        return np.where(inside, weights, cut.astype(weights.dtype))
