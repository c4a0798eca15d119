"""Energy: counts of operations times the prices of a technology, by part and by matrix."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from analogpc.devices.costs.hardware import Hardware
from analogpc.devices.costs.meter import Meter
from analogpc.devices.costs.operations import OPERATIONS
from analogpc.devices.costs.technology import Technology

PARTS = ("arrays", "lines", "drivers", "converters", "sums", "buffers", "states", "pulses", "programming", "digital", "static")
"""Parts of a bill of energy, in the order of display."""


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


@dataclass
class Prices:
    """Charges being collected; a price is looked up only if something was counted."""

    technology: Technology
    charges: list[Charge] = field(default_factory=list)

    def charge(self, part: str, matrix: str, what: str, count: float, unit: str, price: Any, *entries: str) -> None:
        """Add a line; ``price`` is a function without arguments that returns the joules per unit."""
        if count:
            self.charges.append(Charge(part, matrix, what, count, unit, count * price(), entries))


def charge_analog(prices: Prices, name: str, own: Hardware, meter: Meter) -> None:
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


def charge_digital(prices: Prices, name: str, own: Hardware, meter: Meter) -> None:
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


def _moved(prices: Prices, name: str, own: Hardware, reads: int, look_ups: int) -> None:
    """Charge the inputs that reads fetch, and the outputs that they store."""
    t, entries = prices.technology, ("buffer.energy", "digital.word")
    # The input of a look-up is one index.
    values = 0 if own.bias else reads * sum(own.shape) - look_ups * (own.shape[1] - 1)
    prices.charge(
        "buffers", name, "inputs and outputs", values, "", lambda: t.quantity(entries[0]) * t.quantity(entries[1]), *entries
    )


def _beside(prices: Prices, name: str, macs: int, words: int) -> None:
    """Charge digital numbers that are kept besides a matrix."""
    t, memory = prices.technology, ("digital.memory_energy", "digital.word")
    charge = prices.charge
    charge("digital", name, "multiply-adds of updates", macs, "", lambda: t.quantity("digital.mac_energy"), "digital.mac_energy")
    charge("digital", name, "words of updates", words, "", lambda: t.quantity(memory[0]) * t.quantity(memory[1]), *memory)


def charge_states(prices: Prices, work: Counter[str]) -> None:
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
