"""Time: seconds per unit of every term of a critical path."""

from __future__ import annotations

from analogpc.devices.costs.hardware import Hardware
from analogpc.devices.costs.operations import OPERATIONS
from analogpc.devices.costs.paths import BACKWARD, LOOK_UP, MACS, OVERLAPPED, PROGRAMMED, SENSED, SLOTS
from analogpc.devices.costs.technology import Technology


def seconds_of(t: Technology, kind: str, own: Hardware | None) -> float:
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
