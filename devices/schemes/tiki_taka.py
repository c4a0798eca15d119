"""Tiki-Taka family: fast cells accumulate gradients, forget through their asymmetry, and are transferred to the weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field, FiniteFloat
from typing_extensions import override

from analogpc.devices.bounds import Fraction, NonNegative, Positive
from analogpc.devices.device import Device
from analogpc.devices.mappings import Mapping
from analogpc.devices.schemes.pulses import StochasticPulses
from analogpc.devices.schemes.transfer import BufferedTransfer, Transfer
from analogpc.kernels.random.streams import uniforms

if TYPE_CHECKING:
    from analogpc.devices.protocols import PulsedLegs, PulsedMatrix
from analogpc.kernels.memory import filled


class TikiTaka(Transfer):
    """First version: C[:, j] += lambda A e_j by pulse trains; the network sees W = gamma A + C.

    Attributes
    ----------
    gamma : float
        Factor of the fast cells in a read of the weights. Must be 0 if a reference is subtracted digitally from the fast cells.
    transfer_pulses : StochasticPulses
        Pulse trains of the transfers.

    References
    ----------
    Gokmen and Haensch, Front. Neurosci. 14:103 (2020); aihwkit, ``TransferCompound``.
    """

    kind: Literal["tiki-taka"] = "tiki-taka"
    gamma: NonNegative = 0.0
    transfer_pulses: StochasticPulses = StochasticPulses()

    @property
    @override
    def visible(self) -> dict[str, float]:
        return {"fast": self.gamma} if self.gamma else {}

    @override
    def refuse(self, device: Device, mapping: Mapping) -> str:
        return super().refuse(device, mapping) or _unseen_reference(self, self.gamma)

    @override
    def _carry(self, matrix: PulsedMatrix, lines: slice, found: np.ndarray, share: float) -> None:
        if share > 0:
            self.transfer_pulses.send(matrix, matrix.one_by_one(lines), found, share)


class TikiTakaV2(BufferedTransfer):
    """Second version: a digital buffer between A and C filters the noise of the reads (see `BufferedTransfer`).

    Attributes
    ----------
    gamma : float
        Factor of the fast cells in a read of the weights. Must be 0 if a reference is subtracted digitally from the fast cells.

    References
    ----------
    Gokmen, Front. Artif. Intell. 4:699148 (2021); defaults as in aihwkit's ``BufferedTransferCompound``, except that transfer rates
    do not follow the learning rate.
    """

    kind: Literal["tiki-taka-v2"] = "tiki-taka-v2"
    gamma: NonNegative = 0.0

    @property
    @override
    def visible(self) -> dict[str, float]:
        return {"fast": self.gamma} if self.gamma else {}

    @override
    def refuse(self, device: Device, mapping: Mapping) -> str:
        return super().refuse(device, mapping) or _unseen_reference(self, self.gamma)


def _unseen_reference(scheme: Transfer, gamma: float) -> str:
    if gamma and (scheme.zero_pulses or scheme.reference_std):
        return "reads with gamma > 0 do not see what is subtracted digitally from the fast cells (zero_pulses, reference_std)"
    return ""


class Chopped(BufferedTransfer):
    """Buffered transfers with choppers: a sign c_j of each word line j multiplies its inputs to A and its reads from A.

    An offset of A keeps its sign when c_j changes and the learnt part does not, so that offsets cancel in the buffer.

    Attributes
    ----------
    chop_probability : float
        Probability that the sign of a word line changes after a read.
    """

    fast_scaling: Literal["rate", "absolute", "auto"] = "auto"
    fast_rate: Positive = 0.1
    transfer_scaling: Literal["absolute", "rate", "gradient"] = "gradient"
    unit: Literal["batch", "product"] = "product"
    momentum: Fraction = 0.0
    chop_probability: Annotated[FiniteFloat, Field(gt=0, le=1)] = 0.1

    @property
    def period(self) -> int:
        """Number of sweeps between the sign changes of regular choppers."""
        return max(math.ceil(1 / self.chop_probability), 2)

    @override
    def memory(self, shape: tuple[int, int], like: np.ndarray) -> dict[str, Any]:
        return super().memory(shape, like) | {"chopper": filled((shape[1],), 1, like.dtype, like)}

    @override
    def _pulse_fast(self, matrix: PulsedMatrix, pre: np.ndarray, post: np.ndarray, rate: float, legs: PulsedLegs) -> None:
        super()._pulse_fast(matrix, pre * matrix.memory["chopper"], post, rate, legs)


class ChoppedTikiTaka(Chopped):
    """c-TTv2: Tiki-Taka v2 with choppers that change sign at random or regularly.

    Attributes
    ----------
    regular : bool
        Change the signs of all word lines in every ceil(1 / chop_probability)-th sweep, instead of each at random.
    output_chop_probability : float
        Probability that the chopper of a bit line changes sign after a sweep.

    References
    ----------
    Rasch et al., "Fast offset corrected in-memory training", arXiv 2303.04721 (2023); scalings and rate of the fast cells as in the
    presets of aihwkit's ``ChoppedTransferCompound``.
    """

    kind: Literal["chopped-tiki-taka"] = "chopped-tiki-taka"
    regular: bool = False
    output_chop_probability: Fraction = 0.0

    @override
    def memory(self, shape: tuple[int, int], like: np.ndarray) -> dict[str, Any]:
        return super().memory(shape, like) | {"output_chopper": filled((shape[0],), 1, like.dtype, like)}

    @override
    def _pulse_fast(self, matrix: PulsedMatrix, pre: np.ndarray, post: np.ndarray, rate: float, legs: PulsedLegs) -> None:
        super()._pulse_fast(matrix, pre, post * matrix.memory["output_chopper"], rate, legs)

    @override
    def _carry(self, matrix: PulsedMatrix, lines: slice, found: np.ndarray, share: float) -> None:
        memory, key = matrix.memory, matrix.update_key.fold("chopper")
        signed = found * memory["chopper"][lines, None] * memory["output_chopper"]
        self._gather(matrix, lines, matrix.dtype.type(share) * signed)
        if not self.regular:
            drawn = uniforms(key, memory["transfers"], matrix.shape[1], np.float64, like=matrix.anchor)
            memory["chopper"][lines] *= np.where(drawn[lines] <= self.chop_probability, -1, 1).astype(matrix.dtype)
        elif (memory["sweeps"] + 1) % self.period == 0:
            memory["chopper"][lines] *= matrix.dtype.type(-1)
        if self.output_chop_probability and lines.stop == matrix.shape[1]:
            drawn = uniforms(key.fold("output"), memory["sweeps"], matrix.shape[0], np.float64, like=matrix.anchor)
            memory["output_chopper"] *= np.where(drawn <= self.output_chop_probability, -1, 1).astype(matrix.dtype)


class Agad(Chopped):
    """Analog gradient accumulation with dynamic reference: the value of A at the end of the last chopper period is subtracted.

    All choppers change sign every n = max(ceil(1 / chop_probability), 2) sweeps. For the read a of a weight: m += beta (a - m) with
    beta = min(tail / n, 1); at the first read after a sign change the reference r is set to the previous m; and the buffer gets
    H += lambda c (a - r) once a first period has given a reference. No symmetry point has to be known.

    Attributes
    ----------
    tail : float
        Relative weight in m of the end of a period over its beginning, where A still forgets the last period.

    References
    ----------
    Rasch et al., arXiv 2303.04721 (2023); aihwkit, ``DynamicTransferCompound``.
    """

    kind: Literal["agad"] = "agad"
    tail: Positive = 5.0

    @override
    def memory(self, shape: tuple[int, int], like: np.ndarray) -> dict[str, Any]:
        mean, past = (np.zeros(shape[::-1], like.dtype, like=like) for _ in range(2))
        return super().memory(shape, like) | {"mean": mean, "past": past}

    @override
    def _carry(self, matrix: PulsedMatrix, lines: slice, found: np.ndarray, share: float) -> None:
        memory, kind = matrix.memory, matrix.dtype.type
        mean, past = memory["mean"][lines], memory["past"][lines]
        if memory["sweeps"] % self.period == 0:
            past[...] = mean
        if memory["sweeps"] >= self.period:
            self._gather(matrix, lines, kind(share) * memory["chopper"][lines, None] * (found - past))
        mean += kind(min(self.tail / self.period, 1.0)) * (found - mean)
        if (memory["sweeps"] + 1) % self.period == 0:
            memory["chopper"][lines] *= kind(-1)
