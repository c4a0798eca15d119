"""Base class of the physical memristor models: a current, a rate of change, and a pulse that integrates it.

A model has one internal state per device (a width, a gap, a fraction). Under a rectangular pulse the voltage is constant, so the
state obeys a scalar autonomous equation: it moves monotonically towards one limit.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
from pydantic import TypeAdapter, ValidationError

from analogpc.devices.physics.integration import advance
from analogpc.devices.specification import Specification
from analogpc.kernels.random.streams import Key, normals

Values = float | np.ndarray


class PhysicalModel(Specification):
    """A voltage-driven memristor with one internal state.

    All methods broadcast ``volts``, ``state`` and the parameters of ``devices`` against each other. ``devices`` is a population
    drawn by `population`, with an array (n,) per parameter; without it every device has the specification's own parameters.
    """

    def parameters(self) -> SimpleNamespace:
        """Return the parameters as plain numbers, under the names of the fields."""
        return SimpleNamespace(**{name: getattr(self, name) for name in type(self).model_fields})

    def population(self, key: Key, n: int, spreads: Mapping[str, float]) -> SimpleNamespace:
        """Draw ``n`` devices whose parameters differ.

        Parameters
        ----------
        key : Key
            Random stream of the population.
        n : int
            Number of devices.
        spreads : mapping of field name to float
            Standard deviation of the logarithm of that parameter (for small spreads: its relative deviation). A log-normal
            factor keeps the sign.

        Returns
        -------
        namespace
            Every field of the model; those with a spread are arrays (n,), float64.

        Raises
        ------
        ValueError
            If a name is not a number of this model, a spread is negative, or a drawn device is invalid.
        """
        values = vars(self.parameters())
        drawn = dict(values)
        for name, spread in spreads.items():
            if not isinstance(values.get(name), float):
                numbers = ", ".join(key for key, value in values.items() if isinstance(value, float))
                raise ValueError(f"spreads: {type(self).__name__} has no number '{name}'; its numbers are {numbers}")
            try:
                TypeAdapter(float).validate_python(spread)
            except ValidationError:
                raise ValueError(f"spreads: {name} = {spread!r} is not a number") from None
            if not 0 <= spread < np.inf:
                raise ValueError(f"spreads: {name} = {spread!r} is not allowed: a spread is finite and at least 0")
            drawn[name] = values[name] * np.exp(spread * normals(key.fold("parameter", name), 0, n, np.float64))
        varied = [name for name in spreads if spreads[name] > 0]
        for i in range(n if varied else 0):
            self.but(**{name: float(drawn[name][i]) for name in varied})
        return SimpleNamespace(**drawn)

    @abstractmethod
    def limits(self, volts: Values, devices: SimpleNamespace | None = None) -> tuple[Values, Values]:
        """Return the lowest and highest state that can be reached at this voltage, in the unit of the state."""

    @property
    @abstractmethod
    def settles(self) -> bool:
        """Whether the rate vanishes smoothly at the limit, so that the limit is approached but not reached."""

    @abstractmethod
    def current(self, volts: Values, state: Values, devices: SimpleNamespace | None = None) -> np.ndarray:
        """Return the current in amperes; zero at zero volts for every state."""

    @abstractmethod
    def rate(self, volts: Values, state: Values, devices: SimpleNamespace | None = None) -> np.ndarray:
        """Return the noise-free rate of change of the state, in its unit per second."""

    @abstractmethod
    def state_at(self, conductance: Values, read_volts: float, devices: SimpleNamespace | None = None) -> np.ndarray:
        """Return the state with the given conductance in siemens at ``read_volts``: the inverse of `conductance`."""

    def conductance(self, state: Values, read_volts: float, devices: SimpleNamespace | None = None) -> np.ndarray:
        """Return current over voltage at ``read_volts`` (not zero), in siemens."""
        return self.current(read_volts, state, devices) / read_volts

    def noise(self, volts: Values, state: Values, devices: SimpleNamespace | None = None) -> Values:
        """Strength of the white noise of the rate, in the state's unit per square root of a second; 0 for deterministic models."""
        return 0.0

    @property
    def noise_pieces(self) -> int:
        """Number of equal intervals of a pulse in which the noise acts; 0 without noise."""
        return 0

    def pulse(
        self,
        state: Values,
        volts: Values,
        seconds: Values,
        devices: SimpleNamespace | None = None,
        key: Key | None = None,
        step: int = 0,
        tolerance: float = 1e-9,
    ) -> np.ndarray:
        """Return the states after a rectangular pulse.

        Parameters
        ----------
        state : (...)
            States before the pulse, within the limits of the model.
        volts, seconds : float or (...)
            Height and width of the pulse.
        devices : namespace, optional
            A population, see `population`.
        key : Key, optional
            Random stream of the noise; without it the pulse is noise-free.
        step : int
            Number of the pulse; different pulses draw different noise.
        tolerance : float
            Allowed integration error per step, relative to the distance between the limits.

        Returns
        -------
        (...), float64
            A new array.
        """
        now, height, width = (np.asarray(a, np.float64) for a in np.broadcast_arrays(state, volts, seconds))
        if not np.isfinite(now).all():
            raise ValueError("state: a pulse needs finite states")
        if not (np.isfinite(height).all() and np.isfinite(width).all() and (width >= 0).all()):
            raise ValueError("a pulse needs a finite voltage and a finite width of at least 0 seconds")
        if key is None or self.noise_pieces == 0:
            return advance(self, devices, now, height, width, tolerance)
        part = width / self.noise_pieces
        low, high = self.limits(0.0, devices)
        for piece in range(self.noise_pieces):
            strength = self.noise(height, now, devices)
            now = advance(self, devices, now, height, part, tolerance)
            kick = normals(key.fold("piece", piece), step, now.shape, np.float64)
            now = np.clip(now + strength * np.sqrt(part) * kick, low, high)
        return now
