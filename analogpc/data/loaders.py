"""Finding, downloading and reading the published files."""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from pathlib import Path

import numpy as np

from analogpc.data.augmentation import Augmentation
from analogpc.data.dataset import DataError, Dataset
from analogpc.data.sources import SOURCES, Source
from analogpc.kernels.streams import Key, permutation

DIGITS_TEST = 360
# Mean and standard deviation of the training images of `digits`, on the scale from 0 to 1; a test computes them again.
DIGITS_MEAN, DIGITS_STD = 0.3050, 0.3759
_PIXELS = 32 * 32 * 3


def load_data(name: str = "digits", *, data_dir: str | Path | None = None, augment: bool = True) -> Dataset:
    """A data set by its name, with its published normalisation.

    The files are looked for in ``data_dir``; or else in the folder that the environment variable ANALOGPC_DATA names, where the
    system's package puts them, in the download cache, and at last on the internet, checksums being enforced.

    Parameters
    ----------
    name : str
        "digits" (ships with scikit-learn), "fashion-mnist", "mnist", "cifar10", "cifar100" or "svhn".
    data_dir : path
        A folder that holds the published files, or a sub-folder with them.
    augment : bool
        Keep the published augmentation: for CIFAR, crops of the image padded by 4 pixels, and mirroring.

    Raises
    ------
    DataError
        If there is no such data set, or its files are missing or damaged.
    """
    check_name(name)
    if name == "digits":
        return _digits()
    source = SOURCES[name]
    files = _find(name, source, None if data_dir is None else Path(data_dir))
    train_images, train_labels, test_images, test_labels = _READERS[source.layout](files)
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
    if name not in ("digits", *SOURCES):
        raise DataError(f"there is no data set '{name}'; the data sets are {', '.join(('digits', *SOURCES))}")


def _digits() -> Dataset:
    """1,797 images of 8 x 8: a fixed random fifth for testing, drawn class by class in proportion."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    images, labels = raw.images.astype(np.uint8)[..., None], raw.target.astype(np.int64)
    order = permutation(Key(0).fold("digits"), 0, len(labels))
    by_class = [order[labels[order] == c] for c in range(10)]
    # Each class gives its share; the largest remainders give one more, until the test split is full.
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


def _find(name: str, source: Source, data_dir: Path | None) -> list[Path]:
    """The files of a data set, in the order of `Source.files`."""
    if data_dir is not None:
        found = _in_folder(source, data_dir)
        if found is None:
            raise DataError(f"{data_dir} does not hold the files of '{name}': {', '.join(source.files)}")
        return found
    places = [os.environ.get("ANALOGPC_DATA", ""), source.system]
    for place in filter(None, places):
        found = _in_folder(source, Path(place))
        if found is not None:
            return found
    return _download(name, source)


def _in_folder(source: Source, folder: Path) -> list[Path] | None:
    """All files in a folder or in one of the sub-folders that are usual, plain or gzipped; None if one is missing."""
    for place in (folder, *(folder / sub for sub in source.folders)):
        found = [next((p for p in (place / name, place / f"{name}.gz") if p.is_file()), None) for name in source.files]
        if all(found):
            return [path for path in found if path]
    return None


def _download(name: str, source: Source) -> list[Path]:
    """Fetch what the cache lacks; archives are unpacked beside themselves."""
    import pooch

    cache = Path(pooch.os_cache("analogpc")) / name
    for remote in source.remotes:
        target = cache / remote.name
        fault = ""
        for mirror in source.mirrors:
            try:
                pooch.retrieve(
                    mirror + remote.name, known_hash=f"md5:{remote.md5}", fname=remote.name, path=cache, progressbar=True
                )
            except (
                Exception
            ) as error:  # Whatever the network or the mirror does, the next mirror is tried and the last fault told.
                fault = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
            else:
                fault = ""
                break
        if fault:
            raise DataError(
                f"'{name}' is not on this machine and could not be downloaded ({fault}); run again with internet, or point "
                f"--data-dir or the environment variable ANALOGPC_DATA to a folder with {', '.join(source.files)}"
            )
        if target.name.endswith(".tar.gz"):
            _unpack(target)
    found = _in_folder(source, cache)
    if found is None:
        raise DataError(f"the archive of '{name}' in {cache} does not hold {', '.join(source.files)}")
    return found


def _unpack(archive: Path) -> None:
    if archive.with_suffix(".unpacked").exists():
        return
    with tarfile.open(archive) as tar:
        tar.extractall(archive.parent, filter="data")
    archive.with_suffix(".unpacked").touch()


def _bytes(path: Path) -> bytes:
    """The content of a file, gzipped or not."""
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _idx(path: Path, dimensions: int) -> np.ndarray:
    """An IDX file of bytes: two zero bytes, the type 8, the number of dimensions, their sizes, the values."""
    raw = _bytes(path)
    head = 4 + 4 * dimensions
    if raw[:4] != bytes((0, 0, 8, dimensions)) or len(raw) < head:
        raise DataError(f"{path} is not an IDX file of bytes with {dimensions} dimensions")
    shape = tuple(int(n) for n in np.frombuffer(raw, ">u4", dimensions, 4))
    values = np.frombuffer(raw, np.uint8, offset=head)
    if values.size != np.prod(shape, dtype=np.int64):
        raise DataError(f"{path} is truncated or damaged: its head announces {shape}, and {values.size} bytes follow")
    return values.reshape(shape)


def _read_idx(files: list[Path]) -> tuple[np.ndarray, ...]:
    arrays = [_idx(path, dimensions) for path, dimensions in zip(files, (3, 1, 3, 1), strict=True)]
    return arrays[0][..., None], arrays[1].astype(np.int64), arrays[2][..., None], arrays[3].astype(np.int64)


def _read_cifar(files: list[Path]) -> tuple[np.ndarray, ...]:
    """Records of one label byte (CIFAR-100: a coarse and a fine one) and 3,072 pixels, channel by channel."""
    label_bytes = 1 if len(files) == 6 else 2
    parts = []
    for path in files:
        raw = np.frombuffer(_bytes(path), np.uint8)
        record = label_bytes + _PIXELS
        if not raw.size or raw.size % record:
            raise DataError(f"{path} is truncated or damaged: {raw.size} bytes are not a whole number of records of {record}")
        parts.append(raw.reshape(-1, record))
    splits: list[np.ndarray] = []
    for records in (np.concatenate(parts[:-1]), parts[-1]):
        images = records[:, label_bytes:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        splits += [np.ascontiguousarray(images), records[:, label_bytes - 1].astype(np.int64)]
    return tuple(splits)


def _read_svhn(files: list[Path]) -> tuple[np.ndarray, ...]:
    """MATLAB files with X (32, 32, 3, n) and y, in which the label 10 means the digit 0."""
    from scipy.io import loadmat

    splits: list[np.ndarray] = []
    for path in files:
        try:
            content = loadmat(path)
            images, labels = content["X"], content["y"].reshape(-1).astype(np.int64)
        except Exception as error:  # SciPy raises errors of many kinds on damaged files.
            raise DataError(f"{path} is not a MATLAB file with X and y: {type(error).__name__} {error}") from None
        if images.shape != (32, 32, 3, len(labels)) or images.dtype != np.uint8:
            raise DataError(
                f"{path} should hold bytes X of shape (32, 32, 3, {len(labels)}), not {images.shape} of {images.dtype}"
            )
        splits += [np.ascontiguousarray(images.transpose(3, 0, 1, 2)), labels % 10]
    return tuple(splits)


_READERS = {"idx": _read_idx, "cifar": _read_cifar, "svhn": _read_svhn}
