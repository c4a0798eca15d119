"""Data sets from your own files: HDF5, NumPy archives, and folders of images."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from analogpc.data.augmentation import Augmentation
from analogpc.data.dataset import Dataset
from analogpc.data.own import Layout, Normalisation, assembled, from_arrays, looks_channels_first
from analogpc.data.samples import DataError, HDF5Samples, ImageFiles, hdf5_data
from analogpc.data.targets import Targets, Task
from analogpc.kernels.checks import refuse_beyond_memory

_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
_VALIDATION = ("validation", "valid", "val")


def from_hdf5(
    path: str | Path,
    *,
    train: tuple[str, str] = ("train/x", "train/y"),
    validation: tuple[str, str] | None = None,
    test: tuple[str, str] | None = None,
    name: str = "",
    task: Task | None = None,
    classes: int | Sequence[Any] | None = None,
    normalisation: Normalisation = "standard",
    layout: Layout | None = None,
    augmentation: Augmentation | None = None,
) -> Dataset:
    """Create a data set from an HDF5 file; samples are read batch by batch, labels are kept in memory.

    Normalisation, batches and fingerprint are bit-identical to those of the same data in memory.

    Parameters
    ----------
    path : path
    train, validation, test : (str, str)
        Names of the data sets in the file with samples and labels. By default "validation/x" and so on, where they exist.
    name : str
        Name of the data; by default that of the file.
    task, classes, normalisation, layout, augmentation
        As for `from_arrays`.

    Raises
    ------
    DataError
        If the file or a data set is missing or invalid.
    """
    path = Path(path)
    _refuse_layout(path, train, layout)
    turned = layout or "channels-last"
    labels = whole_data(path, train[1])
    targets = Targets.of(labels, "the training labels", task, classes)
    parts: dict[str, Any] = {}
    for split, given in (("validation", validation), ("test", test)):
        names = given or _usual(path, split)
        if names is not None:
            parts[f"{split}_images"] = HDF5Samples(path, names[0], turned)
            parts[f"{split}_labels"] = targets.encode(whole_data(path, names[1]), f"the {split} labels")
    samples = HDF5Samples(path, train[0], turned)
    encoded = targets.encode(labels, "the training labels")
    return assembled(name or path.stem, samples, encoded, targets, normalisation, augmentation, parts)


def _refuse_layout(path: Path, train: tuple[str, str], layout: Layout | None) -> None:
    shape = hdf5_data(path, train[0]).shape
    if len(shape) == 4 and layout is None and looks_channels_first(shape[1:]):
        raise DataError(f"'{train[0]}' of {path} looks channels-first: set layout = 'channels-first' or 'channels-last'")
    if layout == "channels-first" and len(shape) != 4:
        raise DataError(f"layout = 'channels-first' needs images (n, channels, height, width), not {shape}")


def _usual(path: Path, split: str) -> tuple[str, str] | None:
    import h5py

    with h5py.File(path, "r") as file:
        return (f"{split}/x", f"{split}/y") if f"{split}/x" in file and f"{split}/y" in file else None


def whole_data(path: Path, name: str) -> np.ndarray:
    """Read a complete data set of an HDF5 file: numbers or strings.

    Raises
    ------
    DataError
        If it does not exist or cannot be read.
    """
    import h5py

    data = hdf5_data(path, name)
    refuse_beyond_memory(data.size, data.dtype, f"'{name}' of {path}")
    return data.asstr()[:] if h5py.check_string_dtype(data.dtype) else data[:]


def from_folder(
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    channels: Literal[1, 3] = 3,
    name: str = "",
    normalisation: Normalisation = "standard",
    augmentation: Augmentation | None = None,
) -> Dataset:
    """Create a data set from image files: one folder per class, in ``train/`` and optionally ``validation/`` and ``test/``.

    Without a folder ``train/``, the class folders are in the folder itself. Images are decoded per batch.

    Parameters
    ----------
    path : path
    size : (height, width)
        Size to which images are scaled; by default all must have the same size.
    channels : 1 or 3
        Grey or colour.
    name : str
        Name of the data; by default that of the folder.
    normalisation, augmentation
        As for `from_arrays`.

    Raises
    ------
    DataError
        If there are no images, or a class is not among those of the training part.
    """
    root = Path(path)
    if not root.is_dir():
        raise DataError(f"there is no folder {root}")
    training = root / "train" if (root / "train").is_dir() else root
    names = tuple(sorted(folder.name for folder in training.iterdir() if folder.is_dir() and not folder.name.startswith(".")))
    if not names:
        raise DataError(f"{training} contains no class folders")
    targets = Targets(names, True, len(names))
    parts: dict[str, Any] = {}
    if training != root:
        for split, folders in (("validation", _VALIDATION), ("test", ("test",))):
            found = next((root / folder for folder in folders if (root / folder).is_dir()), None)
            if found is not None:
                samples, labels = _folder_part(found, targets, size, channels)
                parts |= {f"{split}_images": samples, f"{split}_labels": labels}
    samples, labels = _folder_part(training, targets, size, channels)
    return assembled(name or root.resolve().name, samples, labels, targets, normalisation, augmentation, parts)


def _folder_part(folder: Path, targets: Targets, size: Any, channels: int) -> tuple[ImageFiles, np.ndarray]:
    places, labels = [], []
    for inner in sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        files = sorted(file for file in inner.iterdir() if file.suffix.lower() in _IMAGES)
        places += files
        labels += [inner.name] * len(files)
    if not places:
        raise DataError(f"{folder} contains no images ({', '.join(_IMAGES)}) in class folders")
    return ImageFiles(places, size, channels), targets.encode(np.array(labels), f"the folders of {folder}")


def from_file(name: str) -> Dataset:
    """Load the data set of a path: an HDF5 file, a NumPy archive with ``x_train``, ``y_train``, …, or a folder of images.

    Raises
    ------
    DataError
        If it cannot be used.
    """
    path = Path(name)
    if path.suffix in (".h5", ".hdf5"):
        return from_hdf5(path, name=name)
    if path.suffix == ".npz":
        return _from_archive(path, name)
    return from_folder(path, name=name)


def _from_archive(path: Path, name: str) -> Dataset:
    try:
        with zipfile.ZipFile(path) as packed:
            refuse_beyond_memory(sum(member.file_size for member in packed.infolist()), np.uint8, f"what {path} unpacks to")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} is not a NumPy archive that can be read: {reason or type(error).__name__}") from None
    missing = [key for key in ("x_train", "y_train") if key not in arrays]
    if missing:
        raise DataError(f"{path} has no array '{missing[0]}'; it has {', '.join(sorted(arrays))}")
    parts: dict[str, Any] = {
        split: (arrays[f"x_{split}"], arrays[f"y_{split}"])
        for split in ("validation", "test")
        if f"x_{split}" in arrays and f"y_{split}" in arrays
    }
    return from_arrays(arrays["x_train"], arrays["y_train"], name=name, **parts)
