"""Pulse curves, step tables and devices for arrays, computed from a physical model and its programming pulses."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
from pydantic import FiniteFloat, model_validator

from analogpc.devices.bounds import Positive, PositiveInteger
from analogpc.devices.device import Device
from analogpc.devices.physics.base import PhysicalModel
from analogpc.devices.responses import PiecewiseStep
from analogpc.devices.responses.base import WINDOW_SIGMAS
from analogpc.devices.responses.step_tables import piecewise_from_steps
from analogpc.devices.specification import Specification
from analogpc.kernels.random.streams import Key

_FEWEST_SECTIONS, _MOST_SECTIONS = 8, 1024
_SPREAD_NODES = 33
# The window of a response is its bounds extended by this many deviations (`PulseResponse.window`).


class Programming(Specification):
    """Pulses that move a device up and down, and the voltage at which its conductance is read.

    Attributes
    ----------
    volts_up, volts_down : float
        Heights of the pulses that raise and lower the conductance, in volts; of opposite sign.
    seconds_up, seconds_down : float
        Their widths in seconds.
    read_volts : float
        Read voltage in volts, not zero; a read does not move the state.
    pulses : int
        Number of consecutive pulses in one direction; they set the range of conductance.
    """

    volts_up: FiniteFloat
    volts_down: FiniteFloat
    seconds_up: Positive
    seconds_down: Positive
    read_volts: FiniteFloat
    pulses: PositiveInteger = 100

    @model_validator(mode="after")
    def _signs(self) -> Programming:
        if self.volts_up * self.volts_down >= 0:
            raise ValueError(f"volts_up = {self.volts_up:g} and volts_down = {self.volts_down:g} must have opposite signs")
        if self.read_volts == 0:
            raise ValueError("read_volts = 0 is not allowed: a conductance needs a voltage")
        return self


def pulse_curve(
    model: PhysicalModel,
    programming: Programming,
    devices: SimpleNamespace | None = None,
    n: int = 1,
    key: Key | None = None,
) -> np.ndarray:
    """Return the conductances during ``pulses`` pulses up and ``pulses`` down, after ``pulses`` down from the middle of the range.

    Parameters
    ----------
    model : PhysicalModel
    programming : Programming
    devices : namespace, optional
        A population of ``n`` devices (`PhysicalModel.population`).
    n : int
        Number of devices.
    key : Key, optional
        If given, the curve includes the model's noise; its start does not.

    Returns
    -------
    (1 + 2 pulses, n), siemens
        The maximum is in the middle.

    Raises
    ------
    ValueError
        If the pulses do not move the device, or move it in the wrong direction.
    """
    low, high = (np.broadcast_to(limit, n) for limit in model.limits(0.0, devices))
    # A state exactly on a limit may be stuck there (see `windows`); from the middle every limit can be approached.
    state = _train(model, programming, (low + high) / 2, devices, None, 0, downwards_only=True)[-1]
    states = _train(model, programming, state, devices, key, 0)
    curve = model.conductance(states, programming.read_volts, devices)
    rise = curve[programming.pulses] - curve[0]
    if key is None and not (rise > 0).all():
        problem = "the wrong way" if (rise < 0).any() else "nowhere"
        volts = f"{programming.volts_up:g} V up and {programming.volts_down:g} V down"
        raise ValueError(f"{type(model).__name__}: pulses of {volts} move the conductance {problem}")
    return curve


def _train(
    model: PhysicalModel,
    p: Programming,
    state: np.ndarray,
    devices: SimpleNamespace | None,
    key: Key | None,
    first: int,
    downwards_only: bool = False,
) -> np.ndarray:
    """Return the states of one cycle, (1 + 2 pulses, n): up, then down; or only of its second half."""
    states = [state]
    for number in range(p.pulses if downwards_only else 0, 2 * p.pulses):
        volts, seconds = (p.volts_up, p.seconds_up) if number < p.pulses else (p.volts_down, p.seconds_down)
        states.append(model.pulse(states[-1], volts, seconds, devices, key, first + number, tolerance=1e-8))
    return np.array(states)


def step_table(
    model: PhysicalModel,
    programming: Programming,
    conductance: np.ndarray,
    devices: SimpleNamespace | None = None,
    key: Key | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the changes of conductance by one pulse up and one pulse down at given conductances.

    Parameters
    ----------
    model : PhysicalModel
    programming : Programming
    conductance : (...)
        In siemens; a value that no state has is replaced by that of the nearest state.
    devices : namespace, optional
        A population that broadcasts against ``conductance``.
    key : Key, optional
        If given, every entry includes independent noise.

    Returns
    -------
    up, down : (...), siemens
        Changes in siemens; downward changes are negative.
    """
    state = model.state_at(conductance, programming.read_volts, devices)
    before = model.conductance(state, programming.read_volts, devices)
    changes = []
    for step, (volts, seconds) in enumerate(
        ((programming.volts_up, programming.seconds_up), (programming.volts_down, programming.seconds_down))
    ):
        after = model.pulse(state, volts, seconds, devices, key, step)
        changes.append(model.conductance(after, programming.read_volts, devices) - before)
    return changes[0], changes[1]


