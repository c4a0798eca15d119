"""Area: sizes of the hardware times the areas of a technology, by part and by matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analogpc.devices.costs.hardware import Hardware
from analogpc.devices.costs.ledger import Tally
from analogpc.devices.costs.technology import Technology, TechnologyError


@dataclass(frozen=True)
class Area:
    """One line of the bill of area: ``count`` pieces of a part, all of one matrix."""

    part: str
    matrix: str
    count: float
    square_metres: float
    entries: tuple[str, ...]


def areas_of(tally: Tally, hardware: Mapping[str, Hardware], t: Technology) -> tuple[tuple[Area, ...], str]:
    """Return the area of the hardware, or the reason why it is unknown."""
    areas: list[Area] = []

    def add(part: str, matrix: str, count: float, entry: str, bits: Any = None, factor: float = 1.0) -> None:
        if count:
            areas.append(Area(part, matrix, count, count * factor * t.quantity(entry, bits), (entry,)))

    try:
        for name, own in hardware.items():
            if own.digital:
                add("digital memory", name, own.size * t.quantity("twin.word"), "twin.memory_area")
                continue
            both = tally.meters[name].backward_reads > 0
            add("arrays", name, own.array_cells, "array.cell_area")
            shared = t.quantity("array.columns_per_adc")
            for forward in (True, False) if both else (True,):
                side = "" if forward else ", transposed"
                add(f"drivers{side}", name, own.arrays * own.lines(not forward), "dac.area", own.bits)
                converters = own.converting_arrays * max(1, own.lines(forward) // shared)
                add(f"converters{side}", name, converters, "adc.area", own.bits)
                add(f"sums{side}", name, converters, "sums.area")
            # State, error and velocity of every output, and the inputs.
            values = own.shape[1] + 3 * own.shape[0]
            add("buffers", name, values * t.quantity("digital.word"), "buffer.area")
            add("digital units", name, t.quantity("digital.lanes"), "digital.lane_area")
        if any(own.digital and not own.bias for own in hardware.values()):
            add("digital units", "", t.quantity("twin.lanes"), "twin.lane_area")
    except TechnologyError as error:
        return (), str(error)
    return tuple(areas), ""
