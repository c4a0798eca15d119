"""Random telegraph noise: a trap near the filament captures and releases a carrier."""

from __future__ import annotations

import math

import numpy as np

from analogpc.devices.bounds import Fraction, NonNegative, Positive
from analogpc.devices.specification import Specification
from analogpc.kernels.random.streams import Key, normals, uniforms


class Telegraph(Specification):
    """Two-state noise: a filled trap reduces the conductance of a device by a fraction.

    Attributes
    ----------
    probability : float
        Fraction of the devices that have a trap; 0, the default, disables telegraph noise.
    amplitude : float
        Median of the relative loss of conductance in the low state.
    amplitude_dtod : float
        Standard deviation from device to device of the logarithm of the loss; losses are clipped to the whole conductance.
    high_seconds, low_seconds : float
        Mean dwell times in the high and in the low state; exponentially distributed.
    times_dtod : float
        Standard deviation from device to device of the logarithm of a factor on both times. A wide distribution turns the sum over
        devices into 1/f noise.

    References
    ----------
    Machlup, J. Appl. Phys. 25:341 (1954).
    """

    probability: Fraction = 0.0
    amplitude: Fraction = 0.05
    amplitude_dtod: NonNegative = 0.0
    high_seconds: Positive = 1e-3
    low_seconds: Positive = 1e-3
    times_dtod: NonNegative = 0.0

    @property
    def active(self) -> bool:
        """Whether there is telegraph noise, so that states must be stored."""
        return self.probability > 0 and self.amplitude > 0

    @property
    def duty(self) -> float:
        """Fraction of the time spent in the high state."""
        return self.high_seconds / (self.high_seconds + self.low_seconds)

    def sample(self, key: Key, shape: tuple[int, ...], dtype: np.dtype) -> dict[str, np.ndarray]:
        """Draw the traps of a population, once.

        Returns
        -------
        dict
            "loss": relative loss of conductance in the low state, 0 without a trap; "slowness": factor on both mean times;
            each of ``shape``.
        """
        loss = self.amplitude * np.exp(self.amplitude_dtod * normals(key.fold("loss"), 0, shape, dtype))
        trapped = uniforms(key.fold("trap"), 0, shape, np.float64) <= self.probability
        slowness = np.exp(self.times_dtod * normals(key.fold("slowness"), 0, shape, dtype))
        return {"loss": np.where(trapped, np.minimum(loss, 1), dtype.type(0)), "slowness": slowness}

    def start(self, key: Key, step: int, shape: tuple[int, ...]) -> np.ndarray:
        """Return stationary states: True for high, with probability `duty`; ``shape``, bool."""
        return uniforms(key, step, shape, np.float64) <= self.duty

    def evolve(self, high: np.ndarray, slowness: np.ndarray, seconds: float, key: Key, step: int) -> None:
        """Let time pass, in place; exact for any ``seconds``.

        After a time t a device is high with probability duty + (high - duty) exp(-t (1 / t_high + 1 / t_low)).

        Parameters
        ----------
        high : array of bool
            States, from `start`.
        slowness : array
            From `sample`.
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
        rate = 1 / self.high_seconds + 1 / self.low_seconds
        memory = np.exp(-rate * seconds / slowness)
        probability = self.duty + (high - self.duty) * memory
        np.less_equal(uniforms(key, step, high.shape, np.float64, like=high), probability, out=high)

    def factor(self, high: np.ndarray, loss: np.ndarray) -> np.ndarray:
        """Return the factor on the conductances, like ``loss``: 1 in the high state, 1 - loss in the low state."""
        return np.where(high, loss.dtype.type(1), 1 - loss)
