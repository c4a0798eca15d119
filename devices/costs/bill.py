"""Bills: counts times the prices of a technology, in joules, seconds and square metres, by part and by matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from analogpc.devices.costs.hardware import Hardware
from analogpc.devices.costs.ledger import Tally
from analogpc.devices.costs.meter import Meter
from analogpc.devices.costs.operations import OPERATIONS
from analogpc.devices.costs.schedule import BACKWARD, FORWARD, LOOK_UP, MACS, OVERLAPPED, PROGRAMMED, SENSED, SLOTS, Term
from analogpc.devices.costs.technology import Technology, TechnologyError
from analogpc.devices.names import in_unit

PARTS = ("arrays", "lines", "drivers", "converters", "sums", "buffers", "states", "pulses", "programming", "digital", "static")
"""Parts of a bill of energy, in the order of display."""

_TIMES = {
    FORWARD: "reads",
    BACKWARD: "reads backwards",
    SLOTS: "pulses",
    OVERLAPPED: "pulses",
    SENSED: "single devices",
    PROGRAMMED: "programming",
}


@dataclass(frozen=True)
class Charge:
    """One line of a bill.

    Attributes
    ----------
    part : str
        One of `PARTS`.
    matrix : str
        Name of the matrix; empty for costs of no single matrix.
    what : str
        Description of what was counted.
    count : float
        Amount.
    unit : str
        Unit of the count; empty for a number.
    joules : float
    entries : tuple of str
        Entries of the technology from which the price was computed.
    """

    part: str
    matrix: str
    what: str
    count: float
    unit: str
    joules: float
    entries: tuple[str, ...]


@dataclass(frozen=True)
class Area:
    """One line of the bill of area: ``count`` pieces of a part, all of one matrix."""

    part: str
    matrix: str
    count: float
    square_metres: float
    entries: tuple[str, ...]


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


@dataclass
class _Prices:
    """Charges being collected; a price is looked up only if something was counted."""

    technology: Technology
    charges: list[Charge] = field(default_factory=list)

    def charge(self, part: str, matrix: str, what: str, count: float, unit: str, price: Any, *entries: str) -> None:
        """Add a line; ``price`` is a function without arguments that returns the joules per unit."""
        if count:
            self.charges.append(Charge(part, matrix, what, count, unit, count * price(), entries))


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
    prices = _Prices(technology)
    for name, meter in tally.meters.items():
        own = hardware[name]
        (_digital if own.digital else _analog)(prices, name, own, meter)
    _states(prices, tally.work)

    def cost(term: Term) -> float:
        kind, place = term
        return _seconds(technology, kind, hardware.get(place))

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
    areas, missing = _areas(tally, hardware, technology)
    used = busy / (arrays * seconds) if arrays and seconds else 0.0
    return Bill(technology, tally.samples, tally.batches, tuple(prices.charges), path, used, areas, missing)


def _analog(prices: _Prices, name: str, own: Hardware, meter: Meter) -> None:
    """Charge the operations of a matrix on crossbars."""
    t, bits, charge = prices.technology, own.bits, prices.charge
    reads = meter.forward_reads + meter.backward_reads + meter.repeated_reads
    if t.has("array.cell_energy"):
        cells = reads * own.planes * own.cells + meter.device_reads
        charge("arrays", name, "cells read", cells, "", lambda: t.quantity("array.cell_energy", bits), "array.cell_energy")
    else:
        entries = "array.read_voltage", "array.read_time"
        charge("arrays", name, "conductance times reads", meter.read_siemens, "S", lambda: _pulse(t, bits, *entries), *entries)
        for what, count, line in (
            ("word lines charged", meter.charged_rows, own.row_cells),
            ("bit lines charged", meter.charged_columns, own.column_cells),
        ):
            charge("lines", name, what, count, "", _line(t, line, "array.read_voltage", 1.0), *_LINE, "array.read_voltage")
    driven = meter.conversions_in + meter.device_reads
    converted = meter.conversions_out + meter.device_reads
    charge("drivers", name, "values driven", driven, "", lambda: t.quantity("dac.energy", bits), "dac.energy")
    charge("converters", name, "conversions", converted, "", lambda: t.quantity("adc.energy", bits), "adc.energy")
    charge("sums", name, "values scaled and added", converted, "", lambda: t.quantity("sums.energy"), "sums.energy")
    _moved(prices, name, own, reads, meter.look_ups)
    volts = "write.pulse_voltage", "write.pulse_time"
    half, full = meter.half_selected_siemens, meter.pulsed_siemens
    # On a selected device the half voltages of both lines add up to the full voltage: four times the power of a half, not twice.
    charge("pulses", name, "conductance times half voltages", half, "S", lambda: 0.25 * _pulse(t, None, *volts), *volts)
    charge("pulses", name, "conductance times coincidences", full, "S", lambda: 0.5 * _pulse(t, None, *volts), *volts)
    if not t.has("array.cell_energy"):
        for what, count, line in (
            ("pulses on word lines", meter.row_pulses, own.row_cells),
            ("pulses on bit lines", meter.column_pulses, own.column_cells),
        ):
            charge("pulses", name, what, count, "", _line(t, line, "write.pulse_voltage", 0.5), *_LINE, "write.pulse_voltage")
    programmed, entry = meter.programmed + own.devices * meter.refreshed, "write.program_energy"
    charge("programming", name, "devices programmed or reset", programmed, "", lambda: t.quantity(entry), entry)
    _beside(prices, name, meter.digital_macs, meter.digital_words)


def _digital(prices: _Prices, name: str, own: Hardware, meter: Meter) -> None:
    """Charge the operations of a digital matrix, at the prices of the digital twin."""
    t, charge = prices.technology, prices.charge
    reads = meter.forward_reads + meter.backward_reads
    # For one-hot inputs, one row is fetched and nothing is multiplied.
    whole = reads - meter.look_ups
    macs, word = whole * own.size + meter.digital_macs, "twin.word"
    charge("digital", name, "multiply-adds", macs, "", lambda: t.quantity("twin.mac_energy"), "twin.mac_energy")
    memory = "twin.memory_energy", word
    charge(
        "digital",
        name,
        "weights fetched",
        whole * own.size + meter.look_ups * own.shape[0],
        "",
        lambda: t.quantity(memory[0]) * t.quantity(word) / t.quantity("twin.reuse"),
        *memory,
        "twin.reuse",
    )
    words = meter.digital_words
    charge("digital", name, "words of updates", words, "", lambda: t.quantity(memory[0]) * t.quantity(word), *memory)
    _moved(prices, name, own, reads, meter.look_ups)


def _moved(prices: _Prices, name: str, own: Hardware, reads: int, look_ups: int) -> None:
    """Charge the inputs that reads fetch, and the outputs that they store."""
    t, entries = prices.technology, ("buffer.energy", "digital.word")
    # The input of a look-up is one index.
    values = 0 if own.bias else reads * sum(own.shape) - look_ups * (own.shape[1] - 1)
    prices.charge(
        "buffers", name, "inputs and outputs", values, "", lambda: t.quantity(entries[0]) * t.quantity(entries[1]), *entries
    )


def _beside(prices: _Prices, name: str, macs: int, words: int) -> None:
    """Charge digital numbers that are kept besides a matrix."""
    t, memory = prices.technology, ("digital.memory_energy", "digital.word")
    charge = prices.charge
    charge("digital", name, "multiply-adds of updates", macs, "", lambda: t.quantity("digital.mac_energy"), "digital.mac_energy")
    charge("digital", name, "words of updates", words, "", lambda: t.quantity(memory[0]) * t.quantity(memory[1]), *memory)


def _states(prices: _Prices, work: Counter[str]) -> None:
    """Charge digital operations on states and errors."""
    t, entries = prices.technology, ("digital.memory_energy", "digital.word", "digital.mac_energy")
    for kind, values in sorted(work.items()):
        operation = OPERATIONS[kind]

        def price(operation: Any = operation) -> float:
            word = t.quantity(entries[0]) * t.quantity(entries[1])
            return (operation.reads + operation.writes) * word + operation.macs * t.quantity(entries[2])

        prices.charge("states", "", f"values: {kind}", values, "", price, *entries)


_LINE = ("array.wire_capacitance", "array.cell_pitch", "array.cell_capacitance")


def _pulse(t: Technology, bits: Any, volts: str, seconds: str) -> float:
    """Joules per siemens of a pulse."""
    return t.quantity(volts) ** 2 * t.quantity(seconds, bits)


def _line(t: Technology, cells: int, volts: str, share: float) -> Any:
    """Return the function for the joules of charging a line with the given number of cells to a share of a voltage."""

    def price() -> float:
        farads = cells * (t.quantity(_LINE[0]) * t.quantity(_LINE[1]) + t.quantity(_LINE[2]))
        return farads * (share * t.quantity(volts)) ** 2

    return price


def _seconds(t: Technology, kind: str, own: Hardware | None) -> float:
    """Seconds per unit of a term of a path."""
    if kind in (SLOTS, OVERLAPPED):
        return t.quantity("write.pulse_time")
    if kind in OPERATIONS:
        return OPERATIONS[kind].macs / (t.quantity("digital.lanes") * t.quantity("digital.clock"))
    assert own is not None
    if kind == MACS:
        unit = "twin" if own.digital else "digital"
        return 1 / (t.quantity(f"{unit}.lanes") * t.quantity(f"{unit}.clock"))
    if kind == PROGRAMMED:
        return t.quantity("write.program_time")
    if kind == LOOK_UP:
        return own.shape[0] / (t.quantity("twin.lanes") * t.quantity("twin.clock"))
    if own.digital:
        return own.size / (t.quantity("twin.lanes") * t.quantity("twin.clock"))
    read = t.quantity("array.read_time", own.bits)
    outputs = own.sensed(kind != BACKWARD)
    shared = t.quantity("array.columns_per_adc")
    # Number of converters of an array; the used lines are converted in turn.
    turns = -(-outputs // max(1, own.lines(kind != BACKWARD) // shared))
    convert = turns * t.quantity("adc.time", own.bits)
    planes = 1 if kind == SENSED else own.planes
    if "converts while reading" in t.abilities:
        return planes * max(read, convert) + min(read, convert)
    return planes * (read + convert)


def _areas(tally: Tally, hardware: Mapping[str, Hardware], t: Technology) -> tuple[tuple[Area, ...], str]:
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


def digital_twin(tally: Tally, hardware: Mapping[str, Hardware]) -> tuple[Tally, dict[str, Hardware]]:
    """Return the same reads and updates performed by one digital unit: tally and hardware for `bill`.

    Operations specific to arrays, such as repeated reads, pulses and accumulators, are left out. The unit works sequentially, with
    all of its lanes.
    """
    twin = Tally(tally.samples, tally.batches, work=Counter(tally.work))
    twin.path.terms.update({(kind, ""): values for kind, values in tally.work.items()})
    for name, meter in tally.meters.items():
        size = hardware[name].size
        macs = meter.digital_macs if hardware[name].digital else meter.updates * size
        words = meter.digital_words if hardware[name].digital else 2 * size * meter.update_cycles
        twin.meters[name] = Meter(
            forward_reads=meter.forward_reads,
            look_ups=meter.look_ups,
            backward_reads=meter.backward_reads,
            updates=meter.updates,
            update_cycles=meter.update_cycles,
            digital_macs=macs,
            digital_words=words,
        )
        forward = meter.forward_reads - meter.look_ups
        for kind, amount in ((FORWARD, forward), (LOOK_UP, meter.look_ups), (BACKWARD, meter.backward_reads), (MACS, macs)):
            twin.path.terms[kind, name] += amount
    return twin, {name: Hardware(own.shape, digital=True, bias=own.bias) for name, own in hardware.items()}
