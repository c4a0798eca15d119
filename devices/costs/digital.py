"""Counts of digital numbers that are kept besides the devices of a matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from analogpc.devices.costs.paths import MACS
from analogpc.devices.costs.schedule import note

if TYPE_CHECKING:
    from analogpc.devices.costs.meter import Meter


class Metered(Protocol):
    """An object with a meter."""

    meter: Meter


def count_digital(matrix: Metered, macs: int, words: int) -> None:
    """Count multiply-adds of digital numbers that belong to a matrix, and words of them that are read or written."""
    matrix.meter.digital_macs += macs
    matrix.meter.digital_words += words
    note(MACS, matrix, macs)
