"""Update schemes: how local products become conductance changes. A new scheme is a new file here and a name in `AnyScheme`."""

from typing import Annotated

from pydantic import Field

from analogpc.devices.schemes.base import Scheme
from analogpc.devices.schemes.ideal import IdealUpdate
from analogpc.devices.schemes.mixed_precision import MixedPrecision
from analogpc.devices.schemes.program_verify import ProgramVerify
from analogpc.devices.schemes.pulses import StochasticPulses
from analogpc.devices.schemes.sign import SignPulses
from analogpc.devices.schemes.tiki_taka import Agad, ChoppedTikiTaka, TikiTaka, TikiTakaV2

AnyScheme = Annotated[
    IdealUpdate | StochasticPulses | SignPulses | MixedPrecision | TikiTaka | TikiTakaV2 | ChoppedTikiTaka | Agad | ProgramVerify,
    Field(discriminator="kind"),
]

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
