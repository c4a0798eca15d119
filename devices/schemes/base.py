"""The contract of the update schemes: how local products become changes of devices."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from analogpc.devices.device import Device
from analogpc.devices.mappings import Mapping
from analogpc.devices.specification import Specification

if TYPE_CHECKING:
    import numpy as np

    from analogpc.devices.crossbar_matrix import CrossbarMatrix
    from analogpc.devices.matrix import Products


class Scheme(Specification):
    """How a crossbar learns. A scheme is chosen with the substrate; a learning rule never knows which one is in force."""

    takes_increments: ClassVar[bool]

    def refuse(self, device: Device, mapping: Mapping) -> str:
        """Why this scheme cannot work with that device and that mapping; empty if it can."""
        return ""

    @property
    def extra_cells(self) -> tuple[str, ...]:
        """Names of further grids of the same devices that the scheme needs beside the weights."""
        return ()

    @property
    def visible(self) -> dict[str, float]:
        """Those that a read adds to the weights, and what they count."""
        return {}

    def memory(self, matrix: CrossbarMatrix) -> dict[str, Any]:
        """What the scheme has to remember of a new matrix: arrays, numbers and texts in nested dictionaries."""
        return {}

    @abstractmethod
    def learn(self, matrix: CrossbarMatrix, products: Products, rate: float) -> None:
        """Apply ``rate`` times the sum of the outer products."""

    @abstractmethod
    def increment(self, matrix: CrossbarMatrix, change: np.ndarray) -> None:
        """Apply a digitally formed change (n_out, n_in), or raise `UnsupportedUpdateError`."""
