"""Responses whose step is a linear function of the state: constant step and soft bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from typing_extensions import override

from analogpc.devices.responses.base import PulseResponse
from analogpc.kernels.pulses import pulse_linear
from analogpc.kernels.streams import Key


class LinearResponse(PulseResponse):
    """A pulse moves w by ± step · (1 + slope · w), with noise of its own at every pulse.

    Attributes
    ----------
    mult_noise : bool
        True: the cycle-to-cycle noise multiplies the step that the state allows; False: it adds to it, so that it does not
        fade towards the bounds.
    """

    mult_noise: bool = True

    @override
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
        return pulse_linear(state, rows, columns, parameters, self.dw_min_std, not self.mult_noise, key, first_step, touched)


class ConstantStep(LinearResponse):
    """The same step everywhere: w += ±dw (1 + dw_min_std ξ), clipped to the bounds (Gokmen and Vlasov 2016)."""

    kind: Literal["constant-step"] = "constant-step"

    @override
    def slopes(self, drawn: dict[str, np.ndarray], xi: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
        return {"slope_up": np.zeros_like(drawn["up"]), "slope_down": np.zeros_like(drawn["up"])}


class SoftBounds(LinearResponse):
    """Steps that fade towards the bound: upwards dw (1 - w/w_max), downwards dw (1 - w/w_min), with the device's own bounds.

    A train of pulses in one direction approaches the bound exponentially; equal numbers of pulses up and down carry the device to
    its symmetry point, where both steps are equal (Fusi and Abbott, Nat. Neurosci. 10:485, 2007).
    """

    kind: Literal["soft-bounds"] = "soft-bounds"

    @override
    def slopes(self, drawn: dict[str, np.ndarray], xi: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
        # A bound of zero would need an infinite slope; such a device (possible only when stuck) cannot move anyway.
        def reciprocal(bound: np.ndarray) -> np.ndarray:
            movable = drawn["high"] > drawn["low"]
            return np.divide(-1.0, bound, out=np.zeros_like(bound), where=movable & (bound != 0))

        return {"slope_up": reciprocal(drawn["high"]), "slope_down": reciprocal(drawn["low"])}
