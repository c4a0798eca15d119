"""Bills: counts times the prices of a technology, in joules, seconds and square metres, by part and by matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analogpc.devices.costs.area import Area, areas_of
from analogpc.devices.costs.charges import PARTS, Charge, Prices, charge_analog, charge_digital, charge_states
from analogpc.devices.costs.hardware import Hardware
from analogpc.devices.costs.latency import seconds_of
from analogpc.devices.costs.ledger import Tally
from analogpc.devices.costs.operations import OPERATIONS
from analogpc.devices.costs.paths import BACKWARD, FORWARD, MACS, OVERLAPPED, PROGRAMMED, SENSED, SLOTS, Term
from analogpc.devices.costs.technology import Technology, TechnologyError
from analogpc.devices.names import in_unit

_TIMES = {
    FORWARD: "reads",
    BACKWARD: "reads backwards",
    SLOTS: "pulses",
    OVERLAPPED: "pulses",
    SENSED: "single devices",
    PROGRAMMED: "programming",
}


@dataclass(frozen=True)
class Bill:
    """Cost of a training run or part of it.

    Attributes
    ----------
    technology : Technology
    samples, batches : int
        Numbers of samples and batches trained.
    charges : tuple of Charge
    path : dict of float by (what, matrix)
        Seconds along the critical path; their sum is the latency.
    utilisation : float
        Busy array-seconds of reads over the number of arrays times the latency.
    areas : tuple of Area
        Empty if the technology lacks an entry for the area; ``no_area`` then names it.
    no_area : str
    """

    technology: Technology
    samples: int
    batches: int
    charges: tuple[Charge, ...]
    path: Mapping[tuple[str, str], float]
    utilisation: float
    areas: tuple[Area, ...] = ()
    no_area: str = ""

    def __repr__(self) -> str:
        area = "" if self.no_area else f", {self.square_millimetres:.3g} mm2"
        energy, latency = in_unit(self.joules, "J"), in_unit(self.seconds, "s")
        return f"Bill({self.technology.name}: {energy}, {latency}{area}; {self.samples:,} samples in {self.batches:,} batches)"

    @property
    def joules(self) -> float:
        """Total energy."""
        return sum(charge.joules for charge in self.charges)

    @property
    def seconds(self) -> float:
        """Latency: samples one after the other, layers in the order of the rule."""
        return sum(self.path.values())

    @property
    def square_millimetres(self) -> float:
        """Total area.

        Raises
        ------
        TechnologyError
            If the technology lacks an entry for the area.
        """
        if self.no_area:
            raise TechnologyError(self.no_area)
        return 1e6 * sum(area.square_metres for area in self.areas)

    def by_part(self) -> dict[str, float]:
        """Return the joules of every part; their sum is the total energy."""
        return {part: sum(c.joules for c in self.charges if c.part == part) for part in PARTS}

    def by_matrix(self) -> dict[str, float]:
        """Return the joules of every matrix, and under "" those of none; their sum is the total energy."""
        total: dict[str, float] = {}
        for charge in self.charges:
            total[charge.matrix] = total.get(charge.matrix, 0.0) + charge.joules
        return total

    def trace(self, part: str) -> list[Charge]:
        """Return the charges of one part, largest first.

        Raises
        ------
        ValueError
            If there is no such part.
        """
        if part not in PARTS:
            raise ValueError(f"there is no part '{part}' of a bill; the parts are {', '.join(PARTS)}")
        return sorted((c for c in self.charges if c.part == part and c.count), key=lambda c: -c.joules)

    def to_dict(self) -> dict[str, Any]:
        """Return numbers, texts and lists, as printed in JSON by the command line."""
        steps: dict[str, float] = {}
        for (what, _), seconds in self.path.items():
            steps[what] = steps.get(what, 0.0) + seconds
        area = None if self.no_area else self.square_millimetres
        return {
            "technology": self.technology.name,
            "samples": self.samples,
            "batches": self.batches,
            "joules": self.joules,
            "seconds": self.seconds,
            "square_millimetres": area,
            "joules_per_sample": self.joules / self.samples,
            "seconds_per_sample": self.seconds / self.samples,
            "utilisation": self.utilisation,
            "joules_by_part": self.by_part(),
            "joules_by_matrix": self.by_matrix(),
            "seconds_by_part": steps,
        }


def bill(tally: Tally, hardware: Mapping[str, Hardware], technology: Technology) -> Bill:
    """Compute the bill of a tally.

    Parameters
    ----------
    tally : Tally
    hardware : dict of Hardware by name of the matrix
    technology : Technology

    Raises
    ------
    TechnologyError
        If the technology lacks a required entry.
    """
    prices = Prices(technology)
    for name, meter in tally.meters.items():
        own = hardware[name]
        (charge_digital if own.digital else charge_analog)(prices, name, own, meter)
    charge_states(prices, tally.work)

    def cost(term: Term) -> float:
        kind, place = term
        return seconds_of(technology, kind, hardware.get(place))

    able = frozenset(technology.abilities)
    path: dict[tuple[str, str], float] = {}
    for (kind, place), seconds in tally.path.composition(cost, able).items():
        what = "digital" if kind == MACS or kind in OPERATIONS or (place and hardware[place].digital) else _TIMES[kind]
        path[what, place] = path.get((what, place), 0.0) + seconds
    seconds, arrays = sum(path.values()), sum(own.arrays for own in hardware.values())
    busy = sum(
        amount * cost((kind, place)) * hardware[place].arrays
        for (kind, place), amount in tally.path.busy().items()
        if kind in (FORWARD, BACKWARD, SENSED) and place and not hardware[place].digital
    )
    for name, own in hardware.items():
        if own.arrays:
            power = own.arrays * seconds
            prices.charge(
                "static", name, "arrays times seconds", power, "s", lambda: technology.quantity("array.power"), "array.power"
            )
    areas, missing = areas_of(tally, hardware, technology)
    used = busy / (arrays * seconds) if arrays and seconds else 0.0
    return Bill(technology, tally.samples, tally.batches, tuple(prices.charges), path, used, areas, missing)
