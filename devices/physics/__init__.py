"""Physical memristor models: the effect of a voltage pulse, by the published equations.

Contains subclasses of `PhysicalModel` and their pulse curves; responses to update pulses belong in `responses`.
A new model is one new file here.
"""

from typing import Annotated

from pydantic import Field

from analogpc.devices.physics.base import PhysicalModel
from analogpc.devices.physics.filament import Filament
from analogpc.devices.physics.ion_drift import LinearIonDrift
from analogpc.devices.physics.pulse_curves import Programming, pulse_curve, step_table, to_device
from analogpc.devices.physics.vteam import VTEAM

Physics = Annotated[VTEAM | Filament | LinearIonDrift, Field(discriminator="kind")]
"""Any of the models, distinguished by its ``kind``."""

__all__ = [
    "VTEAM",
    "Filament",
    "LinearIonDrift",
    "PhysicalModel",
    "Physics",
    "Programming",
    "pulse_curve",
    "step_table",
    "to_device",
]
