"""Responses whose step is a linear function of the state: constant step, linear step and variants of soft bounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, FiniteFloat
from typing_extensions import override

from analogpc.devices.bounds import NonNegative
from analogpc.devices.responses.base import WINDOW_SIGMAS, PulseResponse
from analogpc.kernels.pulses.updates import ADDITIVE, LINEAR, MULTIPLICATIVE, Law

Drawn = dict[str, np.ndarray]
Draw = Callable[[str], np.ndarray]


class LinearResponse(PulseResponse):
    """A pulse changes w by ± step · (1 + shape · w), with independent noise at every pulse.

    Attributes
    ----------
    mult_noise : bool
        If true, the cycle-to-cycle noise multiplies the step at the present state; if false, it is added to it and does not vanish
        towards the bounds.
    """

    mult_noise: bool = True

    @property
    @override
    def law(self) -> Law:
        return Law(LINEAR, (), self.dw_min_std, MULTIPLICATIVE if self.mult_noise else ADDITIVE)


class ConstantStep(LinearResponse):
    """Constant step: w += ±dw (1 + dw_min_std ξ), clipped to the bounds (Gokmen and Vlasov 2016)."""

    kind: Literal["constant-step"] = "constant-step"

    @override
    def shapes(self, drawn: Drawn, xi: Draw) -> Drawn:
        return {"shape_up": np.zeros_like(drawn["up"]), "shape_down": np.zeros_like(drawn["up"])}


class LinearStep(LinearResponse):
    """Step that decreases linearly, but not to zero: dw (1 - γ_up w / w_max) upwards and dw (1 - γ_down w / w_min) downwards.

    The formula uses the mean bounds. A device whose own bound lies so far out that its step would change sign before the bound gets
    the slope that just reaches zero there.

    Attributes
    ----------
    gamma_up, gamma_down : float
        Fraction of the step that is lost at the mean bound: 0 gives the constant step, 1 nearly the soft bounds.
    gamma_up_dtod, gamma_down_dtod : float
        Standard deviations from device to device; magnitudes are taken.

    References
    ----------
    aihwkit, ``LinearStepDevice`` with ``mean_bound_reference``.
    """

    kind: Literal["linear-step"] = "linear-step"
    w_min: Annotated[FiniteFloat, Field(lt=0)] = -1.0
    gamma_up: NonNegative
    gamma_down: NonNegative
    gamma_up_dtod: NonNegative = 0.0
    gamma_down_dtod: NonNegative = 0.0

    @override
    def shapes(self, drawn: Drawn, xi: Draw) -> Drawn:
        up = -np.abs(self.gamma_up + self.gamma_up_dtod * xi("gamma_up")) / self.w_max
        down = -np.abs(self.gamma_down + self.gamma_down_dtod * xi("gamma_down")) / self.w_min
        # Where a bound is on the wrong side of zero (a stuck device), no step is taken and no limit is needed.
        steepest_up = np.divide(-1.0, drawn["high"], out=np.full_like(up, -np.inf), where=drawn["high"] > 0)
        steepest_down = np.divide(-1.0, drawn["low"], out=np.full_like(down, np.inf), where=drawn["low"] < 0)
        return {"shape_up": np.maximum(up, steepest_up), "shape_down": np.minimum(down, steepest_down)}


class SoftBoundsResponse(LinearResponse):
    """Steps that vanish at the device's own bounds."""

    w_min: Annotated[FiniteFloat, Field(lt=0)] = -1.0

    @override
    def shapes(self, drawn: Drawn, xi: Draw) -> Drawn:
        # A bound of zero would need an infinite slope; such a device (possible only when stuck) cannot move anyway.
        def reciprocal(bound: np.ndarray) -> np.ndarray:
            movable = drawn["high"] > drawn["low"]
            return np.divide(-1.0, bound, out=np.zeros_like(bound), where=movable & (bound != 0))

        return {"shape_up": reciprocal(drawn["high"]), "shape_down": reciprocal(drawn["low"])}


