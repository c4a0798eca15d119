"""1/f read noise as a process in time, composed of Ornstein-Uhlenbeck modes.

A read of duration t_r finds, at time t after programming, G (1 + Q(g) f(t)), where the variance of f grows as

    Var f(t) = ln((t + t_r) / (2 t_r)) = ln(1 + t / t_r) - ln 2

(Nandakumar et al., ICECS 2019: a spectrum S(f) = Q² G² / f seen from 1 / t up to the bandwidth of the read). Only this variance is
published; the process follows from it. Frullani's integral,

    ln(1 + t / t_r) = ∫ (1 - exp(-s t / t_r)) exp(-s) ds / s,

shows that it is a mixture of relaxations, evenly distributed over the logarithm of the rate s and cut off at the bandwidth of the
read. An Ornstein-Uhlenbeck mode of time constant τ that starts at zero has the variance a² (1 - exp(-2 t / τ)): modes with
τ = 2 t_r / s and a² = h exp(-s) on a grid of spacing h in ln s are the trapezoidal rule for the integral, which converges so fast
that one mode per decade suffices. A read averages out the constant ln 2: the fastest rates are omitted until their weights add up
to it.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from analogpc.devices.bounds import NonNegative, Positive
from analogpc.devices.specification import Specification
from analogpc.kernels.random.streams import Key, normals

# Ratio of the slowest time constant to the longest time for which the variance must be accurate.
_BEYOND = 10.0


class Flicker(Specification):
    """1/f read noise whose relative amplitude depends on the conductance: Q = min(amplitude / max(g^power, floor), largest).

    g is the conductance after programming, its errors included, relative to the top of the range. At times from 4 ``read_seconds`` to
    ``longest_seconds`` the standard deviation of the process is within 3 % of the formula, from 40 ``read_seconds`` within 1 %.
    At shorter times the formula falls to zero at ``read_seconds``, below which it has no meaning; the process falls more slowly.

    An array stores `modes` numbers per device: 15 by default, 60 bytes in float32. In float32 a step shorter than
    6e-8 of a mode's time constant adds its noise but no decay, which takes 1e7 such steps to become visible.

    Attributes
    ----------
    amplitude, power, floor, largest : float
        Parameters of Q. An ``amplitude`` of 0, the default, disables 1/f noise.
    read_seconds : float
        Duration t_r of a read in the formula.
    longest_seconds : float
        Time after programming up to which the noise is accurate; later its variance stops growing.
    modes_per_decade : int
        Number of time constants per decade. With 1, the spectrum ripples by 6 % about 1/f; with 2, by 0.1 %.

    References
    ----------
    Nandakumar et al., ICECS 2019; aihwkit, ``PCMLikeNoiseModel``, which takes Q at the programmed conductance (and the exponents of
    drift at the target).
    """

    amplitude: NonNegative = 0.0
    power: NonNegative = 0.65
    floor: Positive = 1e-3
    largest: NonNegative = 0.2
    read_seconds: Positive = 250e-9
    longest_seconds: Positive = 1e7
    modes_per_decade: Annotated[int, Field(ge=1, le=10)] = 1

    @model_validator(mode="after")
    def _longest_is_longer(self) -> Flicker:
        if self.longest_seconds < self.read_seconds:
            raise ValueError(
                f"longest_seconds = {self.longest_seconds:g} must not be shorter than read_seconds = {self.read_seconds:g}"
            )
        return self

    @property
    def active(self) -> bool:
        """Whether there is 1/f noise, so that modes must be stored."""
        return self.amplitude > 0 and self.largest > 0

    @cached_property
    def _grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Return time constants in seconds, shortest first, and amplitudes of the modes: (modes,) float64 each."""
        spacing = math.log(10) / self.modes_per_decade

        def left_out(log_rate: float) -> float:
            """Return the weight of all modes faster than the fastest one that is kept, less ln 2."""
            rates = np.exp(log_rate + spacing * np.arange(1, 3 + 5 * self.modes_per_decade))
            return spacing * float(np.exp(-rates).sum()) - math.log(2)

        # Imported on first use: it takes longer to load than NumPy, and few devices need it.
        from scipy.optimize import brentq

        fastest = float(brentq(left_out, -2 * spacing - 3, 3))
        slowest = math.log(2 * self.read_seconds / (_BEYOND * self.longest_seconds))
        count = 1 + max(0, math.ceil((fastest - slowest) / spacing))
        rates = np.exp(fastest - spacing * np.arange(count))
        return 2 * self.read_seconds / rates, np.sqrt(spacing * np.exp(-rates))

    @property
    def time_constants(self) -> np.ndarray:
        """Time constants τ of the modes in seconds, shortest first, (modes,) float64."""
        return self._grid[0]

    @property
    def amplitudes(self) -> np.ndarray:
        """Stationary standard deviations of the modes, (modes,) float64."""
        return self._grid[1]

    @property
    def modes(self) -> int:
        """Number of modes stored per device."""
        return self.time_constants.size

    def deviation_scale(self, g_programmed: np.ndarray, g_max_siemens: float) -> np.ndarray:
        """Return Q, relative to the present conductance, like ``g_programmed`` (siemens)."""
        relative = np.maximum(g_programmed / g_max_siemens, 0)
        return np.minimum(self.amplitude / np.maximum(relative**self.power, self.floor), self.largest)

    def variance(self, seconds: float) -> float:
        """Return the variance of `factor` at a time after `start`, which approximates the formula above."""
        return float(np.sum(self.amplitudes**2 * -np.expm1(-2 * seconds / self.time_constants)))

    def start(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return the modes of devices just programmed: zeros, (modes, *shape)."""
        return np.zeros((self.modes, *shape), dtype)

    def evolve(self, modes: np.ndarray, seconds: float, key: Key, step: int) -> None:
        """Let time pass, in place; exact for any ``seconds``.

        Parameters
        ----------
        modes : (modes, *shape) array
        seconds : float
        key, step
            Noise stream. Every step needs a different number.

        Raises
        ------
        ValueError
            If ``seconds`` is negative.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"seconds = {seconds!r} is not allowed: time passes forwards")
        if seconds == 0:
            return
        loss = -np.expm1(-seconds / self.time_constants)
        fresh = self.amplitudes * np.sqrt(-np.expm1(-2 * seconds / self.time_constants))
        for index in range(self.modes):
            mode = modes[index, ...]
            mode -= mode * float(loss[index])
            mode += normals(key.fold(index), step, mode.shape, mode.dtype, like=mode) * float(fresh[index])

    def factor(self, modes: np.ndarray) -> np.ndarray:
        """Return the noise f, which Q scales, (*shape)."""
        return modes.sum(axis=0)

    def conductance(self, g: np.ndarray, g_programmed: np.ndarray, g_max_siemens: float, modes: np.ndarray) -> np.ndarray:
        """Return the conductances that a read finds, in siemens, like ``g``: G (1 + Q f), never negative.

        Parameters
        ----------
        g : array
            Present conductances in siemens, drift included.
        g_programmed : array like g
            Conductances right after programming, in siemens.
        g_max_siemens : float
            Nominal top of the programming range.
        modes : (modes, *shape) array
        """
        return g * np.maximum(1 + self.deviation_scale(g_programmed, g_max_siemens) * self.factor(modes), 0)


PCM_NANDAKUMAR_2019 = Flicker(amplitude=0.0088)
"""Doped Ge2Sb2Te5; numbers as in aihwkit's ``PCMLikeNoiseModel``, which starts the noise 20 s before its first read."""
