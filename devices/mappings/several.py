"""Weights represented by several pairs of devices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from typing_extensions import override

from analogpc.devices.bounds import Positive
from analogpc.devices.device import Device
from analogpc.devices.mappings.base import Leg, Mapping
from analogpc.kernels.random.streams import Key, bits


class BitSliced(Mapping):
    """Weight as digits, each held by a differential pair: W = scale sum_k B^k (digit+ - digit-).

    The magnitude of a weight is rounded to slices · bits binary digits. Such weights are programmed, not pulsed: a carry from one
    slice to the next is a digital operation.

    Attributes
    ----------
    slices, bits : int
        Number of pairs, and bits of a digit: B = 2^bits.
    accumulation : "digital" or "analog"
        Slices are converted separately, shifted and added digitally; or their currents are weighted and added before a single
        converter.

    References
    ----------
    Shafiee et al., ISCA 2016; CrossSim, ``BitslicedCore``.
    """

    kind: Literal["bit-sliced"] = "bit-sliced"
    slices: Annotated[int, Field(ge=2, le=16)] = 2
    bits: Annotated[int, Field(ge=1, le=12)] = 4
    accumulation: Literal["digital", "analog"] = "digital"
    headroom: Positive = 1.0

    @property
    def _digit_weights(self) -> list[float]:
        base = 2.0**self.bits
        return [base**k * (base - 1) / (base**self.slices - 1) for k in range(self.slices)]

    @property
    @override
    def legs(self) -> tuple[Leg, ...]:
        digital = self.accumulation == "digital"
        legs = []
        for k, weight in enumerate(self._digit_weights):
            factor, group = (1.0, k) if digital else (weight, 0)
            legs += [Leg(f"plus-{k}", factor, group), Leg(f"minus-{k}", -factor, group)]
        return tuple(legs)

    @property
    @override
    def group_weights(self) -> tuple[float, ...]:
        return tuple(self._digit_weights) if self.accumulation == "digital" else (1.0,)

    @property
    @override
    def takes_pulses(self) -> bool:
        return False

    @override
    def fills_range(self, device: Device) -> bool:
        # The digits have a finite range even if the devices have no limits.
        return True

    @override
    def range(self, device: Device) -> float:
        return device.response.reach * (1 if device.response.unipolar else 2)

    @override
    def steps(self, device: Device) -> float:
        return 2.0

    @override
    def split(self, difference: np.ndarray, device: Device) -> Iterable[np.ndarray]:
        full, base = self.range(device), 2.0**self.bits
        # Integers in float64, from the highest digit down: exact for any size, and the largest cannot carry over.
        left = np.rint(np.minimum(np.abs(difference).astype(np.float64) / full, 1.0) * (base**self.slices - 1))
        digits = []
        for k in reversed(range(self.slices)):
            digits.append(np.minimum(np.floor(left / base**k), base - 1))
            left = left - digits[-1] * base**k
        targets = []
        for value in reversed(digits):
            digit = (np.sign(difference) * value * (full / (base - 1))).astype(difference.dtype)
            targets += [np.maximum(digit, 0), np.maximum(-digit, 0)] if device.response.unipolar else [digit / 2, -digit / 2]
        return targets


class DeviceVector(Mapping):
    """Several differential pairs in parallel: W = scale sum_k gamma_k (w+_k - w-_k).

    Attributes
    ----------
    gammas : tuple of float
        Weight of each pair; at least 2, all positive.
    policy : "all", "in-turn" or "random"
        Pairs that an update reaches: all of them, or one per rank-one product, in turn or at random.

    References
    ----------
    Boybat et al., Nat. Commun. 9:2514 (2018), multi-memristive synapses; aihwkit, ``VectorUnitCell``.
    """

    kind: Literal["device-vector"] = "device-vector"
    gammas: Annotated[tuple[Positive, ...], Field(min_length=2)] = (0.5, 0.5)
    policy: Literal["all", "in-turn", "random"] = "all"

    @property
    @override
    def legs(self) -> tuple[Leg, ...]:
        return tuple(leg for k, gamma in enumerate(self.gammas) for leg in (Leg(f"plus-{k}", gamma), Leg(f"minus-{k}", -gamma)))

    @override
    def refuse(self, device: Device) -> str:
        if device.has_reference:
            return f"the device '{device.name}' has its own reference device; use a differential pair with minus = 'reference'"
        return ""

    @override
    def range(self, device: Device) -> float:
        return sum(self.gammas) * device.response.reach * (1 if device.response.unipolar else 2)

    @override
    def steps(self, device: Device) -> float:
        return 2 * (sum(self.gammas) if self.policy == "all" else sum(self.gammas) / len(self.gammas))

    @override
    def split(self, difference: np.ndarray, device: Device) -> Iterable[np.ndarray]:
        each = difference / difference.dtype.type(sum(self.gammas))
        pair = [np.maximum(each, 0), np.maximum(-each, 0)] if device.response.unipolar else [each / 2, -each / 2]
        return pair * len(self.gammas)

    @property
    @override
    def repeatable(self) -> bool:
        return self.policy == "all"

    @override
    def receives(self, product: np.ndarray, leg: int, key: Key) -> np.ndarray | None:
        if self.policy == "all":
            return None
        count = len(self.gammas)
        if self.policy == "in-turn":
            return product % count == leg // 2
        # Drawn from the number of the product, so that all legs and any partition of a batch agree.
        chosen = np.array([bits(key, int(n), 1)[0] % count for n in product])
        return chosen == leg // 2
