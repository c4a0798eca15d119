"""Weights as differences of two devices, or of a device and a shared reference."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field, model_validator
from typing_extensions import override

from analogpc.devices.bounds import NonNegativeInteger
from analogpc.devices.costs.line_counts import count_each, count_sensed
from analogpc.devices.costs.meter import count
from analogpc.devices.costs.paths import SENSED, SLOTS
from analogpc.devices.costs.schedule import note
from analogpc.devices.device import Device
from analogpc.devices.mappings.base import Leg, Mapping
from analogpc.devices.responses import PulseResponse

if TYPE_CHECKING:
    from analogpc.devices.protocols import PulsedMatrix


class DifferentialPair(Mapping):
    """Weight as the difference of two devices, W = scale (w+ - w-), read as the difference of two bit-line currents.

    Attributes
    ----------
    minus : "active" or "reference"
        Second device: "active" is a device like the first that is pulsed in the opposite direction (W then moves by two steps per
        coincidence, and on average the up/down asymmetry of single devices cancels); "reference" is fixed: the reference device
        of the response if it has one, otherwise a perfect device at the state of zero weight.
    subtraction : "analog" or "digital"
        Subtraction of active pairs: as currents before one converter, or as numbers after two.
    """

    kind: Literal["differential-pair"] = "differential-pair"
    minus: Literal["reference", "active"] = "active"
    subtraction: Literal["analog", "digital"] = "analog"

    @model_validator(mode="after")
    def _references_are_subtracted_as_currents(self) -> DifferentialPair:
        if self.minus == "reference" and self.subtraction == "digital":
            raise ValueError("subtraction = 'digital' needs minus = 'active'")
        return self

    @property
    @override
    def legs(self) -> tuple[Leg, ...]:
        if self.minus == "reference":
            return (Leg("plus"),)
        if self.subtraction == "digital":
            return Leg("plus"), Leg("minus", -1.0, group=1)
        return Leg("plus"), Leg("minus", -1.0)

    @property
    @override
    def group_weights(self) -> tuple[float, ...]:
        return (1.0,) * (1 + (self.subtraction == "digital"))

    @property
    @override
    def subtracts(self) -> Literal["nothing", "device", "column"]:
        return "device" if self.minus == "reference" else "nothing"

    @override
    def refuse(self, device: Device) -> str:
        if self.minus == "active" and device.has_reference:
            return f"the device '{device.name}' has its own reference device; use minus = 'reference'"
        return ""

    @override
    def range(self, device: Device) -> float:
        reach = device.response.reach
        if self.minus == "reference":
            return reach / 2 if device.response.unipolar else reach
        return reach if device.response.unipolar else 2 * reach

    @override
    def steps(self, device: Device) -> float:
        return float(len(self.legs))

    @override
    def rest(self, device: Device) -> float:
        return device.response.reach / 2 if self.minus == "reference" and device.response.unipolar else 0.0

    @override
    def shares(self, device: Device) -> tuple[float, ...] | None:
        if self.minus == "reference":
            return (1.0,)
        # The common part of both devices does not change, unless one of them is at rest.
        return None if device.response.unipolar else (0.5, -0.5)

    @override
    def split(self, difference: np.ndarray, device: Device) -> Iterable[np.ndarray]:
        if self.minus == "reference":
            return [difference + difference.dtype.type(self.rest(device))]
        if device.response.unipolar:
            return [np.maximum(difference, 0), np.maximum(-difference, 0)]
        return (difference / factor for factor in (2, -2))


class OneSidedPair(Mapping):
    """Two devices that are only pulsed upwards: W = scale (w+ - w-); increases go to the first and decreases to the second.

    Both devices move towards their upper limit. After every ``refresh_every`` update cycles each weight is checked: if one device
    exceeds ``refresh_above`` of the mean range and the other exceeds ``partner_above``, the difference is read, both are reset, and
    the difference is written back to one of them, open loop, with the number of pulses that the mean device needs.

    Attributes
    ----------
    refresh_above, partner_above : float
        Fractions of w_max.
    refresh_every : int
        Update cycles between refreshes; 0 disables them.

    References
    ----------
    Boybat et al., Nat. Commun. 9:2514 (2018); thresholds as in aihwkit's ``OneSidedUnitCell``, whose refresh sends the number of
    pulses that a constant step would need.
    """

    kind: Literal["one-sided-pair"] = "one-sided-pair"
    refresh_above: Annotated[float, Field(gt=0, le=1)] = 0.75
    partner_above: Annotated[float, Field(ge=0, le=1)] = 0.25
    refresh_every: NonNegativeInteger = 1

    @property
    @override
    def legs(self) -> tuple[Leg, ...]:
        return Leg("plus"), Leg("minus", -1.0)

    @property
    @override
    def one_sided(self) -> bool:
        return True

    @override
    def refuse(self, device: Device) -> str:
        if not device.response.unipolar:
            return f"the device '{device.name}' has states of both signs; a one-sided pair needs w_min = 0"
        return ""

    @override
    def range(self, device: Device) -> float:
        return device.response.reach

    @override
    def steps(self, device: Device) -> float:
        return 1.0

    @override
    def split(self, difference: np.ndarray, device: Device) -> Iterable[np.ndarray]:
        return [np.maximum(difference, 0), np.maximum(-difference, 0)]

    @property
    @override
    def repeatable(self) -> bool:
        return not self.refresh_every

    @override
    def maintain(self, matrix: PulsedMatrix) -> None:
        due = self.refresh_every and matrix.update_cycles % self.refresh_every == 0
        if not due or not matrix.device.response.pulsed:
            return
        response = matrix.device.pulse_response
        plus, minus = (array.apparent for array in matrix.cells.arrays)
        note(SENSED, matrix, count_sensed(matrix.meter, matrix.cells.arrays, matrix.cells.tile))
        upper, lower = (plus.dtype.type(share * response.w_max) for share in (self.refresh_above, self.partner_above))
        worn = (np.maximum(plus, minus) > upper) & (np.minimum(plus, minus) > lower)
        # Skip the write if no device needs it; finding out synchronises with the GPU at every refresh.
        if not worn.any():
            return
        difference = np.where(worn, plus - minus, 0)
        table = _states_by_pulses(response)
        # The first entry is the reset state, which represents a difference of zero.
        halfway = np.asarray((table[1:] + table[:-1]) / 2 - table[0], like=plus)
        for number, (array, wanted) in enumerate(zip(matrix.cells.arrays, (difference, -difference), strict=True)):
            array.reset(worn)
            counts = np.searchsorted(halfway, np.maximum(wanted, 0).astype(np.float64)).astype(np.int32)
            note(SLOTS, None, count_each(matrix.meter, array, matrix.cells.tile, counts))
            pulses, siemens = array.pulse_each(counts, matrix.maintenance_key.fold(number), matrix.update_cycles)
            count(matrix.meter, pulses=pulses, pulsed_siemens=siemens)
        count(matrix.meter, refreshed=worn.sum())


@lru_cache(maxsize=16)
def _states_by_pulses(response: PulseResponse) -> np.ndarray:
    """States of the mean device after 0, 1, ... pulses from its reset state, until it stops moving, at most 1,024 pulses."""
    start = max(response.reset, response.w_min)
    states = np.concatenate([[start], response.trajectory(start, [True] * 1024)])
    moved = np.diff(states) > 1e-6 * response.w_max
    return states[: 1 + (len(moved) if moved.all() else int(np.argmin(moved)))]


class OffsetColumn(Mapping):
    """One device per weight, and one column of devices at rest in every array, whose current is subtracted from all others.

    The rest state represents zero weight. The reference devices have the variability and noise of all others, which all outputs of
    the array share: they contribute little if the mean of many inputs is near zero, and otherwise shift all outputs alike.

    Attributes
    ----------
    reference : "devices" or "exact"
        Real devices, or the digitally known current of perfect ones (the sum of the inputs times the rest conductance).

    References
    ----------
    Shafiee et al., ISCA 2016 (unit column); Xiao et al., Appl. Phys. Rev. 7:031301 (2020), offset subtraction.
    """

    kind: Literal["offset-column"] = "offset-column"
    reference: Literal["devices", "exact"] = "devices"

    @property
    @override
    def legs(self) -> tuple[Leg, ...]:
        return (Leg("plus"),)

    @property
    @override
    def subtracts(self) -> Literal["nothing", "device", "column"]:
        return "column"

    @override
    def range(self, device: Device) -> float:
        reach = device.response.reach
        return reach / 2 if device.response.unipolar else reach

    @override
    def steps(self, device: Device) -> float:
        return 1.0

    @override
    def rest(self, device: Device) -> float:
        return device.response.reach / 2 if device.response.unipolar else 0.0

    @override
    def refuse(self, device: Device) -> str:
        if device.has_reference:
            return f"the device '{device.name}' has its own reference device; use a differential pair with minus = 'reference'"
        return ""

    @override
    def split(self, difference: np.ndarray, device: Device) -> Iterable[np.ndarray]:
        return [difference + difference.dtype.type(self.rest(device))]
