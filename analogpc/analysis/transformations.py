"""Robustness to transformed images: rotation and change of hue."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from analogpc.data import Dataset
from analogpc.data.dataset import Split
from analogpc.data.samples import DataError


def rotated(data: Dataset, degrees: float, *, split: Split = "test") -> Dataset:
    """Return a data set with the images of one split rotated about their centre; the given data set is unchanged.

    Parameters
    ----------
    data : Dataset
        Images (height, width, channels).
    degrees : float
        Angle, counter-clockwise. Between pixels the image is interpolated linearly; outside it is black.
    split : "train" or "test"

    Returns
    -------
    Dataset
        Data set named "NAME, rotated by DEGREES degrees", with values of the same type and range.

    Raises
    ------
    DataError
        If the samples are not images, the angle is not finite, or the split is invalid.

    Examples
    --------
    >>> from analogpc import load_data
    >>> data = load_data("digits")
    >>> turned = rotated(data, 90).test_images[0, :, :, 0]
    >>> bool((turned == np.rot90(data.test_images[0, :, :, 0])).all())
    True
    """
    from scipy.ndimage import rotate

    if not math.isfinite(degrees):
        raise DataError(f"degrees = {degrees!r} is not allowed: it must be a finite number")

    def turn(images: np.ndarray) -> np.ndarray:
        return rotate(images.astype(np.float64), degrees, axes=(2, 1), reshape=False, order=1, mode="constant")

    return _changed(data, split, f"rotated by {degrees:g} degrees", turn)


def recoloured(data: Dataset, turns: float, *, split: Split = "test") -> Dataset:
    """Return a data set with the hue of the images of one split changed; the given data set is unchanged.

    Hue, saturation and value (HSV): saturation and value do not change.

    Parameters
    ----------
    data : Dataset
        Images with the three channels red, green and blue.
    turns : float
        Shift of the hue in turns of the colour circle: 1/3 changes red to green, green to blue and blue to red.
    split : "train" or "test"

    Returns
    -------
    Dataset
        Data set named "NAME, hue TURNS", with values of the same type and range.

    Raises
    ------
    DataError
        If the images do not have three channels, the shift is not finite, or the split is invalid.
    """
    from matplotlib.colors import hsv_to_rgb, rgb_to_hsv

    if not math.isfinite(turns):
        raise DataError(f"turns = {turns!r} is not allowed: it must be a finite number")
    if len(data.input_shape) == 3 and data.input_shape[2] != 3:
        raise DataError(f"images with {data.input_shape[2]} channels have no hue: there must be 3")

    def shift(images: np.ndarray) -> np.ndarray:
        hsv = rgb_to_hsv(np.clip(images / data.pixel_max, 0, 1))
        hsv[..., 0] = (hsv[..., 0] + turns) % 1.0
        return data.pixel_max * hsv_to_rgb(hsv)

    return _changed(data, split, f"hue {turns:+g}", shift)


def _changed(data: Dataset, split: Split, what: str, change: Callable[[np.ndarray], np.ndarray]) -> Dataset:
    """Return a data set with the images of a split changed, in their type."""
    if split not in ("train", "test"):
        raise DataError(f"there is no split {split!r}; the splits are train and test")
    if len(data.input_shape) != 3:
        raise DataError(f"samples of shape {data.input_shape} are not images: there must be height, width and channels")
    images = np.asarray(data.test_images if split == "test" else data.train_images)
    made = change(images)
    if images.dtype.kind in "iu":
        limits = np.iinfo(images.dtype)
        made = np.rint(made).clip(limits.min, limits.max)
    changed: dict[str, Any] = {f"{split}_images": made.astype(images.dtype), "name": f"{data.name}, {what}"}
    return replace(data, **changed)
