"""Base classes of the Tiki-Taka family: products go to fast cells, which are read line by line and transferred to the weights."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, FiniteFloat
from typing_extensions import override

from analogpc.devices.bounds import Fraction, NonNegative, NonNegativeInteger, Positive, PositiveInteger
from analogpc.devices.costs.digital import count_digital
from analogpc.devices.costs.line_counts import count_sensed
from analogpc.devices.device import Device
from analogpc.devices.mappings import Mapping
from analogpc.devices.matrix import UnsupportedUpdateError
from analogpc.devices.schemes.base import Scheme
from analogpc.devices.schemes.pulses import StochasticPulses
from analogpc.kernels.gpu.arrays import to_host
from analogpc.kernels.random.streams import normals

if TYPE_CHECKING:
    from analogpc.devices.matrix import Products
    from analogpc.devices.protocols import PulsedLegs, PulsedMatrix


class Transfer(Scheme):
    """Base class of the schemes with fast cells A besides the cells C of the weights.

    A receives the products by pulse trains at its own rate, and relaxes to the state at which pulses up and down have equal effect.
    After every ``every`` products or batches the next word lines of A are read through the converters, one driven line at a time,
    and the result is transferred to C at the transfer rate, as the subclass defines. A must rest at zero: if the symmetry point of
    its devices is elsewhere, reads have an offset, which C integrates unless it is subtracted (``zero_pulses``, or the reference
    devices of a response that hold the symmetry point) or cancelled (chopped schemes).

    Attributes
    ----------
    pulses : StochasticPulses
        Pulse trains of the fast cells.
    fast_rate : float
    fast_scaling : "rate", "absolute" or "auto"
        Rate of the fast cells. "rate": ``fast_rate`` times the learning rate of the update (which includes the mean over the
        batch). "absolute": ``fast_rate`` for every product. "auto": ``fast_rate`` times length * granularity / (x d), where x and
        d are running means of the largest inputs and errors of the products, so that trains are always equally full.
    auto_momentum : float
        Momentum of the running means x and d, per set of products.
    transfer_rate : float
    transfer_scaling : "absolute", "rate" or "gradient"
        Factor of the transferred value. "absolute": ``transfer_rate``. "rate": ``transfer_rate`` times the learning rate.
        "gradient": that divided by the rate of the fast cells, so that C moves as far as the products require, however strongly A
        is driven.
    every : int
    unit : "batch" or "product"
        Number of calls with products ("batch"), or of rank-one products, between transfers.
    lines : int
        Number of word lines read per transfer; 0 means all.
    zero_pulses : int
        Number of up/down pulse pairs that bring the fast cells to their symmetry points when they are created. The mean of reads of
        every device after each pair of the second half is kept and subtracted digitally from all later reads. With 0, the fast
        cells are programmed to zero and nothing is subtracted.
    reference_std : float
        Standard deviation of the error of the subtracted value, in units of state.

    References
    ----------
    Gokmen and Haensch, "Algorithm for training neural networks on resistive device arrays", Front. Neurosci. 14:103 (2020); zero
    shifting: Kim et al., "Zero-shifting technique for deep neural network training on resistive cross-point arrays",
    arXiv 1907.10228 (2019); scalings: Rasch et al., "Fast offset corrected in-memory training", arXiv 2303.04721 (2023), and
    aihwkit's ``TransferCompound`` and ``ChoppedTransferCompound``.
    """

    takes_increments: ClassVar[bool] = False
    pulses: StochasticPulses = StochasticPulses()
    fast_rate: Positive = 1.0
    fast_scaling: Literal["rate", "absolute", "auto"] = "rate"
    auto_momentum: Annotated[FiniteFloat, Field(ge=0, lt=1)] = 0.99
    transfer_rate: Positive = 1.0
    transfer_scaling: Literal["absolute", "rate", "gradient"] = "absolute"
    every: PositiveInteger = 1
    unit: Literal["batch", "product"] = "batch"
    lines: NonNegativeInteger = 1
    zero_pulses: NonNegativeInteger = 0
    reference_std: NonNegative = 0.0

    @property
    @override
    def extra_cells(self) -> tuple[str, ...]:
        return ("fast",)

    @override
    def refuse(self, device: Device, mapping: Mapping) -> str:
        if reason := self.pulses.refuse(device, mapping):
            return reason
        if mapping.one_sided:
            return (
                "devices of a one-sided pair are only pulsed upwards and have no symmetry point to which fast cells could relax"
            )
        return ""

    @override
    def memory(self, shape: tuple[int, int], like: np.ndarray) -> dict[str, Any]:
        memory: dict[str, Any] = {"waited": 0, "line": 0, "transfers": 0, "sweeps": 0}
        memory |= {"largest_pre": 0.0, "largest_post": 0.0, "fast_rate": 0.0}
        if self._measures_reference:
            memory["reference"] = np.zeros(shape[::-1], like.dtype, like=like)
        return memory

    @override
    def begin(self, matrix: PulsedMatrix, weights: np.ndarray) -> None:
        matrix.extra["fast"].program(matrix.zeros())
        if self._measures_reference:
            matrix.memory["reference"] = self._reference(matrix)

    @property
    def _measures_reference(self) -> bool:
        return self.zero_pulses > 0 or self.reference_std > 0

    @override
    def memory_limits(self, matrix: PulsedMatrix) -> dict[str, int]:
        return {"waited": self.every - 1, "line": matrix.shape[1] - 1}

    def _reference(self, matrix: PulsedMatrix) -> np.ndarray:
        """Return the reads of the fast cells at rest, in units of state (n_in, n_out)."""
        fast, key = matrix.extra["fast"], matrix.update_key.fold("zero")
        up, found, first = matrix.zeros(np.int32) + np.int32(1), matrix.zeros(np.float64), self.zero_pulses // 2
        for pair in range(self.zero_pulses):
            for number, direction in enumerate((up, -up)):
                matrix.pulse_each(direction, key, 2 * pair + number, "fast")
            if pair >= first:
                found += fast.difference()
                count_sensed(matrix.meter, fast.arrays, fast.tile)
        found /= max(self.zero_pulses - first, 1)
        if self.reference_std:
            found += self.reference_std * normals(key.fold("error"), 0, found.shape, np.float64, like=found)
        return found.astype(matrix.dtype)

    @override
    def learn(self, matrix: PulsedMatrix, products: Products, rate: float) -> None:
        for pre, post, legs in self.pulses.parts(products):
            matrix.meter.updates += len(pre)
            matrix.memory["fast_rate"] = fast = self._fast_rate(matrix, pre, post, rate)
            start = 0
            while start < len(pre):
                stop = len(pre) if self.unit == "batch" else min(len(pre), start + self.every - matrix.memory["waited"])
                self._pulse_fast(matrix, pre[start:stop], post[start:stop], math.copysign(fast, rate), legs)
                if self.unit == "product":
                    self._wait(matrix, stop - start, rate)
                start = stop
        if self.unit == "batch":
            self._wait(matrix, 1, rate)

    @override
    def increment(self, matrix: PulsedMatrix, change: np.ndarray) -> None:
        raise UnsupportedUpdateError(
            "the fast cells take products as they come and cannot write a digitally computed change: use an optimiser that "
            "needs none (plain SGD), or another update scheme"
        )

    def _fast_rate(self, matrix: PulsedMatrix, pre: np.ndarray, post: np.ndarray, rate: float) -> float:
        """Return the magnitude of the rate of the fast cells for these products; "auto" scaling synchronises with the GPU."""
        if rate == 0:
            return 0.0
        if self.fast_scaling != "auto":
            return self.fast_rate * (abs(rate) if self.fast_scaling == "rate" else 1.0)
        means, size = [0.0, 0.0], 1.0
        if len(pre):
            largest = [np.abs(values).max(axis=1).mean(dtype=np.float64) for values in (pre, post)]
            means = to_host(np.stack(largest)).tolist()
        for name, now in zip(("largest_pre", "largest_post"), means, strict=True):
            before = matrix.memory[name]
            if now > 0:
                matrix.memory[name] = now if before == 0 else before + (1 - self.auto_momentum) * (now - before)
            size *= matrix.memory[name]
        return self.fast_rate * self.pulses.length * matrix.granularity / size if size > 0 else 0.0

    def _pulse_fast(self, matrix: PulsedMatrix, pre: np.ndarray, post: np.ndarray, rate: float, legs: PulsedLegs) -> None:
        """Send products to the fast cells."""
        self.pulses.send(matrix, pre, post, rate, "fast", legs)

    def _wait(self, matrix: PulsedMatrix, passed: int, rate: float) -> None:
        """Count the given calls or products, and transfer when one is due."""
        memory = matrix.memory
        memory["waited"] += passed
        if memory["waited"] < self.every:
            return
        memory["waited"] = 0
        share = self.transfer_rate
        if self.transfer_scaling != "absolute":
            share *= abs(rate)
        if self.transfer_scaling == "gradient":
            share = share / memory["fast_rate"] if memory["fast_rate"] > 0 else 0.0
        left = min(self.lines or matrix.shape[1], matrix.shape[1])
        while left:
            # A transfer that passes the last line continues at the first line, as the beginning of another sweep.
            lines = slice(memory["line"], min(memory["line"] + left, matrix.shape[1]))
            self._carry(matrix, lines, self._read(matrix, lines), share)
            left -= lines.stop - lines.start
            memory["transfers"] += 1
            memory["line"] = lines.stop % matrix.shape[1]
            memory["sweeps"] += memory["line"] == 0

    def _read(self, matrix: PulsedMatrix, lines: slice) -> np.ndarray:
        """Read the fast weights of some word lines: (lines, n_out)."""
        found = matrix.read_extra("fast", matrix.one_by_one(lines))
        if "reference" not in matrix.memory:
            return found
        return found - matrix.memory["reference"][lines] * matrix.scale_grid(lines)

    @abstractmethod
    def _carry(self, matrix: PulsedMatrix, lines: slice, found: np.ndarray, share: float) -> None:
        """Transfer ``share`` times the read values ``found`` (lines, n_out) to the weights of these lines."""


class BufferedTransfer(Transfer):
    """Transfers through a digital buffer H, which is written in whole pulses.

    For the read a of a weight of A and the transfer rate lambda: H += lambda a; n = trunc(H / epsilon), at most ``most_pulses``; n
    pulses to C; and where n is not zero, H becomes momentum * H if the buffer forgets, otherwise H - (1 - momentum) n epsilon.

    Attributes
    ----------
    threshold : float
        epsilon, in units of the mean change of a weight per pulse.
    auto_granularity : float
        If not 0, epsilon is also multiplied by this over the number of batches or products in which all word lines are read once.
    momentum : float
        Share of the buffer that is kept after a write.
    forget_buffer : bool
        Whether a write also reduces the part that was not written.
    most_pulses : int
        Largest number of pulses per weight and transfer.

    References
    ----------
    Gokmen, "Enabling training of neural networks on noisy hardware", Front. Artif. Intell. 4:699148 (2021); aihwkit,
    ``BufferedTransferCompound``.
    """

    threshold: Positive = 1.0
    auto_granularity: NonNegative = 0.0
    momentum: Fraction = 0.1
    forget_buffer: bool = True
    most_pulses: Annotated[int, Field(ge=1, le=2**20)] = 1

    @override
    def memory(self, shape: tuple[int, int], like: np.ndarray) -> dict[str, Any]:
        return super().memory(shape, like) | {"buffer": np.zeros(shape[::-1], like.dtype, like=like)}

    @override
    def _carry(self, matrix: PulsedMatrix, lines: slice, found: np.ndarray, share: float) -> None:
        self._gather(matrix, lines, matrix.dtype.type(share) * found)

    def _epsilon(self, matrix: PulsedMatrix, lines: slice) -> np.ndarray:
        factor = self.threshold
        if self.auto_granularity:
            factor *= self.auto_granularity * (self.lines or matrix.shape[1]) / (matrix.shape[1] * self.every)
        return matrix.granules(lines) * matrix.dtype.type(factor)

    def _gather(self, matrix: PulsedMatrix, lines: slice, change: np.ndarray) -> None:
        """Add to the buffer of these lines, and write whole pulses; this synchronises with the GPU."""
        kind, epsilon = matrix.dtype.type, self._epsilon(matrix, lines)
        buffer = matrix.memory["buffer"][lines] + change
        count_digital(matrix, 0, 2 * change.size)
        steps = np.clip(np.trunc(buffer / epsilon), -self.most_pulses, self.most_pulses)
        kept = kind(self.momentum) * buffer if self.forget_buffer else buffer - kind(1 - self.momentum) * steps * epsilon
        matrix.memory["buffer"][lines] = np.where(steps != 0, kept, buffer)
        if steps.any():
            counts = matrix.zeros(np.int32)
            counts[lines] = steps
            matrix.pulse_each(counts, matrix.update_key.fold("transfer"), matrix.memory["transfers"])
