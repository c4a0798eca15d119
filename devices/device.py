"""Device specification: pulse response, conductance range, and the effects of reads and time."""

from __future__ import annotations

from html import escape
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import BeforeValidator, model_validator
from typing_extensions import override

from analogpc.devices.bounds import NonNegative, Positive
from analogpc.devices.names import in_unit
from analogpc.devices.nonidealities import (
    Conduction,
    Drift,
    Endurance,
    ExactProgramming,
    Faults,
    Flicker,
    Levels,
    NoDrift,
    NoReadNoise,
    Ohmic,
    Programming,
    ReadNoise,
    Telegraph,
    Thermal,
)
from analogpc.devices.provenance import Provenance
from analogpc.devices.responses import PulseResponse, Response
from analogpc.devices.specification import Specification


class Device(Specification):
    """Specification of a single memristive device.

    Attributes
    ----------
    name : str
        Name of the preset, or a name of your own.
    response : Response
        Response to programming pulses.
    g_min_siemens, g_max_siemens : float
        Conductance range. Its ends correspond to the lowest and highest states of the response's ``window``.
    levels : Levels
        States that programming targets.
    programming : Programming
        Programming error.
    read_noise : ReadNoise
        White noise, drawn anew for every read.
    flicker : Flicker
        1/f noise, which grows with time.
    telegraph : Telegraph
        Random telegraph noise.
    drift : Drift
        Change of the conductance after programming.
    faults : Faults
        Fractions of devices and lines that do not work.
    endurance : Endurance
        Failure of devices after many pulses.
    conduction : Conduction
        Current-voltage relation.
    thermal : Thermal
        Temperature dependence of the conductance.
    source : str
        Source of the numbers.
    provenance : Provenance
        Files, intervals and assumptions of a device fitted to measurements.
    """

    identity: ClassVar[str] = "name"

    name: str
    response: Response
    g_min_siemens: NonNegative
    g_max_siemens: Positive
    levels: Levels = Levels()
    programming: Programming = ExactProgramming()
    read_noise: ReadNoise = NoReadNoise()
    flicker: Flicker = Flicker()
    telegraph: Telegraph = Telegraph()
    drift: Drift = NoDrift()
    faults: Faults = Faults()
    endurance: Endurance = Endurance()
    conduction: Conduction = Ohmic()
    thermal: Thermal = Thermal()
    source: str = ""
    provenance: Provenance = Provenance()

    @model_validator(mode="after")
    def _window_is_open(self) -> Device:
        if self.g_max_siemens <= self.g_min_siemens:
            raise ValueError(f"g_max_siemens = {self.g_max_siemens:g} must lie above g_min_siemens = {self.g_min_siemens:g}")
        return self

    @model_validator(mode="after")
    def _ideal_devices_have_no_physics(self) -> Device:
        if not self.response.bounded:
            for name in (
                "levels",
                "programming",
                "read_noise",
                "flicker",
                "telegraph",
                "drift",
                "faults",
                "endurance",
                "conduction",
                "thermal",
            ):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} needs a device with limits; the response 'ideal' has none")
        return self

    @override
    def short_name(self) -> str:
        from analogpc.devices.presets import PRESETS

        return self.name if PRESETS.get(self.name) == self else ""

    def __repr__(self) -> str:
        active = [name for name, on in self._imperfections().items() if on]
        what = f", {', '.join(active)}" if active else ""
        window = f"{in_unit(self.g_min_siemens, 'S')} to {in_unit(self.g_max_siemens, 'S')}"
        return f"Device({self.name!r}, {self.response.kind}, {window}{what})"

    def _imperfections(self) -> dict[str, bool]:
        return {
            "programming error": self.programming.kind != "exact",
            "read noise": self.read_noise.kind != "none",
            "1/f noise": self.flicker.active,
            "telegraph noise": self.telegraph.active,
            "drift": self.drift.kind != "none",
            "faults": self.faults != Faults(),
            "wear": self.endurance.active,
            "curved current-voltage relation": not self.conduction.linear,
        }

    def _repr_html_(self) -> str:
        rows = {
            "response": self.response.kind,
            "window": f"{in_unit(self.g_min_siemens, 'S')} to {in_unit(self.g_max_siemens, 'S')}",
        }
        rows |= {name: "yes" for name, on in self._imperfections().items() if on} | (
            {"source": self.source} if self.source else {}
        )
        cells = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows.items())
        return f"<div><b>{escape(self.name)}</b><table>{cells}</table></div>"

    @property
    def nominal_siemens(self) -> tuple[float, float]:
        """Working range of the mean device, in siemens; programming models and fault levels refer to it."""
        low, high = (float(self.conductance(np.array(state))) for state in self.response.ends)
        return low, high

    @property
    def ages(self) -> bool:
        """Whether reads can differ from the programmed conductance."""
        slow = self.flicker.active or self.telegraph.active or self.thermal.active
        return slow or self.drift.kind != "none"

    @property
    def has_reference(self) -> bool:
        """Whether every device has a reference device, whose current is subtracted on reading."""
        return self.response.has_reference

    @property
    def pulse_response(self) -> PulseResponse:
        """Response to pulses.

        Raises
        ------
        TypeError
            If the device does not respond to pulses.
        """
        if not isinstance(self.response, PulseResponse):
            raise TypeError(f"the device '{self.name}' does not respond to pulses")
        return self.response

    @property
    def siemens_per_state(self) -> float:
        """Conductance change per unit of state, in siemens."""
        low, high = self.response.window
        return (self.g_max_siemens - self.g_min_siemens) / (high - low)

    def conductance(self, state: np.ndarray) -> np.ndarray:
        """Conductances in siemens, in the shape and type of ``state``."""
        kind = state.dtype.type
        return kind(self.g_min_siemens) + (state - kind(self.response.window[0])) * kind(self.siemens_per_state)

    def state(self, conductance: np.ndarray) -> np.ndarray:
        """States of conductances in siemens: the inverse of `conductance`."""
        kind = conductance.dtype.type
        return (conductance - kind(self.g_min_siemens)) / kind(self.siemens_per_state) + kind(self.response.window[0])


def _by_name(value: Any) -> Any:
    """Resolve the name of a preset to its device."""
    if isinstance(value, str):
        from analogpc.devices.presets import preset

        return preset(value)
    return value


NamedDevice = Annotated[Device, BeforeValidator(_by_name)]
"""A device, or the name of a preset."""
