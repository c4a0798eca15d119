"""A data set: samples and labels in up to three parts, normalised batch by batch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np

from analogpc.data.augmentation import Augmentation
from analogpc.data.checks import checked_labels, checked_samples, checked_scale
from analogpc.data.description import DataDescription, Scale
from analogpc.data.division import Division, class_by_class
from analogpc.data.normalisation import NormalisationName, estimate
from analogpc.data.samples import DataError, Samples, chosen, in_blocks
from analogpc.data.targets import Targets
from analogpc.kernels.gpu.arrays import Backend, copied
from analogpc.kernels.random.streams import Key, permutation

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples and labels; `fingerprint` identifies the content.

    `load_data` reads published data, `from_arrays`, `from_hdf5` and `from_folder` create data sets from your own data.

    Parameters
    ----------
    name : str
    train_images, test_images, validation_images : (n, ...) arrays of real numbers, or `Samples` that are not in memory
        Samples of any shape; images are (height, width, channels). Arrays are kept as read-only views. Only the training part is
        required.
    train_labels, test_labels, validation_labels : (n,) int64 arrays
        Class numbers from 0 to the number of classes minus one; for regression (n, outputs) float64 arrays.
    classes : tuple of str
        Names of the classes, in the order of the labels; empty for regression.
    mean, std : floats or arrays
        Normalisation (x / pixel_max - mean) / std: for images one number for each channel, otherwise arrays that broadcast
        to a sample.
    pixel_max : float
        Value that is scaled to 1.
    augmentation : Augmentation
        Augmentation of the training images.
    normalisation : str
        Origin of mean and std: "given", or the name of a normalisation (see `NormalisationName`), which is then estimated
        again whenever the training part changes.
    named_labels : bool
        Whether predictions are returned as class names instead of numbers.

    Raises
    ------
    DataError
        If shapes, types or labels do not match.
    """

    name: str
    train_images: Any
    train_labels: np.ndarray
    test_images: Any = None
    test_labels: Any = None
    classes: tuple[str, ...] = ()
    mean: Any = 0.0
    std: Any = 1.0
    pixel_max: float = 255.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    validation_images: Any = None
    validation_labels: Any = None
    normalisation: str = "given"
    named_labels: bool = False

    def __post_init__(self) -> None:
        self._keep("classes", tuple(map(str, self.classes)))
        for split in SPLITS:
            samples, labels = getattr(self, f"{split}_images"), getattr(self, f"{split}_labels")
            if split == "train" or samples is not None or labels is not None:
                self._keep(f"{split}_images", checked_samples(samples, f"{split}_images"))
                self._keep(f"{split}_labels", checked_labels(labels, f"{split}_labels", len(samples), self.classes))
        for split in self.splits[1:]:
            samples, labels = self._split(split)
            if samples.shape[1:] != self.input_shape:
                raise DataError(f"training samples {self.input_shape} and {split} samples {samples.shape[1:]} differ")
            if labels.shape[1:] != self.train_labels.shape[1:]:
                raise DataError(f"training labels {self.train_labels.shape[1:]} and {split} labels {labels.shape[1:]} differ")
        estimated = self.normalisation != "given"
        self._keep("mean", checked_scale(self.mean, "mean", self.input_shape, estimated))
        self._keep("std", checked_scale(self.std, "std", self.input_shape, estimated))
        for name, least in (("std", self.std.min()), ("pixel_max", self.pixel_max)):
            if not 0 < least < math.inf:
                raise DataError(f"{name} = {least:g} is not allowed: it must be positive")
        if not isinstance(self.augmentation, Augmentation):
            raise DataError(f"augmentation must be an Augmentation, not {self.augmentation!r}")
        if self.augmentation.active and len(self.input_shape) != 3:
            raise DataError(f"augmentation takes images (height, width, channels), not samples of shape {self.input_shape}")

    def _keep(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _split(self, split: str) -> tuple[Samples, np.ndarray]:
        if split not in SPLITS or getattr(self, f"{split}_images") is None:
            raise DataError(f"there is no split {split!r}; the splits are {' and '.join(self.splits)}")
        return getattr(self, f"{split}_images"), getattr(self, f"{split}_labels")

    def _places(self, split: str, indices: np.ndarray | Sequence[int]) -> np.ndarray:
        """Return indices as an array; refuse those outside the split."""
        places, total = np.asarray(indices), len(self._split(split)[1])
        if not places.size:
            places = places.astype(np.intp)
        if places.ndim != 1 or places.dtype.kind not in "iu":
            raise DataError(f"indices must be a 1-d array of integers, not {places.shape} of {places.dtype}")
        if places.size and not 0 <= places.min() <= places.max() < total:
            raise DataError(f"indices from {places.min()} to {places.max()} are not within the {total} {split} images")
        return places

    @property
    def splits(self) -> tuple[Split, ...]:
        """Available parts."""
        return tuple(split for split in SPLITS if getattr(self, f"{split}_images") is not None)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample; for images (height, width, channels)."""
        return tuple(self.train_images.shape[1:])

    @property
    def n_classes(self) -> int:
        """Number of classes; 0 for regression."""
        return len(self.classes)

    @property
    def target_kind(self) -> Targets:
        """Meaning of the outputs of a network."""
        return Targets(self.classes, self.named_labels, self.n_classes or self.train_labels.shape[1])

    @property
    def scale(self) -> Scale:
        """Normalisation of the samples."""
        return Scale(self.mean, self.std, self.pixel_max, self.normalisation)

    def describe(self, fingerprint: str | None = None) -> DataDescription:
        """Return the description that a run keeps of its data, optionally with another ``fingerprint``."""
        return DataDescription(self.name, fingerprint or self.fingerprint, self.input_shape, self.scale, self.target_kind)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all values and labels, the classes, the normalisation and the augmentation, in hexadecimal.

        Samples that are not in memory have the fingerprint of the same samples in memory.
        """
        digest = hashlib.sha256()
        for split in self.splits:
            samples, labels = self._split(split)
            digest.update(str((split, tuple(samples.shape), samples.dtype.str)).encode())
            for block in in_blocks(samples):
                digest.update(np.ascontiguousarray(block).data)
            digest.update(str((labels.shape, labels.dtype.str)).encode())
            digest.update(np.ascontiguousarray(labels).data)
        for numbers in (self.mean, self.std, np.float64(self.pixel_max)):
            digest.update(np.asarray(numbers).tobytes())
        digest.update(str((self.classes, self.normalisation, self.augmentation.to_toml())).encode())
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
        """Return a normalised batch, (x / pixel_max - mean) / std.

        Parameters
        ----------
        split : "train", "validation" or "test"
        indices : (n,) ints
            Indices in the split, from 0.
        dtype : float32 or float64
        augment_key : Key
            Key of the augmentation of training images; no augmentation by default.
        epoch : int
            Epoch of the augmentation.
        backend : "cpu" or "gpu"
            Backend of the batch. In-memory samples of the split are copied to the GPU once and stay there; a batch is the same on
            both backends.

        Returns
        -------
        (n, *input_shape) array

        Raises
        ------
        DataError
            If the split, an index or the type is invalid.
        """
        kind = np.dtype(dtype)
        if kind not in (np.float32, np.float64):
            raise DataError(f"dtype = {kind} is not allowed: inputs are float32 or float64")
        places = self._places(split, indices)
        samples, _ = self._resident(split, backend)
        batch = self._rows(samples, places, backend)
        if augment_key is not None and split == "train" and self.augmentation.active:
            rows = np.asarray(places, like=batch)
            batch = self.augmentation.apply(batch, rows, len(samples), augment_key, epoch)
        return self.scale.apply(batch, kind)

    @staticmethod
    def _rows(samples: Any, places: np.ndarray, backend: Backend) -> np.ndarray:
        """Return the samples at some indices, on a backend."""
        if backend == "cpu":
            return samples[places]
        if hasattr(samples, "get"):
            return samples[np.asarray(places, like=samples)]
        return copied(samples[places], "gpu")

    def _resident(self, split: Split, backend: Backend) -> tuple[Any, np.ndarray]:
        """Return samples and labels of a split on a backend; arrays are copied to the GPU once, other samples never."""
        if backend == "cpu":
            return self._split(split)
        if split not in self._on_gpu:
            samples, labels = self._split(split)
            self._on_gpu[split] = copied(samples, "gpu") if isinstance(samples, np.ndarray) else samples, copied(labels, "gpu")
        return self._on_gpu[split]

    @cached_property
    def _on_gpu(self) -> dict[str, tuple[Any, np.ndarray]]:
        """Copies on the GPU, by split."""
        return {}

    def labels(self, split: Split, indices: np.ndarray | Sequence[int], *, backend: Backend = "cpu") -> np.ndarray:
        """Return the labels of a batch on a backend: (n,) int64, or (n, outputs) float64 for regression."""
        places = self._places(split, indices)
        _, labels = self._resident(split, backend)
        return labels[np.asarray(places, like=labels)]

    def labels_of(self, split: Split) -> np.ndarray:
        """Return all labels of a split."""
        return self._split(split)[1]

    def targets(
        self, split: Split, indices: np.ndarray | Sequence[int], *, dtype: str | type | np.dtype, backend: Backend = "cpu"
    ) -> np.ndarray:
        """Return the target outputs of a batch: (n, outputs), one-hot for classes."""
        labels = self.labels(split, indices, backend=backend)
        if not self.classes:
            return labels.astype(dtype)
        return (labels[:, None] == np.arange(self.n_classes, like=labels)).astype(dtype)

    def take(self, n_train: int, n_test: int | None = None) -> Dataset:
        """Return a data set of the first samples of the training and test parts; all test samples if ``n_test`` is not given.

        An estimated normalisation is estimated again.

        Raises
        ------
        DataError
            If there are fewer samples.
        """
        changes: dict[str, Any] = {}
        for split, n in (("train", n_train), ("test", n_test)):
            if n is None:
                continue
            samples, labels = self._split(split)
            if not isinstance(n, (int, np.integer)) or not 1 <= n <= len(samples):
                raise DataError(
                    f"'{self.name}' has {len(samples)} {split} images; n_{split} = {n} is not from 1 to {len(samples)}"
                )
            short = samples[:n] if isinstance(samples, np.ndarray) else chosen(samples, np.arange(n))
            changes |= {f"{split}_images": short, f"{split}_labels": labels[:n]}
        return self._with(**changes)

    def holdout(self, fraction: float, key: Key, division: Division = "random") -> Dataset:
        """Return a data set with a ``fraction`` of the training part held out for validation.

        Both parts keep the order of the training samples. An estimated normalisation is estimated again, on the remaining
        training samples.

        Parameters
        ----------
        fraction : float
        key : Key
        division : "random" or "stratified"
            Draw from all samples, or from each class in proportion (rounded by largest remainders).

        Raises
        ------
        DataError
            If there is a validation part already, or the fraction leaves one of the two parts empty.
        """
        if "validation" in self.splits:
            raise DataError(f"'{self.name}' already has a validation part: leave out holdout")
        total = len(self.train_labels)
        apart = round(fraction * total) if math.isfinite(fraction) else 0
        if not 0 < apart < total:
            raise DataError(f"holdout = {fraction:g} of {total} training images leaves one part empty")
        order = permutation(key, 0, total)
        if division == "stratified":
            order = class_by_class(order, apart, self.train_labels, self.n_classes)
        kept, rest = np.sort(order[:apart]), np.sort(order[apart:])
        samples, labels = self._split("train")
        return self._with(
            train_images=chosen(samples, rest),
            train_labels=labels[rest],
            validation_images=chosen(samples, kept),
            validation_labels=labels[kept],
        )

    def _with(self, **changes: Any) -> Dataset:
        """Return a data set with other parts, with an estimated normalisation re-estimated."""
        if self.normalisation != "given" and "train_images" in changes:
            mean, std = estimate(cast(NormalisationName, self.normalisation), changes["train_images"])
            changes |= {"mean": mean, "std": std}
        return replace(self, **changes)

    def __repr__(self) -> str:
        from analogpc.plot.html import data_text

        return data_text(self)

    def _repr_html_(self) -> str:
        from analogpc.plot.html import data_html

        return data_html(self)

    @classmethod
    def from_arrays(cls, x: Any, y: Any, **options: Any) -> Dataset:
        """Create a data set from arrays; see `analogpc.data.own.from_arrays` for every option.

        Examples
        --------
        >>> data = Dataset.from_arrays(np.eye(4), ["a", "b", "a", "b"], normalisation="none")
        >>> data.classes
        ('a', 'b')
        """
        from analogpc.data.own import from_arrays

        return from_arrays(x, y, **options)

    @classmethod
    def from_hdf5(cls, path: Any, **options: Any) -> Dataset:
        """Create a data set from an HDF5 file, read batch by batch; see `analogpc.data.own_files.from_hdf5` for every option."""
        from analogpc.data.own_files import from_hdf5

        return from_hdf5(path, **options)

    @classmethod
    def from_folder(cls, path: Any, **options: Any) -> Dataset:
        """Create a data set from image files in one folder per class; see `analogpc.data.own_files.from_folder` for every option."""
        from analogpc.data.own_files import from_folder

        return from_folder(path, **options)
