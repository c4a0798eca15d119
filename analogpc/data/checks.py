"""Checks of samples, labels and normalisations of a data set."""

from __future__ import annotations

from typing import Any

import numpy as np

from analogpc.data.samples import DataError, Samples, refuse_unusable


def checked_samples(samples: Any, what: str) -> Samples:
    """Check samples; return arrays as read-only views.

    Raises
    ------
    DataError
        If they are not finite real numbers (n, ...).
    """
    view = _view(samples, what)
    refuse_unusable(view, what)
    return view


def _view(array: Any, what: str) -> Any:
    if isinstance(array, np.ma.MaskedArray):
        raise DataError(f"{what} are a masked array; leave out the masked samples first")
    if isinstance(array, np.ndarray):
        array = array.view()
        array.flags.writeable = False
    elif not all(hasattr(array, name) for name in ("shape", "dtype", "__getitem__")):
        raise DataError(f"{what} must be a NumPy array, not {type(array).__name__}")
    return array


def checked_labels(labels: Any, what: str, n: int, classes: tuple[str, ...]) -> np.ndarray:
    """Check the labels of ``n`` samples: class numbers, or vectors for data without classes.

    Raises
    ------
    DataError
        If they have another shape or type, or exceed the number of classes.
    """
    labels = _view(labels, what)
    if not classes:
        if labels.ndim != 2 or len(labels) != n or not labels.shape[1] or labels.dtype != np.float64:
            raise DataError(
                f"without classes, {what} must be ({n}, outputs) float64 numbers, not {labels.shape} of {labels.dtype}"
            )
        if not np.isfinite(labels).all():
            raise DataError(f"{what} must be finite numbers")
        return labels
    if labels.shape != (n,) or labels.dtype != np.int64:
        raise DataError(f"{what} must be {n} int64 numbers, not {labels.shape} of {labels.dtype}")
    if labels.min() < 0 or labels.max() >= len(classes):
        raise DataError(f"{what} must lie from 0 to {len(classes) - 1}, not {labels.min()} to {labels.max()}")
    return labels


def checked_scale(numbers: Any, what: str, shape: tuple[int, ...], estimated: bool) -> np.ndarray:
    """Check the numbers of a normalisation for samples of a shape: one for each value of the last axes, or one for all.

    Given numbers for images need one value per channel, so that one value is not applied to three channels by accident.

    Raises
    ------
    DataError
        If they do not match.
    """
    array = np.atleast_1d(np.array(numbers, np.float64))
    array.flags.writeable = False
    whole = array.size == 1 and (estimated or shape[-1] == 1 or len(shape) < 3)
    fits = whole or (array.ndim <= len(shape) and array.shape == shape[len(shape) - array.ndim :])
    if not np.isfinite(array).all():
        raise DataError(f"{what} must be finite numbers")
    if not fits:
        unit = "channels" if len(shape) == 3 else "values"
        raise DataError(f"{what} must have one number for each of {shape[-1]} {unit}, not numbers of shape {array.shape}")
    return array
