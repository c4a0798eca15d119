"""Trees of arrays, numbers and texts in HDF5 files that are whole or not there at all. Layout: ``docs/files.md``."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from analogpc._version import __version__
from analogpc.atomic import replace_file

FORMAT = "analogpc"
FORMAT_VERSION = 1
BLOCK = 512
"""Bytes of the HDF5 user block in front of the file, which holds the seal."""

_MAGIC = b"\x89analogpc\r\n\x1a\n"
_TEXT_ATTRIBUTE = 16_384
_COMPRESS_FROM = 4_096

Tree = dict[str, Any]


class StorageError(ValueError):
    """A file cannot be written or read; the sentence says why."""


@dataclass(frozen=True)
class Leaf:
    """An array with what other people need to understand it; it reads back as the plain array.

    Attributes
    ----------
    array : array
    unit : str
        "S" for siemens, "1" for plain numbers.
    description : str
    dims : tuple of str
        What each axis is.
    """

    array: np.ndarray
    unit: str = ""
    description: str = ""
    dims: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One line of a listing.

    Attributes
    ----------
    path, content, meaning : str
        Place in the file; shape and type, or value; unit and description.
    """

    path: str
    content: str
    meaning: str


def write_file(path: str | Path, kind: str, tree: Tree) -> None:
    """Write a tree; a kill at any moment leaves the former file or the new one, whole.

    Parameters
    ----------
    path : path
    kind : str
        What the file is, "run" for instance.
    tree : nested dict
        Leaves are arrays, `Leaf`, int, float, bool or str. Equal trees give equal files, byte for byte, in whatever order their
        names were set.

    Raises
    ------
    StorageError
        If the file cannot be written, or a name or value cannot be stored.
    """
    path = Path(path)
    body = io.BytesIO()
    with h5py.File(body, "w", userblock_size=BLOCK) as file:
        file.attrs.update({"format": FORMAT, "kind": kind, "format_version": FORMAT_VERSION, "analogpc_version": __version__})
        _write_group(file, tree)
    whole = memoryview(body.getbuffer())
    seal = _seal(kind, len(whole), whole[BLOCK:])
    try:
        replace_file(path, seal, whole[BLOCK:])
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from None


def _seal(kind: str, length: int, rest: memoryview | bytes) -> bytes:
    """The user block: a magic line, then text that pins down every other byte of the file."""
    text = f"format_version {FORMAT_VERSION}\nkind {kind}\nbytes {length}\n".encode()
    digest = hashlib.sha256(text)
    digest.update(rest)
    text += f"sha256 {digest.hexdigest()}\n".encode()
    if len(_MAGIC) + len(text) > BLOCK:
        raise StorageError(f"the kind {kind!r} is too long a name")
    return (_MAGIC + text).ljust(BLOCK, b"\0")


def _write_group(group: h5py.Group, tree: Tree) -> None:
    for name in tree:
        if not isinstance(name, str) or not name or "/" in name or name == "." or "\0" in name:
            raise StorageError(f"{name!r} cannot be a name in a file: names are texts without '/'")
    for name, value in sorted(tree.items()):
        if isinstance(value, dict):
            _write_group(group.create_group(name), value)
        elif isinstance(value, Leaf):
            data = _write_array(group, name, value.array)
            for attribute in ("unit", "description"):
                data.attrs[attribute] = getattr(value, attribute)
            data.attrs["dims"] = ", ".join(value.dims)
        elif isinstance(value, np.ndarray):
            _write_array(group, name, value)
        elif isinstance(value, str):
            _write_text(group, name, value)
        elif isinstance(value, (bool, np.bool_)):
            group.attrs[name] = np.bool_(value)
        elif isinstance(value, (int, np.integer)):
            group.attrs[name] = _whole(name, int(value))
        elif isinstance(value, (float, np.floating)):
            group.attrs[name] = np.float64(value)
        else:
            raise StorageError(f"{name!r} is a {type(value).__name__}, which a file cannot hold")


def _whole(name: str, value: int) -> np.integer:
    if -(2**63) <= value < 2**63:
        return np.int64(value)
    if 0 <= value < 2**64:
        return np.uint64(value)
    raise StorageError(f"{name!r} = {value} does not fit into 64 bits")


def _write_text(group: h5py.Group, name: str, value: str) -> None:
    if "\0" in value:
        raise StorageError(f"the text {name!r} holds a null character")
    if len(value.encode()) < _TEXT_ATTRIBUTE:
        group.attrs[name] = value
    else:
        group.create_dataset(name, data=value, track_times=False)


