"""Base class of the update schemes, which turn local products into changes of devices."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from analogpc.devices.costs.digital import count_digital
from analogpc.devices.device import Device
from analogpc.devices.families import Member
from analogpc.devices.mappings import Mapping
from analogpc.devices.matrix import NonFiniteError
from analogpc.kernels.gpu.graphs import capturing
from analogpc.kernels.products import matmul

if TYPE_CHECKING:
    from analogpc.devices.matrix import Products
    from analogpc.devices.protocols import PulsedMatrix


class Scheme(Member):
    """Base class of the update schemes. A scheme belongs to the substrate; learning rules do not depend on it.

    Products may be given as `TwoPhases`. Schemes that pulse each product directly have a field ``phases`` that selects the treatment
    of the two phases; schemes that accumulate products digitally form their difference there.
    """

    family_name: ClassVar[str] = "update scheme"
    takes_increments: ClassVar[bool]

    def refuse(self, device: Device, mapping: Mapping) -> str:
        """Return the reason why this scheme is not compatible with a device and a mapping; empty if it is."""
        return ""

    @property
    def repeatable(self) -> bool:
        """Whether learning always performs the same operations, independent of computed values (see `Matrix.repeatable`)."""
        return False

    @property
    def counters(self) -> tuple[str, ...]:
        """Names of the entries of a matrix's memory that learning increments and uses as steps of random streams."""
        return ()

    @property
    def extra_cells(self) -> tuple[str, ...]:
        """Names of further grids of the same devices that the scheme needs besides the weights."""
        return ()

    @property
    def visible(self) -> dict[str, float]:
        """Factors of the extra grids that a read adds to the weights, by name."""
        return {}

    def memory(self, shape: tuple[int, int], like: np.ndarray) -> dict[str, Any]:
        """Return the scheme's initial memory for a matrix (n_out, n_in): arrays, numbers and texts in nested dictionaries.

        The names, shapes and types hold for the whole life of the matrix.

        Parameters
        ----------
        shape : (n_out, n_in)
        like : array
            An array of the type and on the backend of the matrix.
        """
        return {}

    def begin(self, matrix: PulsedMatrix, weights: np.ndarray) -> None:
        """Prepare for updates of a matrix just programmed to ``weights`` (n_out, n_in), as nearly as possible.

        Its memory is the initial one; extra cells are not programmed yet.
        """

    def memory_limits(self, matrix: PulsedMatrix) -> dict[str, int]:
        """Return the largest values of the entries of `memory` that are positions or counters; they start at 0."""
        return {}

    @abstractmethod
    def learn(self, matrix: PulsedMatrix, products: Products, rate: float) -> None:
        """Apply ``rate`` times the sum of the outer products."""

    @abstractmethod
    def increment(self, matrix: PulsedMatrix, change: np.ndarray) -> None:
        """Apply a digitally computed change (n_out, n_in), or raise `UnsupportedUpdateError`."""


def refuse_pulses(device: Device, mapping: Mapping) -> str:
    """Return the reason why weights of a mapping of a device cannot be pulsed; empty if they can."""
    if not device.response.pulsed:
        return f"the device '{device.name}' does not respond to pulses; use the scheme 'ideal'"
    if not mapping.takes_pulses:
        return f"weights of the mapping '{mapping.kind}' are programmed, not pulsed; use the scheme 'ideal'"
    return ""


def total(matrix: PulsedMatrix, products: Products) -> np.ndarray:
    """Return the digital sum of the products, (n_in, n_out) in the type of the matrix; counted as updates.

    The check for finite numbers synchronises with the GPU, except in a captured graph, where it is skipped.

    Raises
    ------
    NonFiniteError
        If an entry is not finite.
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
