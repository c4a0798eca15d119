"""A whole logical matrix on crossbars: mapped to device pairs, cut into tiles, read through converters, taught by pulses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from analogpc.devices.array import Array
from analogpc.devices.matrix import Matrix, Products, ReadStream
from analogpc.devices.meter import Meter
from analogpc.devices.responses import PulseResponse
from analogpc.devices.substrate import Analog
from analogpc.kernels.converters import adc, dac
from analogpc.kernels.pulses import trains
from analogpc.kernels.streams import Key

_MINUS = np.uint32(0x80000000)


@dataclass(frozen=True)
class Tile:
    """One physical array: the part of the logical matrix that it holds and its conductances.

    Attributes
    ----------
    rows, columns : slice
        Inputs and outputs of the logical matrix.
    plus, minus : (rows, columns) arrays
        Conductances in siemens.
    stuck : (rows, columns) bool array
        Pairs of which at least one device cannot move.
    """

    rows: slice
    columns: slice
    plus: np.ndarray
    minus: np.ndarray
    stuck: np.ndarray


class CrossbarMatrix(Matrix):
    """A logical matrix W (n_out, n_in) held by differential pairs of devices: word lines are inputs, bit lines outputs.

    Parameters
    ----------
    weights : (n_out, n_in) array, float32 or float64
        Programmed as near as the devices allow.
    substrate : Analog
    key : Key
        Which devices these are; also the noise, until `key_streams` is called.
    scale : float
        As the attribute; by default the mapping chooses it.

    Attributes
    ----------
    scale : float
        Logical weight per unit of state difference.
    granularity : float
        Mean logical change of one coincidence; what a rate is divided by to get a number of steps.
    """

    def __init__(self, weights: np.ndarray, substrate: Analog, key: Key, scale: float | None = None) -> None:
        self.substrate = substrate
        self.shape = weights.shape
        self.dtype = weights.dtype
        self.meter = Meter()
        self.scale = substrate.mapping.scale(weights, substrate.device) if scale is None else scale
        names = ("plus", "minus")[: substrate.mapping.active_devices]
        self.arrays = [Array(substrate.device, weights.shape[::-1], key.fold(name), weights.dtype) for name in names]
        self._reads = ReadStream(key.fold("read"))
        self._update_key, self._products_done = key.fold("update"), 0
        for array, target in zip(self.arrays, substrate.mapping.split(weights.T / self.dtype.type(self.scale)), strict=True):
            array.program(target)
        self._refresh()

    @property
    @override
    def takes_increments(self) -> bool:
        return self.substrate.scheme.takes_increments

    @property
    def granularity(self) -> float:
        """See the class; 0 for devices without pulses."""
        response = self.substrate.device.response
        return self.scale * response.dw_min * len(self.arrays) if isinstance(response, PulseResponse) else 0.0

    def _refresh(self) -> None:
        """Form the state differences that reads multiply by, after the devices have changed."""
        self._difference = self.arrays[0].apparent
        if len(self.arrays) == 2:
            self._difference = self.arrays[0].apparent - self.arrays[1].apparent

    @override
    def forward(self, x: np.ndarray) -> np.ndarray:
        self.meter.forward_reads += len(x)
        return self._read(x, self._difference, self.substrate.rows, self.substrate.columns)

    @override
    def backward(self, g: np.ndarray) -> np.ndarray:
        self.meter.backward_reads += len(g)
        return self._read(g, self._difference.T, self.substrate.columns, self.substrate.rows)

    def _read(self, x: np.ndarray, matrix: np.ndarray, driven_lines: int, sensed_lines: int) -> np.ndarray:
        """Drive ``x`` (n, a) into ``matrix`` (a, b), again and weaker for vectors that saturate, if that is asked for."""
        total, clipped = self._attempt(x, matrix, driven_lines, sensed_lines, 1.0)
        if self.substrate.adc.bound_management == "iterative":
            dac_bits, reduction = self.substrate.dac.bits, 2.0
            weakest = min(1000.0, 2.0 ** (dac_bits - 1) - 1)
            again = np.flatnonzero(clipped)
            while again.size and reduction <= weakest:
                self.meter.repeated_reads += again.size
                total[again], clipped[again] = self._attempt(x[again], matrix, driven_lines, sensed_lines, reduction)
                again = again[clipped[again] > 0]
                reduction *= 2
        self.meter.saturated_out += int(clipped.sum())
        return total

    def _attempt(
        self, x: np.ndarray, matrix: np.ndarray, driven_lines: int, sensed_lines: int, reduction: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """One read, tile by tile along the driven side, the converted partial sums added; and the clipped outputs of each vector.

        All tiles side by side along the sensed side carry the same inputs, and their converters are of one kind: one pass does
        them together, so that cutting the sensed side changes not a bit.
        """
        converter, noise = self.substrate.adc, self.substrate.read_noise
        drive = self.substrate.dac
        driven, scale, clipped_in = dac(x, drive.bits, drive.bound, drive.scaling == "absmax", reduction)
        scale = scale * self.dtype.type(self.scale)
        total = np.zeros((len(x), matrix.shape[1]), self.dtype)
        clipped_out = np.zeros(len(x), np.int64)
        cuts = range(0, matrix.shape[0], driven_lines)
        step = self._reads.take(len(cuts))
        for number, start in enumerate(cuts):
            part = slice(start, start + driven_lines)
            sums = driven[:, part] @ matrix[part]
            clipped_out += adc(sums, total, scale, noise, converter.bits, converter.bound, self._reads.key, step + number)
        beside = -(-matrix.shape[1] // sensed_lines)
        self.meter.conversions_in += x.size * beside
        self.meter.conversions_out += total.size * len(cuts)
        self.meter.saturated_in += clipped_in * beside
        return total, clipped_out

    @override
    def learn(self, products: Products, rate: float) -> None:
        self.substrate.scheme.learn(self, products, rate)

    @override
    def increment(self, change: np.ndarray) -> None:
        self.substrate.scheme.increment(self, change)

    def shift(self, change: np.ndarray) -> None:
        """Write a logical change (n_in, n_out) exactly, up to the devices' bounds."""
        parts = self.substrate.mapping.split(change / self.dtype.type(self.scale))
        for array, part in zip(self.arrays, parts, strict=True):
            array.shift(part)
        self._refresh()

    def pulse(self, pre: np.ndarray, post: np.ndarray, gain_pre: np.ndarray, gain_post: np.ndarray, length: np.ndarray) -> None:
        """Apply n rank-one products, one after the other, by stochastic pulse trains.

        Parameters
        ----------
        pre, post : (n, n_in) and (n, n_out) arrays
        gain_pre, gain_post : (n,) float64 arrays
            Pulse probability per unit of value.
        length : (n,) int64 array
            Slots used.
        """
        first = self._products_done
        self._products_done += len(pre)
        rows, clipped_rows = trains(pre, gain_pre, length, self._update_key.fold("rows"), first)
        columns, clipped_columns = trains(post, gain_post, length, self._update_key.fold("columns"), first)
        self.meter.updates += len(pre)
        self.meter.clipped_probabilities += clipped_rows + clipped_columns
        for number, array in enumerate(self.arrays):
            driven = columns if number == 0 else columns ^ _MINUS
            self.meter.pulses += array.pulse(rows, driven, self._update_key.fold("cycle", number), first)
        self._refresh()

    @override
    def weights(self) -> np.ndarray:
        return np.array(self._difference.T * self.dtype.type(self.scale), order="C")

    @override
    def finite(self) -> bool:
        return bool(np.isfinite(self._difference).all())

    @override
    def elapse(self, seconds: float) -> None:
        for array in self.arrays:
            array.elapse(seconds)
        self._refresh()

    def tiles(self) -> Iterator[Tile]:
        """The physical arrays, row of tiles by row of tiles.

        A fixed reference is a column pair's second device at the conductance of zero state.
        """
        device, (n_out, n_in) = self.substrate.device, self.shape
        plus = self.arrays[0].conductance()
        if len(self.arrays) == 2:
            minus, stuck = self.arrays[1].conductance(), self.arrays[0].stuck | self.arrays[1].stuck
        else:
            minus, stuck = device.conductance(np.zeros_like(plus)), self.arrays[0].stuck
        for top in range(0, n_in, self.substrate.rows):
            for left in range(0, n_out, self.substrate.columns):
                place = slice(top, min(top + self.substrate.rows, n_in)), slice(left, min(left + self.substrate.columns, n_out))
                yield Tile(*place, plus[place], minus[place], stuck[place])

    @override
    def state(self) -> dict[str, Any]:
        return {
            "scale": self.scale,
            "arrays": {str(number): array.dump() for number, array in enumerate(self.arrays)},
            "read_key": self._reads.key.value,
            "read_step": self._reads.step,
            "update_key": self._update_key.value,
            "products_done": self._products_done,
            "meter": self.meter.as_dict(),
        }

    @override
    def restore(self, state: dict[str, Any]) -> None:
        self.scale = state["scale"]
        for number, array in enumerate(self.arrays):
            array.restore(state["arrays"][str(number)])
        self._reads = ReadStream(Key(state["read_key"]), state["read_step"])
        self._update_key, self._products_done = Key(state["update_key"]), state["products_done"]
        self.meter = Meter(**state["meter"])
        self._refresh()

    @override
    def copy(self) -> CrossbarMatrix:
        twin = CrossbarMatrix.__new__(CrossbarMatrix)
        twin.substrate, twin.shape, twin.dtype = self.substrate, self.shape, self.dtype
        twin.arrays = [array.copy() for array in self.arrays]
        twin.restore(self.state())
        return twin

    @override
    def key_streams(self, key: Key) -> None:
        self._reads = ReadStream(key.fold("read"))
        self._update_key, self._products_done = key.fold("update"), 0
        for number, array in enumerate(self.arrays):
            array.key_streams(key.fold("array", number))

    @override
    def swap_session(self, reads: ReadStream, meter: Meter) -> tuple[ReadStream, Meter]:
        former = self._reads, self.meter
        self._reads, self.meter = reads, meter
        return former