def _write_array(group: h5py.Group, name: str, array: np.ndarray) -> h5py.Dataset:
    array = np.asarray(array)
    if array.dtype.kind not in "biuf":
        raise StorageError(f"the array {name!r} has the type {array.dtype}, which a file cannot hold")
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if array.nbytes >= _COMPRESS_FROM else {}
    return group.create_dataset(name, data=array, track_times=False, **packed)


def _read_whole(path: str | Path) -> tuple[bytes, dict[str, Any]]:
    """All bytes of a file whose seal is good, and what the seal says."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise StorageError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise StorageError(f"{path} is a folder, not an analogpc file") from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}") from None
    if not content.startswith(_MAGIC):
        raise StorageError(f"{path} is not an analogpc file")
    block = content[:BLOCK]
    lines = block[len(_MAGIC) :].rstrip(b"\0").decode("utf-8", "replace").splitlines()
    said = dict(line.partition(" ")[::2] for line in lines)
    if len(content) < BLOCK or not said.get("bytes", "").isdecimal() or not said.get("format_version", "").isdecimal():
        raise StorageError(f"{path} is damaged: its first {BLOCK} bytes are not those of an analogpc file")
    version, length = int(said["format_version"]), int(said["bytes"])
    if version > FORMAT_VERSION:
        raise StorageError(
            f"{path} was written by a newer version of analogpc (format {version}; this one reads {FORMAT_VERSION})"
        )
    if len(content) < length:
        raise StorageError(f"{path} is truncated: {len(content)} bytes of {length}")
    kind = said.get("kind", "")
    if block != _seal(kind, len(content), memoryview(content)[BLOCK:]):
        raise StorageError(f"{path} is damaged: its checksum does not match")
    return content, {"kind": kind, "format_version": version, "bytes": length}


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[h5py.File, dict[str, Any]]]:
    content, header = _read_whole(path)
    with h5py.File(io.BytesIO(content), "r") as file:
        yield file, header | {"analogpc_version": str(file.attrs["analogpc_version"])}


def read_header(path: str | Path) -> dict[str, Any]:
    """What a file says of itself, after a check of every byte: "kind", "format_version", "bytes", "analogpc_version".

    Raises
    ------
    StorageError
        As `read_file`.
    """
    with _opened(path) as (_, header):
        return header


def read_file(path: str | Path, kind: str | None = None) -> Tree:
    """Read the tree that `write_file` wrote, after a check of every byte.

    Parameters
    ----------
    path : path
    kind : str
        What the file must be; anything if not given.

    Raises
    ------
    StorageError
        If the file is missing, foreign, truncated, damaged, newer than this version, or of another kind.
    """
    with _opened(path) as (file, header):
        if kind is not None and header["kind"] != kind:
            raise StorageError(f"{path} is a {header['kind']} file, not a {kind} file")
        tree = _read_group(file)
    for name in ("format", "kind", "format_version", "analogpc_version"):
        del tree[name]
    return tree


def _read_group(group: h5py.Group) -> Tree:
    tree: Tree = {name: _plain(value) for name, value in group.attrs.items()}
    for name, item in group.items():
        if isinstance(item, h5py.Group):
            tree[name] = _read_group(item)
        else:
            value = item[()]
            tree[name] = value.decode() if isinstance(value, bytes) else np.array(value)
    return tree


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def describe(path: str | Path) -> list[Entry]:
    """Every group, array and attribute of a file, after a check of every byte.

    Raises
    ------
    StorageError
        As `read_file`.
    """
    entries: list[Entry] = []

    def visit(group: h5py.Group, prefix: str) -> None:
        for name, value in group.attrs.items():
            shown = str(_plain(value))
            first = shown.splitlines()[0] if shown else ""
            entries.append(Entry(f"{prefix}{name}", first if first == shown else f"{first} …", ""))
        for name, item in group.items():
            if isinstance(item, h5py.Group):
                visit(item, f"{prefix}{name}/")
            else:
                meaning = " ".join(str(item.attrs[key]) for key in ("unit", "description") if item.attrs.get(key))
                entries.append(Entry(f"{prefix}{name}", f"{item.shape} {item.dtype}", meaning))

    with _opened(path) as (file, _):
        visit(file, "/")
    return entries
