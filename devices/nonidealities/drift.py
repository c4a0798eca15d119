"""Change of programmed conductances with time: base class, the power law of phase-change memory, and retention loss.

The conductance is a pure function of the conductance after programming, the time since then, and numbers drawn once per device. It
does not depend on the partition of the elapsed time.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, FiniteFloat, model_validator
from typing_extensions import override

from analogpc.devices.bounds import NonNegative, Positive
from analogpc.devices.specification import Specification
from analogpc.kernels.gpu.arrays import on_gpu

BOLTZMANN_EV = 8.617333262e-5
"""Boltzmann's constant in electronvolts per kelvin (CODATA 2018)."""


def checked_times(seconds: float | np.ndarray) -> np.ndarray:
    """Convert ``seconds`` to float64 and check the values. Times on a GPU are not checked, since that would synchronise.

    Raises
    ------
    ValueError
        If a time is negative or not finite.
    """
    if not isinstance(seconds, (int, float)) and on_gpu(seconds):
        return seconds.astype(np.float64, copy=False)
    times = np.asarray(seconds, np.float64)
    if not (np.isfinite(times) & (times >= 0)).all():
        raise ValueError(f"seconds = {seconds!r} is not allowed: give finite nonnegative times since programming")
    return times


def like(g: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return ``values`` in the type of ``g``."""
    return values.astype(g.dtype, copy=False)


class DriftModel(Specification):
    """Base class of the drift models."""

    @property
    @abstractmethod
    def draws(self) -> int:
        """Number of standard normal numbers per device: 0 or 1."""

    @abstractmethod
    def conductance(
        self,
        g_programmed: np.ndarray,
        seconds: float | np.ndarray,
        g_max_siemens: float,
        xi: np.ndarray,
        g_target: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the present conductances in siemens, like ``g_programmed``.

        Parameters
        ----------
        g_programmed : array
            Conductances right after programming, in siemens; negative where programming errors would have gone below zero.
        seconds : float or array like ``g_programmed``
            Time since programming; at a temperature other than the reference, multiplied by `acceleration`.
        g_max_siemens : float
            Nominal top of the programming range.
        xi : array like ``g_programmed``
            Standard normal numbers, drawn once per device; not used if `draws` is 0.
        g_target : array like ``g_programmed``
            Target conductances of programming, in siemens. Published statistics of drift are functions of these, not of the
            conductances that result from programming with errors. Default ``g_programmed``: programming without errors.

        Raises
        ------
        ValueError
            If a time is negative or not finite.
        """

    def acceleration(self, kelvin: float) -> float:
        """Return the factor by which time passes faster for the devices at a temperature in kelvin; 1 by default."""
        return 1.0


class NoDrift(DriftModel):
    """Conductances do not change after programming."""

    kind: Literal["none"] = "none"

    @property
    @override
    def draws(self) -> int:
        return 0

    @override
    def conductance(
        self,
        g_programmed: np.ndarray,
        seconds: float | np.ndarray,
        g_max_siemens: float,
        xi: np.ndarray,
        g_target: np.ndarray | None = None,
    ) -> np.ndarray:
        checked_times(seconds)
        return g_programmed.copy()


class ConstantExponent(Specification):
    """Drift exponents with the same distribution for all conductances: the magnitude of a normal number.

    Attributes
    ----------
    mean, std : float
        Mean and standard deviation of the normal number.
    """

    kind: Literal["constant"] = "constant"
    mean: NonNegative
    std: NonNegative = 0.0

    def nu(self, g: np.ndarray, g_max_siemens: float, xi: np.ndarray) -> np.ndarray:
        """Return drift exponents, like ``g``."""
        if self.std == 0:
            return np.full_like(g, self.mean)
        return np.abs(self.mean + self.std * xi)


class LogarithmicExponent(Specification):
    """Drift exponents |mean + std ξ| whose mean and standard deviation are linear in ln(g / g_max) between two limits.

    Attributes
    ----------
    mean_slope, mean_offset, mean_least, mean_most : float
        mean = mean_slope ln(g / g_max) + mean_offset, clipped to [mean_least, mean_most].
    std_slope, std_offset, std_least, std_most : float
        The corresponding numbers for the standard deviation.
    """

    kind: Literal["logarithmic"] = "logarithmic"
    mean_slope: FiniteFloat
    mean_offset: FiniteFloat
    mean_least: NonNegative
    mean_most: NonNegative
    std_slope: FiniteFloat
    std_offset: FiniteFloat
    std_least: NonNegative
    std_most: NonNegative

    @model_validator(mode="after")
    def _limits_in_order(self) -> LogarithmicExponent:
        if self.mean_least > self.mean_most:
            raise ValueError(f"mean_least = {self.mean_least:g} must not exceed mean_most = {self.mean_most:g}")
        if self.std_least > self.std_most:
            raise ValueError(f"std_least = {self.std_least:g} must not exceed std_most = {self.std_most:g}")
        return self

    def moments(self, g: np.ndarray, g_max_siemens: float) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation before the magnitude is taken, each like ``g``."""
        # Bounds the logarithm; the limits of the published fit are reached long before 1e-7.
        log_g = np.log(np.maximum(g / g_max_siemens, 1e-7))
        mean = np.clip(self.mean_slope * log_g + self.mean_offset, self.mean_least, self.mean_most)
        std = np.clip(self.std_slope * log_g + self.std_offset, self.std_least, self.std_most)
        return mean, std

    def nu(self, g: np.ndarray, g_max_siemens: float, xi: np.ndarray) -> np.ndarray:
        """Return drift exponents, like ``g``."""
        mean, std = self.moments(g, g_max_siemens)
        return np.abs(mean + std * xi)


class PowerLawDrift(DriftModel):
    """Structural relaxation of phase-change memory: G(t) = G_p ((t + t0) / t0)^-ν with an exponent drawn for every device.

    The time t starts when the conductance is G_p, ``t0_seconds`` after the last programming pulse.

    Attributes
    ----------
    t0_seconds : float
        Time from the programming pulse to the first read.
    exponent : ConstantExponent or LogarithmicExponent
        Distribution of the nonnegative ν at the target conductance of programming.
    """

    kind: Literal["power-law"] = "power-law"
    t0_seconds: Positive = 20.0
    exponent: Annotated[ConstantExponent | LogarithmicExponent, Field(discriminator="kind")]

    @property
    @override
    def draws(self) -> int:
        return 0 if isinstance(self.exponent, ConstantExponent) and self.exponent.std == 0 else 1

    @override
    def conductance(
        self,
        g_programmed: np.ndarray,
        seconds: float | np.ndarray,
        g_max_siemens: float,
        xi: np.ndarray,
        g_target: np.ndarray | None = None,
    ) -> np.ndarray:
        elapsed = np.log1p(checked_times(seconds) / self.t0_seconds)
        exponent = self.exponent.nu(g_programmed if g_target is None else g_target, g_max_siemens, xi)
        return g_programmed * np.exp(-exponent * like(g_programmed, elapsed))


class Retention(DriftModel):
    """Exponential loss towards a resting conductance: G(t) = G_rest + (G_p - G_rest) exp(-t / lifetime).

    Attributes
    ----------
    lifetime_seconds : float
        Median time constant at ``reference_kelvin``.
    lifetime_dtod : float
        Standard deviation from device to device of the logarithm of the lifetime, so that no lifetime is negative.
    rest_siemens : float
        Conductance after a long time.
    activation_ev : float
        Arrhenius activation energy in electronvolts; 0 for a temperature-independent lifetime.
    reference_kelvin : float
    """

    kind: Literal["retention"] = "retention"
    lifetime_seconds: Positive
    lifetime_dtod: NonNegative = 0.0
    rest_siemens: NonNegative = 0.0
    activation_ev: NonNegative = 0.0
    reference_kelvin: Positive = 300.0

    @property
    @override
    def draws(self) -> int:
        return 1 if self.lifetime_dtod > 0 else 0

    @override
    def acceleration(self, kelvin: float) -> float:
        """Return lifetime at ``reference_kelvin`` over lifetime at ``kelvin``: exp(E_a / k (1 / T_ref - 1 / T))."""
        if not 0 < kelvin < math.inf:
            raise ValueError(f"kelvin = {kelvin!r} is not allowed: give a positive finite temperature")
        return math.exp(self.activation_ev / BOLTZMANN_EV * (1 / self.reference_kelvin - 1 / kelvin))

    @override
    def conductance(
        self,
        g_programmed: np.ndarray,
        seconds: float | np.ndarray,
        g_max_siemens: float,
        xi: np.ndarray,
        g_target: np.ndarray | None = None,
    ) -> np.ndarray:
        lifetimes = like(g_programmed, checked_times(seconds) / self.lifetime_seconds)
        if self.draws:
            lifetimes = lifetimes * np.exp(-self.lifetime_dtod * xi)
        kept = np.exp(-lifetimes)
        return g_programmed * kept + self.rest_siemens * (1 - kept)


PCM_NANDAKUMAR_2019 = PowerLawDrift(
    t0_seconds=20.0,
    exponent=LogarithmicExponent(
        mean_slope=-0.0155,
        mean_offset=0.0244,
        mean_least=0.049,
        mean_most=0.1,
        std_slope=-0.0125,
        std_offset=-0.0059,
        std_least=0.008,
        std_most=0.045,
    ),
)
"""Doped Ge2Sb2Te5, Nandakumar et al., ICECS 2019; numbers as in aihwkit's ``PCMLikeNoiseModel``."""
