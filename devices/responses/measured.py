"""Measured steps: every pulse draws its step from a measured distribution, which need not be normal."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, FiniteFloat, model_validator
from typing_extensions import override

from analogpc.devices.bounds import Fraction, NonNegative
from analogpc.devices.responses.base import PulseResponse
from analogpc.kernels.pulses.updates import MEASURED, MULTIPLICATIVE, PIECEWISE, Law

Quantiles = Annotated[tuple[FiniteFloat, ...], Field(min_length=2)]


class MeasuredSteps(PulseResponse):
    """A pulse changes w by dw times a number drawn from a table by its inverse distribution function.

    Draws are interpolated linearly between the chances and between the quantiles of neighbouring places. A step may have the wrong
    sign, as measured steps do.

    Attributes
    ----------
    chances : tuple of float
        Cumulative probabilities, increasing from 0 to 1.
    quantiles_up, quantiles_down : tuple of tuple of float
        For each of several places, equally spaced from the lower to the upper bound of the device: the steps relative to dw that are
        not exceeded with these chances, in the direction of the pulse. Nondecreasing.
    dw_min_std : float
        Share of the measured scatter that is drawn: 1 for all of it, 0 for the mean steps only.

    References
    ----------
    Look-up tables of CrossSim (Agarwal et al., IJCNN 2016), which are accepted unchanged.
    """

    kind: Literal["measured-steps"] = "measured-steps"
    dw_min_std: NonNegative = 1.0
    chances: Annotated[tuple[Fraction, ...], Field(min_length=2)]
    quantiles_up: Annotated[tuple[Quantiles, ...], Field(min_length=2)]
    quantiles_down: Annotated[tuple[Quantiles, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _tables_match(self) -> MeasuredSteps:
        if self.chances[0] != 0 or self.chances[-1] != 1 or any(b <= a for a, b in pairwise(self.chances)):
            raise ValueError("chances must increase from 0 to 1")
        if len(self.quantiles_up) != len(self.quantiles_down):
            raise ValueError(
                f"quantiles_up has {len(self.quantiles_up)} places and quantiles_down {len(self.quantiles_down)}; the numbers must be equal"
            )
        for name in ("quantiles_up", "quantiles_down"):
            for row in getattr(self, name):
                if len(row) != len(self.chances):
                    raise ValueError(f"{name} has rows of {len(row)} quantiles, but there are {len(self.chances)} chances")
                if any(b < a for a, b in pairwise(row)):
                    raise ValueError(f"{name} must not decrease from one chance to the next")
        return self

    @cached_property
    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean steps up and down relative to dw at the places; two (places,) arrays."""
        chances = np.array(self.chances)
        return tuple(np.trapezoid(np.array(rows), chances, axis=1) for rows in (self.quantiles_up, self.quantiles_down))  # type: ignore[return-value]

    @property
    def cycle_deviation(self) -> float:
        """Standard deviation of a step relative to its mean, averaged over the places and both directions."""
        deviations = []
        for rows, mean in zip((self.quantiles_up, self.quantiles_down), self.means, strict=True):
            q, gaps = np.array(rows), np.diff(self.chances)
            # Second moment of a piecewise linear distribution function.
            second = ((q[:, 1:] ** 2 + q[:, 1:] * q[:, :-1] + q[:, :-1] ** 2) / 3 * gaps).sum(axis=1)
            deviations.append(np.sqrt(np.maximum(second - mean**2, 0)).mean() / max(abs(mean.mean()), 1e-12))
        return self.dw_min_std * float(np.mean(deviations))

    @cached_property
    def _constants(self) -> tuple[float, ...]:
        """Return the table for the kernel; the scatter around the means is scaled by dw_min_std."""
        tables = []
        for rows, mean in zip((self.quantiles_up, self.quantiles_down), self.means, strict=True):
            q = np.array(rows)
            tables.append(mean[:, None] + self.dw_min_std * (q - mean[:, None]))
        numbers = np.concatenate([[len(self.quantiles_up), len(self.chances)], self.chances, *(t.ravel() for t in tables)])
        return tuple(numbers.tolist())

    @property
    @override
    def law(self) -> Law:
        if self.dw_min_std == 0:
            # Mean steps with the wrong sign are kept.
            return Law(PIECEWISE, tuple(np.maximum(np.concatenate(self.means), 0).tolist()), 0.0, MULTIPLICATIVE)
        return Law(MEASURED, self._constants, 1.0, MULTIPLICATIVE)

    @override
    def shapes(self, drawn: dict[str, np.ndarray], xi: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
        # The table is the same for all devices; the kernel reads this entry and ignores it.
        return {"shape_up": np.zeros_like(drawn["up"]), "shape_down": np.zeros_like(drawn["up"])}
