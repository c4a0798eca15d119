"""Decomposition of the error of a product on a crossbar: the same product with sources of error switched off."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from analogpc.devices.converters.specification import ADC, DAC
from analogpc.devices.crossbars.crossbar_matrix import CrossbarMatrix
from analogpc.devices.nonidealities import (
    Endurance,
    ExactProgramming,
    Faults,
    Flicker,
    Levels,
    NoDrift,
    NoReadNoise,
    Ohmic,
    Telegraph,
    Thermal,
)
from analogpc.devices.substrate import Analog
from analogpc.devices.wires.wired_array import Wires
from analogpc.kernels.random.streams import Key


@dataclass
class History:
    """Construction and history of a crossbar, from which it can be rebuilt with a source of error switched off.

    Attributes
    ----------
    weights : (n_out, n_in) array
    substrate : Analog
    seed : int
    scale : float or None
        Logical weight per unit of state difference, if it was not chosen by the mapping.
    given : dict of (n_in, n_out) arrays or None
        Conductances in siemens that were programmed instead of the weights.
    seconds : list of float
        Durations that passed.
    """

    weights: np.ndarray
    substrate: Analog
    seed: int
    scale: float | None = None
    given: dict[str, np.ndarray] | None = None
    seconds: list[float] = field(default_factory=list)

    def program(self, matrix: CrossbarMatrix) -> None:
        """Program the given conductances, device by device."""
        device = matrix.substrate.device
        low, high = device.g_min_siemens, device.g_max_siemens
        slack = 1e-6 * (high - low)
        for array, (name, g) in zip(matrix.arrays, (self.given or {}).items(), strict=True):
            if g.shape != matrix.shape[::-1]:
                raise ValueError(f"'{name}' must have the shape {matrix.shape[::-1]}, not {g.shape}")
            if g.min() < low - slack or g.max() > high + slack:
                raise ValueError(
                    f"'{name}' has conductances from {g.min():.3g} to {g.max():.3g} S, outside the window of '{device.name}', "
                    f"{low:.3g} to {high:.3g} S"
                )
            array.program(device.state(g.astype(matrix.dtype)))
        matrix.forget()

    def again(self, substrate: Analog) -> CrossbarMatrix:
        """Rebuild the same weights on the devices of the same seed, on another substrate, after the same durations."""
        matrix = CrossbarMatrix(self.weights, substrate, Key(self.seed), self.scale)
        if self.given is not None:
            self.program(matrix)
        for seconds in self.seconds:
            matrix.elapse(seconds)
        return matrix

    def exact(self) -> np.ndarray:
        """Return the exact target weights (n_out, n_in)."""
        if self.given is None:
            return self.weights.astype(np.float64)
        device = self.substrate.device
        plus, *minus = (g.astype(np.float64) for g in self.given.values())
        return (plus - minus[0]).T if minus else (plus - float(device.conductance(np.zeros(())))).T


def without_programming(substrate: Analog) -> Analog:
    """Switch off programming errors: devices take exactly the requested conductance, within their range."""
    device, changes = substrate.device, {"programming": ExactProgramming(), "levels": Levels()}
    if getattr(device.response, "write_noise_std", 0.0):
        changes["response"] = device.response.but(write_noise_std=0.0)
    return substrate.but(device=device.but(**changes))


def without_read_noise(substrate: Analog) -> Analog:
    """Switch off white, 1/f and telegraph noise of devices, and noise at the converters."""
    quiet = substrate.device.but(read_noise=NoReadNoise(), flicker=Flicker(), telegraph=Telegraph())
    return substrate.but(device=quiet, read_noise=0.0)


def without_converters(substrate: Analog) -> Analog:
    """Switch off converters: infinite resolution, and outputs of any size.

    Vectors that the DACs scale to their range are still scaled, so that the read noise weighs the same; with another scaling than by the
    largest magnitude they may also be clipped there.
    """
    dac = substrate.dac
    exact = DAC(bits=math.inf, bound=math.inf)
    if dac.scaling != "none":
        exact = DAC(bits=math.inf, bound=dac.bound, scaling=dac.scaling, scaling_value=dac.scaling_value)
    return substrate.but(dac=exact, adc=ADC(bits=math.inf, bound=math.inf))


def without_wires(substrate: Analog) -> Analog:
    """Switch off the resistances of lines and drivers."""
    return substrate.but(wires=Wires())


def without_faults(substrate: Analog) -> Analog:
    """Switch off faults: every device works."""
    return substrate.but(device=substrate.device.but(faults=Faults(), endurance=Endurance()))


def without_drift(substrate: Analog) -> Analog:
    """Switch off drift and temperature dependence: conductances stay as programmed."""
    return substrate.but(device=substrate.device.but(drift=NoDrift(), thermal=Thermal()))


def without_curves(substrate: Analog) -> Analog:
    """Switch off nonlinear conduction: currents are proportional to voltages."""
    return substrate.but(device=substrate.device.but(conduction=Ohmic()))


SOURCES = {
    "faults": without_faults,
    "wires": without_wires,
    "current-voltage curve": without_curves,
    "drift": without_drift,
    "programming": without_programming,
    "read noise": without_read_noise,
    "converters": without_converters,
}
"""Functions that switch off each source, in the order of their cumulative removal."""


@dataclass(frozen=True, eq=False)
class ErrorReport:
    """Error of products A @ x by source: \\|A x - W x\\| / \\|W x\\| over all values of all inputs.

    Attributes
    ----------
    total : float
        Error of the crossbar with all sources.
    without : dict of floats
        Error with one source switched off. Sources can mask each other: a fault can cause clipping in a converter, for example, so
        these contributions do not add up.
    remaining : dict of floats
        Error with this source and all previous ones switched off: from the first to the last row it falls from ``total`` to the
        error due to the range and spread of the devices.
    """

    total: float
    without: dict[str, float]
    remaining: dict[str, float]

    @property
    def shares(self) -> dict[str, float]:
        """Share of each source in the squared total error when removed after the previous ones, and "the rest"; they sum to 1.

        A share is negative if a source compensated for another one.
        """
        if self.total == 0:
            return dict.fromkeys((*self.remaining, "the rest"), 0.0)
        squares = [self.total**2, *(value**2 for value in self.remaining.values())]
        parts = [(before - after) / self.total**2 for before, after in pairwise(squares)]
        return dict(zip((*self.remaining, "the rest"), (*parts, squares[-1] / self.total**2), strict=True))

    def rows(self) -> list[tuple[str, float, float, float]]:
        """Return (source, error without it, error without it and the previous ones, share of the squared error)."""
        shares = self.shares
        return [(name, self.without[name], self.remaining[name], shares[name]) for name in self.without]

    def __repr__(self) -> str:
        lines = [f"relative error {self.total:.3%}", f"{'source':<24}{'without it':>12}{'one by one':>12}{'share':>9}"]
        lines += [f"{name:<24}{off:>12.3%}{rest:>12.3%}{share:>9.1%}" for name, off, rest, share in self.rows()]
        return "\n".join([*lines, f"{'range and spread':<24}{'':>24}{self.shares['the rest']:>9.1%}"])

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td>{name}</td><td>{off:.3%}</td><td>{rest:.3%}</td><td>{share:.1%}</td></tr>"
            for name, off, rest, share in self.rows()
        )
        head = "<tr><th>source</th><th>error without it</th><th>without it and those above</th><th>share</th></tr>"
        rest = f"<tr><td>range and spread</td><td></td><td></td><td>{self.shares['the rest']:.1%}</td></tr>"
        return f"<p>relative error {self.total:.3%}</p><table>{head}{cells}{rest}</table>"


def error_report(history: History, x: np.ndarray, transposed: bool) -> ErrorReport:
    """Decompose the error of products by source (see `ErrorReport`).

    All crossbars are rebuilt from the devices of the same seed, with the same noise.

    Parameters
    ----------
    history : History
    x : (k, n) array
        Inputs, one per row.
    transposed : bool
        Whether the inputs drive the bit lines.
    """
    exact = x.astype(np.float64) @ (history.exact() if transposed else history.exact().T)
    size = float(np.linalg.norm(exact))

    def error(substrate: Analog) -> float:
        matrix = history.again(substrate)
        found: Any = matrix.backward(x) if transposed else matrix.forward(x)
        off = float(np.linalg.norm(found.astype(np.float64) - exact))
        return off / size if size else off

    total, stripped = error(history.substrate), history.substrate
    without: dict[str, float] = {}
    remaining: dict[str, float] = {}
    for name, switch in SOURCES.items():
        off = switch(history.substrate)
        without[name] = total if off == history.substrate else error(off)
        before, stripped = stripped, switch(stripped)
        if stripped == before:
            remaining[name] = remaining[next(reversed(remaining))] if remaining else total
        else:
            remaining[name] = error(stripped)
    return ErrorReport(total, without, remaining)
