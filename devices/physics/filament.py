"""Stochastic filament model of Stanford and Peking University: a gap that opens and closes under field and heat."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Literal

import numpy as np
from pydantic import model_validator
from scipy.constants import Boltzmann, elementary_charge
from typing_extensions import override

from analogpc.devices.bounds import NonNegative, Positive, PositiveInteger
from analogpc.devices.physics.base import PhysicalModel, Values

_GAP_UNIT = 1e-9  # The local field enhancement falls with the cube of the gap in nanometres.


class Filament(PhysicalModel):
    """Filament model; the state is the gap g in metres between filament tip and electrode. Positive pulses close it.

    i = i0 exp(-g/g0) sinh(v/v0); dg/dt = -velocity exp(-q Ea / kT) sinh(γ a0 q v / (L k T)); γ = γ0 - β (g / 1 nm)³;
    T = ambient + thermal_resistance |v i|. Below the threshold of the local field, γ |v| / L < least_field, the gap does not move. Above it
    the rate carries white Gaussian noise of strength noise_velocity / (1 + exp((critical - T) / smoothing)).

    Attributes
    ----------
    i0 : float
        Current scale in amperes.
    g0, v0 : float
        Decay length in metres and voltage scale in volts of the current.
    velocity : float
        Attempt velocity in metres per second.
    activation : float
        Activation energy Ea in electronvolts.
    spacing : float
        Hopping distance a0 in metres.
    thickness : float
        Oxide thickness L in metres.
    gamma0, beta : float
        Local field enhancement without gap, and its loss per cubed nanometre of gap.
    least_field : float
        Local field in volts per metre below which the gap does not change; 0 for no threshold.
    gap_min, gap_max : float
        Limits of the gap in metres.
    ambient_kelvin : float
        Temperature at zero current.
    thermal_resistance : float
        Thermal resistance in kelvins per watt.
    noise_velocity : float
        Standard deviation of the rate in metres per second during each `noise_seconds`, when hot; 0 for a noise-free model.
    noise_critical_kelvin, noise_smoothing_kelvin : float
        Temperature at which half of that noise acts, and width of the transition.
    noise_seconds : float
        Time over which the noise is constant in the published simulation: its longest time step.
    pieces : int
        Number of intervals of a pulse in which the noise acts.

    Notes
    -----
    The default numbers are those of the published compact model, version 1.0.0, in its dynamic mode (Jiang and Wong, Stanford
    University Resistive-Switching Random Access Memory Verilog-A Model, nanoHUB 2014, doi 10.4231/D37H1DN48). There the noise is
    drawn at every time step, so that its effect depends on the step; here it is the white noise that steps of `noise_seconds` add up
    to: in a time t at constant temperature the gap spreads by strength · sqrt(noise_seconds · t), for any partition of a pulse. There
    the noise also acts at rest; here it vanishes when the gap does not move, since an idle device would otherwise lose its state.

    References
    ----------
    Guan, Yu and Wong, IEEE Electron Device Lett. 33:1405 (2012); Jiang et al., IEEE Trans. Electron Devices 63:1884 (2016).
    """

    kind: Literal["filament"] = "filament"
    i0: Positive = 1e-3
    g0: Positive = 0.25e-9
    v0: Positive = 0.25
    velocity: Positive = 10.0
    activation: Positive = 0.6
    spacing: Positive = 0.25e-9
    thickness: Positive = 12e-9
    gamma0: Positive = 16.0
    beta: NonNegative = 0.8
    least_field: NonNegative = 1.4e9
    gap_min: NonNegative = 0.2e-9
    gap_max: Positive = 1.7e-9
    ambient_kelvin: Positive = 298.0
    thermal_resistance: NonNegative = 2.1e3
    noise_velocity: NonNegative = 0.02
    noise_critical_kelvin: Positive = 450.0
    noise_smoothing_kelvin: Positive = 500.0
    noise_seconds: Positive = 1e-9
    pieces: PositiveInteger = 16

    @model_validator(mode="after")
    def _ordered(self) -> Filament:
        if self.gap_min >= self.gap_max:
            raise ValueError(f"gap_max = {self.gap_max:g} must lie above gap_min = {self.gap_min:g}")
        if self.gamma0 <= self.beta * (self.gap_max / _GAP_UNIT) ** 3:
            raise ValueError(f"gamma0 = {self.gamma0:g} must lie above beta (gap_max / 1 nm)^3, or the field reverses in the gap")
        return self

    @property
    @override
    def settles(self) -> bool:
        return False

    @property
    @override
    def noise_pieces(self) -> int:
        return self.pieces if self.noise_velocity > 0 else 0

    @override
    def limits(self, volts: Values, devices: SimpleNamespace | None = None) -> tuple[Values, Values]:
        p = devices or self.parameters()
        volts = np.asarray(volts, np.float64)
        # A negative pulse opens the gap only until the local field has fallen to its threshold.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            room = p.gamma0 - np.divide(p.least_field * p.thickness, np.abs(volts))
            rest = np.where(room > 0, np.cbrt(np.maximum(room, 0.0) / p.beta) * _GAP_UNIT, 0.0)
        return p.gap_min, np.where(volts < 0, np.clip(rest, p.gap_min, p.gap_max), p.gap_max)

    @override
    def current(self, volts: Values, state: Values, devices: SimpleNamespace | None = None) -> np.ndarray:
        p = devices or self.parameters()
        return p.i0 * np.exp(-np.asarray(state, np.float64) / p.g0) * np.sinh(np.asarray(volts, np.float64) / p.v0)

    def temperature(self, volts: Values, state: Values, devices: SimpleNamespace | None = None) -> np.ndarray:
        """Return the local temperature in kelvins."""
        p = devices or self.parameters()
        return p.ambient_kelvin + p.thermal_resistance * np.abs(volts * self.current(volts, state, devices))

    def _enhancement(self, volts: Values, state: Values, p: SimpleNamespace) -> np.ndarray:
        """Return γ, or 0 where the local field is below the threshold."""
        gamma = p.gamma0 - p.beta * (np.asarray(state, np.float64) / _GAP_UNIT) ** 3
        return np.where(gamma * np.abs(volts) / p.thickness >= p.least_field, gamma, 0.0)

    @override
    def rate(self, volts: Values, state: Values, devices: SimpleNamespace | None = None) -> np.ndarray:
        p = devices or self.parameters()
        thermal_volts = Boltzmann / elementary_charge * self.temperature(volts, state, devices)
        gamma = self._enhancement(volts, state, p)
        drive = np.sinh(gamma * p.spacing / p.thickness * volts / thermal_volts)
        return -p.velocity * np.exp(-p.activation / thermal_volts) * drive

    @override
    def noise(self, volts: Values, state: Values, devices: SimpleNamespace | None = None) -> Values:
        p = devices or self.parameters()
        kelvins = self.temperature(volts, state, devices)
        share = 1 / (1 + np.exp((p.noise_critical_kelvin - kelvins) / p.noise_smoothing_kelvin))
        acting = (self._enhancement(volts, state, p) > 0) & (np.asarray(volts) != 0)
        return np.where(acting, p.noise_velocity * np.sqrt(p.noise_seconds) * share, 0.0)

    @override
    def state_at(self, conductance: Values, read_volts: float, devices: SimpleNamespace | None = None) -> np.ndarray:
        p = devices or self.parameters()
        scale = p.i0 * np.sinh(read_volts / p.v0) / read_volts
        return np.clip(p.g0 * np.log(scale / np.asarray(conductance, np.float64)), p.gap_min, p.gap_max)
