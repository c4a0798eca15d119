"""Drift models given as tables over time: the relaxation of ReRAM, and the state-dependent drift of SONOS cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator
from typing_extensions import override

from analogpc.devices.bounds import NonNegative, Positive
from analogpc.devices.nonidealities.curves import (
    MICRO,
    Coefficients,
    deviation_polynomial,
    interpolated,
    saturating,
    strictly_increasing,
)
from analogpc.devices.nonidealities.drift import DriftModel, checked_times, like
from analogpc.kernels.gpu.arrays import on_gpu

DAY = 86400.0
_NANO = 1e-9


def _between(knots: Sequence[float], position: float | np.ndarray, g: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Return the weights of linear interpolation at ``position``: pairs of a knot's index and its weight, where nonzero.

    On a GPU, zero weights are kept, since testing for them would synchronise. Positions beyond the first and the last knot use the
    values there. The weights have the type of ``g``.
    """
    weights = (like(g, interpolated(position, knots, unit)) for unit in np.eye(len(knots)))
    return [(index, weight) for index, weight in enumerate(weights) if on_gpu(weight) or weight.any()]


class Relaxation(DriftModel):
    """Diffusion of ReRAM conductances: the deviation from the target grows as measured at several times after programming.

    G(t) = G_p + sqrt(max(σ²(t) - σ²(t_1), 0)) ξ, never below 0, with a fixed ξ per device and σ at the target conductance of
    programming. With a programming deviation of σ(t_1) the deviation from the target is σ(t), or stays σ(t_1) where the measured
    deviation decreases. Between the measured times σ is interpolated linearly in the logarithm of time; conductances are constant up
    to t_1 and after the last time.

    Attributes
    ----------
    times_seconds : tuple of float
        Times of the measurements since programming, increasing.
    coefficients : tuple of tuple of float
        For each time: σ in microsiemens as a polynomial of g / g_max, lowest power first.
    reference_siemens : float
        Top of the conductance range of the devices that were measured; all conductances scale with it.
    """

    kind: Literal["relaxation"] = "relaxation"
    times_seconds: Annotated[tuple[Positive, ...], Field(min_length=2)]
    coefficients: tuple[Coefficients, ...]
    reference_siemens: Positive

    @model_validator(mode="after")
    def _tables_match(self) -> Relaxation:
        if not strictly_increasing(self.times_seconds):
            raise ValueError(f"times_seconds = {self.times_seconds} must increase")
        if len(self.coefficients) != len(self.times_seconds):
            raise ValueError(
                f"coefficients has {len(self.coefficients)} polynomials, but times_seconds has {len(self.times_seconds)} times"
            )
        return self

    @property
    @override
    def draws(self) -> int:
        return 1

    def deviation_at(self, index: int, g: np.ndarray, g_max_siemens: float) -> np.ndarray:
        """Return the measured deviation at ``times_seconds[index]``, in siemens, like ``g`` (siemens)."""
        return deviation_polynomial(self.coefficients[index], "relative", self.reference_siemens, True, g, g_max_siemens)

    @override
    def conductance(
        self,
        g_programmed: np.ndarray,
        seconds: float | np.ndarray,
        g_max_siemens: float,
        xi: np.ndarray,
        g_target: np.ndarray | None = None,
    ) -> np.ndarray:
        first = self.times_seconds[0]
        position = np.log(np.maximum(checked_times(seconds), first))
        target = g_programmed if g_target is None else g_target
        now = np.zeros_like(g_programmed)
        for index, weight in _between([math.log(time) for time in self.times_seconds], position, g_programmed):
            now += weight * self.deviation_at(index, target, g_max_siemens)
        before = self.deviation_at(0, target, g_max_siemens)
        # As a product, so that equal deviations give exactly zero.
        extra = np.sqrt(np.maximum((now - before) * (now + before), 0))
        return np.maximum(g_programmed + extra * xi, 0)


@lru_cache(maxsize=64)
def _chebyshev(coefficients: tuple[float, ...], top: float) -> tuple[float, ...]:
    """Return the Chebyshev series on [0, top] of a polynomial in powers, which float32 could not evaluate accurately."""
    powers = np.polynomial.Polynomial(coefficients)
    series = powers.convert(domain=[0, top], kind=np.polynomial.Chebyshev, window=[-1, 1])
    return tuple(float(value) for value in series.coef)


def _clenshaw(series: Sequence[float], x: np.ndarray) -> np.ndarray:
    """Evaluate a Chebyshev series at ``x`` in [-1, 1], in the shape and type of ``x``."""
    later, last = np.zeros_like(x), np.zeros_like(x)
    for value in reversed(series[1:]):
        later, last = 2 * x * later - last + value, later
    return x * later - last + series[0]


