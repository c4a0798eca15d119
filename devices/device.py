"""A device: its pulse response and the conductances that its states stand for."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field, FiniteFloat, model_validator

from analogpc.devices.responses import Response
from analogpc.devices.specification import Specification


class Device(Specification):
    """What a single memristive device is.

    Attributes
    ----------
    name : str
        The preset's name, or your own.
    response : Response
        What a pulse does.
    g_min_siemens, g_max_siemens : float
        Conductance window; its ends belong to the lowest and the highest state of the response's ``window``.
    source : str
        Where the numbers come from.
    """

    name: str
    response: Response
    g_min_siemens: Annotated[FiniteFloat, Field(ge=0)]
    g_max_siemens: Annotated[FiniteFloat, Field(gt=0)]
    source: str = ""

    @model_validator(mode="after")
    def _window_is_open(self) -> Device:
        if self.g_max_siemens <= self.g_min_siemens:
            raise ValueError(f"g_max_siemens = {self.g_max_siemens:g} must lie above g_min_siemens = {self.g_min_siemens:g}")
        return self

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
        """The states of conductances in siemens: the inverse of `conductance`."""
        kind = conductance.dtype.type
        return (conductance - kind(self.g_min_siemens)) / kind(self.siemens_per_state) + kind(self.response.window[0])


def _by_name(value: Any) -> Any:
    """A preset's name stands for the preset."""
    if isinstance(value, str):
        from analogpc.devices.presets import preset

        return preset(value)
    return value


NamedDevice = Annotated[Device, BeforeValidator(_by_name)]
"""A device, or the name of a preset."""