def to_device(
    model: PhysicalModel,
    programming: Programming,
    name: str,
    spreads: Mapping[str, float] | None = None,
    key: Key | None = None,
    population: int = 64,
    samples: int = 64,
    tolerance: float = 0.01,
) -> Device:
    """Build a device whose piecewise response follows the model under these pulses.

    The states -1 and 1 represent the ends of the pulse curve (`pulse_curve`). The table gets as many nodes as its noise-free curve
    needs to stay within ``tolerance`` of the model's. The cycle-to-cycle noise is the root mean square of the model's noise over the
    nodes, relative to that of the steps. Device-to-device spreads come from a population with ``spreads`` of the model's parameters:
    the spread of the steps at equal fractions of a device's own range, and of its ends; the spread of the lower end is limited so
    that the window stays above zero siemens.

    Parameters
    ----------
    model : PhysicalModel
    programming : Programming
    name : str
        Name of the device.
    spreads : mapping of field name to float, optional
        See `PhysicalModel.population`.
    key : Key, optional
        Random stream of the noise and the population; by default Key(0).
    population, samples : int
        Number of devices in the population, and of noisy pulses per node.
    tolerance : float
        Largest allowed difference between the curves, relative to the range.

    Returns
    -------
    Device

    Raises
    ------
    ValueError
        If the pulses do not move the device or no table of at most 1025 nodes is within the tolerance.
    """
    key = key or Key(0)
    curve = pulse_curve(model, programming)[:, 0]
    low = min(curve[0], curve[-1])
    half = (curve[programming.pulses] - low) / 2
    wanted = (curve - low) / half - 1
    upward = [number < programming.pulses for number in range(2 * programming.pulses)]
    sections, error = _FEWEST_SECTIONS, np.inf
    while error > tolerance:
        if sections > _MOST_SECTIONS:
            raise ValueError(
                f"tolerance = {tolerance:g} is not reached: with {sections // 2 + 1} nodes the curve is off by {error:g}"
            )
        place = np.linspace(-1, 1, sections + 1)
        mean = piecewise_from_steps(*(change / half for change in step_table(model, programming, low + (place + 1) * half)))
        error = np.abs(mean.trajectory(wanted[0], upward) - wanted[1:]).max() / 2
        sections *= 2
    spread = _spread(model, programming, low, half, mean, spreads or {}, key.fold("population"), population)
    # The window must not extend below zero siemens.
    spread["w_min_dtod"] = min(spread["w_min_dtod"], max(low, 0.0) / half / WINDOW_SIGMAS)
    noise = _cycle_noise(model, programming, low + (place + 1) * half, key.fold("cycles"), samples)
    response = mean.but(dw_min_std=noise, **spread)
    bottom, top = response.window
    return Device(
        name=name,
        response=response,
        g_min_siemens=max(low + (bottom + 1) * half, 0.0),
        g_max_siemens=low + (top + 1) * half,
        source=f"{type(model).__name__} under {programming.volts_up:g} V, {programming.seconds_up:g} s up and "
        f"{programming.volts_down:g} V, {programming.seconds_down:g} s down",
    )


def _cycle_noise(model: PhysicalModel, programming: Programming, nodes: np.ndarray, key: Key, samples: int) -> float:
    """Root mean square of the noise of a step relative to that of the step."""
    if model.noise_pieces == 0:
        return 0.0
    noisy = step_table(model, programming, np.tile(nodes, (samples, 1)), key=key)
    sure = step_table(model, programming, nodes)
    variance = np.mean([changes.var(axis=0, ddof=1) for changes in noisy])
    return float(np.sqrt(variance / np.mean(np.square(sure))))


def _spread(
    model: PhysicalModel,
    programming: Programming,
    low: float,
    half: float,
    mean: PiecewiseStep,
    spreads: Mapping[str, float],
    key: Key,
    n: int,
) -> dict[str, float]:
    """Device-to-device deviations of the piecewise response."""
    if not spreads:
        return {"dw_min_dtod": 0.0, "up_down_dtod": 0.0, "w_max_dtod": 0.0, "w_min_dtod": 0.0}
    devices = model.population(key, n, spreads)
    curve = pulse_curve(model, programming, devices, n)
    ends = np.array([np.minimum(curve[0], curve[-1]), curve[programming.pulses]])
    fractions = np.linspace(0, 1, _SPREAD_NODES)
    nodes = ends[0] + fractions[:, None] * (ends[1] - ends[0])
    changes = step_table(model, programming, nodes, devices)
    sizes = []
    for change, factors in zip(changes, (mean.nodes_up, mean.nodes_down), strict=True):
        factor = np.interp(fractions, np.linspace(0, 1, len(factors)), factors)[:, None]
        sizes.append((np.abs(change) / half * factor).sum(axis=0) / (np.square(factor).sum() * mean.dw_min))
    up, down = sizes
    bounds = (ends - low) / half - 1
    return {
        "dw_min_dtod": float(np.std((up + down) / 2, ddof=1)),
        "up_down_dtod": float(np.std((up - down) / 2, ddof=1)),
        "w_max_dtod": float(np.std(bounds[1], ddof=1)),
        "w_min_dtod": float(np.std(bounds[0], ddof=1)),
    }