class StateDrift(DriftModel):
    """Mean shift and growing spread that depend on the state, tabulated over time, as measured on charge-trap cells.

    In terms of the read currents I_p = G_p V after programming and I_T at the target of programming, and never below 0:

        I(t) = I_p + shift(I_T, t) + sqrt(max(σ²(I_T + shift(I_T, t), t) - σ²(I_T, 0), 0)) ξ,    σ(I, t) = A(t) (1 - exp(-I / B(t)))

    with a fixed ξ per device, so that with a programming deviation of σ(I_T, 0) the deviation is that of the shifted current at time
    t. shift, A and B are interpolated linearly between the measured times and constant after the last one; at time 0 the shift is 0.

    Attributes
    ----------
    read_volts : float
        Voltage V at which the currents were measured.
    largest_nanoamperes : float
        Largest current for which the fit holds; beyond it the shift and σ are constant.
    days : tuple of float
        Times of the measurements in days, increasing; the first one is 0.
    shift_nanoamperes : tuple of tuple of float
        For each time after 0: the mean shift in nanoamperes as a polynomial of I_T in nanoamperes, lowest power first.
    spread_nanoamperes, spread_scale_nanoamperes : tuple of float
        A and B for each time.
    """

    kind: Literal["state"] = "state"
    read_volts: Positive = 0.1
    largest_nanoamperes: Positive
    days: Annotated[tuple[NonNegative, ...], Field(min_length=2)]
    shift_nanoamperes: tuple[Coefficients, ...]
    spread_nanoamperes: tuple[NonNegative, ...]
    spread_scale_nanoamperes: tuple[Positive, ...]

    @model_validator(mode="after")
    def _tables_match(self) -> StateDrift:
        if self.days[0] != 0 or not strictly_increasing(self.days):
            raise ValueError(f"days = {self.days} must increase from 0")
        wanted = {"shift_nanoamperes": -1, "spread_nanoamperes": 0, "spread_scale_nanoamperes": 0}
        for name, difference in wanted.items():
            if len(getattr(self, name)) != len(self.days) + difference:
                given = len(getattr(self, name))
                raise ValueError(f"{name} has {given} entries, but {len(self.days)} days need {len(self.days) + difference}")
        return self

    @property
    @override
    def draws(self) -> int:
        return 1

    def mean_shift(self, current: np.ndarray, days: float | np.ndarray) -> np.ndarray:
        """Return the mean change of read currents ``current`` (nanoamperes) after ``days``, in nanoamperes, like ``current``."""
        x = current * (2 / self.largest_nanoamperes) - 1
        shift = np.zeros_like(current)
        for index, weight in _between(self.days, days, current):
            if index > 0:
                shift += weight * _clenshaw(_chebyshev(self.shift_nanoamperes[index - 1], self.largest_nanoamperes), x)
        return shift

    def spread(self, current: np.ndarray, days: float | np.ndarray) -> np.ndarray:
        """Return σ at read currents ``current`` (nanoamperes) after ``days``, in nanoamperes, like ``current``."""
        amplitude = like(current, interpolated(days, self.days, self.spread_nanoamperes))
        scale = like(current, interpolated(days, self.days, self.spread_scale_nanoamperes))
        return saturating(amplitude, scale, current)

    @override
    def conductance(
        self,
        g_programmed: np.ndarray,
        seconds: float | np.ndarray,
        g_max_siemens: float,
        xi: np.ndarray,
        g_target: np.ndarray | None = None,
    ) -> np.ndarray:
        days = checked_times(seconds) / DAY
        nanoamperes_per_siemens = self.read_volts / _NANO
        target = g_programmed if g_target is None else g_target
        current = np.clip(target * nanoamperes_per_siemens, 0, self.largest_nanoamperes)
        shift = self.mean_shift(current, days)
        now, before = self.spread(np.maximum(current + shift, 0), days), self.spread(current, 0.0)
        extra = np.sqrt(np.maximum((now - before) * (now + before), 0))
        return np.maximum(g_programmed + (shift + extra * xi) / nanoamperes_per_siemens, 0)


RERAM_WAN_2022 = Relaxation(
    times_seconds=(1.0, DAY, 2 * DAY),
    coefficients=(
        (0.348, 16.030, -43.853, 45.393, -16.815),
        (0.701, 22.086, -50.773, 47.095, -16.458),
        (0.782, 20.274, -43.507, 37.062, -11.934),
    ),
    reference_siemens=40 * MICRO,
)
"""HfOx, Wan et al., Nature 608:504 (2022), Extended Data Fig. 3; fit of aihwkit's ``ReRamWan2022NoiseModel``."""

# fmt: off
_SONOS_SHIFT = (
    (1.72684e-1, 5.72552e-2, -6.85715e-4, 3.50271e-6, -9.37682e-9, 1.40575e-11,
     -1.19803e-14, 5.41293e-18, -8.85448e-22, -1.66869e-25, 5.95180e-29),
    (2.50712e-1, 6.62195e-2, -6.83218e-4, 2.99442e-6, -6.78255e-9, 7.70482e-12,
     -3.04983e-15, -2.15919e-18, 2.94617e-21, -1.23359e-24, 1.85329e-28),
    (-1.75300e-2, 9.76883e-2, -9.63791e-4, 4.55551e-6, -1.22391e-8, 1.93786e-11,
     -1.85899e-14, 1.07659e-17, -3.58211e-21, 5.96785e-25, -3.30410e-29),
    (4.03338e-2, 1.03111e-1, -1.04740e-3, 4.83961e-6, -1.28132e-8, 1.99484e-11,
     -1.85139e-14, 1.00008e-17, -2.84944e-21, 3.01008e-25, 1.18747e-29),
    (3.19927e-1, 1.06596e-1, -1.04054e-3, 4.50290e-6, -1.10352e-8, 1.56477e-11,
     -1.27592e-14, 5.45513e-18, -7.26841e-22, -2.43893e-25, 7.14608e-29),
)
# fmt: on

SONOS_AGRAWAL_2022 = StateDrift(
    read_volts=0.1,
    largest_nanoamperes=1800.0,
    days=(0.0, 1.0, 2.0, 3.0, 4.0, 5.0),
    shift_nanoamperes=_SONOS_SHIFT,
    spread_nanoamperes=(19.88665, 25.59102, 28.72753, 31.04318, 33.76214, 34.57909),
    spread_scale_nanoamperes=(176.3115, 186.85544, 193.56834, 198.90332, 204.77023, 207.34309),
)
"""40 nm SONOS, Agrawal et al., IEDM 2022, 21.7, Fig. 10; fit of CrossSim's ``SONOS`` in version 3.2.0, drift up to 1800 nA.

Earlier versions of CrossSim had another fit of the mean drift.
"""
