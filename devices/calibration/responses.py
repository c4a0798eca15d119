"""Conversion of a fitted model to a response with its noises and spreads, and its conductance window.

State -1 corresponds to place 0, the low end of the measured range, and state 1 to place 1: w = 2 z - 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analogpc.devices.calibration.families import (
    PLACES,
    ConstantFamily,
    ExponentialFamily,
    Family,
    LinearFamily,
    PowerFamily,
    SoftBoundsFamily,
)
from analogpc.devices.responses import (
    ConstantStep,
    ExponentialStep,
    LinearStep,
    PiecewiseStep,
    PowerStep,
    PulseResponse,
    SoftBounds,
)

_BEYOND = 0.25
"""Largest distance of fitted bounds from the measured range; beyond it the device ends with the measured range."""
_NODES = 33


@dataclass(frozen=True)
class Fitted:
    """A response without noise and spread, and the places of its lowest and highest state."""

    response: PulseResponse
    low: float
    high: float


def response_of(family: Family, theta: np.ndarray, bounds: tuple[float, float], least_place: float) -> Fitted:
    """Return the response for the steps of a family: native if there is one, otherwise a table.

    Parameters
    ----------
    family : Family
    theta : (p,)
        Parameters of the family.
    bounds : (low, high)
        Hard bounds as places; infinite if there are none.
    least_place : float
        Place of zero conductance, the lower limit for any device.
    """
    low, high = max(bounds[0] if np.isfinite(bounds[0]) else 0.0, least_place), bounds[1] if np.isfinite(bounds[1]) else 1.0
    free = not np.isfinite(bounds).any()
    native: Fitted | None = None
    if isinstance(family, ConstantFamily):
        up, down = 2 / (high - low) * np.exp(theta)
        native = Fitted(ConstantStep(dw_min=(up + down) / 2, up_down=(up - down) / (up + down)), low, high)
    elif isinstance(family, SoftBoundsFamily) and free:
        native = _soft(theta, least_place)
    elif isinstance(family, LinearFamily) and free:
        native = _linear(np.exp(theta))
    elif isinstance(family, ExponentialFamily) and free:
        native = _exponential(theta)
    elif isinstance(family, PowerFamily) and free:
        native = _power(theta, least_place)
    if native is not None:
        return native
    nodes = getattr(family, "nodes", 0) if free and low == 0 else 0
    return _table(*family.steps(theta), low, high, nodes or _NODES)


def _sizes(up: float, down: float) -> dict[str, float]:
    return {"dw_min": float(up + down) / 2, "up_down": float((up - down) / (up + down))}


def _table(up: np.ndarray, down: np.ndarray, low: float, high: float, nodes: int) -> Fitted:
    """Return a table between two places, relative to its own mean steps."""
    at = np.linspace(low, high, nodes)
    rise, fall = (2 / (high - low) * np.interp(at, PLACES, one) for one in (up, down))
    sizes = _sizes(rise.mean(), fall.mean())
    factors = {"nodes_up": tuple((rise / rise.mean()).tolist()), "nodes_down": tuple((fall / fall.mean()).tolist())}
    return Fitted(PiecewiseStep(**sizes, **factors), low, high)


def _soft(theta: np.ndarray, least_place: float) -> Fitted | None:
    """Return soft bounds where the steps vanish; or, if that is far outside, straight lines that end with the measured range."""
    rate_up, high, rate_down, low = np.exp(theta[0]), theta[1], np.exp(theta[2]), theta[3]
    if high > 1 + _BEYOND or low < -_BEYOND:
        ends = np.array([rate_up * high, rate_up * max(high - 1, 0), rate_down * max(-low, 0), rate_down * (1 - low)])
        return _linear(ends)
    if low < least_place or high < 0.6 or low > 0.4:
        return None
    sizes = _sizes(2 * rate_up * (high - 0.5), 2 * rate_down * (0.5 - low))
    return Fitted(SoftBounds(**sizes, w_max=2 * high - 1, w_min=2 * low - 1), float(low), float(high))


def _linear(ends: np.ndarray) -> Fitted | None:
    """Return a linear response from steps at both ends, up and down; None if a step grows along its direction."""
    up, down = (ends[0] + ends[1]), (ends[2] + ends[3])
    gamma_up, gamma_down = (ends[0] - ends[1]) / up, (ends[3] - ends[2]) / down
    if gamma_up < 0 or gamma_down < 0:
        return None
    return Fitted(LinearStep(**_sizes(up, down), gamma_up=float(gamma_up), gamma_down=float(gamma_down)), 0.0, 1.0)


def _exponential(theta: np.ndarray) -> Fitted | None:
    fields: dict[str, Any] = {}
    sizes = []
    for (low, high, bend), word, way in ((theta[:3], "up", 1), (theta[3:], "down", -1)):
        bend = float(np.clip(bend, -25, 25))
        if abs(bend) < 1e-3:
            return None
        grown = (np.exp(high) - np.exp(low)) / np.expm1(bend)
        constant = np.exp(low) - grown
        if constant <= 0 or abs(grown / constant) * np.exp(max(bend / 2, 0)) > 1e3:
            return None
        # f = constant + grown e^(bend z), with z = (w + 1) / 2; the response is c (1 - A e^(± gamma w)).
        fields |= {f"A_{word}": float(-grown * np.exp(bend / 2) / constant), f"gamma_{word}": float(way * bend / 2)}
        sizes.append(2 * constant)
    return Fitted(ExponentialStep(a=1.0, b=0.0, **_sizes(*sizes), **fields), 0.0, 1.0)


def _power(theta: np.ndarray, least_place: float) -> Fitted | None:
    beyond = np.exp(np.clip(theta[4:], -7, 2.3))
    high, low = 1 + float(beyond[0]), -float(beyond[1])
    if beyond.max() > _BEYOND or low < least_place:
        return None
    up, down = 2 * np.exp(theta[[0, 2]])
    powers = np.exp(np.clip(theta[[1, 3]], -5, 3))
    shape = {"pow_gamma": float(powers.mean()), "pow_up_down": float((powers[0] - powers[1]) / powers.sum())}
    return Fitted(PowerStep(**_sizes(up, down), **shape, w_max=2 * high - 1, w_min=2 * low - 1), low, high)
