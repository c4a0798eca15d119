"""Responses whose step is a linear function of the state: constant step, linear step and soft bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from typing_extensions import override

from analogpc.devices.responses.base import PulseResponse, Spread
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


class LinearStep(LinearResponse):
    """A step that fades linearly, but not to zero: dw (1 - γ_up w / w_max) upwards and dw (1 - γ_down w / w_min) downwards.

    The bounds in the formula are the mean ones; a device whose own bound lies so far out that its step would change sign before
    it gets the slope that just reaches zero there.

    Attributes
    ----------
    gamma_up, gamma_down : float
        How much of the step is lost at the mean bound: 0 gives the constant step, 1 nearly the soft bounds.
    gamma_up_dtod, gamma_down_dtod : float
        Their standard deviations from device to device; magnitudes are taken.

    References
    ----------
    aihwkit, ``LinearStepDevice`` with ``mean_bound_reference``.
    """

    kind: Literal["linear-step"] = "linear-step"
    gamma_up: Spread
    gamma_down: Spread
    gamma_up_dtod: Spread = 0.0
    gamma_down_dtod: Spread = 0.0

    @override
    def slopes(self, drawn: dict[str, np.ndarray], xi: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
        up = -np.abs(self.gamma_up + self.gamma_up_dtod * xi("gamma_up")) / self.w_max
        down = -np.abs(self.gamma_down + self.gamma_down_dtod * xi("gamma_down")) / self.w_min
        # Where a bound is not on its own side of zero (a stuck device), no step is taken and no limit is needed.
        steepest_up = np.divide(-1.0, drawn["high"], out=np.full_like(up, -np.inf), where=drawn["high"] > 0)
        steepest_down = np.divide(-1.0, drawn["low"], out=np.full_like(down, np.inf), where=drawn["low"] < 0)
        return {"slope_up": np.maximum(up, steepest_up), "slope_down": np.minimum(down, steepest_down)}


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
