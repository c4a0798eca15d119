"""Programming errors and programmable levels of devices.

Conductances are arrays in siemens of any shape; results have their shape and type. The published curves are module constants,
named after the first author and the year of their source.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import override

from analogpc.devices.bounds import Fraction, NonNegative, Positive
from analogpc.devices.nonidealities.curves import MICRO, Polynomial, saturating, strictly_increasing
from analogpc.devices.specification import Specification
from analogpc.kernels.activations import normal_cdf
from analogpc.kernels.gpu.arrays import on_gpu


class ProgrammingModel(Specification):
    """Base class of the programming models."""

    @abstractmethod
    def deviation(self, g: np.ndarray, g_max_siemens: float) -> np.ndarray:
        """Return the standard deviation about the target ``g``, in siemens, like ``g``.

        Parameters
        ----------
        g : array
            Target conductances in siemens.
        g_max_siemens : float
            Nominal top of the programming range.
        """

    def programmed(self, g: np.ndarray, g_max_siemens: float, xi: np.ndarray) -> np.ndarray:
        """Return the conductances after programming, in siemens, like ``g``; not clipped to any range.

        Parameters
        ----------
        g : array
            Target conductances in siemens.
        g_max_siemens : float
            Nominal top of the programming range.
        xi : array like g
            Standard normal numbers.
        """
        return g + self.deviation(g, g_max_siemens) * xi


class ExactProgramming(ProgrammingModel):
    """Every device reaches its target."""

    kind: Literal["exact"] = "exact"

    @override
    def deviation(self, g: np.ndarray, g_max_siemens: float) -> np.ndarray:
        return np.zeros_like(g)


class ConstantSpread(ProgrammingModel):
    """Normal deviation of the same size for every target.

    Attributes
    ----------
    std_siemens : float
    """

    kind: Literal["constant"] = "constant"
    std_siemens: NonNegative

    @override
    def deviation(self, g: np.ndarray, g_max_siemens: float) -> np.ndarray:
        return np.full_like(g, self.std_siemens)


class ProportionalSpread(ProgrammingModel):
    """Normal deviation proportional to the target.

    Attributes
    ----------
    relative : float
        Standard deviation relative to the target.
    """

    kind: Literal["proportional"] = "proportional"
    relative: NonNegative

    @override
    def deviation(self, g: np.ndarray, g_max_siemens: float) -> np.ndarray:
        return np.abs(g) * self.relative


class UniformSpread(ProgrammingModel):
    """Deviation uniform within ± ``half_width_siemens``, as left by a programming loop that stops within a tolerance.

    Attributes
    ----------
    half_width_siemens : float
    """

    kind: Literal["uniform"] = "uniform"
    half_width_siemens: NonNegative

    @override
    def deviation(self, g: np.ndarray, g_max_siemens: float) -> np.ndarray:
        return np.full_like(g, self.half_width_siemens / math.sqrt(3))

    @override
    def programmed(self, g: np.ndarray, g_max_siemens: float, xi: np.ndarray) -> np.ndarray:
        # The normal distribution function maps a standard normal number to a uniform one in (0, 1).
        return g + (2 * normal_cdf(xi) - 1) * self.half_width_siemens


class PolynomialSpread(ProgrammingModel, Polynomial):
    """Normal deviation whose size is a polynomial of the target, fitted to measured devices; fields as in `Polynomial`."""

    kind: Literal["polynomial"] = "polynomial"

    @override
    def deviation(self, g: np.ndarray, g_max_siemens: float) -> np.ndarray:
        return self.curve(g, g_max_siemens)


class SaturatingSpread(ProgrammingModel):
    """Normal deviation that grows with the target and saturates: amplitude (1 - exp(-g / scale)).

    Attributes
    ----------
    amplitude_siemens : float
        Deviation at large conductances.
    scale_siemens : float
        Conductance at which 63 % of the amplitude is reached.
    """

    kind: Literal["saturating"] = "saturating"
    amplitude_siemens: NonNegative
    scale_siemens: Positive

    @override
    def deviation(self, g: np.ndarray, g_max_siemens: float) -> np.ndarray:
        return saturating(self.amplitude_siemens, self.scale_siemens, g)


Programming = Annotated[
    ExactProgramming | ConstantSpread | ProportionalSpread | UniformSpread | PolynomialSpread | SaturatingSpread,
    Field(discriminator="kind"),
]

PCM_NANDAKUMAR_2019 = PolynomialSpread(coefficients=(0.26348, 1.9650, -1.1731), reference_siemens=25 * MICRO)
"""Doped Ge2Sb2Te5, Nandakumar et al., ICECS 2019; coefficients as in aihwkit's ``PCMLikeNoiseModel``."""

