"""Read of a grid of conductances from one side: DACs, currents, noise, ADCs, and the treatment of saturation."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import numpy as np

from analogpc.devices.arrays.sums import Operand
from analogpc.devices.converters.banks import AdcBank, DacBank, Drive
from analogpc.devices.costs.meter import Meter, count, count_words
from analogpc.devices.crossbars.loads import DrivenLines, Loads
from analogpc.devices.matrix import ReadStream
from analogpc.kernels.calls import NotRecordableError, recorded
from analogpc.kernels.converters.reads import Converters, read
from analogpc.kernels.gpu.arrays import Backend, copied, on_gpu
from analogpc.kernels.random.streams import Key

if TYPE_CHECKING:
    from analogpc.devices.substrate import Analog


class Reader:
    """One side of a matrix with its converters.

    Parameters
    ----------
    substrate : Analog
    shape : (driven lines, sensed lines)
        Shape of the matrix.
    tile : (driven lines, sensed lines)
        Shape of a physical array.
    groups : int
        Number of converters per output line.
    key : Key
        Random stream of the converters.
    dtype : numpy.dtype
    """

    def __init__(
        self, substrate: Analog, shape: tuple[int, int], tile: tuple[int, int], groups: int, key: Key, dtype: np.dtype
    ) -> None:
        self.substrate, self.dtype = substrate, dtype
        self.cuts = [slice(start, start + tile[0]) for start in range(0, shape[0], tile[0])]
        self.beside = -(-shape[1] // tile[1])
        self._dacs = DacBank(substrate.dac, shape[0], key.fold("dac"), dtype)
        self._counted = self._dacs.counts
        banks = (key.fold("adc", group) for group in range(groups))
        self._adcs = [AdcBank(substrate.adc, len(self.cuts), shape[1], tile[1], bank, dtype) for bank in banks]
        self._ends = (*range(0, shape[0], tile[0]), shape[0])
        self._converters = self._uniform()

    def _uniform(self) -> Converters | None:
        """Return the converters of reads in compiled code; None if they differ or need more than `reads.read` does."""
        dac, adc = self.substrate.dac, self.substrate.adc
        scaling = "none" if math.isinf(dac.bound) else dac.scaling
        if not (self._counted and adc.uniform and scaling in ("none", "absmax")):
            return None
        noise = adc.with_noise(self.substrate.read_noise)
        return Converters(dac.bits, dac.bound, scaling == "absmax", adc.bits, adc.bound, noise)

    def to(self, backend: Backend) -> Reader:
        """Return the same converters on a backend."""
        twin = copy.copy(self)
        twin._dacs, twin._adcs = self._dacs.to(backend), [bank.to(backend) for bank in self._adcs]
        return twin

    def read(
        self,
        x: np.ndarray,
        operands: list[Operand],
        scales: np.ndarray,
        stream: ReadStream,
        meter: Meter,
        lines: DrivenLines,
        only: np.ndarray | None = None,
    ) -> np.ndarray:
        """Drive ``x`` (n, a) into the operands and return the outputs (n, b); with bound management, repeat saturated vectors more weakly.

        Only the repetition needs to know which vectors saturate, and synchronises with the GPU.

        Parameters
        ----------
        x : (n, a) array
        operands : list of Operand
            One per group of legs.
        scales : (cuts, b) array or float
            Digital factors of the outputs of every array.
        stream, meter
            Noise stream, and counters of the operations.
        lines : DrivenLines
        only : (n,) int32 array or None
            For one-hot vectors, the index of the one: no other line is driven, and no array that it does not cross is read.
        """
        total, clipped = self._attempt(x, operands, scales, 1.0, stream, meter, lines, only)
        if self.substrate.adc.bound_management == "iterative":
            weakest = min(1000.0, 2.0 ** (self.substrate.dac.bits - 1) - 1)
            assert clipped is not None
            again, reduction = np.flatnonzero(clipped), 2.0
            while again.size and reduction <= weakest:
                meter.repeated_reads += again.size
                own = None if only is None else only[again]
                found = self._attempt(x[again], operands, scales, reduction, stream, meter, lines, own)
                total[again], clipped[again] = found
                again = again[clipped[again] > 0]
                reduction *= 2
        if clipped is not None:
            count(meter, saturated_out=clipped.sum())
        return total

    def squares(self, meter: Meter, lines: DrivenLines) -> np.ndarray | None:
        """Return the array in which reads sum the squares of the values on all lines, if they do; see `DrivenLines.squares`."""
        return lines.squares(meter, self._dacs.unit) if self._counted else None

    def _attempt(
        self,
        x: np.ndarray,
        operands: list[Operand],
        scales: np.ndarray,
        reduction: float,
        stream: ReadStream,
        meter: Meter,
        lines: DrivenLines,
        only: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Perform one read, adding the converted partial sums of the arrays along the driven side.

        Also return the number of saturated sums of every vector, (n,), or None if they have been counted.

        Arrays side by side along the sensed side carry the same inputs and are processed in one pass, so that the partition of the
        sensed side does not change a single bit.
        """
        reads = self.substrate.dac.reads
        step = stream.take(reads * len(operands) * len(self.cuts))
        squares = None if on_gpu(x) else self.squares(meter, lines)
        if squares is not None and only is None and reduction == 1:
            whole = self._compiled(x, operands, scales, squares, stream.key, step)
            if whole is not None:
                total, counts, saturated = whole
                again = self.substrate.adc.bound_management == "iterative"
                self._count(meter, x.size, total.size * len(self.cuts))
                count_words(meter, counts, saturated_in=self.beside, saturated_out=int(not again))
                return total, saturated if again else None
        if (record := recorded()) is not None:
            record.refuse("a read is not one compiled call")
        drive = self._dacs.drive(x, reduction, stream.key, step, squares)
        total = np.empty((len(x), operands[0].sensed), self.dtype, like=x)
        clipped: np.ndarray | None = None
        for plane, plane_weight in drive.planes:
            # The DACs of all other lines of a look-up are disconnected.
            values = plane if only is None else plane * x
            if squares is None:
                lines.count(meter, values, drive.full_voltage)
            for operand, bank in zip(operands, self._adcs, strict=True):
                scale, weight = drive.scale, plane_weight * operand.weight
                if weight != 1:
                    scale = scale * self.dtype.type(weight)
                for cut in range(len(self.cuts)):
                    fresh = clipped is None
                    if only is None or len(self.cuts) == 1:
                        found = self._sense(values, drive, operand, bank, cut, scales, scale, total, fresh, stream.key, step)
                    else:
                        own = np.empty_like(total)
                        found = self._sense(values, drive, operand, bank, cut, scales, scale, own, True, stream.key, step)
                        crossed = only // self.cuts[0].stop == cut
                        found = found * crossed
                        own = np.where(crossed[:, None], own, self.dtype.type(0))
                        total = own if fresh else total + own
                    clipped, step = found if clipped is None else clipped + found, step + 1
        read_lines, read_arrays = (x.size, len(self.cuts)) if only is None else (len(x), 1)
        self._count(meter, read_lines * reads, total.size * read_arrays * reads * len(operands))
        count(meter, saturated_in=drive.clipped if self.beside == 1 else drive.clipped * self.beside)
        assert clipped is not None
        return total, clipped

    def _count(self, meter: Meter, driven: int, sensed: int) -> None:
        """Count conversions of values on the driven and sensed lines."""
        meter.conversions_in += driven * self.beside
        meter.conversions_out += sensed

    def _compiled(
        self, x: np.ndarray, operands: list[Operand], scales: np.ndarray, squares: np.ndarray, key: Key, step: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Perform a read in compiled code; None, with nothing done, if that is not possible."""
        plain = operands[0].plain if len(operands) == 1 and scales.ndim == 0 else None
        if self._converters is None or plain is None:
            return None
        matrix, variances, noise = plain
        factors = noise, operands[0].weight, float(scales)
        return read(x, matrix, self._ends, self._converters, factors, variances, squares, key, step)

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
        """Convert the currents of the arrays of one cut and add them to ``total`` (overwritten by the first); return the clipped counts."""
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
    """Converters on both sides of a matrix.

    Parameters
    ----------
    substrate : Analog
    shape : (n_in, n_out)
    scales : (arrays along the inputs, n_out) array
        Logical weight per unit of state difference.
    groups : int
        Number of converters per output line.
    key : Key
        Random stream of the converters.
    dtype : numpy.dtype

    Attributes
    ----------
    uniform : bool
        Whether all scales are equal.
    grid : (arrays along the inputs, n_out) array
        Scales on the backend of the converters.
    """

    def __init__(
        self, substrate: Analog, shape: tuple[int, int], scales: np.ndarray, groups: int, key: Key, dtype: np.dtype
    ) -> None:
        (n_in, n_out), (rows, columns) = shape, (substrate.rows, substrate.columns)
        self._scales, self.grid, self.dtype, self.key = scales, scales, dtype, key
        self.uniform = bool((scales == scales[0, 0]).all())
        self._inputs = Reader(substrate, shape, (rows, columns), groups, key.fold("forward"), dtype)
        # If scales differ, each row of arrays is driven with its own inputs in the transposed read.
        self.blocks = [slice(0, n_in)] if self.uniform else [slice(cut.start, min(cut.stop, n_in)) for cut in self._inputs.cuts]
        self._outputs = [
            Reader(substrate, (n_out, block.stop - block.start), (columns, rows), groups, key.fold("backward", number), dtype)
            for number, block in enumerate(self.blocks)
        ]

    def serve(self, key: Key, scales: np.ndarray) -> bool:
        """Whether these are the converters drawn from that key, for these scales."""
        return self.key == key and np.array_equal(self._scales, scales)

    def at(self, scales: np.ndarray, backend: Backend) -> Ports:
        """Return the same converters on a backend, referring to the same ``scales`` in an array in main memory."""
        twin = copy.copy(self)
        twin._scales, twin.grid = scales, scales if backend == "cpu" else copied(scales, backend)
        twin._inputs, twin._outputs = self._inputs.to(backend), [reader.to(backend) for reader in self._outputs]
        return twin

    def accumulators(self, meter: Meter, loads: Loads) -> list[np.ndarray]:
        """Return the arrays in which reads of both directions sum the squares of the values on all lines.

        Raises
        ------
        NotRecordableError
            If they count them otherwise.
        """
        if not self.uniform:
            raise NotRecordableError("the arrays of a matrix differ in their scales")
        found = [
            reader.squares(meter, lines)
            for reader, lines in ((self._inputs, loads.forward()), (self._outputs[0], loads.backward()))
        ]
        kept = [squares for squares in found if squares is not None]
        if len(kept) < 2:
            raise NotRecordableError("the energy of a read is not counted by compiled functions")
        return kept

    def forward(
        self,
        x: np.ndarray,
        operands: list[Operand],
        gain: float,
        stream: ReadStream,
        meter: Meter,
        loads: Loads,
        only: np.ndarray | None = None,
    ) -> np.ndarray:
        """Read (n, n_in) -> (n, n_out); ``operands`` are (n_in, n_out), ``only`` as in `Reader.read`."""
        meter.forward_reads += len(x)
        scales = np.asarray(self._scales[0, 0] * gain) if self.uniform else self.grid * gain
        return self._inputs.read(x, operands, scales, stream, meter, loads.forward(), only)

    def backward(
        self, g: np.ndarray, operands: list[Operand], gain: float, stream: ReadStream, meter: Meter, loads: Loads
    ) -> np.ndarray:
        """Transposed read (n, n_out) -> (n, n_in); ``operands`` are (n_out, n_in)."""
        meter.backward_reads += len(g)
        if self.uniform:
            scales = np.asarray(self._scales[0, 0] * gain)
            return self._outputs[0].read(g, operands, scales, stream, meter, loads.backward())
        parts = []
        for number, (block, reader) in enumerate(zip(self.blocks, self._outputs, strict=True)):
            own = [operand.of_columns(block) for operand in operands]
            driven = g * self.grid[number].astype(self.dtype)
            parts.append(reader.read(driven, own, np.asarray(gain), stream, meter, loads.backward(number)))
        return np.concatenate(parts, axis=1)
