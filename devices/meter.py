"""Counters of what a matrix was asked to do: raw material of ledgers, of the history of a run and of tests against hand counts."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass
class Meter:
    """Plain counts; one meter belongs to one matrix.

    Attributes
    ----------
    forward_reads, backward_reads : int
        Input vectors sent through the matrix and through its transpose. A convolution counts one per output position.
    conversions_in, conversions_out : int
        Values that passed a DAC and an ADC (once per value and array).
    saturated_in, saturated_out : int
        Those of them that were clipped in the end.
    repeated_reads : int
        Vectors read again because an output saturated (see `ADC.bound_management`).
    updates : int
        Rank-one products applied.
    device_reads : int
        Devices read one by one, outside the reads above: to verify or to refresh them.
    refreshed : int
        Weights of one-sided pairs that were reset and written anew.
    pulses : int
        Pulses that devices received (coincidences, counted once per device).
    clipped_probabilities : int
        Line values of update pulse trains whose wanted pulse probability exceeded 1.
    pulse_slots : int
        Time slots in which update pulses were sent: those of the trains, and of pulses that are counted weight by weight, which are
        written word line by word line, first up, then down.
    programmed : int
        Devices that learning brought to a target, exactly or as programming does it; one for each time.
    unverified : int
        Weights that a verified write left outside its tolerance, once for each time.
    """

    forward_reads: int = 0
    backward_reads: int = 0
    conversions_in: int = 0
    conversions_out: int = 0
    saturated_in: int = 0
    saturated_out: int = 0
    repeated_reads: int = 0
    updates: int = 0
    device_reads: int = 0
    refreshed: int = 0
    pulses: int = 0
    clipped_probabilities: int = 0
    pulse_slots: int = 0
    programmed: int = 0
    unverified: int = 0

    def add(self, other: Meter) -> None:
        """Add the counts of another meter to this one."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def as_dict(self) -> dict[str, int]:
        """The counts by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
