"""Sources of samples: an array in memory, a data set of an HDF5 file, or image files.

Data larger than memory are read batch by batch; batches are bit-identical for all sources.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np

_UNPACKED = 1 << 28
"""Maximum size, in bytes, of compressed data that are checked before use; larger data sets are not checked."""

_VALUES = 1 << 20
"""Maximum number of values in one block when a split is processed block by block."""


class DataError(ValueError):
    """Raised for missing or invalid data; the message says what is wrong."""


class Samples(Protocol):
    """Protocol of samples: a shape (n, ...), a type, and indexing by rows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (n, ...)."""

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


class HDF5Samples:
    """A data set of an HDF5 file; only the requested rows are read.

    Parameters
    ----------
    path : path
    name : str
        Name of the data set in the file.
    layout : "channels-last" or "channels-first"
        Layout of the images in the file; rows are returned with channels last.

    Raises
    ------
    DataError
        If the file or data set does not exist, or does not contain numbers.
    """

    def __init__(self, path: str | Path, name: str, layout: str = "channels-last") -> None:
        self.path, self.name, self._turned = Path(path), name, layout == "channels-first"
        self._data: Any = None
        data = self._opened()
        if data.dtype.kind not in "biuf":
            raise DataError(f"'{name}' of {path} holds {data.dtype}, not real numbers")
        self.dtype = data.dtype.newbyteorder("=")
        shape = tuple(data.shape)
        self.shape = (shape[0], *shape[2:], shape[1]) if self._turned else shape

    def _opened(self) -> Any:
        if self._data is None:
            self._data = hdf5_data(self.path, self.name)
        return self._data

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_data": None}

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        # HDF5 reads rows in ascending order, each once.
        rising, places = np.unique(np.arange(len(self))[rows], return_inverse=True)
        found = self._opened()[rising] if len(rising) else np.empty((0, *self._opened().shape[1:]))
        found = found[places].astype(self.dtype, copy=False)
        return np.moveaxis(found, 1, -1) if self._turned else found


def hdf5_data(path: Path, name: str) -> Any:
    """Open the data set ``name`` of an HDF5 file for reading.

    Raises
    ------
    DataError
        If it does not exist.
    """
    import h5py

    if not path.is_file():
        raise DataError(f"there is no file {path}")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path} is not an HDF5 file that can be read: {error}") from None
    try:
        data = file.get(name)
        if not isinstance(data, h5py.Dataset):
            found: list[str] = []
            file.visititems(lambda at, item: found.append(at) if isinstance(item, h5py.Dataset) else None)
            raise DataError(f"{path} has no data set '{name}'; it has {', '.join(sorted(found)) or 'none at all'}")
        if not data.shape:
            raise DataError(f"'{name}' of {path} is a single value, not one for each sample")
        _refuse_more_than_is_there(data, f"'{name}' of {path}")
        return data
    except DataError:
        raise
    except Exception as error:  # HDF5 raises errors of any type.
        raise DataError(f"'{name}' of {path} cannot be read: {type(error).__name__}: {error}") from None


def _refuse_more_than_is_there(data: Any, what: str) -> None:
    """Refuse missing chunks and chunks that unpack to too many bytes; HDF5 itself fills in or unpacks without bound."""
    if data.chunks is None or data.external or data.is_virtual:
        return
    pieces = math.prod(-(-length // piece) for length, piece in zip(data.shape, data.chunks, strict=True))
    if pieces != data.id.get_num_chunks():
        raise DataError(f"{what} contains fewer values than its shape {data.shape}")
    size = math.prod(data.chunks) * data.dtype.itemsize
    if data.compression != "gzip" or data.id.get_storage_size() > _UNPACKED:
        return
    for number in range(pieces):
        _, raw = data.id.read_direct_chunk(data.id.get_chunk_info(number).chunk_offset)
        stream = zlib.decompressobj()
        with suppress(zlib.error):  # An uncompressed or damaged chunk; HDF5 detects the latter.
            stream.decompress(raw, size + 1024)
            if stream.unconsumed_tail:
                raise DataError(f"{what} unpacks to more values than its shape {data.shape}")


class ImageFiles:
    """Image files of one size, decoded on access.

    Parameters
    ----------
    paths : sequence of paths
    size : (height, width) or None
        Size to which images are scaled; by default all must have the size of the first.
    channels : 1 or 3
        Grey or colour.

    Raises
    ------
    DataError
        If a file is not a readable image, or has another size.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, paths: Sequence[Path], size: tuple[int, int] | None, channels: int) -> None:
        self.paths, self._size, self._channels = tuple(paths), size, channels
        first = self._image(self.paths[0])
        self.shape = (len(self.paths), *first.shape)

    def _image(self, path: Path) -> np.ndarray:
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(path) as file:
                image = file.convert("L" if self._channels == 1 else "RGB")
                if self._size is not None and image.size != self._size[::-1]:
                    image = image.resize(self._size[::-1])
                return np.asarray(image, np.uint8).reshape(image.height, image.width, self._channels)
        except (OSError, UnidentifiedImageError, ValueError) as error:
            raise DataError(f"{path} is not an image that can be read: {error}") from None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: Any) -> np.ndarray:
        wanted = np.arange(len(self))[rows]
        found = np.empty((len(wanted), *self.shape[1:]), np.uint8)
        for place, index in enumerate(wanted):
            image = self._image(self.paths[index])
            if image.shape != self.shape[1:]:
                raise DataError(
                    f"{self.paths[index]} has the size {image.shape[:2]} and {self.paths[0]} {self.shape[1:3]}; "
                    "set size = (height, width) to scale all images"
                )
            found[place] = image
        return found


class Rows:
    """Selected rows of samples that are not in memory, in any order.

    Parameters
    ----------
    samples : Samples
    rows : (n,) int array
    """

    def __init__(self, samples: Samples, rows: np.ndarray) -> None:
        self._samples, self._rows = samples, rows
        self.shape, self.dtype = (len(rows), *samples.shape[1:]), samples.dtype

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Any) -> np.ndarray:
        return self._samples[self._rows[rows]]


def chosen(samples: Samples, rows: np.ndarray) -> Samples:
    """Select rows: a copy of an array, or a view of samples that are not in memory."""
    return samples[rows] if isinstance(samples, np.ndarray) else Rows(samples, rows)


def in_blocks(samples: Samples) -> Iterator[np.ndarray]:
    """Yield all samples in blocks whose size depends only on the shape of a sample, so that sums are bit-identical."""
    step = max(1, _VALUES // max(1, math.prod(samples.shape[1:])))
    for start in range(0, len(samples), step):
        # The order of summation follows the memory layout.
        yield np.ascontiguousarray(samples[np.arange(start, min(start + step, len(samples)))])


def refuse_unusable(samples: Samples, what: str) -> None:
    """Refuse empty samples, and samples that are not finite real numbers.

    Raises
    ------
    DataError
        With ``what`` in the message.
    """
    if samples.dtype.kind not in "biuf":
        raise DataError(f"{what} must be real numbers, not {samples.dtype}")
    if len(samples.shape) < 2 or not math.prod(samples.shape):
        raise DataError(f"{what} must be samples of at least one value each, (n, ...), not of shape {samples.shape}")
    if samples.dtype.kind != "f":
        return
    first = 0
    for block in in_blocks(samples):
        finite = np.isfinite(block).reshape(len(block), -1).all(axis=1)
        if not finite.all():
            raise DataError(f"{what} must be finite numbers, but sample {first + int(finite.argmin())} has NaN or infinity")
        first += len(block)
