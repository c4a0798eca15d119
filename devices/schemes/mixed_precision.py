"""Mixed precision: a digital accumulator that is written to the devices in whole pulses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from typing_extensions import override

from analogpc.devices.bounds import NonNegativeInteger, Positive, PositiveInteger
from analogpc.devices.costs.digital import count_digital
from analogpc.devices.device import Device
from analogpc.devices.mappings import Mapping
from analogpc.devices.matrix import NonFiniteError
from analogpc.devices.schemes.base import Scheme, refuse_pulses, total
from analogpc.kernels.gpu.arrays import as_type
from analogpc.kernels.gpu.graphs import capturing
from analogpc.kernels.random.streams import Key, uniforms

if TYPE_CHECKING:
    from analogpc.devices.matrix import Products
    from analogpc.devices.protocols import PulsedMatrix

Bins = Annotated[int, Field(ge=0, le=2**16)]


class MixedPrecision(Scheme):
    """Accumulate changes in a digital number chi per weight, and write it as soon as it reaches a whole pulse.

    chi += change; every ``every`` update cycles n = trunc(chi / epsilon) pulses are sent to each weight, and chi -= n epsilon.
    epsilon is the assumed change per pulse: ``granule`` times the mean logical change at weight zero. Changes too small for a device
    are thus never lost. Deviations of a device from epsilon (spread, noise, a state-dependent step, a bound) are corrected by the
    learning rule only. Any digital optimiser may compute the changes.

    Attributes
    ----------
    granule : float
        epsilon, in units of the mean change of a weight per pulse.
    every : int
        Number of update cycles between transfers.
    lines : int
        Number of word lines that a transfer writes, in turn; 0 means all.
    most_pulses : int or inf
        Largest number of pulses per weight and transfer, 16384 if infinite; the rest stays in chi.
    pre_bins, post_bins : int
        Presynaptic and postsynaptic values are rounded to 2 floor(bins / 2) + 1 levels between minus and plus the largest magnitude
        of each vector before the products are formed; 0 disables rounding. Increments are not rounded.
    stochastic_rounding : bool
        Round up or down at random, so that the rounding is unbiased.

    References
    ----------
    Nandakumar et al., "Mixed-precision deep learning based on computational memory", Front. Neurosci. 14:406 (2020); aihwkit,
    ``MixedPrecisionCompound``.
    """

    kind: Literal["mixed-precision"] = "mixed-precision"
    takes_increments: ClassVar[bool] = True
    granule: Positive = 1.0
    every: PositiveInteger = 1
    lines: NonNegativeInteger = 0
    most_pulses: Annotated[float, Field(ge=1, le=math.inf)] = math.inf
    pre_bins: Bins = 0
    post_bins: Bins = 0
    stochastic_rounding: bool = True

    @override
    def refuse(self, device: Device, mapping: Mapping) -> str:
        return refuse_pulses(device, mapping)

    @property
    @override
    def repeatable(self) -> bool:
        return self.every == 1 and self.lines == 0

    @property
    @override
    def counters(self) -> tuple[str, ...]:
        return ("cycles", "vectors")

    @override
    def memory(self, shape: tuple[int, int], like: np.ndarray) -> dict[str, Any]:
        return {"chi": np.zeros(shape[::-1], like.dtype, like=like), "cycles": 0, "line": 0, "vectors": 0}

    @override
    def memory_limits(self, matrix: PulsedMatrix) -> dict[str, int]:
        return {"line": matrix.shape[1] - 1}

    @override
    def learn(self, matrix: PulsedMatrix, products: Products, rate: float) -> None:
        if self.pre_bins or self.post_bins:
            products = [self._rounded(matrix, pre, post) for pre, post in products]
        self._gather(matrix, as_type(rate, matrix.dtype) * total(matrix, products))

    @override
    def increment(self, matrix: PulsedMatrix, change: np.ndarray) -> None:
        if not capturing() and not np.isfinite(change).all():
            raise NonFiniteError("an update is not finite")
        self._gather(matrix, change.T)

    def _rounded(self, matrix: PulsedMatrix, pre: np.ndarray, post: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        step = matrix.memory["vectors"]
        matrix.memory["vectors"] += 1
        key = matrix.update_key.fold("rounding")
        return (
            _to_bins(pre, self.pre_bins, self.stochastic_rounding, key.fold("pre"), step),
            _to_bins(post, self.post_bins, self.stochastic_rounding, key.fold("post"), step),
        )

    def _gather(self, matrix: PulsedMatrix, change: np.ndarray) -> None:
        memory = matrix.memory
        memory["chi"] += change
        count_digital(matrix, 0, 2 * change.size)
        memory["cycles"] += 1
        if self.every == 1 or memory["cycles"] % self.every == 0:
            self._transfer(matrix)

    def _transfer(self, matrix: PulsedMatrix) -> None:
        memory, chi = matrix.memory, matrix.memory["chi"]
        counts = matrix.zeros(np.int32)
        lines: Any = slice(None)
        if 0 < self.lines < len(chi):
            lines = (memory["line"] + np.arange(self.lines, like=chi)) % len(chi)
            memory["line"] = (memory["line"] + self.lines) % len(chi)
        epsilon = matrix.granules(lines) * matrix.dtype.type(self.granule)
        counts[lines], chi[lines] = whole_granules(chi[lines], epsilon, self.most_pulses)
        matrix.pulse_each(counts, matrix.update_key.fold("transfer"), memory["cycles"])


MOST_PULSES = 2**14
"""Largest number of pulses of a device in one transfer: more cross its range several times, and occur only where training diverges."""


def whole_granules(chi: np.ndarray, epsilon: np.ndarray, most: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of whole granules in chi, at most ``most`` and `MOST_PULSES`, as int32, and the remainder of chi.

    The remainder is exact unless limited by ``most``: the floating-point remainder of a division needs no rounding.
    """
    rest = np.fmod(chi, epsilon)
    most = min(most, float(MOST_PULSES))
    counts = np.rint((chi - rest) / epsilon)
    limited = np.clip(counts, -most, most)
    rest = np.where(limited == counts, rest, chi - limited.astype(chi.dtype) * epsilon)
    return limited.astype(np.int32), rest


def _to_bins(values: np.ndarray, bins: int, stochastic: bool, key: Key, step: int) -> np.ndarray:
    """Each row of ``values`` rounded to multiples of its largest magnitude over floor(bins / 2)."""
    if bins == 0:
        return values
    half = values.dtype.type(max(bins // 2, 1))
    largest = np.abs(values).max(axis=1, keepdims=True)
    unit = np.where(largest > 0, largest, 1) / half
    places = values / unit
    rounded = (
        np.floor(places + (1 - uniforms(key, step, values.shape, values.dtype, like=values))) if stochastic else np.rint(places)
    )
    return np.clip(rounded, -half, half) * unit
