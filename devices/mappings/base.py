"""How a logical weight is shared between devices: the contract of the mappings, and what they have in common."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, FiniteFloat

from analogpc.devices.device import Device
from analogpc.devices.families import Member
from analogpc.kernels.random.streams import Key

if TYPE_CHECKING:
    from analogpc.devices.protocols import PulsedMatrix


@dataclass(frozen=True)
class Leg:
    """One device of every weight: all devices of a leg form one grid.

    Attributes
    ----------
    name : str
    factor : float
        What its state counts in the analog sum of its group. A negative one also turns pulses round.
    group : int
        Legs of a group share a converter: their currents are added or subtracted before it, groups digitally behind it.
    """

    name: str
    factor: float = 1.0
    group: int = 0


class Mapping(Member):
    """Fields that all mappings share.

    Attributes
    ----------
    headroom : float
        Room to grow: the nominal device range stands for this many times the largest weight at programming time. Less room means
        finer steps and less noise in units of weight, and earlier limits; below 1 the largest weights are cut.
    scaling : "matrix", "tile" or "column"
        What has a digital scale of its own, fitted to its largest weight: the matrix, each array, or each output of each array.
    clip_deviations : float
        Weights further than this many standard deviations from the mean of all weights are cut before they are programmed.
    spare_rows, spare_columns : int
        Lines that every array has besides; the lines with most stuck devices are left out. Which they are is known, as after a test
        of the array; left-out lines are cut off and carry no current.
    compensate : bool
        Where one device of a weight is stuck, its partners are programmed to make up for it as far as they can.
    """

    family_name: ClassVar[str] = "mapping"
    headroom: Annotated[FiniteFloat, Field(gt=0)] = 2.0
    scaling: Literal["matrix", "tile", "column"] = "matrix"
    clip_deviations: Annotated[float, Field(gt=0, le=math.inf)] = math.inf
    spare_rows: Annotated[int, Field(ge=0)] = 0
    spare_columns: Annotated[int, Field(ge=0)] = 0
    compensate: bool = False

    @property
    @abstractmethod
    def legs(self) -> tuple[Leg, ...]:
        """The devices of a weight that are programmed and may learn."""

    @property
    def group_weights(self) -> tuple[float, ...]:
        """What each group counts digitally."""
        return (1.0,)

    @property
    def subtracts(self) -> Literal["nothing", "device", "column"]:
        """What is subtracted from the legs: nothing else, a reference device of every weight, or a column of devices of the array."""
        return "nothing"

    @property
    def takes_pulses(self) -> bool:
        """Whether coincident pulses on the lines make a sensible update."""
        return True

    @property
    def one_sided(self) -> bool:
        """Whether devices are only pulsed upwards."""
        return False

    def refuse(self, device: Device) -> str:
        """Why this mapping cannot work with that device; empty if it can."""
        return ""

    @abstractmethod
    def range(self, device: Device) -> float:
        """The largest difference of states that the mean devices of a weight can hold in both directions."""

    @abstractmethod
    def steps(self, device: Device) -> float:
        """Mean change of the difference by one coincidence, in steps of a device."""

    @abstractmethod
    def split(self, difference: np.ndarray, device: Device) -> list[np.ndarray]:
        """The target states of all legs for wanted state differences."""

    def difference(self, states: list[np.ndarray], subtracted: np.ndarray | float) -> np.ndarray:
        """The state difference that ``states`` of all legs make, less what is subtracted of them in an array or a number."""
        total = None
        for leg, state in zip(self.legs, states, strict=True):
            part = state * state.dtype.type(leg.factor * self.group_weights[leg.group])
            total = part if total is None else total + part
        assert total is not None
        return total - total.dtype.type(subtracted) if isinstance(subtracted, float) else total - subtracted

    def changes(self, change: np.ndarray, states: list[np.ndarray], device: Device) -> list[np.ndarray]:
        """How the states of all legs have to change for a wanted change of the difference."""
        wanted = self.difference(states, self.rest(device)) + change
        return [target - state for target, state in zip(self.split(wanted, device), states, strict=True)]

    def fills_range(self, device: Device) -> bool:
        """Whether weights are scaled to a range; ideal devices have none to fill."""
        return device.response.bounded

    def rest(self, device: Device) -> float:
        """The state that stands for zero weight and is subtracted from all others; 0 where pairs subtract their own."""
        return 0.0

    @property
    def repeatable(self) -> bool:
        """Whether every update cycle is like every other (see `Matrix.repeatable`)."""
        return True

    def maintain(self, matrix: PulsedMatrix) -> None:
        """What the hardware does after every update cycle besides learning."""

    def receives(self, product: np.ndarray, leg: int, key: Key) -> np.ndarray | None:
        """Which of the rank-one products with these numbers (n,) reach a leg, (n,) bool; None for all. Draws come from ``key``."""
        return None

    def scales(self, weights: np.ndarray, device: Device, rows: int, columns: int) -> np.ndarray:
        """Logical weight of one unit of state difference, of every output of every array along the inputs: (arrays, n_out).

        1 for ideal devices, which have no range to fill.

        Parameters
        ----------
        weights : (n_out, n_in) array
        device : Device
        rows, columns : int
            Lines of an array.
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
        # A matrix, array or column of zeros can have any scale; the overall one keeps its steps as large as those of the others.
        overall = largest.max(initial=0.0)
        # Whoever uses the scales refuses those that are not finite.
        with np.errstate(over="ignore"):
            unit = self.range(device) if overall == 0 else self.headroom * np.where(largest > 0, largest, overall)
        return np.broadcast_to(unit / self.range(device), largest.shape).copy()

    def clipped(self, weights: np.ndarray) -> np.ndarray:
        """The weights after clipping."""
        if math.isinf(self.clip_deviations):
            return weights
        # In parts of the largest, so that no square of a finite weight is infinite.
        largest = float(np.abs(weights).max(initial=0.0)) or 1.0
        relative = weights.astype(np.float64) / largest
        mean, reach = relative.mean() if weights.size else 0.0, self.clip_deviations * (relative.std() if weights.size else 0.0)
        inside = np.abs(relative - mean) <= reach
        cut = np.clip(relative, max(mean - reach, -1.0), min(mean + reach, 1.0)) * largest
        return np.where(inside, weights, cut.astype(weights.dtype))
