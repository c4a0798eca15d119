"""Mappings: how devices represent a weight. A new mapping is one new file, here or in your own package.

Contains: subclasses of `Mapping`, each registered by its ``kind``.
"""

from typing import Annotated

from pydantic import BeforeValidator, SerializeAsAny

from analogpc.devices.families import by_kind, import_members
from analogpc.devices.mappings.base import Leg, Mapping
from analogpc.devices.mappings.pairs import DifferentialPair, OffsetColumn, OneSidedPair
from analogpc.devices.mappings.several import BitSliced, DeviceVector

import_members(__path__, __name__)

AnyMapping = Annotated[SerializeAsAny[Mapping], BeforeValidator(by_kind(Mapping))]
"""Any mapping, or a table of its fields with its ``kind``."""

__all__ = ["AnyMapping", "BitSliced", "DeviceVector", "DifferentialPair", "Leg", "Mapping", "OffsetColumn", "OneSidedPair"]
