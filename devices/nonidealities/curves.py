"""Functions of the conductance shared by several specifications."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, FiniteFloat

from analogpc.devices.bounds import Positive
from analogpc.devices.specification import Specification
from analogpc.kernels.gpu.arrays import on_gpu

Coefficients = Annotated[tuple[FiniteFloat, ...], Field(min_length=1)]

MICRO = 1e-6


def strictly_increasing(values: Iterable[float]) -> bool:
    """Whether every value is larger than the previous one."""
    return all(first < second for first, second in pairwise(values))


def horner(coefficients: Iterable[float], x: np.ndarray) -> np.ndarray:
    """Evaluate the polynomial with ``coefficients``, lowest power first, at ``x``; in the shape and type of ``x``."""
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
    """Return a standard deviation given by a fitted polynomial, in siemens, never negative.

    Parameters
    ----------
    coefficients
        In microsiemens, lowest power first.
    variable : "relative" or "microsiemens"
        Variable of the polynomial: the conductance relative to the top of the measured range, or the conductance in microsiemens.
    reference_siemens : float
        Top of the measured range. Outside 0 to this value, the curve is constant.
    rescale : bool
        If true, the device is a copy of the measured one whose conductances, deviations included, are scaled by
        ``g_max_siemens / reference_siemens``. If false, the curve holds for conductances in siemens whatever the range.
    g : array
        Conductances in siemens.
    g_max_siemens : float
        Top of the programming range of the device.

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
    """Fields of a deviation given by a fitted polynomial; see `deviation_polynomial` for their meaning.

    Attributes
    ----------
    coefficients : tuple of float
        In microsiemens, lowest power first.
    variable : "relative" or "microsiemens"
        Variable of the polynomial: g / g_max, or g in microsiemens.
    reference_siemens : float
        Top of the conductance range of the measured devices; the curve is constant outside 0 to this value.
    rescale : bool
        If true, deviation and conductance scale with the top of the range of the device. If false, the curve is absolute.
    """

    coefficients: Coefficients
    variable: Literal["relative", "microsiemens"] = "relative"
    reference_siemens: Positive
    rescale: bool = True

    def curve(self, g: np.ndarray, g_max_siemens: float) -> np.ndarray:
        """Return the deviation at ``g`` (siemens), in siemens, like ``g``."""
        return deviation_polynomial(self.coefficients, self.variable, self.reference_siemens, self.rescale, g, g_max_siemens)


def saturating(amplitude: float | np.ndarray, scale: float | np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return ``amplitude * (1 - exp(-x / scale))`` for x >= 0, and 0 below; in the shape and type of ``x``."""
    return -amplitude * np.expm1(-np.maximum(x, 0) / scale)


def interpolated(place: float | np.ndarray, knots: Sequence[float], values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Interpolate ``values`` at ``knots`` linearly at ``place``, in float64, in the shape of ``place``.

    Places beyond the first and the last knot get the values there.
    """
    if not isinstance(place, float) and on_gpu(place):
        there = [np.asarray(np.array(ends, np.float64), like=place) for ends in (knots, values)]
        return np.interp(place, there[0], there[1])
    return np.interp(np.asarray(place, np.float64), knots, values)
