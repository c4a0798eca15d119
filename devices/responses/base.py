"""Base classes of the responses of a device to update pulses, with the spreads that all of them share.

A response describes a device by its *state* w, the normalised weight that a single device contributes; the device specification
maps states to conductances. Field names and their meaning follow aihwkit (Rasch et al. 2021, arXiv 2104.02184).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import Field, FiniteFloat, model_validator
from typing_extensions import override

from analogpc.devices.bounds import Fraction, NonNegative, Positive
from analogpc.devices.families import Member
from analogpc.kernels.memory import all_zero, unwritten_zeros
from analogpc.kernels.pulses.updates import Law, apply_counts
from analogpc.kernels.random.streams import Key, normals, uniforms

WINDOW_SIGMAS = 3.0
"""Number of standard deviations at which a bound is clipped: a normal distribution is unbounded, a conductance window is not."""
_BLOCK = 2**15
"""Number of devices drawn together."""


class DeviceResponse(Member):
    """Base class of all responses, pulsed or programmed: how a device takes a new state.

    A subclass with its own ``kind`` is registered when its module is imported (see `analogpc.devices.families`).

    Attributes
    ----------
    bounded : bool, of the class
        Whether states lie within limits. Without limits, conductances can be negative.
    pulsed : bool, of the class
        Whether devices respond to pulses (see `PulseResponse`); otherwise they are programmed.
    headroom : float, of the class
        Default headroom of a differential pair of such devices, if they are not pulsed.
    """

    family_name: ClassVar[str] = "response"
    bounded: ClassVar[bool] = True
    pulsed: ClassVar[bool] = False
    headroom: ClassVar[float] = 1.0

    @property
    @abstractmethod
    def window(self) -> tuple[float, float]:
        """Lowest and highest state that any device can have; it maps onto the conductance window."""

    @property
    @abstractmethod
    def reach(self) -> float:
        """Largest weight of a single device, or of a pair of unipolar ones."""

    @property
    @abstractmethod
    def unipolar(self) -> bool:
        """Whether the state is never negative."""

    @property
    def ends(self) -> tuple[float, float]:
        """Lowest and highest state of the mean device."""
        return 0.0 if self.unipolar else -self.reach, self.reach

    @property
    def leaks(self) -> bool:
        """Whether the state changes in update cycles without pulses."""
        return False

    @property
    def has_reference(self) -> bool:
        """Whether the state of a reference device is subtracted on reading."""
        return False

    @property
    def mean_step(self) -> float:
        """Mean change of state per pulse at the start of the range; 0 without pulses."""
        return 0.0

    @property
    def write_noise(self) -> float:
        """Standard deviation of the states found after a write, relative to the written ones."""
        return 0.0

    @abstractmethod
    def sample(self, key: Key, shape: tuple[int, int], dtype: np.dtype) -> dict[str, np.ndarray]:
        """Draw the parameters of a population once, each of ``shape``: bounds "low" and "high", and what the response needs besides."""


class PulseResponse(DeviceResponse):
    """Base class of responses to pulses, with their common fields.

    A response is one class with its law of the step (see `kernels.pulses.updates.apply_pulses`) and its fields; `shapes` draws the
    parameters of the law for each device.

    Attributes
    ----------
    dw_min : float
        Mean change of state per pulse at w = 0 (for laws that say so, at the start of the range).
    up_down : float
        Asymmetry β: a pulse upwards changes the state by dw_min (1 + β), a pulse downwards by dw_min (1 - β).
    w_max, w_min : float
        Mean upper (positive) and lower (negative or zero) bound of the state. A device with w_min = 0 is unipolar: a weight needs
        two of them.
    dw_min_dtod, up_down_dtod, w_max_dtod, w_min_dtod : float
        Device-to-device standard deviations: of the step relative to dw_min, of β, and of the bounds relative to their means.
    dw_min_dtod_log_normal : bool
        The step is multiplied by exp(dw_min_dtod ξ) instead of 1 + dw_min_dtod ξ.
    dw_min_std : float
        Cycle-to-cycle standard deviation of a step relative to its mean.
    write_noise_std : float
        Reads see the state plus this many dw_min times a normal number, which is drawn anew whenever the device is written.
    corrupt_prob : float
        Probability that a device is stuck: both its bounds coincide at a uniformly random state.
    corrupt_range : float
        Stuck devices lie between minus and plus this state, within their bounds.
    lifetime, lifetime_dtod : float
        Number of update cycles in which the distance of a state from the reset state decays to 1/e, and its relative spread: in
        every cycle w changes by (b - w) / lifetime.
    diffusion, diffusion_dtod : float
        Standard deviation of the random walk of the state per update cycle, and its relative spread.
    reset, reset_dtod, reset_std : float
        State after a reset: b = reset + reset_dtod ξ, fixed for a device, plus reset_std ξ at every reset.
    cycle_seconds : float
        Duration of an update cycle in seconds. Elapsed time is divided by it to compute decay and diffusion.

    References
    ----------
    Gokmen and Vlasov, Front. Neurosci. 10:333 (2016); aihwkit, ``PulsedDevice``, whose code, against its own formula, subtracts the
    whole asymmetry from the weaker direction; here the formula holds.
    """

    pulsed: ClassVar[bool] = True
    dw_min: Positive
    up_down: Annotated[FiniteFloat, Field(gt=-1, lt=1)] = 0.0
    w_max: Positive = 1.0
    w_min: Annotated[FiniteFloat, Field(le=0)] = -1.0
    dw_min_dtod: NonNegative = 0.0
    dw_min_dtod_log_normal: bool = False
    up_down_dtod: NonNegative = 0.0
    w_max_dtod: NonNegative = 0.0
    w_min_dtod: NonNegative = 0.0
    dw_min_std: NonNegative = 0.0
    write_noise_std: NonNegative = 0.0
    corrupt_prob: Fraction = 0.0
    corrupt_range: Annotated[float, Field(ge=0, le=np.inf)] = np.inf
    lifetime: Annotated[float, Field(ge=1, le=np.inf)] = np.inf
    lifetime_dtod: NonNegative = 0.0
    diffusion: NonNegative = 0.0
    diffusion_dtod: NonNegative = 0.0
    reset: FiniteFloat = 0.0
    reset_dtod: NonNegative = 0.0
    reset_std: NonNegative = 0.0
    cycle_seconds: Positive = 1e-3

    @model_validator(mode="after")
    def _reset_lies_in_the_window(self) -> PulseResponse:
        if not self.w_min <= self.reset <= self.w_max:
            raise ValueError(f"reset = {self.reset:g} must lie between w_min = {self.w_min:g} and w_max = {self.w_max:g}")
        return self

    @property
    @override
    def window(self) -> tuple[float, float]:
        """Lowest and highest state that any device can have; it maps onto the conductance window."""
        return self.w_min * (1 + WINDOW_SIGMAS * self.w_min_dtod), self.w_max * (1 + WINDOW_SIGMAS * self.w_max_dtod)

    @property
    @override
    def reach(self) -> float:
        """Largest weight of a single device, or of a pair of unipolar ones: min(w_max, -w_min), or w_max."""
        return self.w_max if self.unipolar else min(self.w_max, -self.w_min)

    @property
    @override
    def unipolar(self) -> bool:
        """Whether the state is never negative."""
        return self.w_min == 0

    @property
    @override
    def ends(self) -> tuple[float, float]:
        return self.w_min, self.w_max

    @property
    @override
    def leaks(self) -> bool:
        return np.isfinite(self.lifetime) or self.diffusion > 0

    @property
    @override
    def mean_step(self) -> float:
        return self.dw_min

    @property
    @override
    def write_noise(self) -> float:
        return self.write_noise_std * self.dw_min

    @property
    @abstractmethod
    def law(self) -> Law:
        """Law of the change of state per pulse."""

    @override
    def sample(self, key: Key, shape: tuple[int, int], dtype: np.dtype) -> dict[str, np.ndarray]:
        """Draw the parameters of a population once, each of ``shape``.

        Steps "up" and "down", bounds "low" and "high", "shape_up" and "shape_down" of the law, the "reset" state if it varies
        from device to device, "decay" and "diffusion" for devices that leak, and "reference" if one is subtracted. Magnitudes are
        taken, so that steps are nonnegative and bounds keep their signs, as in aihwkit's ``enforce_consistency``.
        """
        # In blocks of rows: the intermediate numbers, in float64, take several times the memory of the parameters.
        height, width = shape
        rows = max(1, _BLOCK // max(1, width))
        sampled: dict[str, np.ndarray] = {}
        for top in range(0, max(1, height), rows):
            drawn = self._draw(key, (min(rows, height - top), width), top * width)
            for name, values in drawn.items():
                if name not in sampled:
                    sampled[name] = unwritten_zeros(shape, dtype)
                own = np.asarray(values, dtype)
                if not all_zero(own):
                    sampled[name][top : top + rows] = own
        return sampled

    def _draw(self, key: Key, shape: tuple[int, int], first: int) -> dict[str, np.ndarray]:
        """Draw the parameters of some rows of a population whose first device has the number ``first``; float64."""

        def xi(name: str) -> np.ndarray:
            return normals(key.fold(name), 0, shape, np.float64, first=first)

        spread = self.dw_min_dtod * xi("dw_min")
        size = np.exp(spread) if self.dw_min_dtod_log_normal else 1 + spread
        beta = self.up_down + self.up_down_dtod * xi("up_down")
        lowest, highest = self.window
        high = np.minimum(np.abs(self.w_max * (1 + self.w_max_dtod * xi("w_max"))), highest)
        low = np.maximum(-np.abs(self.w_min * (1 + self.w_min_dtod * xi("w_min"))), lowest)
        if self.corrupt_prob > 0:
            stuck = uniforms(key.fold("corrupt"), 0, shape, np.float64, first=first) <= self.corrupt_prob
            lower, upper = np.maximum(low, -self.corrupt_range), np.minimum(high, self.corrupt_range)
            place = lower + (upper - lower) * uniforms(key.fold("corrupt", "place"), 0, shape, np.float64, first=first)
            high, low = np.where(stuck, place, high), np.where(stuck, place, low)
        drawn = {"low": low, "high": high}
        drawn |= {"up": np.abs(self.dw_min * (size + beta)), "down": np.abs(self.dw_min * (size - beta))}
        drawn |= self.shapes(drawn, xi)
        if self.reset_dtod > 0:
            drawn["reset"] = self.reset + self.reset_dtod * xi("reset")
        if np.isfinite(self.lifetime):
            lifetime = np.maximum(np.abs(self.lifetime * (1 + self.lifetime_dtod * xi("lifetime"))), 1.0)
            drawn["decay"] = 1 / lifetime
        if self.diffusion > 0:
            drawn["diffusion"] = np.abs(self.diffusion * (1 + self.diffusion_dtod * xi("diffusion")))
        return drawn

    @abstractmethod
    def shapes(self, drawn: dict[str, np.ndarray], xi: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
        """Return the arrays "shape_up" and "shape_down" of the law for devices with the steps and bounds ``drawn``.

        The result may also replace "low" and "high", and contain a "reference".
        """

    @property
    def without_spread(self) -> Self:
        """Return the same response for identical devices without noise."""
        spreads = [name for name in type(self).model_fields if name.endswith(("_dtod", "_std", "_prob"))]
        return self.but(**dict.fromkeys(spreads, 0.0))

    def trajectory(self, start: float, upward: Sequence[bool]) -> np.ndarray:
        """Return the states (n,) of the mean device after each of n pulses from the state ``start``; float64."""
        mean, shape = self.without_spread, (1, 1)
        parameters = mean.sample(Key(0), shape, np.dtype(np.float64))
        state = np.clip(np.full(shape, start), parameters["low"], parameters["high"])
        states = np.empty(len(upward))
        for step, up in enumerate(upward):
            apply_counts(state, np.full(shape, 1 if up else -1, np.int32), parameters, mean.law, Key(0), step)
            states[step] = state[0, 0]
        return states
