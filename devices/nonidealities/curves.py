"""Curves of a conductance that several specifications of this package share, and the types of their fields."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, FiniteFloat

from analogpc.devices.specification import Specification
from analogpc.kernels.gpu.arrays import on_gpu

Positive = Annotated[FiniteFloat, Field(gt=0)]
NonNegative = Annotated[FiniteFloat, Field(ge=0)]
Fraction = Annotated[FiniteFloat, Field(ge=0, le=1)]
Coefficients = Annotated[tuple[FiniteFloat, ...], Field(min_length=1)]

MICRO = 1e-6


def strictly_increasing(values: Iterable[float]) -> bool:
    """True if every value is larger than the one before."""
    return all(first < second for first, second in pairwise(values))


def horner(coefficients: Iterable[float], x: np.ndarray) -> np.ndarray:
    """The polynomial with ``coefficients``, lowest power first, at ``x``; in the shape and type of ``x``."""
    *lower, highest = coefficients
    out = np.full_like(x, highest)
    for coefficient in reversed(lower):
        out *= x
        out += coefficient
    return out


def deviation_polynomial(
    coefficients: Iterable[float],
    variable: Literal["relative", "microsiemens"],
    reference_siemens: float,
    rescale: bool,
    g: np.ndarray,
    g_max_siemens: float,
) -> np.ndarray:
    """A standard deviation that was fitted by a polynomial, in siemens, never negative.

    Parameters
    ----------
    coefficients
        In microsiemens, lowest power first.
    variable : "relative" or "microsiemens"
        What the powers are taken of: the conductance relative to the top of the measured range, or the conductance in
        microsiemens.
    reference_siemens : float
        Top of the measured range. Outside of 0 to there, the curve is held at its end.
    rescale : bool
        True: the device at hand is a copy of the measured one in which all conductances, deviations included, are larger by
        ``g_max_siemens / reference_siemens``. False: the curve holds for conductances in siemens whatever the range.
    g : array
        Conductances in siemens.
    g_max_siemens : float
        Top of the programming range of the device at hand.

    Returns
    -------
    array like g
    """
    scale = g_max_siemens / reference_siemens if rescale else 1.0
    x = np.clip(g / (scale * reference_siemens), 0, 1)
    if variable == "microsiemens":
        x = x * (reference_siemens / MICRO)
    out = horner(coefficients, x)
    np.maximum(out, 0, out=out)
    out *= scale * MICRO
    return out


class Polynomial(Specification):
    """The fields of a deviation that follows a fitted polynomial; see `deviation_polynomial` for their meaning.

    Attributes
    ----------
    coefficients : tuple of float
        In microsiemens, lowest power first.
    variable : "relative" or "microsiemens"
        Powers of g / g_max, or of g in microsiemens.
    reference_siemens : float
        Top of the conductance range of the devices that were measured; the curve is held at its ends outside of 0 to there.
    rescale : bool
        True: deviation and conductance scale with the top of the range of the device at hand. False: the curve is absolute.
    """

    coefficients: Coefficients
    variable: Literal["relative", "microsiemens"] = "relative"
    reference_siemens: Positive
    rescale: bool = True

    def curve(self, g: np.ndarray, g_max_siemens: float) -> np.ndarray:
        """The deviation at ``g`` (siemens), in siemens, like ``g``."""
        return deviation_polynomial(self.coefficients, self.variable, self.reference_siemens, self.rescale, g, g_max_siemens)


def saturating(amplitude: float | np.ndarray, scale: float | np.ndarray, x: np.ndarray) -> np.ndarray:
    """``amplitude * (1 - exp(-x / scale))`` for x >= 0, and 0 below; in the shape and type of ``x``."""
    return -amplitude * np.expm1(-np.maximum(x, 0) / scale)


def interpolated(place: float | np.ndarray, knots: Sequence[float], values: Sequence[float] | np.ndarray) -> np.ndarray:
    """What lies at ``place`` on the straight lines between ``knots`` and their ``values``, in float64, in the shape of ``place``.

    Beyond the first and the last knot their own values hold.
    """
    if not isinstance(place, float) and on_gpu(place):
        there = [np.asarray(np.array(ends, np.float64), like=place) for ends in (knots, values)]
        return np.interp(place, there[0], there[1])
    return np.interp(np.asarray(place, np.float64), knots, values)