class SoftBounds(SoftBoundsResponse):
    """Steps that decrease towards the bound: upwards dw (1 - w/w_max), downwards dw (1 - w/w_min), with the device's own bounds.

    A train of pulses in one direction approaches the bound exponentially; equal numbers of pulses up and down carry the device to
    its symmetry point, where both steps are equal (Fusi and Abbott, Nat. Neurosci. 10:485, 2007).
    """

    kind: Literal["soft-bounds"] = "soft-bounds"

    @classmethod
    def from_pulses(cls, pulses: float, rate: float, lowest: float = -1.0, highest: float = 1.0, **fields: Any) -> SoftBounds:
        """Create soft bounds from measured parameters: n pulses upwards move a device along B (1 - exp(-rate n)) + lowest.

        Parameters
        ----------
        pulses : float
            Number of pulses from ``lowest`` to ``highest`` (p_max).
        rate : float
            Curvature of the trajectory, per pulse (α).
        lowest, highest : float
            States at the ends of the trajectory; the lowest is negative.
        **fields
            Other fields of the class.

        Notes
        -----
        With B = (highest - lowest) / (1 - exp(-α p_max)) the step upwards is α (lowest + B - w), the one downwards α (w - lowest):
        w_max = lowest + B, w_min = lowest, and at w = 0 the steps α (lowest + B) and -α lowest, of which dw_min = α B / 2 is the
        mean and up_down = 1 + 2 lowest / B the asymmetry. In continuous time this is exact; n discrete pulses follow
        (1 - α)^n instead of exp(-α n). The parametrisation is that of aihwkit's ``SoftBoundsPmaxDevice``, which has twice the step.
        """
        for name, value in (("pulses", pulses), ("rate", rate)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} = {value!r} is not allowed: give a positive number")
        if not lowest < 0 < highest:
            raise ValueError(f"lowest = {lowest!r} and highest = {highest!r} must have opposite signs")
        span = (highest - lowest) / -math.expm1(-rate * pulses)
        soft = {"dw_min": rate * span / 2, "up_down": 1 + 2 * lowest / span, "w_min": lowest, "w_max": lowest + span}
        return cls(**{**soft, **fields})


class SoftBoundsReference(SoftBoundsResponse):
    """Soft bounds with a reference device, whose state is subtracted on reading: a weight is w - r.

    Attributes
    ----------
    slope_up_dtod, slope_down_dtod : float
        Relative spreads of the slopes in addition to those that follow from the steps and bounds; they move the bounds, where the
        step vanishes.
    reference_mean, reference_std : float
        Mean and standard deviation of r over devices.
    subtract_symmetry_point : bool
        Whether r also contains the state at which pulses up and down have equal effect, so that zero weight is stable.

    References
    ----------
    aihwkit, ``SoftBoundsReferenceDevice``; symmetry point: Gokmen and Haensch, Front. Neurosci. 14:103 (2020).
    """

    kind: Literal["soft-bounds-reference"] = "soft-bounds-reference"
    slope_up_dtod: NonNegative = 0.0
    slope_down_dtod: NonNegative = 0.0
    reference_mean: FiniteFloat = 0.0
    reference_std: NonNegative = 0.0
    subtract_symmetry_point: bool = False

    @property
    @override
    def has_reference(self) -> bool:
        return True

    @property
    @override
    def window(self) -> tuple[float, float]:
        low, high = super().window
        return low * (1 + WINDOW_SIGMAS * self.slope_down_dtod), high * (1 + WINDOW_SIGMAS * self.slope_up_dtod)

    @override
    def shapes(self, drawn: Drawn, xi: Draw) -> Drawn:
        lowest, highest = self.window
        free = drawn["high"] > drawn["low"]
        for bound, name, spread in (("high", "slope_up", self.slope_up_dtod), ("low", "slope_down", self.slope_down_dtod)):
            if spread > 0:
                steeper = np.maximum(np.abs(1 + spread * xi(name)), 1e-6)
                drawn[bound] = np.where(free, np.clip(drawn[bound] / steeper, lowest, highest), drawn[bound])
        reference = self.reference_mean + self.reference_std * xi("reference")
        if self.subtract_symmetry_point:
            slope = drawn["up"] / np.where(free, drawn["high"], 1.0) - drawn["down"] / np.where(free, drawn["low"], -1.0)
            reference += np.where(free, np.divide(drawn["up"] - drawn["down"], slope), 0.0)
        shapes = super().shapes(drawn, xi)
        return shapes | {"low": drawn["low"], "high": drawn["high"], "reference": np.clip(reference, lowest, highest)}
