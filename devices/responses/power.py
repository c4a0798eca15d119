"""Power step: the step is a power of the remaining range."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, FiniteFloat
from typing_extensions import override

from analogpc.devices.bounds import NonNegative
from analogpc.devices.responses.base import PulseResponse
from analogpc.kernels.pulses.updates import MULTIPLICATIVE, POWER, Law


class PowerStep(PulseResponse):
    """With ω = (w_max - w) / (w_max - w_min), a pulse changes w by dw ω^γ_up upwards and dw (1 - ω)^γ_down downwards.

    The step is dw at the far end of the range. Exponents are γ_up = γ (1 + β_γ) and γ_down = γ (1 - β_γ).

    Attributes
    ----------
    pow_gamma, pow_gamma_dtod : float
        γ, and its standard deviation from device to device relative to its mean; magnitudes are taken.
    pow_up_down, pow_up_down_dtod : float
        β_γ and its standard deviation from device to device.
    reference_mean, reference_std : float
        Mean and standard deviation over devices of the reference state r that is subtracted on reading: a weight is w - r.

    References
    ----------
    aihwkit, ``PowStepDevice`` and ``PowStepReferenceDevice``.
    """

    kind: Literal["power-step"] = "power-step"
    pow_gamma: NonNegative = 1.0
    pow_gamma_dtod: NonNegative = 0.0
    pow_up_down: Annotated[FiniteFloat, Field(gt=-1, lt=1)] = 0.0
    pow_up_down_dtod: NonNegative = 0.0
    reference_mean: FiniteFloat = 0.0
    reference_std: NonNegative = 0.0

    @property
    @override
    def has_reference(self) -> bool:
        return self.reference_mean != 0 or self.reference_std > 0

    @property
    @override
    def law(self) -> Law:
        return Law(POWER, (), self.dw_min_std, MULTIPLICATIVE)

    @override
    def shapes(self, drawn: dict[str, np.ndarray], xi: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
        size = 1 + self.pow_gamma_dtod * xi("pow_gamma")
        beta = self.pow_up_down + self.pow_up_down_dtod * xi("pow_up_down")
        shapes = {"shape_up": np.abs(self.pow_gamma * (size + beta)), "shape_down": np.abs(self.pow_gamma * (size - beta))}
        if self.has_reference:
            reference = self.reference_mean + self.reference_std * xi("reference")
            shapes["reference"] = np.clip(reference, *self.window)
        return shapes
