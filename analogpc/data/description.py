"""Description of the data of a run: shape, normalisation, and meaning of the outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from analogpc.data.samples import DataError
from analogpc.data.targets import Targets


@dataclass(frozen=True, eq=False)
class Scale:
    """A normalisation, (x / unit - mean) / std.

    Attributes
    ----------
    mean, std : float64 arrays
        Mean and standard deviation; they broadcast to a sample.
    unit : float
        Value that is scaled to 1; for images the byte value of white.
    name : str
        Origin of the numbers: "given", or the name of a normalisation.
    """

    mean: np.ndarray
    std: np.ndarray
    unit: float = 1.0
    name: str = "given"

    def apply(self, batch: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Normalise a batch (n, ...) in a floating type, on its backend."""
        if batch.dtype == np.uint8:
            # One multiplication and one subtraction for each pixel, with constants formed in double precision.
            scale = np.asarray((1.0 / (self.unit * self.std)).astype(dtype), like=batch)
            return batch.astype(dtype) * scale - np.asarray((self.mean / self.std).astype(dtype), like=batch)
        # Values of any size: subtract the mean before rounding.
        mean, std = (np.asarray(array * self.unit, like=batch) for array in (self.mean, self.std))
        return ((batch.astype(np.float64) - mean) / std).astype(dtype)


@dataclass(frozen=True, eq=False)
class DataDescription:
    """Description of the data of a run, without the data.

    Attributes
    ----------
    name : str
    fingerprint : str
        See `Dataset.fingerprint`.
    input_shape : tuple of int
        Shape of one sample.
    scale : Scale
        Normalisation; if estimated, on the training part of the run.
    targets : Targets
    """

    name: str
    fingerprint: str
    input_shape: tuple[int, ...]
    scale: Scale
    targets: Targets

    def inputs(self, x: Any, dtype: np.dtype) -> np.ndarray:
        """Normalise raw samples like the training samples: (n, *input_shape), or (n, values) flat, or without axes of size 1.

        Raises
        ------
        DataError
            If they have another shape, or are not finite real numbers.
        """
        if isinstance(x, np.ma.MaskedArray):
            raise DataError("the samples are a masked array; leave out the masked values first")
        x = np.asarray(x)
        x = x.astype(np.uint8) if x.dtype == bool else x
        if x.dtype.kind not in "biuf":
            raise DataError(f"the samples must be real numbers, not {x.dtype}")
        if x.ndim < 2 or not self._fits(x.shape[1:]):
            raise DataError(f"the samples must have the shape (n, {', '.join(map(str, self.input_shape))}), not {x.shape}")
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            raise DataError("the samples must be finite numbers")
        return self.scale.apply(x.reshape(len(x), *self.input_shape), dtype)

    def _fits(self, shape: tuple[int, ...]) -> bool:
        if math.prod(shape) != math.prod(self.input_shape):
            return False
        return len(shape) == 1 or [n for n in shape if n > 1] == [n for n in self.input_shape if n > 1]

    def tree(self) -> dict[str, Any]:
        """Return the description as arrays, numbers and strings, for a file."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "input_shape": np.array(self.input_shape, np.int64),
            "mean": self.scale.mean,
            "std": self.scale.std,
            "unit": self.scale.unit,
            "normalisation": self.scale.name,
            "classes": {str(number): name for number, name in enumerate(self.targets.classes)},
            "named": self.targets.named,
            "outputs": self.targets.outputs,
        }

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> DataDescription:
        """Restore a description from `tree`."""
        classes = tuple(tree["classes"][str(number)] for number in range(len(tree["classes"])))
        return cls(
            tree["name"],
            tree["fingerprint"],
            tuple(int(size) for size in tree["input_shape"]),
            Scale(tree["mean"], tree["std"], tree["unit"], tree["normalisation"]),
            Targets(classes, tree["named"], tree["outputs"]),
        )
