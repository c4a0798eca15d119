"""Exponential step: the step size decreases or grows exponentially along the range."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from pydantic import FiniteFloat
from typing_extensions import override

from analogpc.devices.bounds import NonNegative
from analogpc.devices.responses.base import PulseResponse
from analogpc.kernels.pulses.updates import COMPOSITE, EXPONENTIAL, MULTIPLICATIVE, Law


class ExponentialStep(PulseResponse):
    """A pulse in direction d = ±1 moves w by d · dw · max(0, 1 - A_d exp(d γ_d z)), z = 2 a w / (bound range of the device) + b.

    Attributes
    ----------
    a, b : float
        Scale and shift of the state in the exponent.
    A_up, A_down, gamma_up, gamma_down : float
        Amplitudes and rates of both directions; with a negative amplitude the step grows above dw.
    dw_min_std_add, dw_min_std_slope : float
        If either is nonzero, the noise of a pulse has the standard deviation
        dw_min_std (|step| + dw_min_std_add + dw_min_std_slope |w|), so that it does not vanish with the step.

    References
    ----------
    Fitted to ReRAM by Gong et al., Nat. Commun. 9:2102 (2018); aihwkit, ``ExpStepDevice``.
    """

    kind: Literal["exponential-step"] = "exponential-step"
    a: FiniteFloat
    b: FiniteFloat
    A_up: FiniteFloat
    A_down: FiniteFloat
    gamma_up: FiniteFloat
    gamma_down: FiniteFloat
    dw_min_std_add: NonNegative = 0.0
    dw_min_std_slope: NonNegative = 0.0

    @property
    @override
    def law(self) -> Law:
        constants = (self.a, self.b, self.A_up, self.gamma_up, self.A_down, self.gamma_down)
        if self.dw_min_std_add > 0 or self.dw_min_std_slope > 0:
            return Law(EXPONENTIAL, constants, self.dw_min_std, COMPOSITE, self.dw_min_std_add, self.dw_min_std_slope)
        return Law(EXPONENTIAL, constants, self.dw_min_std, MULTIPLICATIVE)

    @override
    def shapes(self, drawn: dict[str, np.ndarray], xi: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
        # No parameter of the law varies from device to device; the kernel reads this entry and ignores it.
        return {"shape_up": np.zeros_like(drawn["up"]), "shape_down": np.zeros_like(drawn["up"])}
