"""How a grid of conductances is read from one side: DACs, currents, noise, ADCs, and what is done about saturation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from analogpc.devices.converter_banks import AdcBank, DacBank, Drive
from analogpc.devices.matrix import ReadStream
from analogpc.devices.meter import Meter
from analogpc.kernels.streams import Key, normals

if TYPE_CHECKING:
    from analogpc.devices.substrate import Analog

Curve = Callable[[np.ndarray], np.ndarray]


class Operand(ABC):
    """What a read multiplies by, in units of state: the sums of one group of devices.

    Attributes
    ----------
    weight : float
        What the sums count digitally.
    """

    weight: float

    @property
    @abstractmethod
    def sensed(self) -> int:
        """Sensed lines."""

    @abstractmethod
    def sums(self, values: np.ndarray, cut: int, part: slice, full_voltage: bool, volts: float) -> np.ndarray:
        """The sums (n, sensed lines) that ``values`` (n, lines) on the driven lines ``part`` of one cut cause; 1 is ``volts``."""

    def variance(self, values: np.ndarray, cut: int, part: slice) -> np.ndarray | None:
        """Variance of the sums by white noise that each has for itself, like the sums; None without any."""
        return None

    def shared_noise(self, values: np.ndarray, cut: int, part: slice, key: Key, step: int) -> np.ndarray | None:
        """White noise that several sums have in common, like the sums; None without any."""
        return None

    @abstractmethod
    def of_columns(self, columns: slice) -> Operand:
        """The part for some of the sensed lines."""

    @abstractmethod
    def weighted(self, share: float) -> Operand:
        """The same, counting ``share`` times as much."""


@dataclass(frozen=True)
class MatrixOperand(Operand):
    """Sums that are matrix products.

    Attributes
    ----------
    terms : list of ((a, b) array, function or None)
        The sums are f(drive) @ matrix, added over the terms; None stands for a proportional current.
    noise : (a, b) array or None
        Variance of the white noise of every crosspoint, drawn anew for every vector.
    weight : float
    column_noise : (n_in, arrays along the outputs) array or None
        The same for the reference columns, whose current is subtracted from all others of their array.
    column_of : (n_out,) int array or None
        The array of every output.
    turned : bool
        Whether the outputs are driven.
    """

    terms: list[tuple[np.ndarray, Curve | None]]
    noise: np.ndarray | None
    weight: float
    column_noise: np.ndarray | None = None
    column_of: np.ndarray | None = None
    turned: bool = False

    @property
    @override
    def sensed(self) -> int:
        return self.terms[0][0].shape[1]

    @property
    def transposed(self) -> MatrixOperand:
        """The same devices read from the other side."""
        noise = None if self.noise is None else self.noise.T
        terms = [(matrix.T, curve) for matrix, curve in self.terms]
        return replace(self, terms=terms, noise=noise, turned=not self.turned)

    @override
    def of_columns(self, columns: slice) -> MatrixOperand:
        noise = None if self.noise is None else self.noise[:, columns]
        part = replace(self, terms=[(matrix[:, columns], curve) for matrix, curve in self.terms], noise=noise)
        if self.column_noise is None or self.column_of is None:
            return part
        if self.turned:
            return replace(part, column_noise=self.column_noise[columns])
        return replace(part, column_of=self.column_of[columns])

    @override
    def weighted(self, share: float) -> MatrixOperand:
        return replace(self, weight=share * self.weight)

    @override
    def sums(self, values: np.ndarray, cut: int, part: slice, full_voltage: bool, volts: float) -> np.ndarray:
        (matrix, curve), *others = self.terms
        total = _driven(values, curve, full_voltage, volts) @ matrix[part]
        for matrix, curve in others:
            total += _driven(values, curve, full_voltage, volts) @ matrix[part]
        return total

    @override
    def variance(self, values: np.ndarray, cut: int, part: slice) -> np.ndarray | None:
        # Independent noise of every device and vector makes exactly this normal noise of their sum.
        variance = None if self.noise is None else np.square(values) @ self.noise[part]
        if self.column_noise is None or not self.turned:
            return variance
        # The reference column is driven against all others of its array, of which there is one for each cut.
        opposed = np.square(values.sum(axis=1, keepdims=True)) * self.column_noise[:, cut]
        return opposed if variance is None else variance + opposed

    @override
    def shared_noise(self, values: np.ndarray, cut: int, part: slice, key: Key, step: int) -> np.ndarray | None:
        if self.column_noise is None or self.turned:
            return None
        deviation = np.sqrt(np.square(values) @ self.column_noise[part])
        return (deviation * normals(key.fold("reference"), step, deviation.shape, deviation.dtype))[:, self.column_of]


def _driven(values: np.ndarray, curve: Curve | None, full_voltage: bool, volts: float) -> np.ndarray:
    if curve is None:
        return values
    kind = values.dtype.type
    if full_voltage:
        # The line carries plus or minus the full voltage for a time that stands for the value.
        return np.abs(values) * curve(np.sign(values) * kind(volts)) / kind(volts)
    return curve(values * kind(volts)) / kind(volts)


class Reader:
    """One side of a matrix with its converters.

    Parameters
    ----------
    substrate : Analog
    shape : (driven lines, sensed lines)
        Of the matrix.
    tile : (driven lines, sensed lines)
        Of a physical array.
    groups : int
        Converters per output line.
    key : Key
        Which converters these are.
    dtype : numpy.dtype
    """

    def __init__(
        self, substrate: Analog, shape: tuple[int, int], tile: tuple[int, int], groups: int, key: Key, dtype: np.dtype
    ) -> None:
        self.substrate, self.dtype = substrate, dtype
        self.cuts = [slice(start, start + tile[0]) for start in range(0, shape[0], tile[0])]
        self.beside = -(-shape[1] // tile[1])
        self._dacs = DacBank(substrate.dac, shape[0], key.fold("dac"), dtype)
        banks = (key.fold("adc", group) for group in range(groups))
        self._adcs = [AdcBank(substrate.adc, len(self.cuts), shape[1], tile[1], bank, dtype) for bank in banks]

    def read(self, x: np.ndarray, operands: list[Operand], scales: np.ndarray, stream: ReadStream, meter: Meter) -> np.ndarray:
        """Drive ``x`` (n, a) into the operands, again and weaker for vectors that saturate, if that is asked for: (n, b).

        Parameters
        ----------
        x : (n, a) array
        operands : list of Operand
            One per group of legs.
        scales : (cuts, b) array or float
            Digital factors of the outputs of every array.
        stream, meter
            Where the noise comes from and what is counted.
        """
        total, clipped = self._attempt(x, operands, scales, 1.0, stream, meter)
        if self.substrate.adc.bound_management == "iterative":
            weakest = min(1000.0, 2.0 ** (self.substrate.dac.bits - 1) - 1)
            again, reduction = np.flatnonzero(clipped), 2.0
            while again.size and reduction <= weakest:
                meter.repeated_reads += again.size
                total[again], clipped[again] = self._attempt(x[again], operands, scales, reduction, stream, meter)
                again = again[clipped[again] > 0]
                reduction *= 2
        meter.saturated_out += int(clipped.sum())
        return total

    def _attempt(
        self, x: np.ndarray, operands: list[Operand], scales: np.ndarray, reduction: float, stream: ReadStream, meter: Meter
    ) -> tuple[np.ndarray, np.ndarray]:
        """One read, array by array along the driven side, the converted partial sums added; and the clipped outputs of each vector.

        All arrays side by side along the sensed side carry the same inputs: one pass does them together, so that cutting the
        sensed side changes not a bit.
        """
        reads = self.substrate.dac.reads
        step = stream.take(reads * len(operands) * len(self.cuts))
        drive = self._dacs.drive(x, reduction, stream.key, step)
        total = np.empty((len(x), operands[0].sensed), self.dtype)
        clipped, fresh = np.zeros(len(x), np.int64), True
        for values, plane_weight in drive.planes:
            for operand, bank in zip(operands, self._adcs, strict=True):
                scale, weight = drive.scale, plane_weight * operand.weight
                if weight != 1:
                    scale = scale * self.dtype.type(weight)
                for cut in range(len(self.cuts)):
                    clipped += self._sense(values, drive, operand, bank, cut, scales, scale, total, fresh, stream.key, step)
                    step, fresh = step + 1, False
        meter.conversions_in += x.size * self.beside * reads
        meter.conversions_out += total.size * len(self.cuts) * reads * len(operands)
        meter.saturated_in += drive.clipped * self.beside
        return total, clipped

    def _sense(
        self,
        values: np.ndarray,
        drive: Drive,
        operand: Operand,
        bank: AdcBank,
        cut: int,
        scales: np.ndarray,
        scale: np.ndarray,
        total: np.ndarray,
        fresh: bool,
        key: Key,
        step: int,
    ) -> np.ndarray:
        """Currents of the arrays of one cut, converted and added to ``total``, or the first there; the clipped outputs of each vector."""
        part = self.cuts[cut]
        driven = values[:, part]
        sums = operand.sums(driven, cut, part, drive.full_voltage, self.substrate.read_volts)
        variance = operand.variance(driven, cut, part)
        shared = operand.shared_noise(driven, cut, part, key, step)
        if shared is not None:
            sums += shared
        column_scale = None
        if scales.ndim == 0:
            scale = scale * self.dtype.type(scales)
        else:
            column_scale = scales[cut].astype(self.dtype)
        return bank.convert(sums, total, scale, cut, self.substrate.read_noise, key, step, variance, column_scale, fresh)


class Ports:
    """Both sides of a matrix.

    Parameters
    ----------
    substrate : Analog
    shape : (n_in, n_out)
    scales : (arrays along the inputs, n_out) array
        Logical weight of one unit of state difference.
    groups : int
        Converters per output line.
    key : Key
        Which converters these are.
    dtype : numpy.dtype
    """

    def __init__(
        self, substrate: Analog, shape: tuple[int, int], scales: np.ndarray, groups: int, key: Key, dtype: np.dtype
    ) -> None:
        (n_in, n_out), (rows, columns) = shape, (substrate.rows, substrate.columns)
        self._scales, self.dtype, self.key = scales, dtype, key
        self.uniform = bool((scales == scales[0, 0]).all())
        self._inputs = Reader(substrate, shape, (rows, columns), groups, key.fold("forward"), dtype)
        # With scales that differ, each row of arrays is driven with inputs of its own in the transposed read.
        self.blocks = [slice(0, n_in)] if self.uniform else [slice(cut.start, min(cut.stop, n_in)) for cut in self._inputs.cuts]
        self._outputs = [
            Reader(substrate, (n_out, block.stop - block.start), (columns, rows), groups, key.fold("backward", number), dtype)
            for number, block in enumerate(self.blocks)
        ]

    def forward(self, x: np.ndarray, operands: list[Operand], gain: float, stream: ReadStream, meter: Meter) -> np.ndarray:
        """Read (n, n_in) -> (n, n_out); ``operands`` are (n_in, n_out)."""
        meter.forward_reads += len(x)
        scales = np.asarray(self._scales[0, 0] * gain) if self.uniform else self._scales * gain
        return self._inputs.read(x, operands, scales, stream, meter)

    def backward(self, g: np.ndarray, operands: list[Operand], gain: float, stream: ReadStream, meter: Meter) -> np.ndarray:
        """Transposed read (n, n_out) -> (n, n_in); ``operands`` are (n_out, n_in)."""
        meter.backward_reads += len(g)
        if self.uniform:
            return self._outputs[0].read(g, operands, np.asarray(self._scales[0, 0] * gain), stream, meter)
        parts = []
        for number, (block, reader) in enumerate(zip(self.blocks, self._outputs, strict=True)):
            own = [operand.of_columns(block) for operand in operands]
            driven = g * self._scales[number].astype(self.dtype)
            parts.append(reader.read(driven, own, np.asarray(gain), stream, meter))
        return np.concatenate(parts, axis=1)
