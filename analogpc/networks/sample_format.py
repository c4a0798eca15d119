"""Samples that a network takes: their checks, and their conversion to its type and backend."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from analogpc.kernels.checks import real_array
from analogpc.kernels.gpu.arrays import on_gpu, to_host


@dataclass(frozen=True)
class SampleFormat:
    """Shape and kind of samples.

    Attributes
    ----------
    shape : tuple of int
        Shape of one sample.
    tokens : int
        Number of tokens if the samples are tokens (integers); otherwise 0.
    """

    shape: tuple[int, ...]
    tokens: int

    def checked(self, x: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return samples in this shape; numbers in ``dtype``, tokens in the given type.

        Raises
        ------
        ValueError
            If they are not finite real numbers, or have another shape; flat samples, flat networks and axes of size 1 match by their
            number of values.
        """
        x = real_array(x, "samples", dtype=None if self.tokens else dtype)
        self.refuse(x.shape[1:])
        most = self.tokens
        if most and not on_gpu(x) and x.size and not (x.min() >= 0 and x.max() < most):
            raise ValueError(f"the network knows the tokens 0 to {most - 1}, and the samples hold {x.min()} to {x.max()}")
        return x.reshape(len(x), *self.shape)

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Refuse samples of another shape, so that no pixel is misplaced."""
        flat = len(shape) == 1 or len(self.shape) == 1
        alike = flat or [n for n in shape if n > 1] == [n for n in self.shape if n > 1]
        if not shape or math.prod(shape) != math.prod(self.shape) or not alike:
            raise ValueError(f"the network takes samples of shape {self.shape}, not {tuple(shape)}")

    def brought(self, x: np.ndarray, like: np.ndarray) -> np.ndarray:
        """Return samples as a contiguous array on the backend of ``like``: numbers in its type, tokens as int32."""
        kind: np.dtype[Any] = like.dtype
        if self.tokens:
            if x.dtype.kind not in "iu":
                raise ValueError(f"the network takes integer tokens, not {x.dtype}")
            if not on_gpu(x) and x.size and not (x.min() >= -(2**31) and x.max() < 2**31):
                raise ValueError(f"tokens and positions are 32-bit integers, not from {x.min()} to {x.max()}")
            kind = np.dtype(np.int32)
        if on_gpu(like):
            return np.ascontiguousarray(np.asarray(x, dtype=kind, like=like), like=like)
        return np.ascontiguousarray(to_host(x), dtype=kind)
