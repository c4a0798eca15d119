"""An analog matrix on its own, for people who want ``A @ x`` and no network."""

from __future__ import annotations

from typing import Any

import numpy as np

from analogpc.devices.costs.meter import Meter
from analogpc.devices.crossbars.crossbar_matrix import CrossbarMatrix
from analogpc.devices.device import Device
from analogpc.devices.substrate import Analog
from analogpc.kernels.random.streams import Key


class Crossbar:
    """A matrix of weights on memristor crossbars, which multiplies like a NumPy matrix and refuses what a crossbar cannot do.

    Parameters
    ----------
    weights : (n_out, n_in) array
        Real numbers; programmed as near as the devices allow. float32 and float64 are kept, other types become float32.
    device : Device or str
        A device or the name of a preset.
    seed : int
        Which devices these are, and their noise.
    **fields
        Further fields of `Analog`: ``rows``, ``columns``, ``adc_bits``, ``read_noise``, ``mapping`` and so on.

    Raises
    ------
    ValueError
        If the weights are not a finite real matrix, or a field is not allowed.

    Examples
    --------
    >>> A = Crossbar(np.eye(3), device="ideal", dac_bits=None, adc_bits=None, read_noise=0.0)
    >>> A @ np.array([1.0, 2.0, 3.0])
    array([1., 2., 3.])
    >>> A.T.shape
    (3, 3)
    """

    # Makes NumPy leave ``x @ A`` to this class.
    __array_ufunc__ = None
    ndim = 2

    def __init__(self, weights: np.ndarray, device: Device | str = "idealized", *, seed: int = 0, **fields: Any) -> None:
        weights = np.asarray(weights)
        if weights.ndim != 2 or weights.dtype.kind not in "biuf" or not weights.size:
            raise ValueError(f"weights must be a matrix of real numbers, not {weights.shape} of {weights.dtype}")
        if not np.isfinite(weights).all():
            raise ValueError("weights must be finite numbers")
        kept = weights.dtype if weights.dtype in (np.float32, np.float64) else np.dtype(np.float32)
        matrix = Analog(device=device, **fields).matrix(weights.astype(kept), Key(seed))
        assert isinstance(matrix, CrossbarMatrix)
        self._matrix, self._transposed = matrix, False

    @property
    def matrix(self) -> CrossbarMatrix:
        """The matrix below, with its arrays, tiles and learning; shared with the transpose."""
        return self._matrix

    @property
    def shape(self) -> tuple[int, int]:
        """(n_out, n_in), or the other way round for a transpose."""
        n_out, n_in = self._matrix.shape
        return (n_in, n_out) if self._transposed else (n_out, n_in)

    @property
    def dtype(self) -> np.dtype:
        """Floating type of inputs and results."""
        return self._matrix.dtype

    @property
    def T(self) -> Crossbar:
        """The same devices read from the other side."""
        twin = object.__new__(Crossbar)
        twin._matrix, twin._transposed = self._matrix, not self._transposed
        return twin

    @property
    def meter(self) -> Meter:
        """Counts of what was done."""
        return self._matrix.meter

    def weights(self) -> np.ndarray:
        """The weights that an ideal read would find, in the shape of this matrix."""
        weights = self._matrix.weights()
        return weights.T if self._transposed else weights

    def __matmul__(self, x: np.ndarray) -> np.ndarray:
        """Read: (n_in,) -> (n_out,), or column by column (n_in, k) -> (n_out, k)."""
        vectors = self._vectors(x)
        read = self._matrix.backward if self._transposed else self._matrix.forward
        return read(np.ascontiguousarray(np.atleast_2d(vectors.T))).T.reshape(self.shape[0], *vectors.shape[1:])

    def __rmatmul__(self, x: np.ndarray) -> np.ndarray:
        """A transposed read: (n_out,) -> (n_in,), or row by row (k, n_out) -> (k, n_in)."""
        vectors = np.asarray(x)
        if vectors.ndim not in (1, 2) or vectors.shape[-1] != self.shape[0]:
            raise ValueError(f"x @ crossbar needs x of shape ({self.shape[0]},) or (k, {self.shape[0]}), not {vectors.shape}")
        return (self.T @ vectors.T).T

    def _vectors(self, x: np.ndarray) -> np.ndarray:
        """Refuse what the lines cannot carry."""
        vectors = np.asarray(x)
        if vectors.dtype.kind not in "biuf":
            raise ValueError(f"a crossbar is driven by real numbers, not by {vectors.dtype}")
        if vectors.ndim not in (1, 2) or vectors.shape[0] != self.shape[1]:
            raise ValueError(f"crossbar @ x needs x of shape ({self.shape[1]},) or ({self.shape[1]}, k), not {vectors.shape}")
        return vectors.astype(self.dtype, copy=False)

    def __repr__(self) -> str:
        device = self._matrix.substrate.device.name
        return f"Crossbar({self.shape[0]} x {self.shape[1]}, device={device!r}, dtype={self.dtype})"
