"""Reading of untrusted HDF5 files: nothing outside the file, only types written by this project, and bounded memory.

A valid checksum proves that a file is unchanged, not who wrote it. So links must not leave the file or form cycles, data sets must not
be external or have custom filters, every type must be one written by `write_file`, and compressed data are unpacked chunk by chunk,
each only up to its expected size.
"""

from __future__ import annotations

import functools
import itertools
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5o, h5s, h5t, h5z

from analogpc.files.atomic import StorageError

_LARGEST_CHUNK = 2**22
_DEEPEST = 100
_FILTERS = (h5z.FILTER_SHUFFLE, h5z.FILTER_DEFLATE)
_NUMBERS = tuple(
    np.dtype(name) for name in ("?", *["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"])
)


@dataclass
class StrictFile:
    """An untrusted file.

    Attributes
    ----------
    file : h5py.File
    size : int
        Size of the file in bytes, an upper bound for everything stored in it.
    """

    file: h5py.File
    size: int
    _seen: set[Any] = field(default_factory=set)

    def groups_and_arrays(self, group: h5py.Group) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
        """Yield the members of a group by name, in order."""
        if group.name.count("/") > _DEEPEST:
            raise StorageError(f"groups are more than {_DEEPEST} deep")
        for name in group:
            place = f"{group.name.rstrip('/')}/{name}"
            if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
                raise StorageError(f"{place} is a link to another place or file")
            info = h5o.get_info(group.id, name.encode())
            if info.type not in (h5o.TYPE_GROUP, h5o.TYPE_DATASET):
                raise StorageError(f"{place} is neither a group nor an array")
            if info.addr in self._seen or info.rc != 1:
                raise StorageError(f"{place} is linked to several times")
            self._seen.add(info.addr)
            yield name, group[name]

    def attributes(self, item: h5py.Group | h5py.Dataset) -> Iterator[tuple[str, Any]]:
        """Yield the attributes of a group or an array: numbers, and strings as given by h5py."""
        for number in range(h5a.get_num_attrs(item.id)):
            attribute = h5a.open(item.id, index=number)
            name = attribute.name.decode("utf-8", "surrogateescape")
            space, kind = attribute.get_space(), attribute.get_type()
            if space.get_simple_extent_type() != h5s.SCALAR or attribute.get_storage_size() > self.size:
                raise StorageError(f"the attribute {name} of {item.name} is not a single value")
            if not (_is_text(kind) or _number(kind) is not None):
                raise StorageError(f"the attribute {name} of {item.name} has a type that analogpc does not write")
            yield name, item.attrs[name]


@dataclass
class StoredArray:
    """An unread array in an open file.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
    """

    data: h5py.Dataset
    size: int
    """Size of the file in bytes."""

    def __post_init__(self) -> None:
        self.shape = tuple(self.data.shape)
        number = _number(self.data.id.get_type())
        if number is None:
            raise StorageError(f"{self.data.name} has a type that analogpc does not write")
        self.dtype = number
        plan = self.data.id.get_create_plist()
        if plan.get_layout() not in (h5d.COMPACT, h5d.CONTIGUOUS, h5d.CHUNKED) or plan.get_external_count():
            raise StorageError(f"{self.data.name} lies outside of the file")
        filters = tuple(plan.get_filter(number)[0] for number in range(plan.get_nfilters()))
        if filters not in ((), _FILTERS):
            raise StorageError(f"{self.data.name} is stored through filters that analogpc does not use")

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Size of the values in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self) -> np.ndarray:
        """Read all values.

        Raises
        ------
        StorageError
            If the number of stored values does not match the shape.
        """
        if self.data.chunks is not None:
            return self._read_chunks()
        if self.nbytes and (self.data.id.get_storage_size() != self.nbytes or self.nbytes > self.size):
            raise StorageError(f"{self.data.name} does not hold as many values as its shape says")
        return np.asarray(self.data[()])

    def _read_chunks(self) -> np.ndarray:
        chunks, name = self.data.chunks, self.data.name
        chunk_bytes = math.prod(chunks) * self.dtype.itemsize
        counts = [-(-length // chunk) for length, chunk in zip(self.shape, chunks, strict=True)]
        if self.data.maxshape != self.shape or chunk_bytes > max(_LARGEST_CHUNK, self.dtype.itemsize):
            raise StorageError(f"{name} is cut into pieces as analogpc does not cut")
        if math.prod(counts) != self.data.id.get_num_chunks():
            raise StorageError(f"{name} does not hold as many values as its shape says")
        packed = self.data.id.get_create_plist().get_nfilters() > 0
        values = np.empty(self.shape, self.dtype)
        for place in itertools.product(*map(range, counts)):
            corner = tuple(number * chunk for number, chunk in zip(place, chunks, strict=True))
            info = self.data.id.get_chunk_info_by_coord(corner)
            if not 0 < info.size <= self.size:
                raise StorageError(f"{name} does not hold as many values as its shape says")
            skipped, raw = self.data.id.read_direct_chunk(corner)
            block = _unpacked(raw, chunk_bytes, self.dtype.itemsize, skipped if packed else 3, name)
            ends = (min(first + chunk, length) for first, chunk, length in zip(corner, chunks, self.shape, strict=True))
            within = tuple(map(slice, corner, ends))
            whole = np.frombuffer(block, self.dtype.newbyteorder("<")).reshape(chunks)
            values[within] = whole[tuple(slice(0, part.stop - part.start) for part in within)]
        return values


def _unpacked(raw: bytes, size: int, item: int, skipped: int, name: str) -> bytes:
    """Unpack the bytes of a chunk; bit 0 of ``skipped`` means not shuffled, bit 1 not compressed."""
    if not skipped & 2:
        stream = zlib.decompressobj()
        try:
            raw = stream.decompress(raw, size + 1)
        except zlib.error:
            raise StorageError(f"{name} cannot be unpacked") from None
        if not stream.eof or stream.unused_data:
            raise StorageError(f"{name} unpacks to more than its shape says")
    if len(raw) != size:
        raise StorageError(f"{name} does not hold as many values as its shape says")
    return raw if skipped & 1 or item == 1 else np.frombuffer(raw, np.uint8).reshape(item, -1).T.tobytes()


def text_of(data: h5py.Dataset, size: int) -> Any:
    """Read a string stored as a data set, as given by h5py."""
    plan = data.id.get_create_plist()
    inside = plan.get_layout() in (h5d.COMPACT, h5d.CONTIGUOUS) and not plan.get_external_count()
    if data.shape != () or not inside or not _is_text(data.id.get_type()) or data.id.get_storage_size() > size:
        raise StorageError(f"{data.name} is stored in a way that analogpc does not use")
    return data[()]


def holds_text(data: h5py.Dataset) -> bool:
    """Return whether a data set is a string and not an array of numbers."""
    return _number(data.id.get_type()) is None


def _is_text(kind: h5t.TypeID) -> bool:
    return (isinstance(kind, h5t.TypeStringID) and kind.is_variable_str()) or isinstance(kind, h5t.TypeOpaqueID)


def _number(kind: h5t.TypeID) -> np.dtype | None:
    """Return the number type that exactly matches a stored type, in native byte order; None if there is none."""
    return next((dtype for dtype, stored in _stored_numbers() if kind.equal(stored)), None)


@functools.cache
def _stored_numbers() -> list[tuple[np.dtype, h5t.TypeID]]:
    """Return the number types written by `write_file`, with their stored types."""
    return [(dtype, h5t.py_create(dtype.newbyteorder("<"), logical=True)) for dtype in _NUMBERS]
