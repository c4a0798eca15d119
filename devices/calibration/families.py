"""Families of mean steps: the step per pulse as a function of the conductance, with free parameters.

A place z is 0 at the low and 1 at the high end of the measured range; a step is a fraction of that range, and positive in both
directions. Most parameters are logarithms, so that every fit is physically possible.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from typing_extensions import override

GRID_LOW, GRID_HIGH, GRID_SIZE = -0.5, 1.5, 513
PLACES = np.linspace(GRID_LOW, GRID_HIGH, GRID_SIZE)
GRID = (GRID_LOW, (GRID_HIGH - GRID_LOW) / (GRID_SIZE - 1))
"""First place and spacing of the tables, which extend half a range beyond the measured range."""
_LEAST = 1e-9


def _logs(values: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(values, 1e-3 * np.max(values) + _LEAST))


@dataclass(frozen=True)
class Family(ABC):
    """Base class: maps parameters to the magnitudes of the steps at `PLACES`."""

    name: str

    @abstractmethod
    def start(self, up: np.ndarray, down: np.ndarray) -> np.ndarray:
        """Return parameters that approximate the steps (GRID_SIZE,) at `PLACES`."""

    @abstractmethod
    def steps(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the magnitudes of the steps up and down at `PLACES`."""


def _at(values: np.ndarray, z: float) -> float:
    return float(np.interp(z, PLACES, values))


class ConstantFamily(Family):
    """Constant steps."""

    @override
    def start(self, up: np.ndarray, down: np.ndarray) -> np.ndarray:
        inside = (PLACES >= 0) & (PLACES <= 1)
        return np.log([up[inside].mean() + _LEAST, down[inside].mean() + _LEAST])

    @override
    def steps(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.full(GRID_SIZE, np.exp(theta[0])), np.full(GRID_SIZE, np.exp(theta[1]))


class SoftBoundsFamily(Family):
    """Steps that decrease linearly to zero: up e^a (high - z), down e^b (z - low); parameters (a, high, b, low)."""

    @override
    def start(self, up: np.ndarray, down: np.ndarray) -> np.ndarray:
        out = []
        for ends, bound in (((_at(up, 0.1), _at(up, 0.9)), 0.9), ((_at(down, 0.9), _at(down, 0.1)), 0.1)):
            far, near = ends
            rate = max((far - near) / 0.8, 0.05 * max(far, near), _LEAST)
            room = near / rate
            out += [np.log(rate), bound + room if bound > 0.5 else bound - room]
        return np.array(out)

    @override
    def steps(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        up = np.exp(theta[0]) * np.maximum(theta[1] - PLACES, 0)
        return up, np.exp(theta[2]) * np.maximum(PLACES - theta[3], 0)


class LinearFamily(Family):
    """Straight lines between steps at both ends: logarithms of (up at 0, up at 1, down at 0, down at 1)."""

    @override
    def start(self, up: np.ndarray, down: np.ndarray) -> np.ndarray:
        return np.concatenate([_logs(np.array([_at(one, 0), _at(one, 1)])) for one in (up, down)])

    @override
    def steps(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ends = np.exp(theta)
        up, down = (first + (last - first) * PLACES for first, last in (ends[:2], ends[2:]))
        return np.maximum(up, 0), np.maximum(down, 0)


class ExponentialFamily(Family):
    """Exponentials between steps at both ends: for each direction ln f(0), ln f(1) and the curvature κ, in

    f(z) = f(0) + (f(1) - f(0)) (e^(κ z) - 1) / (e^κ - 1).
    """

    @override
    def start(self, up: np.ndarray, down: np.ndarray) -> np.ndarray:
        out = []
        for one in (up, down):
            ends = np.array([_at(one, 0), _at(one, 1)])
            out += [*_logs(ends), 0.5 if ends[1] >= ends[0] else -0.5]
        return np.array(out)

    @override
    def steps(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        both = []
        for low, high, bend in (theta[:3], theta[3:]):
            bend = float(np.clip(bend, -25, 25))
            part = np.expm1(bend * PLACES) / np.expm1(bend) if abs(bend) > 1e-6 else PLACES
            both.append(np.maximum(np.exp(low) + (np.exp(high) - np.exp(low)) * part, 0))
        return both[0], both[1]


class PowerFamily(Family):
    """Powers of the remaining range: e^a ω^γ up, e^b (1 - ω)^γ' down, ω = (high - z) / (high - low).

    Parameters: a, ln γ, b, ln γ', and the logarithms of the distances of the bounds from the range.
    """

    @override
    def start(self, up: np.ndarray, down: np.ndarray) -> np.ndarray:
        return np.array([np.log(_at(up, 0) + _LEAST), 0.0, np.log(_at(down, 1) + _LEAST), 0.0, np.log(0.1), np.log(0.1)])

    @override
    def steps(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Bounds closer than a thousandth, or farther than ten ranges, cannot be distinguished by any data.
        beyond = np.exp(np.clip(theta[4:], -7, 2.3))
        high, low = 1 + beyond[0], -beyond[1]
        room = np.clip((high - PLACES) / (high - low), 0, None)
        left = np.clip((PLACES - low) / (high - low), 0, None)
        powers = np.exp(np.clip(theta[[1, 3]], -5, 3))
        return np.exp(theta[0]) * room ** powers[0], np.exp(theta[2]) * left ** powers[1]


@dataclass(frozen=True)
class PiecewiseFamily(Family):
    """Piecewise linear steps between equally spaced nodes from 0 to 1; parameters are the logarithms at the nodes, up, then down."""

    nodes: int

    @cached_property
    def at(self) -> np.ndarray:
        """Places of the nodes."""
        return np.linspace(0, 1, self.nodes)

    @override
    def start(self, up: np.ndarray, down: np.ndarray) -> np.ndarray:
        return np.concatenate([_logs(np.interp(self.at, PLACES, one)) for one in (up, down)])

    @override
    def steps(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at, values = self.at, np.exp(theta)
        up, down = (np.interp(PLACES, at, one) for one in (values[: self.nodes], values[self.nodes :]))
        return up, down


SMOOTH: tuple[Family, ...] = (
    ConstantFamily("constant"),
    SoftBoundsFamily("soft bounds"),
    LinearFamily("linear"),
    ExponentialFamily("exponential"),
    PowerFamily("power"),
)
TABLES: tuple[PiecewiseFamily, ...] = tuple(PiecewiseFamily(f"table of {n}", n) for n in (3, 5, 9, 17, 33))
"""Each table contains the previous ones, so that a finer table never fits worse."""


def family_of(name: str) -> Family:
    """Return the family with the given name."""
    return next(one for one in (*SMOOTH, *TABLES) if one.name == name)
