"""Update schemes: how local products become conductance changes. A new scheme is a new file here and a name in `AnyScheme`."""

from typing import Annotated

from pydantic import Field

from analogpc.devices.schemes.base import Scheme
from analogpc.devices.schemes.ideal import IdealUpdate
from analogpc.devices.schemes.pulses import StochasticPulses

AnyScheme = Annotated[IdealUpdate | StochasticPulses, Field(discriminator="kind")]

__all__ = ["AnyScheme", "IdealUpdate", "Scheme", "StochasticPulses"]
