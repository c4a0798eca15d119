"""VTEAM: voltage threshold adaptive memristor model (Kvatinsky et al. 2015)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, FiniteFloat, model_validator
from typing_extensions import override

from analogpc.devices.bounds import NonNegative, Positive
from analogpc.devices.physics.base import PhysicalModel, Values
from analogpc.devices.physics.windows import WindowName, window

Negative = Annotated[FiniteFloat, Field(lt=0)]


class VTEAM(PhysicalModel):
    """VTEAM model; the state x in metres grows above v_off > 0, shrinks below v_on < 0, and is constant between the thresholds.

    dx/dt = k_off (v/v_off - 1)^α_off f(x) for v > v_off, k_on (v/v_on - 1)^α_on f(x) for v < v_on, else 0. The resistance rises
    from r_on at x_on to r_off at x_off, so that *negative* pulses raise the conductance.

    Attributes
    ----------
    k_off, k_on : float
        Speeds in metres per second; k_off > 0, k_on < 0.
    alpha_off, alpha_on : float
        Exponents of the overdrive.
    v_off, v_on : float
        Thresholds in volts; v_off > 0, v_on < 0.
    x_on, x_off : float
        Limits of the state in metres; x_on < x_off.
    r_on, r_off : float
        Resistances at those limits in ohms; r_on < r_off.
    resistance : {"linear", "exponential"}
        Whether the resistance or its logarithm is linear in the state.
    window : {"none", "joglekar", "biolek", "prodromakis"}
        Window function; see `physics.windows.window`.
    window_p : float
        Exponent p of the window.

    Notes
    -----
    The default numbers are those of MemTorch's VTEAM device (Lammie et al., Neurocomputing 485:124, 2022).

    References
    ----------
    Kvatinsky, Ramadan, Friedman and Kolodny, IEEE Trans. Circuits Syst. II 62:786 (2015), eqs. 2 to 5.
    """

    kind: Literal["vteam"] = "vteam"
    k_off: Positive = 5e-4
    k_on: Negative = -10.0
    alpha_off: Positive = 1.0
    alpha_on: Positive = 3.0
    v_off: Positive = 0.02
    v_on: Negative = -0.2
    x_on: NonNegative = 0.0
    x_off: Positive = 3e-9
    r_on: Positive = 50.0
    r_off: Positive = 1000.0
    resistance: Literal["linear", "exponential"] = "linear"
    window: WindowName = "none"
    window_p: Positive = 1.0

    @model_validator(mode="after")
    def _ordered(self) -> VTEAM:
        if self.x_on >= self.x_off:
            raise ValueError(f"x_off = {self.x_off:g} must lie above x_on = {self.x_on:g}")
        if self.r_on >= self.r_off:
            raise ValueError(f"r_off = {self.r_off:g} must lie above r_on = {self.r_on:g}")
        return self

    @property
    @override
    def settles(self) -> bool:
        return self.window != "none"

    @override
    def limits(self, volts: Values, devices: SimpleNamespace | None = None) -> tuple[Values, Values]:
        p = devices or self.parameters()
        return p.x_on, p.x_off

    @override
    def current(self, volts: Values, state: Values, devices: SimpleNamespace | None = None) -> np.ndarray:
        p = devices or self.parameters()
        fraction = (np.asarray(state, np.float64) - p.x_on) / (p.x_off - p.x_on)
        if self.resistance == "linear":
            return volts / (p.r_on + (p.r_off - p.r_on) * fraction)
        return volts / (p.r_on * np.exp(np.log(p.r_off / p.r_on) * fraction))

    @override
    def rate(self, volts: Values, state: Values, devices: SimpleNamespace | None = None) -> np.ndarray:
        p = devices or self.parameters()
        volts = np.asarray(volts, np.float64)
        off = p.k_off * np.maximum(volts / p.v_off - 1, 0.0) ** p.alpha_off
        on = p.k_on * np.maximum(volts / p.v_on - 1, 0.0) ** p.alpha_on
        fraction = np.clip((np.asarray(state, np.float64) - p.x_on) / (p.x_off - p.x_on), 0.0, 1.0)
        return (off + on) * window(self.window, fraction, volts > 0, p.window_p)

    @override
    def state_at(self, conductance: Values, read_volts: float, devices: SimpleNamespace | None = None) -> np.ndarray:
        p = devices or self.parameters()
        ohms = 1 / np.asarray(conductance, np.float64)
        linear = (ohms - p.r_on) / (p.r_off - p.r_on)
        fraction = linear if self.resistance == "linear" else np.log(ohms / p.r_on) / np.log(p.r_off / p.r_on)
        return p.x_on + (p.x_off - p.x_on) * np.clip(fraction, 0.0, 1.0)