RERAM_WAN_2022 = PolynomialSpread(coefficients=(0.348, 16.030, -43.853, 45.393, -16.815), reference_siemens=40 * MICRO)
"""HfOx 1 s after programming, Wan et al., Nature 608:504 (2022); fit of aihwkit's ``ReRamWan2022NoiseModel``."""

RERAM_WAN_2022_CUBIC = PolynomialSpread(
    coefficients=(1.053, 0.2374, -1.167e-2, 1.536e-4),
    variable="microsiemens",
    reference_siemens=39.26 * MICRO,
    rescale=False,
)
"""The same data, fitted by CrossSim's ``RRAMWan``: three times as wide at small conductances."""

PCM_JOSHI_2020 = PolynomialSpread(
    coefficients=(0.28638599, 0.07585724, -0.00178767),
    variable="microsiemens",
    reference_siemens=25 * MICRO,
    rescale=False,
)
"""Doped Ge2Sb2Te5, 27 s after programming, Joshi et al., Nat. Commun. 11:2473 (2020); fit of CrossSim's ``PCMJoshi``."""

RRAM_MILO_2021 = PolynomialSpread(
    coefficients=(4.782321, -0.009107), variable="microsiemens", reference_siemens=225 * MICRO, rescale=False
)
"""HfO2, programmed by IGVVA-100 to 50-225 uS, Milo et al., IRPS 2021; fit of CrossSim's ``RRAMMilo``."""

SONOS_AGRAWAL_2022 = SaturatingSpread(amplitude_siemens=19.88665e-9 / 0.1, scale_siemens=176.3115e-9 / 0.1)
"""40 nm charge trap, Agrawal et al., IEDM 2022, 21.7; CrossSim's ``SONOS`` at time 0, currents in nA read at 0.1 V."""


def _whole_count(value: Any) -> Any:
    """Reject a fractional number of states."""
    if isinstance(value, float) and math.isfinite(value) and value != int(value):
        raise ValueError("a device has a whole number of states, or inf for a continuum")
    return value


class Levels(Specification):
    """States to which a device can be programmed.

    Attributes
    ----------
    count : float
        Number of evenly spaced conductances, an integer from 2 with both ends of the range included; ``inf`` for a continuum.
    positions : tuple of float
        States as fractions of the range, instead of ``count``, increasing from 0 at its low end to 1 at its high end. Empty for
        evenly spaced states.
    """

    count: Annotated[float, BeforeValidator(_whole_count), Field(ge=2, le=math.inf)] = math.inf
    positions: tuple[Fraction, ...] = ()

    @model_validator(mode="after")
    def _one_of_both(self) -> Levels:
        if not self.positions:
            return self
        if len(self.positions) < 2 or not strictly_increasing(self.positions):
            raise ValueError(f"positions = {self.positions} must be at least two increasing fractions")
        if math.isfinite(self.count) and self.count != len(self.positions):
            raise ValueError(f"count = {self.count:g} contradicts the {len(self.positions)} positions; leave one of them out")
        return self

    def nearest(self, g: np.ndarray, g_min_siemens: float, g_max_siemens: float) -> np.ndarray:
        """Return the possible conductances nearest to ``g``, in siemens, like ``g``.

        Parameters
        ----------
        g : array
            Target conductances in siemens; those beyond the range are moved to its ends (a continuum leaves them unchanged).
        g_min_siemens, g_max_siemens : float
            The range.
        """
        span = g_max_siemens - g_min_siemens
        if self.positions:
            states = np.array(self.positions, g.dtype) * g.dtype.type(span) + g.dtype.type(g_min_siemens)
            if on_gpu(g):
                states = np.asarray(states, like=g)
            return states[np.searchsorted((states[1:] + states[:-1]) / 2, g)]
        if math.isinf(self.count):
            return g.copy()
        if self.count - 1 > 2 / float(np.finfo(g.dtype).eps):
            # Finer than the type resolves: a continuum that ends at the outermost levels.
            return np.clip(g, g.dtype.type(g_min_siemens), g.dtype.type(g_max_siemens))
        step = span / (self.count - 1)
        return np.clip(np.rint((g - g_min_siemens) / step), 0, self.count - 1) * step + g_min_siemens
