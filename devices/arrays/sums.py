"""Operands of reads: the sums over one group of devices of the values on the lines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from typing_extensions import override

from analogpc.kernels.converters.variances import Variances, fixed_point
from analogpc.kernels.products import matmul
from analogpc.kernels.random.streams import Key, normals

Curve = Callable[[np.ndarray], np.ndarray]


class Operand(ABC):
    """Operand of a read, in units of state: the sums over one group of devices.

    Attributes
    ----------
    weight : float
        Digital weight of the sums.
    """

    weight: float

    @property
    def plain(self) -> tuple[np.ndarray, np.ndarray | Variances | None, float] | None:
        """Matrix (lines, sensed lines) whose products with the values are the sums; None if a sum consists of more than that.

        Besides it the variance of the noise of every crosspoint, as a matrix or as `Variances`, or as a number if it is the same for all.
        """
        return None

    @property
    @abstractmethod
    def sensed(self) -> int:
        """Number of sensed lines."""

    @abstractmethod
    def sums(self, values: np.ndarray, cut: int, part: slice, full_voltage: bool, volts: float) -> np.ndarray:
        """Return the sums (n, sensed lines) for ``values`` (n, lines) on the driven lines ``part`` of one cut; 1 is ``volts``."""

    def variance(self, values: np.ndarray, cut: int, part: slice) -> np.ndarray | None:
        """Return the variance of the independent white noise of the sums, in their shape; None without noise.

        If it is the same for all sensed lines, one column is returned.
        """
        return None

    def shared_noise(self, values: np.ndarray, cut: int, part: slice, key: Key, step: int) -> np.ndarray | None:
        """Return white noise that several sums have in common, in their shape; None without noise."""
        return None

    @abstractmethod
    def of_columns(self, columns: slice) -> Operand:
        """Return the part for some of the sensed lines."""

    @abstractmethod
    def weighted(self, share: float) -> Operand:
        """Return the same operand with ``share`` times the weight."""


@dataclass(frozen=True)
class MatrixOperand(Operand):
    """Sums computed by matrix products.

    Attributes
    ----------
    terms : list of ((a, b) array, function or None)
        The sums are f(drive) @ matrix, added over the terms; None for an ohmic current.
    noise : (a, b) or (1, 1) array, or None
        Variance of the white noise of every crosspoint, drawn for every vector; a single number if it is the same everywhere.
    weight : float
    column_noise : (n_in, arrays along the outputs) array, or None
        Variance of the white noise of the reference columns, whose current is subtracted from all others of their array.
    column_of : (n_out,) int array or None
        Index of the array of every output.
    turned : bool
        Whether the outputs are driven.
    """

    terms: list[tuple[np.ndarray, Curve | None]]
    noise: np.ndarray | None
    weight: float
    column_noise: np.ndarray | None = None
    column_of: np.ndarray | None = None
    turned: bool = False

    @cached_property
    @override
    def plain(self) -> tuple[np.ndarray, np.ndarray | Variances | None, float] | None:
        (matrix, curve), *others = self.terms
        if others or curve is not None or self.column_noise is not None:
            return None
        if self.noise is None:
            return matrix, None, 0.0
        if self.noise.size == 1:
            return matrix, None, float(self.noise[0, 0])
        return matrix, fixed_point(self.noise) if self.noise.dtype == np.float32 else self.noise, 0.0

    @property
    @override
    def sensed(self) -> int:
        return self.terms[0][0].shape[1]

    @property
    def transposed(self) -> MatrixOperand:
        """Return the same devices, read from the other side."""
        noise = None if self.noise is None else self.noise.T
        terms = [(matrix.T, curve) for matrix, curve in self.terms]
        return replace(self, terms=terms, noise=noise, turned=not self.turned)

    @override
    def of_columns(self, columns: slice) -> MatrixOperand:
        noise = self.noise if self.noise is None or self.noise.size == 1 else self.noise[:, columns]
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
        total = matmul(_driven(values, curve, full_voltage, volts), matrix[part])
        for matrix, curve in others:
            total += matmul(_driven(values, curve, full_voltage, volts), matrix[part])
        return total

    @override
    def variance(self, values: np.ndarray, cut: int, part: slice) -> np.ndarray | None:
        # Independent noise of every device and vector adds up to exactly this normal noise.
        variance = None if self.noise is None else self._summed(np.square(values), self.noise, part)
        if self.column_noise is None or not self.turned:
            return variance
        # The reference column is driven against all others of its array, of which there is one per cut.
        opposed = np.square(values.sum(axis=1, keepdims=True)) * self.column_noise[:, cut]
        return opposed if variance is None else variance + opposed

    @staticmethod
    def _summed(squares: np.ndarray, noise: np.ndarray, part: slice) -> np.ndarray:
        # Equal devices need no product: the sums of the squares are enough.
        return squares.sum(axis=1, keepdims=True) * noise if noise.size == 1 else matmul(squares, noise[part])

    @override
    def shared_noise(self, values: np.ndarray, cut: int, part: slice, key: Key, step: int) -> np.ndarray | None:
        if self.column_noise is None or self.turned:
            return None
        deviation = np.sqrt(matmul(np.square(values), self.column_noise[part]))
        xi = normals(key.fold("reference"), step, deviation.shape, deviation.dtype, like=deviation)
        return (deviation * xi)[:, self.column_of]


def _driven(values: np.ndarray, curve: Curve | None, full_voltage: bool, volts: float) -> np.ndarray:
    if curve is None:
        return values
    kind = values.dtype.type
    if full_voltage:
        # The line carries plus or minus the full voltage for a time proportional to the value.
        return np.abs(values) * curve(np.sign(values) * kind(volts)) / kind(volts)
    return curve(values * kind(volts)) / kind(volts)
