"""What one update pulse does to a device: the contract of the pulse responses, and the spreads that they share.

A response speaks of a device by its *state* w, the normalised weight that a single device contributes; the device specification
says which conductances the states stand for. Field names and their meaning follow aihwkit (Rasch et al. 2021, arXiv 2104.02184).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated

import numpy as np
from pydantic import Field, FiniteFloat

from analogpc.devices.specification import Specification
from analogpc.kernels.streams import Key, normals, uniforms

Spread = Annotated[FiniteFloat, Field(ge=0)]
Positive = Annotated[FiniteFloat, Field(gt=0)]

# Beyond three standard deviations of its spread a device bound is cut: a normal spread has no end, a conductance window has one.
_WINDOW_SIGMAS = 3.0


class PulseResponse(Specification):
    """Shared fields of all responses that move in pulses.

    Attributes
    ----------
    dw_min : float
        Mean change of state of one pulse at w = 0.
    up_down : float
        Asymmetry β: a pulse upwards moves by dw_min (1 + β), one downwards by dw_min (1 - β), at w = 0.
    w_max, w_min : float
        Mean upper (positive) and lower (negative) bound of the state.
    dw_min_dtod, up_down_dtod, w_max_dtod, w_min_dtod : float
        Device-to-device standard deviations: of the step relative to dw_min, of β, and of the bounds relative to their means.
    dw_min_std : float
        Cycle-to-cycle standard deviation of a step relative to its mean.
    write_noise_std : float
        Reads see the state plus this many dw_min times a normal number that is drawn anew whenever the device is written.
    corrupt_prob : float
        Probability that a device is stuck: both its bounds coincide at a uniformly random state.

    References
    ----------
    Gokmen and Vlasov, Front. Neurosci. 10:333 (2016); aihwkit, ``PulsedDevice``.
    """

    dw_min: Positive
    up_down: Annotated[FiniteFloat, Field(gt=-1, lt=1)] = 0.0
    w_max: Positive = 1.0
    w_min: Annotated[FiniteFloat, Field(lt=0)] = -1.0
    dw_min_dtod: Spread = 0.0
    up_down_dtod: Spread = 0.0
    w_max_dtod: Spread = 0.0
    w_min_dtod: Spread = 0.0
    dw_min_std: Spread = 0.0
    write_noise_std: Spread = 0.0
    corrupt_prob: Annotated[FiniteFloat, Field(ge=0, le=1)] = 0.0

    @property
    def window(self) -> tuple[float, float]:
        """The lowest and the highest state that any device can have; it maps onto the conductance window."""
        return self.w_min * (1 + _WINDOW_SIGMAS * self.w_min_dtod), self.w_max * (1 + _WINDOW_SIGMAS * self.w_max_dtod)

    @property
    def reach(self) -> float:
        """The state that the mean device reaches in both directions: min(w_max, -w_min)."""
        return min(self.w_max, -self.w_min)

    def sample(self, key: Key, shape: tuple[int, int], dtype: np.dtype) -> dict[str, np.ndarray]:
        """Draw the parameters of a population, once: "up", "down", "low", "high" and what the response adds, each of ``shape``.

        Steps are never negative and the bounds never change sign: magnitudes are taken, as aihwkit's ``enforce_consistency`` does.
        """

        def xi(name: str) -> np.ndarray:
            return normals(key.fold(name), 0, shape, np.float64)

        size = 1 + self.dw_min_dtod * xi("dw_min")
        beta = self.up_down + self.up_down_dtod * xi("up_down")
        lowest, highest = self.window
        high = np.minimum(np.abs(self.w_max * (1 + self.w_max_dtod * xi("w_max"))), highest)
        low = np.maximum(-np.abs(self.w_min * (1 + self.w_min_dtod * xi("w_min"))), lowest)
        if self.corrupt_prob > 0:
            stuck = uniforms(key.fold("corrupt"), 0, shape, np.float64) <= self.corrupt_prob
            place = low + (high - low) * uniforms(key.fold("corrupt", "place"), 0, shape, np.float64)
            high, low = np.where(stuck, place, high), np.where(stuck, place, low)
        drawn = {
            "up": np.abs(self.dw_min * (size + beta)),
            "down": np.abs(self.dw_min * (size - beta)),
            "low": low,
            "high": high,
        }
        drawn |= self.slopes(drawn, xi)
        return {name: np.ascontiguousarray(values, dtype) for name, values in drawn.items()}

    @abstractmethod
    def slopes(self, drawn: dict[str, np.ndarray], xi: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
        """The parameters that tell how the step depends on the state."""

    @abstractmethod
    def pulse(
        self,
        state: np.ndarray,
        rows: np.ndarray,
        columns: np.ndarray,
        parameters: dict[str, np.ndarray],
        key: Key,
        first_step: int,
        touched: np.ndarray,
    ) -> int:
        """Apply the coincidences of pulse trains to ``state`` in place; return the pulses received (see `kernels.pulses`)."""
