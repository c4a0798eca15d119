"""Mappings: how devices make a weight. A new mapping is a new class here and a name in `AnyMapping`."""

from typing import Annotated

from pydantic import Field

from analogpc.devices.mappings.base import Leg, Mapping
from analogpc.devices.mappings.pairs import DifferentialPair, OffsetColumn, OneSidedPair
from analogpc.devices.mappings.several import BitSliced, DeviceVector

AnyMapping = Annotated[DifferentialPair | OneSidedPair | OffsetColumn | BitSliced | DeviceVector, Field(discriminator="kind")]

__all__ = ["AnyMapping", "BitSliced", "DeviceVector", "DifferentialPair", "Leg", "Mapping", "OffsetColumn", "OneSidedPair"]
