"""Current-voltage relations of devices, and the temperature dependence of their conductance.

Every current-voltage relation here is a short sum of products I(g, v) = sum over k of m_k(g) f_k(v), so that the bit-line currents of
an ideal array are sums of matrix products, sum over k of f_k(v) @ m_k(g).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field
from typing_extensions import override

from analogpc.devices.bounds import NonNegative, Positive
from analogpc.devices.nonidealities.curves import MICRO, horner
from analogpc.devices.nonidealities.drift import BOLTZMANN_EV
from analogpc.devices.specification import Specification

Function = Callable[[np.ndarray], np.ndarray]


class Term(NamedTuple):
    """One product of a current: ``matrix`` (like the conductances) times ``function`` of the voltage, with its derivative."""

    matrix: np.ndarray
    function: Function
    derivative: Function


class ConductionModel(Specification):
    """Base class of the current-voltage relations; g is the conductance at small voltages."""

    @property
    def linear(self) -> bool:
        """Whether the current is proportional to the voltage, so that wires can be solved exactly."""
        return False

    @abstractmethod
    def products(self, g: np.ndarray) -> list[Term]:
        """Return the products whose sum is the current, for conductances ``g`` in siemens."""

    def terms(self, g: np.ndarray) -> list[tuple[np.ndarray, Function]]:
        """Return pairs of a matrix like ``g`` (siemens) and a function of voltages; currents are sums of ``function(v) @ matrix``."""
        return [(term.matrix, term.function) for term in self.products(g)]

    def current(self, g: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return currents in amperes of devices ``g`` (siemens) at voltages ``v``, element by element (broadcast)."""
        first, *others = (term.matrix * term.function(v) for term in self.products(g))
        return sum(others, start=first)

    def slope(self, g: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return differential conductances dI/dV in siemens of devices ``g`` at voltages ``v``, element by element (broadcast)."""
        first, *others = (term.matrix * term.derivative(v) for term in self.products(g))
        return sum(others, start=first)


def _itself(v: np.ndarray) -> np.ndarray:
    return v


class Ohmic(ConductionModel):
    """Ohm's law, I = G V."""

    kind: Literal["ohmic"] = "ohmic"

    @property
    @override
    def linear(self) -> bool:
        return True

    @override
    def products(self, g: np.ndarray) -> list[Term]:
        return [Term(g, _itself, np.ones_like)]


class Sinh(ConductionModel):
    """Hopping and tunnelling through the gap of a filament, I = G V_s sinh(V / V_s).

    Attributes
    ----------
    scale_volts : float
        V_s; at this voltage the current is 18 % above Ohm's law.
    """

    kind: Literal["sinh"] = "sinh"
    scale_volts: Positive

    @override
    def products(self, g: np.ndarray) -> list[Term]:
        scale = self.scale_volts
        return [Term(g, lambda v: scale * np.sinh(v / scale), lambda v: np.cosh(v / scale))]


class Cubic(ConductionModel):
    """Cubic test function without a physical device, I = G (V - c V³). Beyond 1 / sqrt(c) volts the current has the wrong sign.

    Attributes
    ----------
    per_square_volt : float
        c; 1/4 as in CrossSim's ``CubicDevice``.
    """

    kind: Literal["cubic"] = "cubic"
    per_square_volt: NonNegative = 0.25

    @override
    def products(self, g: np.ndarray) -> list[Term]:
        c = self.per_square_volt
        return [Term(g, lambda v: v * (1 - c * v * v), lambda v: 1 - 3 * c * v * v)]


# Milo et al.: N2 and N3 as polynomials of log10(G / S), lowest power first, and the conductances between which they were fitted.
_MILO_SQUARE = (7.063e-3, 5.711e-3, 1.541e-3, 1.388e-4)
_MILO_CUBE = (1.2968e-3, 6.7919e-4, 8.8710e-5)
_MILO_LOW, _MILO_HIGH = 50 * MICRO, 225 * MICRO


class MiloRRAM(ConductionModel):
    """HfO2 filaments: I = G V + N2 V² + N3 V³ with N2 and N3 cubic and quadratic in log10 G.

    Fitted for |V| up to 0.5 V between 50 and 225 uS, to curves from 62.5 to 110 uS and to a straight line assumed at 225 uS. Below
    the range N2 and N3 are proportional to G, so that a device with G = 0 carries no current; above it they are constant.

    References
    ----------
    Milo et al., IRPS 2021, Fig. 1; fit of CrossSim's ``RRAMMilo``.
    """

    kind: Literal["milo-rram"] = "milo-rram"

    @override
    def products(self, g: np.ndarray) -> list[Term]:
        log_g = np.log10(np.clip(g, _MILO_LOW, _MILO_HIGH))
        share = np.clip(g / _MILO_LOW, 0, 1)
        return [
            Term(g, _itself, np.ones_like),
            Term(horner(_MILO_SQUARE, log_g) * share, np.square, lambda v: 2 * v),
            Term(horner(_MILO_CUBE, log_g) * share, lambda v: v * v * v, lambda v: 3 * v * v),
        ]


Conduction = Annotated[Ohmic | Sinh | Cubic | MiloRRAM, Field(discriminator="kind")]


class Thermal(Specification):
    """Thermally activated conduction: G(T) = G(T_ref) exp(-E / k (1 / T - 1 / T_ref)).

    Attributes
    ----------
    activation_ev : float
        Mean activation energy E in electronvolts; negative for metallic filaments, whose conductance decreases with temperature. 0,
        the default, disables the temperature dependence.
    activation_ev_dtod : float
        Standard deviation of the activation energy from device to device, in electronvolts.
    reference_kelvin : float
        Temperature at which the conductances are as programmed.
    """

    activation_ev: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    activation_ev_dtod: NonNegative = 0.0
    reference_kelvin: Positive = 300.0

    @property
    def active(self) -> bool:
        """Whether the temperature matters."""
        return self.activation_ev != 0 or self.activation_ev_dtod > 0

    @property
    def draws(self) -> int:
        """Number of standard normal numbers per device: 0 or 1."""
        return 1 if self.activation_ev_dtod > 0 else 0

    def factor(self, kelvin: float, xi: np.ndarray) -> np.ndarray:
        """Return the factor on the conductances at a temperature in kelvin, like ``xi``.

        Parameters
        ----------
        kelvin : float
        xi : array
            Standard normal numbers, drawn once per device; only their shape and type are used if `draws` is 0.

        Raises
        ------
        ValueError
            If the temperature is not positive and finite.
        """
        if not 0 < kelvin < math.inf:
            raise ValueError(f"kelvin = {kelvin!r} is not allowed: give a positive finite temperature")
        warmth = (1 / self.reference_kelvin - 1 / kelvin) / BOLTZMANN_EV
        return np.exp((self.activation_ev + self.activation_ev_dtod * xi) * warmth)
