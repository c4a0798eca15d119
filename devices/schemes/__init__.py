"""Update schemes: how local products become conductance changes. A new scheme is one new file, here or in your own package.

Contains: subclasses of `Scheme`, each registered by its ``kind``.
"""

from typing import Annotated

from pydantic import BeforeValidator, SerializeAsAny

from analogpc.devices.families import by_kind, import_members
from analogpc.devices.schemes.base import Scheme
from analogpc.devices.schemes.ideal import IdealUpdate
from analogpc.devices.schemes.mixed_precision import MixedPrecision
from analogpc.devices.schemes.program_verify import ProgramVerify
from analogpc.devices.schemes.pulses import StochasticPulses
from analogpc.devices.schemes.sign import SignPulses
from analogpc.devices.schemes.tiki_taka import Agad, ChoppedTikiTaka, TikiTaka, TikiTakaV2

import_members(__path__, __name__)

AnyScheme = Annotated[SerializeAsAny[Scheme], BeforeValidator(by_kind(Scheme))]
"""Any update scheme, or a table of its fields with its ``kind``."""

__all__ = [
    "Agad",
    "AnyScheme",
    "ChoppedTikiTaka",
    "IdealUpdate",
    "MixedPrecision",
    "ProgramVerify",
    "Scheme",
    "SignPulses",
    "StochasticPulses",
    "TikiTaka",
    "TikiTakaV2",
]
