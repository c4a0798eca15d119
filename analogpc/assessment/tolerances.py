"""Position of a device on the tolerance curves: its amount of each nonideality, and the amount that every rule tolerates.

The curves are measured for one nonideality at a time in an otherwise ideal device (experiments/tolerance.toml), and are stored in
``tolerances.json``, written by ``python experiments/tolerance.py``.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np

from analogpc.devices.device_numbers import DeviceNumbers, device_numbers, mean_steps, places
from analogpc.devices.responses import PulseResponse
from analogpc.devices.substrate import Analog
from analogpc.studies.comparison import mean_interval

LOSS = 0.05
"""Relative loss of accuracy that defines the knee of a curve."""


@dataclass(frozen=True)
class Harm:
    """Scale on which the harm of a nonideality is linear; zero for the ideal device.

    Attributes
    ----------
    of_amount, to_amount : function
        From an amount to its harm, and back.
    sign : str
        How amounts beyond a given one are written.
    """

    of_amount: Callable[[float], float]
    to_amount: Callable[[float], float]
    sign: str


AMOUNT = Harm(lambda amount: amount, lambda harm: harm, ">")
"""For nonidealities whose amount is the harm."""
RECIPROCAL = Harm(lambda amount: 1 / amount, lambda harm: 1 / harm if harm > 0 else math.inf, "<")
"""For numbers of states, of which the spacing is the harm, and for ratios of conductances."""
RESOLUTION = Harm(lambda bits: 2.0**-bits, lambda step: -math.log2(step) if step > 0 else math.inf, "<")
"""For bits of converters, of which the step is the harm."""


@dataclass(frozen=True)
class Curve:
    """Relative accuracy of a rule against the amount of one nonideality.

    Attributes
    ----------
    rule, name : str
        Learning rule and nonideality.
    amounts : list of float
        Amounts, from least to most harmful.
    relative : list of list of float
        Accuracy of every seed relative to the ideal device, for every amount.
    """

    rule: str
    name: str
    amounts: list[float]
    relative: list[list[float]]

    @property
    def knees(self) -> list[float]:
        """Return for every seed the amount beyond which the accuracy stays below 1 - LOSS; NaN if no measured amount does.

        Interpolated linearly in the harm: the amount, the reciprocal of a number of states, or the step of a converter. The
        ideal device with zero harm is the first point.
        """
        harm = [self._harm(amount) for amount in self.amounts]
        found = [_knee([values[seed] for values in self.relative], harm) for seed in range(min(map(len, self.relative)))]
        return [one if math.isnan(one) else self._scale.to_amount(one) for one in found]

    @property
    def _scale(self) -> Harm:
        return NONIDEALITIES[self.name].harm

    def _harm(self, amount: float) -> float:
        return self._scale.of_amount(amount)

    @property
    def _last(self) -> str:
        """All amounts beyond the last measured one."""
        return f"{self._scale.sign} {self.amounts[-1]:g}"

    @property
    def said(self) -> str:
        """Mean of the knee with Student's 95 % interval over the seeds, or the largest amount tolerated by every seed.

        Computed on the scale of the harm; an end with less harm than the ideal device is written as the ideal device.
        """
        knees = self.knees
        found = [one for one in knees if not math.isnan(one)]
        if not found:
            return self._last
        if len(found) < len(knees):
            return (
                f"{self._last} ({len(knees) - len(found)} of {len(knees)} seeds; else {', '.join(f'{one:.2g}' for one in found)})"
            )
        harm = [self._harm(one) for one in found]
        ends = sorted(self._scale.to_amount(max(one, 0.0)) for one in mean_interval(harm) if not math.isnan(one))
        interval = f" [{', '.join('∞' if math.isinf(one) else f'{one:.2g}' for one in ends)}]" if ends else ""
        return f"{self._scale.to_amount(float(np.mean(harm))):.2g}{interval}"

    @property
    def strictest(self) -> float:
        """Return the knee of the seed that tolerates least; NaN if every seed tolerates all measured amounts."""
        return min((one for one in self.knees if not math.isnan(one)), key=self._harm, default=math.nan)

    @property
    def range(self) -> str:
        """Return the range of the knee over the seeds, in a few characters."""
        knees = self.knees
        found = sorted((one for one in knees if not math.isnan(one)), key=self._harm)
        ends = [f"{one:.2g}" for one in (found[:1] + found[-1:])]
        if len(found) < len(knees):
            ends = [*ends[:1], self._last]
        return " – ".join(dict.fromkeys(ends))

    def judge(self, amount: float) -> str:
        """Compare an amount with the knees of all seeds.

        Returns
        -------
        str
            "within" if no seed loses 5 % at this amount, "beyond" if every seed does, "at the knee" if the seeds differ; "not measured" if
            the amount is worse than all measured ones and some seed tolerated all of them.
        """
        here, lost = self._harm(amount), []
        for knee in self.knees:
            if math.isnan(knee) and here > self._harm(self.amounts[-1]):
                return "not measured"
            lost.append(not math.isnan(knee) and here >= self._harm(knee))
        return "beyond" if all(lost) else "at the knee" if any(lost) else "within"


def _knee(relative: Sequence[float], harm: Sequence[float]) -> float:
    goal, values, places = 1 - LOSS, [1.0, *relative], [0.0, *harm]
    lost = next((n for n in range(1, len(values)) if max(values[n:]) < goal), None)
    if lost is None:
        return math.nan
    share = (values[lost - 1] - goal) / (values[lost - 1] - values[lost])
    return places[lost - 1] + share * (places[lost] - places[lost - 1])


@dataclass(frozen=True)
class Placed:
    """A device on the curves of one nonideality.

    Attributes
    ----------
    name : str
        The nonideality, with the unit of its amount.
    amount : float
        Amount of the nonideality in the device.
    curves : dict of Curve
        Curves by rule.
    """

    name: str
    amount: float
    curves: dict[str, Curve]

    @property
    def judged(self) -> dict[str, str]:
        """Result of `Curve.judge` for the amount, by rule."""
        return {rule: curve.judge(self.amount) for rule, curve in self.curves.items()}


@functools.cache
def tolerance_curves() -> tuple[Curve, ...]:
    """Return the stored curves, in the order of the study."""
    text = resources.files("analogpc.assessment").joinpath("tolerances.json").read_text(encoding="utf-8")
    return tuple(Curve(**one) for one in json.loads(text)["curves"])


def place_on_curves(substrate: Analog) -> list[Placed]:
    """Place crossbars on the tolerance curves.

    Parameters
    ----------
    substrate : Analog
        Crossbars with a pulsed device; other devices are not on these curves.

    Returns
    -------
    list of Placed
        One entry for each nonideality with curves, in their order; empty for programmed devices.

    Examples
    --------
    >>> import analogpc as apc
    >>> [(one.name, one.judged["bp"]) for one in place_on_curves(apc.Analog(device="reram-sb"))][:2]
    [('noise of a pulse, in steps', 'within'), ('spread of steps between devices', 'within')]
    """
    if not substrate.device.response.pulsed:
        return []
    by_name: dict[str, dict[str, Curve]] = {}
    for curve in tolerance_curves():
        by_name.setdefault(curve.name, {})[curve.rule] = curve
    there = amounts(substrate)
    return [Placed(name, there[name], curves) for name, curves in by_name.items() if name in there]


def _response(substrate: Analog) -> PulseResponse:
    return substrate.device.pulse_response


def _lost_at_bounds(substrate: Analog) -> float:
    """Return one minus the step towards a bound at that bound over the step at zero weight, averaged over both directions."""
    response = _response(substrate)
    low, high, zero = places(response)
    zero_up, zero_down = (float(one[0]) for one in mean_steps(response, np.array([zero])))
    # A bound cuts off steps out of the window, so the law is evaluated one step of the larger kind before it.
    margin = min(max(zero_up, zero_down), 0.25 * (high - low))
    up, down = mean_steps(response, np.array([low + margin, high - margin]))
    lost = [1 - one / zero for one, zero in ((float(up[1]), zero_up), (float(down[0]), zero_down)) if zero > 0]
    return max(0.0, round(float(np.mean(lost)), 9)) if lost else 0.0


def _stuck(substrate: Analog) -> float:
    faults = substrate.device.faults
    shares = [getattr(faults, name) for name in type(faults).model_fields if name.startswith("stuck_")]
    return 1 - math.prod(1 - share for share in shares if isinstance(share, (int, float)))


def _on_over_off(substrate: Analog) -> float:
    device = substrate.device
    return device.g_max_siemens / device.g_min_siemens if device.g_min_siemens > 0 else math.inf


def _wire_segment(substrate: Analog) -> float:
    """Return the resistance of a wire segment over the resistance of a device at the top of its window."""
    wires = substrate.wires
    return max(wires.row_ohms, wires.column_ohms) * substrate.device.g_max_siemens


@dataclass(frozen=True)
class Nonideality:
    """A nonideality that has tolerance curves.

    Attributes
    ----------
    amount : function or None
        From crossbars with a pulsed device, and the numbers of this device, to the amount; None if it is no property of crossbars, or
        was varied together with another one.
    harm : Harm
    """

    amount: Callable[[Analog, DeviceNumbers], float] | None
    harm: Harm = AMOUNT


NONIDEALITIES = {
    "noise of a pulse, in steps": Nonideality(lambda crossbars, device: device.step_ctoc or 0.0),
    "spread of steps between devices": Nonideality(lambda crossbars, device: device.step_dtod or 0.0),
    "loss of the step at the bounds": Nonideality(lambda crossbars, device: _lost_at_bounds(crossbars)),
    "asymmetry of up and down steps": Nonideality(lambda crossbars, device: abs(_response(crossbars).up_down)),
    "spread of the up-down asymmetry": Nonideality(lambda crossbars, device: _response(crossbars).up_down_dtod),
    "states": Nonideality(lambda crossbars, device: device.states, RECIPROCAL),
    "on/off ratio": Nonideality(lambda crossbars, device: _on_over_off(crossbars), RECIPROCAL),
    "on/off ratio, read noise of 2 %": Nonideality(None, RECIPROCAL),
    "write noise, of the range": Nonideality(lambda crossbars, device: device.write_noise),
    "read noise of a sum": Nonideality(lambda crossbars, device: crossbars.read_noise),
    "bits of the ADC": Nonideality(lambda crossbars, device: crossbars.adc.bits, RESOLUTION),
    "bits of the DAC": Nonideality(lambda crossbars, device: crossbars.dac.bits, RESOLUTION),
    "stuck devices": Nonideality(lambda crossbars, device: _stuck(crossbars)),
    "wire segment, of the lowest resistance": Nonideality(lambda crossbars, device: _wire_segment(crossbars)),
    "leak in an update cycle": Nonideality(lambda crossbars, device: 1 / _response(crossbars).lifetime),
    "bits of the states": Nonideality(None, RESOLUTION),
}
"""By name, with the unit of the amount: the order and the names of the study's points."""


def amounts(substrate: Analog) -> dict[str, float]:
    """Return the amount of every nonideality of crossbars with a pulsed device, by name."""
    numbers = device_numbers(substrate.device)
    return {name: float(one.amount(substrate, numbers)) for name, one in NONIDEALITIES.items() if one.amount is not None}
