"""A data set in memory: images as bytes, normalised batch by batch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from analogpc.data.augmentation import Augmentation
from analogpc.kernels.gpu.arrays import Backend, copied
from analogpc.kernels.random.streams import Key, permutation

Split = Literal["train", "test"]


class DataError(ValueError):
    """Data are missing or not what they should be; the sentence says what is wrong."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels, held as read-only views of the arrays given; equal content is told by `fingerprint`.

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
        self._keep("classes", tuple(map(str, self.classes)))
        for split in ("train", "test"):
            self._check_split(split)
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise DataError(f"training images {self.train_images.shape[1:]} and test images {self.test_images.shape[1:]} differ")
        for name in ("mean", "std"):
            numbers = tuple(float(number) for number in np.ravel(getattr(self, name)))
            if len(numbers) != self.input_shape[2] or not all(map(math.isfinite, numbers)):
                raise DataError(f"{name} must have one number for each of {self.input_shape[2]} channels, not {numbers}")
            self._keep(name, numbers)
        for name, least in (("std", min(self.std)), ("pixel_max", self.pixel_max)):
            if not 0 < least < math.inf:
                raise DataError(f"{name} = {getattr(self, name)} is not allowed: it must be positive")
        if not isinstance(self.augmentation, Augmentation):
            raise DataError(f"augmentation must be an Augmentation, not {self.augmentation!r}")

    def _check_split(self, split: str) -> None:
        """Refuse images or labels that do not fit, and keep views through which nobody can change the others."""
        for part in ("images", "labels"):
            array = getattr(self, f"{split}_{part}")
            if not isinstance(array, np.ndarray):
                raise DataError(f"{split}_{part} must be a NumPy array, not {type(array).__name__}")
            view = array.view()
            view.flags.writeable = False
            self._keep(f"{split}_{part}", view)
        images, labels = self._split(split)
        if images.ndim != 4 or images.dtype != np.uint8:
            raise DataError(
                f"{split}_images must be (n, height, width, channels) bytes (uint8), not {images.shape} of {images.dtype}"
            )
        if labels.shape != (len(images),) or labels.dtype != np.int64:
            raise DataError(f"{split}_labels must be {len(images)} int64 numbers, not {labels.shape} of {labels.dtype}")
        if not images.size:
            raise DataError(f"'{self.name}' has no {split} images: their shape is {images.shape}")
        if labels.min() < 0 or labels.max() >= len(self.classes):
            raise DataError(f"{split}_labels must lie from 0 to {len(self.classes) - 1}, not {labels.min()} to {labels.max()}")

    def _keep(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _split(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        if split not in ("train", "test"):
            raise DataError(f"there is no split {split!r}; the splits are train and test")
        return (self.train_images, self.train_labels) if split == "train" else (self.test_images, self.test_labels)

    def _places(self, split: str, indices: np.ndarray | Sequence[int]) -> np.ndarray:
        """Indices as an array, refused unless each names one image of the split."""
        places, total = np.asarray(indices), len(self._split(split)[1])
        if not places.size:
            places = places.astype(np.intp)
        if places.ndim != 1 or places.dtype.kind not in "iu":
            raise DataError(f"indices must be a row of whole numbers, not {places.shape} of {places.dtype}")
        if places.size and not 0 <= places.min() <= places.max() < total:
            raise DataError(f"indices from {places.min()} to {places.max()} are not within the {total} {split} images")
        return places

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
        dtype: str | type | np.dtype = "float32",
        augment_key: Key | None = None,
        epoch: int = 0,
        backend: Backend = "cpu",
    ) -> np.ndarray:
        """A normalised batch, (pixel / pixel_max - mean) / std.

        Parameters
        ----------
        split : "train" or "test"
        indices : (n,) ints
            From 0 to the number of images in the split less one.
        dtype : float32 or float64
        augment_key : Key
            Augment training images by this stream; not at all if not given.
        epoch : int
            Step of the augmentation stream.
        backend : "cpu" or "gpu"
            Where the batch is wanted. All images of the split go to the GPU once and stay there; a batch is the same on both.

        Returns
        -------
        (n, height, width, channels) array

        Raises
        ------
        DataError
            If the split, an index or the type does not exist here.
        """
        kind = np.dtype(dtype)
        if kind not in (np.float32, np.float64):
            raise DataError(f"dtype = {kind} is not allowed: inputs are float32 or float64")
        images, _ = self._resident(split, backend)
        # One multiplication and one subtraction for each pixel, with constants formed in double precision.
        scale = np.asarray((1.0 / (self.pixel_max * np.array(self.std))).astype(kind), like=images)
        shift = np.asarray((np.array(self.mean) / np.array(self.std)).astype(kind), like=images)
        indices = np.asarray(self._places(split, indices), like=images)
        batch = images[indices]
        if augment_key is not None and split == "train" and self.augmentation.active:
            batch = self.augmentation.apply(batch, indices, len(images), augment_key, epoch)
        return batch.astype(kind) * scale - shift

    def _resident(self, split: Split, backend: Backend) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels of a split on a backend; to the GPU they are copied once."""
        if backend == "cpu":
            return self._split(split)
        if split not in self._on_gpu:
            images, labels = self._split(split)
            self._on_gpu[split] = copied(images, "gpu"), copied(labels, "gpu")
        return self._on_gpu[split]

    @cached_property
    def _on_gpu(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Copies on the GPU, by split."""
        return {}

    def labels(self, split: Split, indices: np.ndarray | Sequence[int], *, backend: Backend = "cpu") -> np.ndarray:
        """The labels of a batch, (n,) int64, on a backend."""
        _, labels = self._resident(split, backend)
        return labels[np.asarray(self._places(split, indices), like=labels)]

    def take(self, n_train: int, n_test: int) -> Dataset:
        """The first images of each split.

        Raises
        ------
        DataError
            If there are not so many.
        """
        for split, n in (("train", n_train), ("test", n_test)):
            available = len(self._split(split)[0])
            if not isinstance(n, (int, np.integer)) or not 1 <= n <= available:
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

        Both parts keep the order of the training images.

        Raises
        ------
        DataError
            If the fraction leaves one of the two parts empty.
        """
        total = len(self.train_labels)
        apart = round(fraction * total) if math.isfinite(fraction) else 0
        if not 0 < apart < total:
            raise DataError(f"holdout = {fraction:g} of {total} training images leaves nothing on one side")
        order = permutation(key, 0, total)
        kept, rest = np.sort(order[:apart]), np.sort(order[apart:])
        return replace(
            self,
            train_images=self.train_images[rest],
            train_labels=self.train_labels[rest],
            test_images=self.train_images[kept],
            test_labels=self.train_labels[kept],
        )
