"""The contract of the update schemes: how local products become changes of devices."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

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

    @abstractmethod
    def learn(self, matrix: CrossbarMatrix, products: Products, rate: float) -> None:
        """Apply ``rate`` times the sum of the outer products."""

    @abstractmethod
    def increment(self, matrix: CrossbarMatrix, change: np.ndarray) -> None:
        """Apply a digitally formed change (n_out, n_in), or raise `UnsupportedUpdateError`."""
