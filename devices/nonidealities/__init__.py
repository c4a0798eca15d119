"""Nonidealities of devices: programming, reads, ageing and faults, as specifications with pure functions.

All functions take and return arrays of conductances in siemens; the state of an array is kept in `arrays`. Published models are
constants of the modules: `programming`, `noise` (white), `flicker` (1/f), `drift`, `conductance_relaxation` (ReRAM, SONOS).
A new nonideality is one module here and a field of `Device`.
"""

from typing import Annotated

from pydantic import Field

from analogpc.devices.nonidealities.conductance_relaxation import Relaxation, StateDrift
from analogpc.devices.nonidealities.conduction import Conduction, ConductionModel, Cubic, MiloRRAM, Ohmic, Sinh, Thermal
from analogpc.devices.nonidealities.drift import (
    ConstantExponent,
    DriftModel,
    LogarithmicExponent,
    NoDrift,
    PowerLawDrift,
    Retention,
)
from analogpc.devices.nonidealities.endurance import Endurance
from analogpc.devices.nonidealities.faults import Faults
from analogpc.devices.nonidealities.flicker import Flicker
from analogpc.devices.nonidealities.noise import (
    ConstantNoise,
    NoReadNoise,
    PolynomialNoise,
    ReadNoise,
    ReadNoiseModel,
    RelativeNoise,
    SaturatingNoise,
)
from analogpc.devices.nonidealities.programming import (
    ConstantSpread,
    ExactProgramming,
    Levels,
    PolynomialSpread,
    Programming,
    ProgrammingModel,
    ProportionalSpread,
    SaturatingSpread,
    UniformSpread,
)
from analogpc.devices.nonidealities.telegraph import Telegraph

Drift = Annotated[NoDrift | PowerLawDrift | Relaxation | Retention | StateDrift, Field(discriminator="kind")]

__all__ = [
    "Conduction",
    "ConductionModel",
    "ConstantExponent",
    "ConstantNoise",
    "ConstantSpread",
    "Cubic",
    "Drift",
    "DriftModel",
    "Endurance",
    "ExactProgramming",
    "Faults",
    "Flicker",
    "Levels",
    "LogarithmicExponent",
    "MiloRRAM",
    "NoDrift",
    "NoReadNoise",
    "Ohmic",
    "PolynomialNoise",
    "PolynomialSpread",
    "PowerLawDrift",
    "Programming",
    "ProgrammingModel",
    "ProportionalSpread",
    "ReadNoise",
    "ReadNoiseModel",
    "RelativeNoise",
    "Relaxation",
    "Retention",
    "SaturatingNoise",
    "SaturatingSpread",
    "Sinh",
    "StateDrift",
    "Telegraph",
    "Thermal",
    "UniformSpread",
]
