"""The Tiki-Taka family: gradients gather on fast cells, which forget by their own asymmetry, and move on to the weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field, FiniteFloat
from typing_extensions import override

from analogpc.devices.device import Device
from analogpc.devices.mappings import Mapping
from analogpc.devices.schemes.pulses import StochasticPulses
from analogpc.devices.schemes.transfer import BufferedTransfer, Rate, Share, Transfer
from analogpc.kernels.random.streams import uniforms

if TYPE_CHECKING:
    from analogpc.devices.protocols import PulsedLegs, PulsedMatrix
from analogpc.kernels.memory import filled


class TikiTaka(Transfer):
    """The first version: C[:, j] += lambda A e_j by pulse trains, and the network sees W = gamma A + C.

    Attributes
    ----------
    gamma : float
        What the fast cells count in a read of the weights. Not 0 only if nothing is subtracted from the fast cells digitally.
    transfer_pulses : StochasticPulses
        The trains of the transfers.

    References
    ----------
    Gokmen and Haensch, Front. Neurosci. 14:103 (2020); aihwkit, ``TransferCompound``.
    """

    kind: Literal["tiki-taka"] = "tiki-taka"
    gamma: Annotated[FiniteFloat, Field(ge=0)] = 0.0
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
    """The second version: a digital buffer between A and C filters the noise of the reads (see `BufferedTransfer`).

    Attributes
    ----------
    gamma : float
        What the fast cells count in a read of the weights. Not 0 only if nothing is subtracted from the fast cells digitally.

    References
    ----------
    Gokmen, Front. Artif. Intell. 4:699148 (2021); aihwkit, ``BufferedTransferCompound``, whose defaults these are, except that rates
    of transfers do not follow the learning rate.
    """

    kind: Literal["tiki-taka-v2"] = "tiki-taka-v2"
    gamma: Annotated[FiniteFloat, Field(ge=0)] = 0.0

    @property
    @override
    def visible(self) -> dict[str, float]:
        return {"fast": self.gamma} if self.gamma else {}

    @override
    def refuse(self, device: Device, mapping: Mapping) -> str:
        return super().refuse(device, mapping) or _unseen_reference(self, self.gamma)


def _unseen_reference(scheme: Transfer, gamma: float) -> str:
    if gamma and (scheme.zero_pulses or scheme.reference_std):
        return "what is subtracted digitally from the fast cells (zero_pulses, reference_std) is not seen by reads with gamma > 0"
    return ""


class Chopped(BufferedTransfer):
    """Buffered transfers with choppers: each word line j has a sign c_j, with which its inputs reach A and its reads leave it.

    An offset of A keeps its sign when c_j turns, what was learnt does not: offsets cancel in the buffer.

    Attributes
    ----------
    chop_probability : float
        That the sign of a word line turns after it was read.
    """

    fast_scaling: Literal["rate", "absolute", "auto"] = "auto"
    fast_rate: Rate = 0.1
    transfer_scaling: Literal["absolute", "rate", "gradient"] = "gradient"
    unit: Literal["batch", "product"] = "product"
    momentum: Share = 0.0
    chop_probability: Annotated[FiniteFloat, Field(gt=0, le=1)] = 0.1

    @property
    def period(self) -> int:
        """Sweeps between the turns of regular choppers."""
        return max(math.ceil(1 / self.chop_probability), 2)

    @override
    def memory(self, matrix: PulsedMatrix, weights: np.ndarray) -> dict[str, Any]:
        return super().memory(matrix, weights) | {"chopper": filled((matrix.shape[1],), 1, matrix.dtype, matrix.anchor)}

    @override
    def _pulse_fast(self, matrix: PulsedMatrix, pre: np.ndarray, post: np.ndarray, rate: float, legs: PulsedLegs) -> None:
        super()._pulse_fast(matrix, pre * matrix.memory["chopper"], post, rate, legs)


class ChoppedTikiTaka(Chopped):
    """c-TTv2: Tiki-Taka v2 with choppers that turn at random or regularly.

    Attributes
    ----------
    regular : bool
        All word lines turn in every ceil(1 / chop_probability)-th sweep, instead of each at random.
    output_chop_probability : float
        Each bit line has a chopper as well, which turns with this probability after every sweep.

    References
    ----------
    Rasch et al., "Fast offset corrected in-memory training", arXiv 2303.04721 (2023); aihwkit, ``ChoppedTransferCompound``, of whose
    presets the scalings and the rate of the fast cells are.
    """

    kind: Literal["chopped-tiki-taka"] = "chopped-tiki-taka"
    regular: bool = False
    output_chop_probability: Share = 0.0

    @override
    def memory(self, matrix: PulsedMatrix, weights: np.ndarray) -> dict[str, Any]:
        return super().memory(matrix, weights) | {"output_chopper": filled((matrix.shape[0],), 1, matrix.dtype, matrix.anchor)}

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
    """Analog gradient accumulation with dynamic reference: what A held at the end of the last chopper period is subtracted.

    All choppers turn every n = max(ceil(1 / chop_probability), 2) sweeps. For the read a of a weight: m += beta (a - m) with
    beta = min(tail / n, 1); at the first read after a turn the reference r becomes m as it was; and the buffer gets
    H += lambda c (a - r), once a first period has given a reference. No symmetry point has to be known.

    Attributes
    ----------
    tail : float
        How much more the end of a period counts in m than its beginning, where A still forgets the last period.

    References
    ----------
    Rasch et al., arXiv 2303.04721 (2023); aihwkit, ``DynamicTransferCompound``.
    """

    kind: Literal["agad"] = "agad"
    tail: Rate = 5.0

    @override
    def memory(self, matrix: PulsedMatrix, weights: np.ndarray) -> dict[str, Any]:
        return super().memory(matrix, weights) | {"mean": matrix.zeros(), "past": matrix.zeros()}

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
