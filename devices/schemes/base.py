"""The contract of the update schemes: how local products become changes of devices."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from analogpc.devices.costs.digital import count_digital
from analogpc.devices.device import Device
from analogpc.devices.families import Member
from analogpc.devices.mappings import Mapping
from analogpc.devices.matrix import NonFiniteError
from analogpc.devices.responses import PulseResponse
from analogpc.kernels.gpu.graphs import capturing
from analogpc.kernels.products import matmul

if TYPE_CHECKING:
    from analogpc.devices.matrix import Products
    from analogpc.devices.protocols import PulsedMatrix


class Scheme(Member):
    """How a crossbar learns. A scheme is chosen with the substrate; a learning rule never knows which one is in force.

    Products may come as `TwoPhases`. Schemes that pulse them as they come have a field ``phases`` that says what becomes of the
    two; those that add products up digitally before anything is written form the difference there.
    """

    family_name: ClassVar[str] = "update scheme"
    takes_increments: ClassVar[bool]

    def refuse(self, device: Device, mapping: Mapping) -> str:
        """Why this scheme cannot work with that device and that mapping; empty if it can."""
        return ""

    @property
    def repeatable(self) -> bool:
        """Whether learning does the same every time, without looking at any number that it computes (see `Matrix.repeatable`)."""
        return False

    @property
    def counters(self) -> tuple[str, ...]:
        """Entries of the memory of a matrix that learning advances and takes steps of random streams from."""
        return ()

    @property
    def extra_cells(self) -> tuple[str, ...]:
        """Names of further grids of the same devices that the scheme needs beside the weights."""
        return ()

    @property
    def visible(self) -> dict[str, float]:
        """Those that a read adds to the weights, and what they count."""
        return {}

    def memory(self, matrix: PulsedMatrix, weights: np.ndarray) -> dict[str, Any]:
        """What the scheme has to remember of a matrix that was just programmed to ``weights`` (n_out, n_in), as near as it could be.

        Arrays, numbers and texts in nested dictionaries.
        """
        return {}

    def memory_limits(self, matrix: PulsedMatrix) -> dict[str, int]:
        """The largest values of those numbers of `memory` that name a place or wait for something; they begin at 0."""
        return {}

    @abstractmethod
    def learn(self, matrix: PulsedMatrix, products: Products, rate: float) -> None:
        """Apply ``rate`` times the sum of the outer products."""

    @abstractmethod
    def increment(self, matrix: PulsedMatrix, change: np.ndarray) -> None:
        """Apply a digitally formed change (n_out, n_in), or raise `UnsupportedUpdateError`."""


def refuse_pulses(device: Device, mapping: Mapping) -> str:
    """Why weights of that mapping, made of that device, cannot be pulsed; empty if they can."""
    if not isinstance(device.response, PulseResponse):
        return f"the device '{device.name}' does not answer to pulses; use the scheme 'ideal'"
    if not mapping.takes_pulses:
        return f"weights of the mapping '{mapping.kind}' are programmed, not pulsed; use the scheme 'ideal'"
    return ""


def total(matrix: PulsedMatrix, products: Products) -> np.ndarray:
    """The sum of the products, formed digitally: (n_in, n_out) in the type of the matrix; counted as updates.

    The check for finite numbers synchronises with the GPU, except in a captured graph, which cannot.

    Raises
    ------
    NonFiniteError
        If it is not a number somewhere.
    """
    summed, done = matrix.zeros(), 0
    for pre, post in products:
        done += len(pre)
        summed += matmul(pre.T, post)
    matrix.meter.updates += done
    count_digital(matrix, done * summed.size, 2 * summed.size)
    if not capturing() and not np.isfinite(summed).all():
        raise NonFiniteError("an update product is not finite")
    return summed
