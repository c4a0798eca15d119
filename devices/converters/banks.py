"""Banks of converters: one instance per line, with errors drawn from the specification.

A bank is a pure function of its specification and its key, so a file stores only `key_value`. Ideal specifications need no tables
and use the fused kernels. With nonlinearity, a table holds 2**bits - 1 numbers of the bank's type for each converter (for a ramp ADC,
each array): 1 megabyte for 512 converters of 9 bits in float32.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from analogpc.devices.converters.levels import affine_errors, calibration_line, no_error, output_levels, transition_levels
from analogpc.devices.converters.specification import ADC, DAC
from analogpc.kernels.converters.per_line import bit_plane, convert, imprint
from analogpc.kernels.converters.shared import adc, dac, quantisation_step
from analogpc.kernels.gpu.arrays import Backend, backend_of, copied
from analogpc.kernels.memory import filled
from analogpc.kernels.random.streams import Key


@dataclass(frozen=True)
class Drive:
    """Values on the driven lines for a batch of vectors, in one read or several.

    Attributes
    ----------
    planes : list of ((n, lines) array, float)
        Values on the lines and the digital weight of each read; ``scale`` times their weighted sum approximates the vector.
    scale : (n,) array
        Digital factor of every vector.
    clipped : int
        Number of saturated values; on the GPU, a 0-d device array.
    full_voltage : bool
        Whether driven lines carry the full voltage, so that a value is a duration (pulse width) or on/off (bit-serial); otherwise
        the value is the voltage.
    """

    planes: list[tuple[np.ndarray, float]]
    scale: np.ndarray
    clipped: Any
    full_voltage: bool


class DacBank:
    """DACs of the driven lines of a matrix, one per line.

    Parameters
    ----------
    spec : DAC
    lines : int
        Number of lines. A bank with fewer lines has the first converters of a larger one.
    key : Key
        Key from which the errors are drawn.
    dtype : dtype
        Type of the vectors, float32 or float64.

    Attributes
    ----------
    affine : (2, lines) array
        Gain and offset of every line, in units of the read.
    levels : (lines, 2**bits - 1) array
        Levels of the codes from lowest to highest, before gain and offset; shape (0, 0) if they are evenly spaced.
    """

    def __init__(self, spec: DAC, lines: int, key: Key, dtype: str | type | np.dtype) -> None:
        self.spec, self.lines, self.key_value, self.dtype = spec, lines, key.value, np.dtype(dtype)
        self.affine, self.levels = no_error(lines, dtype), np.empty((0, 0), dtype)
        self._lsb, self._resting = spec.lsb, spec.noise_lsb * spec.lsb
        self._pulsed = math.hypot(spec.noise_lsb, spec.jitter_lsb) * spec.lsb
        if not spec.uniform:
            self.affine = affine_errors(spec, key, 0, lines, dtype)
        if spec.tabled:
            self.levels = output_levels(spec, lines, key).astype(dtype)

    def to(self, backend: Backend) -> DacBank:
        """Return the same converters on a backend; the bank itself if it is already there (banks are immutable)."""
        if backend == backend_of(self.affine):
            return self
        twin = copy.copy(self)
        twin.affine, twin.levels = copied(self.affine, backend), copied(self.levels, backend)
        return twin

    @property
    def counts(self) -> bool:
        """Whether `drive` accumulates the squares of the values on the lines."""
        return self.spec.uniform and self._pulsed == 0 and self.spec.encoding == "amplitude"

    @property
    def unit(self) -> float:
        """Unit of the accumulated squares."""
        return quantisation_step(self.spec.bits, self.spec.bound) ** 2 or 1.0

    def drive(self, x: np.ndarray, reduction: float, key: Key, step: int, squares: np.ndarray | None = None) -> Drive:
        """Drive the lines with digital vectors.

        Parameters
        ----------
        x : (n, lines) array of the bank's type
            Digital values.
        reduction : float
            Factor by which the lines are driven more weakly than the scaling requires; ``scale`` compensates for it.
        key, step
            Noise stream. The draw for line j of vector i is a function of (key, step, i, j), different for each plane, and
            independent of the draws of `AdcBank.convert` for the same key and step.
        squares : (lines,) float64 array
            For a bank that `counts`: accumulator of the squared values of each line, in units of ``unit``.

        Raises
        ------
        ValueError
            If the type or shape of ``x`` does not match the bank.
        """
        _check("x", x, self.lines, self.dtype)
        spec, lsb = self.spec, self._lsb
        driven, scale, clipped = dac(x, spec.bits, spec.bound, spec.scaling != "none", reduction, self._magnitudes(x), squares)
        reads = [(driven, 1.0)]
        if spec.encoding == "bit-serial":
            most = 2 ** (int(spec.bits) - 1) - 1
            reads = [(bit_plane(driven, lsb, p, spec.bound, most), 2**p / most) for p in range(spec.reads)]
        if self._pulsed > 0 or not spec.uniform:
            own = self.affine, self.levels, self._resting, self._pulsed
            reads = [(imprint(v, lsb, *own, key.fold("dac", p), step), weight) for p, (v, weight) in enumerate(reads)]
        return Drive(reads, scale, clipped, spec.encoding != "amplitude")

    def _magnitudes(self, x: np.ndarray) -> np.ndarray | None:
        """Magnitude of each vector that is mapped to the bound, (n,); None for the largest magnitude or no scaling."""
        spec = self.spec
        if spec.scaling in ("none", "absmax") or math.isinf(spec.bound) or x.size == 0:
            return None
        if spec.scaling == "constant":
            return filled((len(x),), spec.scaling_value, x.dtype, x)
        largest = np.abs(x).max(1)
        if spec.scaling == "average":
            # In double precision, so that the result does not depend on the order of summation.
            return np.zeros_like(largest) + largest.mean(dtype=np.float64).astype(x.dtype)
        chosen = np.percentile(np.abs(x), spec.scaling_value, axis=1).astype(x.dtype)
        return np.where(chosen > 0, chosen, largest)


class AdcBank:
    """ADCs of the sensed lines of a matrix, one per line of every tile.

    Parameters
    ----------
    spec : ADC
    cuts : int
        Number of tiles along the driven side.
    lines : int
        Number of sensed lines of the matrix. A bank with fewer lines has the first converters of a larger one.
    lines_per_array : int
        Number of sensed lines of one tile; they share a ramp.
    key : Key
        Key from which the errors are drawn.
    dtype : dtype
        Type of the sums, float32 or float64.

    Attributes
    ----------
    entry, leave : list of (2, lines) array
        Gain and offset of every line before and after the conversion, for each cut.
    transitions : list of (tables, 2**bits - 1) array
        Ascending thresholds: -inf, then the inputs (after gain and offset) at which the second lowest to the highest code is
        reached; shape (0, 0) if they are evenly spaced.
    row : (lines,) int64 array
        Index of the table of each line.
    """

    def __init__(self, spec: ADC, cuts: int, lines: int, lines_per_array: int, key: Key, dtype: str | type | np.dtype) -> None:
        self.spec, self.cuts, self.lines, self.key_value, self.dtype = spec, cuts, lines, key.value, np.dtype(dtype)
        shared = spec.architecture == "ramp"
        self.row = np.arange(lines) // lines_per_array if shared else np.arange(lines)
        self.transitions = [np.empty((0, 0), dtype)] * cuts
        self.entry = self.leave = [no_error(lines, dtype)] * cuts
        if spec.uniform:
            return
        exact = [affine_errors(spec, key, cut, lines, np.float64, self.row) for cut in range(cuts)]
        self.entry = [affine.astype(dtype) for affine in exact]
        tables = [np.empty((0, 0))] * cuts
        if spec.tabled:
            tables = [transition_levels(spec, key, cut, int(self.row[-1]) + 1) for cut in range(cuts)]
            self.transitions = [table.astype(dtype) for table in tables]
        if spec.calibration == "gain-offset":
            pairs = zip(exact, tables, strict=True)
            self.leave = [calibration_line(spec, affine, table, self.row).astype(dtype) for affine, table in pairs]

    def to(self, backend: Backend) -> AdcBank:
        """Return the same converters on a backend; the bank itself if it is already there (banks are immutable)."""
        if backend == backend_of(self.row):
            return self
        twin = copy.copy(self)
        twin.row = copied(self.row, backend)
        for name in ("entry", "leave", "transitions"):
            setattr(twin, name, [copied(table, backend) for table in getattr(self, name)])
        return twin

    def convert(
        self,
        y: np.ndarray,
        total: np.ndarray,
        scale: np.ndarray,
        cut: int,
        noise: float,
        key: Key,
        step: int,
        variance: np.ndarray | None = None,
        column_scale: np.ndarray | None = None,
        fresh: bool = False,
    ) -> np.ndarray:
        """Add read noise to the sums of one cut, convert them and accumulate them digitally.

        ``total += scale * column_scale * ADC(y + s * xi)`` with ``s**2 = noise**2 + variance + (noise_lsb * LSB)**2``.

        Parameters
        ----------
        y : (n, lines) array of the bank's type
            Analog sums.
        total : (n, lines) array
            Digital accumulator, updated in place.
        scale : (n,) array
            Digital factor of every vector.
        cut : int
            Index of the tile along the driven side.
        noise : float
            Standard deviation of the noise on every sum.
        key, step
            Noise stream; the draw for line j of vector i is a function of (key, step, i, j).
        variance : (n, lines) or (n, 1) array
            Nonnegative variance of further noise, such as the noise of the weights; one column if it is the same for all lines.
        column_scale : (lines,) array
            Digital factor of every line.
        fresh : bool
            Whether to overwrite ``total`` instead of adding to it.

        Returns
        -------
        (n,) int64 array
            Number of clipped values of each vector.

        Raises
        ------
        ValueError
            If an array does not match the bank, or ``cut`` does not exist.
        """
        _check("y", y, self.lines, self.dtype)
        if not 0 <= cut < self.cuts:
            raise ValueError(f"cut = {cut} is not allowed: the bank has {self.cuts}")
        spec, noise = self.spec, self.spec.with_noise(noise)
        if variance is not None and variance.shape not in (y.shape, (len(y), 1)):
            raise ValueError(f"variance has shape {variance.shape}; the sums have {y.shape}")
        if spec.uniform and (variance is None or variance.shape[1] == 1) and column_scale is None:
            of_vectors = None if variance is None else variance[:, 0]
            return adc(y, total, scale, noise, spec.bits, spec.bound, key, step, fresh, of_vectors)
        leave = self.leave[cut]
        if column_scale is not None:
            if column_scale.shape != (self.lines,):
                raise ValueError(f"column_scale has shape {column_scale.shape}; the bank needs ({self.lines},)")
            leave = leave * column_scale.astype(self.dtype)
        if variance is None:
            variance = np.empty((0, 0), self.dtype, like=y)
        elif variance.shape != y.shape:
            variance = np.broadcast_to(variance, y.shape)
        own = self.entry[cut], self.transitions[cut], self.row, leave
        return convert(y, total, scale, noise, variance, spec.bits, spec.bound, *own, key, step, fresh)


def _check(name: str, values: np.ndarray, lines: int, dtype: np.dtype) -> None:
    if values.ndim != 2 or values.shape[1] != lines or values.dtype != dtype:
        raise ValueError(f"{name} is {values.dtype} of shape {values.shape}; the bank needs {dtype} of shape (n, {lines})")
