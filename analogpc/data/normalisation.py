"""Normalisation of samples by given numbers, or numbers estimated on the training part."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from analogpc.data.samples import DataError, Samples, in_blocks

NormalisationName = Literal["standard", "global", "min-max", "none"]
"""Estimators of a normalisation, from the training samples only.

- "standard": every feature of flat samples, or every channel (last axis) of images and sequences, gets mean 0 and standard
  deviation 1; constant ones become 0.
- "global": one mean and one standard deviation for all values.
- "min-max": every feature or channel is scaled to 0 to 1.
- "none": values are unchanged.
"""


def estimate(name: NormalisationName, samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Estimate shift and divisor of a normalisation, x -> (x - shift) / divisor, in float64.

    Parameters
    ----------
    name : str
        See `NormalisationName`.
    samples : (n, ...) samples
        Samples, read block by block; the result is bit-identical for samples in memory and on disk.

    Returns
    -------
    shift, divisor : (features,) or (channels,) arrays, or arrays of one value
    """
    check_name(name)
    if name == "none":
        return np.zeros(1), np.ones(1)
    axes = (0,) if len(samples.shape) == 2 else tuple(range(len(samples.shape) - 1))
    if name == "min-max":
        return _range(samples, axes)
    if name == "global":
        axes = tuple(range(len(samples.shape)))
    mean, deviation = _moments(samples, axes)
    # Constant features carry no information, and must not amplify the rounding errors of their mean.
    tiny = 1e-12 * np.maximum(np.abs(mean), 1.0)
    return mean, np.where(deviation > tiny, deviation, 1.0)


def check_name(name: Any) -> None:
    """Refuse the name of a normalisation that does not exist."""
    names = get_args(NormalisationName)
    if name not in names:
        raise DataError(f"normalisation = {name!r} is not allowed: it is {', '.join(names)}, or two arrays (mean, std)")


def _range(samples: Samples, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    ends = [(block.min(axes), block.max(axes)) for block in in_blocks(samples)]
    low = np.min([np.asarray(end[0], np.float64) for end in ends], axis=0)
    high = np.max([np.asarray(end[1], np.float64) for end in ends], axis=0)
    return np.atleast_1d(low), np.atleast_1d(np.where(high > low, high - low, 1.0))


def _moments(samples: Samples, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean and standard deviation in two passes, so that large means do not reduce precision."""
    total, count = np.zeros(1), 0
    for block in in_blocks(samples):
        total = total + block.sum(axes, dtype=np.float64)
        count += block.size
    count //= max(1, total.size)
    mean = total / count
    squares = np.zeros_like(mean)
    for block in in_blocks(samples):
        squares = squares + ((block - mean) ** 2).sum(axes)
    return mean, np.sqrt(squares / count)
