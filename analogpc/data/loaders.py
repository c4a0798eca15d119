"""Data sets by name: readers of the published formats."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from analogpc.data.augmentation import Augmentation
from analogpc.data.dataset import Dataset
from analogpc.data.files import find
from analogpc.data.samples import DataError
from analogpc.data.sources import SOURCES, Source
from analogpc.devices.names import unknown
from analogpc.kernels.random.streams import Key, permutation

DIGITS_TEST = 360
# Mean and standard deviation of the training images of `digits`, on the scale from 0 to 1; verified by a test.
DIGITS_MEAN, DIGITS_STD = 0.3050, 0.3759
_PIXELS = 32 * 32 * 3
_MOST_ITEMS = 2**20
"""Maximum number of images in a file: more than in any of these data sets, and less than fits in memory."""


def load_data(name: str = "digits", *, data_dir: str | Path | None = None, augment: bool = True) -> Dataset:
    """Load a data set by name, with its published normalisation; or your own by path.

    If ``data_dir`` is given, only this folder is searched. Otherwise the folder in the environment variable ANALOGPC_DATA, the folder
    of the system package, the download cache and finally the internet. Downloads must have the published checksum. Files in a
    folder may contain a part of the images, or all in another order, so their format is checked, and the mean of the images if
    they are complete. Pickle files are never read.

    Parameters
    ----------
    name : str
        "digits" (ships with scikit-learn, so ``data_dir`` is not consulted), "fashion-mnist", "mnist", "cifar10", "cifar100" or
        "svhn"; or the path of an HDF5 file (``train/x``, ``train/y``, …), a NumPy archive (``x_train``, ``y_train``, …) or a folder of
        images, which are read as `Dataset.from_hdf5`, `Dataset.from_arrays` and `Dataset.from_folder` do.
    data_dir : path
        Folder with the published files, directly or in a sub-folder.
    augment : bool
        Keep the published augmentation: for CIFAR, crops of the image padded by 4 pixels, and mirroring.

    Returns
    -------
    Dataset
        Images (n, height, width, channels), always with channels last.

    Raises
    ------
    DataError
        If the data set does not exist, or its files are missing or damaged.
    """
    check_name(name)
    if name == "digits":
        return _digits()
    if name not in SOURCES:
        from analogpc.data.own_files import from_file

        return from_file(name)
    source = SOURCES[name]
    files = find(name, source, None if data_dir is None else Path(data_dir))
    train_images, train_labels, test_images, test_labels = _READERS[source.layout](files, source)
    _check_identity(name, source, train_images, files[0])
    return Dataset(
        name,
        train_images,
        train_labels,
        test_images,
        test_labels,
        classes=source.classes,
        mean=source.mean,
        std=source.std,
        augmentation=source.augmentation if augment else Augmentation(),
    )


def check_name(name: str) -> None:
    """Refuse the name of a data set that `load_data` does not know."""
    if not isinstance(name, str) or (name not in ("digits", *SOURCES) and not is_path(name)):
        raise DataError(unknown("data set", name, ("digits", *SOURCES)))


def is_path(name: str) -> bool:
    """Return whether a name is a path of your own data: an HDF5 file, a NumPy archive or a folder."""
    return Path(name).suffix in (".h5", ".hdf5", ".npz") or Path(name).is_dir()


def _check_identity(name: str, source: Source, images: np.ndarray, path: Path) -> None:
    """Refuse a complete set of other images with equal file names, as for MNIST and Fashion-MNIST."""
    if len(images) != source.n_train:
        return
    mean = images.sum(0, dtype=np.uint32).mean((0, 1)) / (255 * len(images))
    if np.abs(mean - source.mean).max() > 1e-3:
        raise DataError(
            f"{path} does not contain the images of '{name}': their mean is {mean.round(4).tolist()}, not {list(source.mean)}"
        )


def _digits_table() -> np.ndarray:
    """Return the digits of scikit-learn: the pixels of an image and its label in every row, (1797, 65) uint8.

    Its file is read without scikit-learn, whose import takes many times as long as that of everything else.
    """
    package = find_spec("sklearn")
    for folder in (package and package.submodule_search_locations) or ():
        file = Path(folder, "datasets", "data", "digits.csv.gz")
        if file.is_file():
            return np.loadtxt(file, np.uint8, delimiter=",")
    from sklearn.datasets import load_digits  # This version keeps the file elsewhere.

    return np.column_stack(load_digits(return_X_y=True)).astype(np.uint8)


def _digits() -> Dataset:
    """Load 1,797 images of 8 x 8; a fixed random fifth, in proportion to the classes, is for testing.

    The images are shuffled by the stream ``Key(0).fold("digits")``, and the first images of every class are for testing, in
    proportion to its share of `DIGITS_TEST` (rounded by largest remainders). Both parts keep the order of scikit-learn.
    """
    table = _digits_table()
    images, labels = table[:, :-1].reshape(-1, 8, 8, 1), table[:, -1].astype(np.int64)
    order = permutation(Key(0).fold("digits"), 0, len(labels))
    by_class = [order[labels[order] == c] for c in range(10)]
    # Each class contributes its share; classes with the largest remainders contribute one more, until the test split is full.
    shares = np.array([len(members) * DIGITS_TEST / len(labels) for members in by_class])
    counts = shares.astype(int)
    counts[np.argsort(counts - shares, kind="stable")[: DIGITS_TEST - counts.sum()]] += 1
    test = np.sort(np.concatenate([members[:n] for members, n in zip(by_class, counts, strict=True)]))
    train = np.setdiff1d(np.arange(len(labels)), test)
    return Dataset(
        "digits",
        images[train],
        labels[train],
        images[test],
        labels[test],
        classes=tuple("0123456789"),
        mean=(DIGITS_MEAN,),
        std=(DIGITS_STD,),
        pixel_max=16.0,
    )


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file, gzipped or not, and unpack it only as far as it is read."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            with gzip.open(file) if packed else file as content:
                yield cast(BinaryIO, content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _idx(path: Path, *item: int) -> np.ndarray:
    """Read an IDX file of bytes: two zero bytes, the type 8, the number of dimensions, their sizes, the values.

    Parameters
    ----------
    path : path
    item : int
        Sizes of all dimensions except the first, the number of items.

    Returns
    -------
    (n, item...) uint8 array
    """
    dimensions = 1 + len(item)
    with _opened(path) as file:
        head = file.read(4 + 4 * dimensions)
        if head[:4] != bytes((0, 0, 8, dimensions)) or len(head) < 4 + 4 * dimensions:
            raise DataError(f"{path} is not an IDX file of bytes with {dimensions} dimensions")
        shape = tuple(int(n) for n in np.frombuffer(head, ">u4", dimensions, 4))
        if shape[1:] != item or not 1 <= shape[0] <= _MOST_ITEMS:
            raise DataError(f"{path} should hold items of shape {item}, and 1 to {_MOST_ITEMS} of them, not {shape}")
        values = np.frombuffer(file.read(math.prod(shape) + 1), np.uint8)
    if values.size != math.prod(shape):
        follow = "more" if values.size > math.prod(shape) else str(values.size)
        raise DataError(f"{path} is truncated or damaged: its header gives {shape}, but {follow} bytes follow")
    return values.reshape(shape)


def _labels(path: Path, labels: np.ndarray, images: int, source: Source) -> np.ndarray:
    """Return the labels of the given number of images as int64; refuse others with the name of the file."""
    if len(labels) != images:
        raise DataError(f"{path} holds {len(labels)} labels for {images} images")
    if labels.max() >= len(source.classes):
        raise DataError(f"{path} is damaged: it has the label {labels.max()}, and {len(source.classes) - 1} is the last")
    return labels.astype(np.int64)


def _read_idx(files: list[Path], source: Source) -> tuple[np.ndarray, ...]:
    splits: list[np.ndarray] = []
    for image_file, label_file in (files[:2], files[2:]):
        images = _idx(image_file, 28, 28)
        splits += [images[..., None], _labels(label_file, _idx(label_file), len(images), source)]
    return tuple(splits)


def _read_cifar(files: list[Path], source: Source) -> tuple[np.ndarray, ...]:
    """Read records of one label byte (CIFAR-100: a coarse and a fine one) and 3,072 pixels, channel by channel."""
    label_bytes = 1 if len(source.classes) == 10 else 2
    record = label_bytes + _PIXELS
    parts = []
    for path in files:
        with _opened(path) as file:
            raw = np.frombuffer(file.read(_MOST_ITEMS * record + 1), np.uint8)
        if raw.size > _MOST_ITEMS * record:
            raise DataError(f"{path} unpacks to more than {_MOST_ITEMS} records of {record} bytes")
        if not raw.size or raw.size % record:
            raise DataError(f"{path} is truncated or damaged: {raw.size} bytes are not a whole number of records of {record}")
        parts.append(raw.reshape(-1, record))
        _labels(path, parts[-1][:, label_bytes - 1], len(parts[-1]), source)
    splits: list[np.ndarray] = []
    for records in (np.concatenate(parts[:-1]), parts[-1]):
        images = records[:, label_bytes:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        splits += [np.ascontiguousarray(images), records[:, label_bytes - 1].astype(np.int64)]
    return tuple(splits)


def _read_svhn(files: list[Path], source: Source) -> tuple[np.ndarray, ...]:
    """Read MATLAB files with X (32, 32, 3, n) and y, in which the label 10 means the digit 0."""
    from scipy.io import loadmat

    splits: list[np.ndarray] = []
    for path in files:
        try:
            content = loadmat(path)
            images, labels = content["X"], content["y"].reshape(-1)
        except Exception as error:  # SciPy raises errors of many kinds on damaged files.
            raise DataError(f"{path} is not a MATLAB file with X and y: {type(error).__name__} {error}") from None
        if images.ndim != 4 or images.shape[:3] != (32, 32, 3) or images.dtype != np.uint8 or not images.size:
            raise DataError(f"{path} should hold bytes X of shape (32, 32, 3, n), not {images.shape} of {images.dtype}")
        if not np.isin(labels, np.arange(1, 11)).all():
            raise DataError(f"{path} is damaged: the labels y must be whole numbers from 1 to 10")
        splits += [np.ascontiguousarray(images.transpose(3, 0, 1, 2)), _labels(path, labels % 10, images.shape[3], source)]
    return tuple(splits)


_READERS = {"idx": _read_idx, "cifar": _read_cifar, "svhn": _read_svhn}
