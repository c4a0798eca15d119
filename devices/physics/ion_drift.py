"""Linear ion drift: the memristor model of Strukov et al. (2008)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Literal

import numpy as np
from pydantic import model_validator
from typing_extensions import override

from analogpc.devices.bounds import Positive
from analogpc.devices.physics.base import PhysicalModel, Values
from analogpc.devices.physics.windows import WindowName, window


class LinearIonDrift(PhysicalModel):
    """The state is the doped fraction x = w/D of the film; it drifts with the current: dx/dt = (µ r_on / D²) i f(x).

    The resistance is r_on x + r_off (1 - x): positive pulses raise the conductance. There is no threshold.

    Attributes
    ----------
    mobility : float
        Drift mobility µ of the dopants in m²/(V s).
    thickness : float
        Film thickness D in metres.
    r_on, r_off : float
        Resistances of the fully doped and the undoped film in ohms; r_on < r_off.
    window : {"none", "joglekar", "biolek", "prodromakis"}
        Window function; see `physics.windows.window`.
    window_p : float
        Exponent p of the window.

    Notes
    -----
    Mobility 1e-10 cm²/(V s), D = 10 nm and r_off/r_on = 160 are the example of the paper (Fig. 2b); r_on = 100 ohm is a common choice.

    References
    ----------
    Strukov, Snider, Stewart and Williams, Nature 453:80 (2008), eqs. 5 and 6.
    """

    kind: Literal["linear-ion-drift"] = "linear-ion-drift"
    mobility: Positive = 1e-14
    thickness: Positive = 10e-9
    r_on: Positive = 100.0
    r_off: Positive = 16e3
    window: WindowName = "none"
    window_p: Positive = 1.0

    @model_validator(mode="after")
    def _ordered(self) -> LinearIonDrift:
        if self.r_on >= self.r_off:
            raise ValueError(f"r_off = {self.r_off:g} must lie above r_on = {self.r_on:g}")
        return self

    @property
    @override
    def settles(self) -> bool:
        return self.window != "none"

    @override
    def limits(self, volts: Values, devices: SimpleNamespace | None = None) -> tuple[Values, Values]:
        return 0.0, 1.0

    @override
    def current(self, volts: Values, state: Values, devices: SimpleNamespace | None = None) -> np.ndarray:
        p = devices or self.parameters()
        return volts / (p.r_off - (p.r_off - p.r_on) * np.asarray(state, np.float64))

    @override
    def rate(self, volts: Values, state: Values, devices: SimpleNamespace | None = None) -> np.ndarray:
        p = devices or self.parameters()
        drift = p.mobility * p.r_on / p.thickness**2 * self.current(volts, state, devices)
        return drift * window(self.window, np.clip(state, 0.0, 1.0), np.asarray(volts) > 0, p.window_p)

    @override
    def state_at(self, conductance: Values, read_volts: float, devices: SimpleNamespace | None = None) -> np.ndarray:
        p = devices or self.parameters()
        return np.clip((p.r_off - 1 / np.asarray(conductance, np.float64)) / (p.r_off - p.r_on), 0.0, 1.0)
