"""Nonlinearities of the states of Hopfield networks, and their derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analogpc.kernels.activations import clip
from analogpc.kernels.products import scaled

Array = np.ndarray

StateActivation = Literal[
    "hard_sigmoid", "half_hard_sigmoid", "centred_hard_sigmoid", "relu", "relu6", "steep_sigmoid", "soft_half_sigmoid", "tanh"
]
"""Nonlinearities of the states.

- "hard_sigmoid": clip(x, 0, 1).
- "half_hard_sigmoid": clip(x / 2, 0, 1).
- "centred_hard_sigmoid": clip(x, -1/2, 1/2).
- "relu": max(x, 0); its slope at 0 is 0. Such states are unbounded: they converge only for small enough weights.
- "relu6": clip(x, 0, 6).
- "steep_sigmoid": 1 / (1 + exp(-4 (x - 1/2))).
- "soft_half_sigmoid": (x/2) s(x) + (1 - x/2) s(x - 2) with the logistic function s: a holomorphic clip(x / 2, 0, 1).
- "tanh".

"relu" is used in the convolutions of one network of Lin et al. (arXiv 2508.15989), "relu6" by Elayedam and
Srinivasan (arXiv 2509.26003), "soft_half_sigmoid" by Laborieux and Zenke
(NeurIPS 2022); the others in the code of Laborieux et al. (Front. Neurosci. 15:633674, 2021). The slope of a clip at its
ends equals that inside.
"""


@dataclass(frozen=True)
class StateFunction:
    """A nonlinearity and its slope, as functions of the pre-activation, and whether it supports complex numbers."""

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    holomorphic: bool = False


def _logistic(z: Array) -> Array:
    # Uses tanh, which does not overflow on the real line and supports complex numbers.
    return 0.5 * (1 + np.tanh(0.5 * z))


def _logistic_slope(z: Array) -> Array:
    y = _logistic(z)
    return y * (1 - y)


def _clip(low: float, high: float, factor: float) -> StateFunction:
    return StateFunction(
        lambda x: clip(x if factor == 1 else scaled(x, factor), low, high),
        lambda x: np.where((factor * x >= low) & (factor * x <= high), x.dtype.type(factor), x.dtype.type(0)),
    )


def _soft_half(z: Array) -> Array:
    return 0.5 * z * _logistic(z) + (1 - 0.5 * z) * _logistic(z - 2)


def _soft_half_slope(z: Array) -> Array:
    rising = 0.5 * _logistic(z) + 0.5 * z * _logistic_slope(z)
    return rising - 0.5 * _logistic(z - 2) + (1 - 0.5 * z) * _logistic_slope(z - 2)


STATE_FUNCTIONS: dict[str, StateFunction] = {
    "hard_sigmoid": _clip(0, 1, 1),
    "half_hard_sigmoid": _clip(0, 1, 0.5),
    "centred_hard_sigmoid": _clip(-0.5, 0.5, 1),
    "relu": StateFunction(lambda x: np.maximum(x, x.dtype.type(0)), lambda x: (x > 0).astype(x.dtype)),
    "relu6": _clip(0, 6, 1),
    "steep_sigmoid": StateFunction(lambda x: _logistic(4 * x - 2), lambda x: 4 * _logistic_slope(4 * x - 2), True),
    "soft_half_sigmoid": StateFunction(_soft_half, _soft_half_slope, True),
    "tanh": StateFunction(np.tanh, lambda x: 1 - np.tanh(x) ** 2, True),
}
"""State functions by `StateActivation`."""
