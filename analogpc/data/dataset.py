"""A data set in memory: images as bytes, normalised batch by batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np

from analogpc.data.augmentation import Augmentation
from analogpc.kernels.streams import Key, permutation

Split = Literal["train", "test"]


class DataError(ValueError):
    """Data are missing or not what they should be; the sentence says what is wrong."""


@dataclass(frozen=True)
class Dataset:
    """Images and labels.

    Parameters
    ----------
    name : str
    train_images, test_images : (n, height, width, channels) uint8 arrays
    train_labels, test_labels : (n,) int64 arrays
        From 0 to the number of classes less one.
    classes : tuple of str
        Names of the classes, in the order of the labels.
    mean, std : tuples of float
        One for each channel, on the scale from 0 to 1.
    pixel_max : float
        The byte that stands for 1.
    augmentation : Augmentation
        Of the training images.

    Raises
    ------
    DataError
        If shapes, types or labels do not fit together.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pixel_max: float = 255.0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for split in ("train", "test"):
            images, labels = self._split(split)
            if images.ndim != 4 or images.dtype != np.uint8:
                raise DataError(
                    f"{split}_images must be (n, height, width, channels) bytes (uint8), not {images.shape} of {images.dtype}"
                )
            if labels.shape != (len(images),) or labels.dtype != np.int64:
                raise DataError(f"{split}_labels must be {len(images)} int64 numbers, not {labels.shape} of {labels.dtype}")
            if not len(images):
                raise DataError(f"'{self.name}' has no {split} images")
            if labels.min() < 0 or labels.max() >= len(self.classes):
                raise DataError(
                    f"{split}_labels must lie from 0 to {len(self.classes) - 1}, not {labels.min()} to {labels.max()}"
                )
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise DataError(f"training images {self.train_images.shape[1:]} and test images {self.test_images.shape[1:]} differ")
        for name in ("mean", "std"):
            if len(getattr(self, name)) != self.input_shape[2]:
                raise DataError(f"{name} must have one number for each of {self.input_shape[2]} channels")
        if min(self.std) <= 0 or self.pixel_max <= 0:
            raise DataError("std and pixel_max must be positive")

    def _split(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        if split not in ("train", "test"):
            raise DataError(f"there is no split {split!r}; the splits are train and test")
        return (self.train_images, self.train_labels) if split == "train" else (self.test_images, self.test_labels)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.train_images.shape[1:]

    @property
    def n_classes(self) -> int:
        """The number of classes."""
        return len(self.classes)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all images and labels, in hexadecimal."""
        digest = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(str((array.shape, array.dtype.str)).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def inputs(
        self,
        split: Split,
        indices: np.ndarray | Sequence[int],
        *,
        dtype: str | np.dtype = "float32",
        augment_key: Key | None = None,
        epoch: int = 0,
    ) -> np.ndarray:
        """A normalised batch, (pixel / pixel_max - mean) / std.

        Parameters
        ----------
        split : "train" or "test"
        indices : (n,) ints
        dtype : float32 or float64
        augment_key : Key
            Augment training images by this stream; not at all if not given.
        epoch : int
            Step of the augmentation stream.

        Returns
        -------
        (n, height, width, channels) array
        """
        indices = np.asarray(indices)
        images = self._split(split)[0]
        batch = images[indices]
        if augment_key is not None and split == "train" and self.augmentation.active:
            batch = self.augmentation.apply(batch, indices, len(images), augment_key, epoch)
        # One multiplication and one subtraction for each pixel, with constants formed in double precision.
        kind = np.dtype(dtype)
        scale = (1.0 / (self.pixel_max * np.array(self.std))).astype(kind)
        shift = (np.array(self.mean) / np.array(self.std)).astype(kind)
        return batch.astype(kind) * scale - shift

    def labels(self, split: Split, indices: np.ndarray | Sequence[int]) -> np.ndarray:
        """The labels of a batch, (n,) int64."""
        return self._split(split)[1][np.asarray(indices)]

    def take(self, n_train: int, n_test: int) -> Dataset:
        """The first images of each split.

        Raises
        ------
        DataError
            If there are not so many.
        """
        for split, n in (("train", n_train), ("test", n_test)):
            available = len(self._split(split)[0])
            if not 1 <= n <= available:
                raise DataError(f"'{self.name}' has {available} {split} images; n_{split} = {n} is not from 1 to {available}")
        return replace(
            self,
            train_images=self.train_images[:n_train],
            train_labels=self.train_labels[:n_train],
            test_images=self.test_images[:n_test],
            test_labels=self.test_labels[:n_test],
        )

    def holdout(self, fraction: float, key: Key) -> Dataset:
        """The training images alone, a random ``fraction`` of them as the test split (for validation).

        Raises
        ------
        DataError
            If the fraction leaves one of the two parts empty.
        """
        kept = round(fraction * len(self.train_labels))
        if not 0 < kept < len(self.train_labels):
            raise DataError(f"holdout = {fraction:g} of {len(self.train_labels)} training images leaves nothing on one side")
        order = permutation(key, 0, len(self.train_labels))
        apart, rest = np.sort(order[:kept]), np.sort(order[kept:])
        return replace(
            self,
            train_images=self.train_images[rest],
            train_labels=self.train_labels[rest],
            test_images=self.train_images[apart],
            test_labels=self.train_labels[apart],
        )
