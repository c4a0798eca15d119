"""White read noise: an independent deviation at every read, smaller for longer reads."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from typing_extensions import override

from analogpc.devices.bounds import NonNegative, Positive
from analogpc.devices.nonidealities.curves import MICRO, Polynomial, saturating
from analogpc.devices.specification import Specification


class ReadNoiseModel(Specification):
    """Base class of the white read noise models.

    Attributes
    ----------
    reference_seconds : float
        Read duration for which the deviation is given. A read averages white noise over its duration, so that a read of ``seconds``
        sees the deviation times sqrt(reference_seconds / seconds).
    """

    reference_seconds: Positive = 1e-7
    uniform: ClassVar[bool] = False
    """Whether the deviation is the same for all conductances."""

    @abstractmethod
    def reference_deviation(self, g: np.ndarray, g_max_siemens: float) -> np.ndarray:
        """Return the standard deviation of a read of ``reference_seconds``, in siemens, like ``g`` (siemens)."""

    def deviation(self, g: np.ndarray, g_max_siemens: float, seconds: float) -> np.ndarray:
        """Return the standard deviation of a read, in siemens, like ``g``.

        Parameters
        ----------
        g : array
            Conductances in siemens.
        g_max_siemens : float
            Nominal top of the programming range.
        seconds : float
            Duration of the read.

        Raises
        ------
        ValueError
            If the duration is not positive.
        """
        if not seconds > 0:
            raise ValueError(f"seconds = {seconds!r} is not allowed: give a positive duration of the read")
        return self.reference_deviation(g, g_max_siemens) * math.sqrt(self.reference_seconds / seconds)


class NoReadNoise(ReadNoiseModel):
    """No noise: reads find the exact conductance."""

    kind: Literal["none"] = "none"

    @override
    def reference_deviation(self, g: np.ndarray, g_max_siemens: float) -> np.ndarray:
        return np.zeros_like(g)


class RelativeNoise(ReadNoiseModel):
    """Noise proportional to the conductance.

    Attributes
    ----------
    relative : float
        Standard deviation over conductance.
    """

    kind: Literal["relative"] = "relative"
    relative: NonNegative

    @override
    def reference_deviation(self, g: np.ndarray, g_max_siemens: float) -> np.ndarray:
        return np.abs(g) * self.relative


class ConstantNoise(ReadNoiseModel):
    """Noise of the same size for every conductance.

    Attributes
    ----------
    std_siemens : float
    """

    kind: Literal["constant"] = "constant"
    uniform: ClassVar[bool] = True
    std_siemens: NonNegative

    @override
    def reference_deviation(self, g: np.ndarray, g_max_siemens: float) -> np.ndarray:
        return np.full_like(g, self.std_siemens)


class PolynomialNoise(ReadNoiseModel, Polynomial):
    """Noise whose deviation is a polynomial of the conductance, fitted to measured devices; fields as in `Polynomial`."""

    kind: Literal["polynomial"] = "polynomial"

    @override
    def reference_deviation(self, g: np.ndarray, g_max_siemens: float) -> np.ndarray:
        return self.curve(g, g_max_siemens)


class SaturatingNoise(ReadNoiseModel):
    """Noise that grows with the conductance and saturates: amplitude (1 - exp(-g / scale)).

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
    def reference_deviation(self, g: np.ndarray, g_max_siemens: float) -> np.ndarray:
        return saturating(self.amplitude_siemens, self.scale_siemens, g)


ReadNoise = Annotated[
    NoReadNoise | RelativeNoise | ConstantNoise | PolynomialNoise | SaturatingNoise, Field(discriminator="kind")
]

RERAM_WAN_2022 = PolynomialNoise(coefficients=(0.4,), reference_siemens=40 * MICRO)
"""One percent of the top of the range, as advised by aihwkit's ``ReRamWan2022NoiseModel``; duration of a read not given."""

SONOS_AGRAWAL_2022 = SaturatingNoise(amplitude_siemens=12.58037e-9 / 0.1, scale_siemens=215.36557e-9 / 0.1)
"""Agrawal et al., IEDM 2022, 21.7, Fig. 11(b); fit of CrossSim's ``SONOS``, currents in nA read at 0.1 V; duration not given."""
