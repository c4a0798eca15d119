"""Trees of arrays, numbers and strings in HDF5 files, written atomically. Layout: ``docs/files.md``."""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, unquote

import h5py
import numpy as np

from analogpc._version import __version__
from analogpc.files.atomic import StorageError as StorageError
from analogpc.files.atomic import replace_file
from analogpc.files.hdf5 import StoredArray, StrictFile, holds_text, text_of
from analogpc.kernels.gpu.arrays import in_tree

FORMAT_VERSION = 1
BLOCK = 512
"""Size in bytes of the HDF5 user block at the start of the file, which holds the seal."""

_MAGIC = b"\x89analogpc\r\n\x1a\n"
_TEXT_ATTRIBUTE = 32_768
_COMPRESS_FROM = 4_096
_PIECE = 2**20
_LONGEST_KIND, _DEEPEST = 64, 100
_TAKEN_BY = {
    "language-run": ": of language models there are train --resume, eval, generate, fill, report, bill, export and inspect"
}
"""Hint for files of one kind where another was expected."""
_OWN = ("format", "kind", "format_version", "analogpc_version")
# Characters that HDF5 strings cannot hold: null and lone surrogates.
_UNSTORABLE = "\0\ud800-\udfff"

Tree = dict[str, Any]


@dataclass(frozen=True)
class Leaf:
    """An array with unit and description; it reads back as the plain array.

    Attributes
    ----------
    array : array
    unit : str
        "S" for siemens, "1" for plain numbers.
    description : str
    dims : tuple of str
        Meaning of each axis.
    """

    array: np.ndarray
    unit: str = ""
    description: str = ""
    dims: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One line of a listing: path in the file; shape and type, or value; unit, description and (axes)."""

    path: str
    content: str
    meaning: str


def write_file(path: str | Path, kind: str, tree: Tree) -> None:
    """Write a tree atomically: a kill at any time leaves the old file or the new one.

    Parameters
    ----------
    path : path
    kind : str
        Kind of the file, for example "run".
    tree : nested dict
        Names are any strings without "/". Leaves are arrays (bool, whole, real or complex numbers of any byte order and of at most
        64 bits a part), `Leaf`, int (64 bits), float, bool or str; NumPy scalars come back as Python's. Equal trees give equal
        files, byte for byte, for any order of their names.

    Raises
    ------
    StorageError
        If the file cannot be written, or a name or value cannot be stored.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise StorageError(f"{path!r} is not the name of a file")
    path = Path(path)
    # A line break in the kind would make the file unreadable.
    if not 1 <= len(kind) <= _LONGEST_KIND or not kind.isprintable():
        raise StorageError(f"kind = {kind!r} is not allowed: it is 1 to {_LONGEST_KIND} printable characters")
    body = io.BytesIO()
    with h5py.File(body, "w", userblock_size=BLOCK) as file:
        file.attrs.update({"format": "analogpc", "kind": kind, "format_version": FORMAT_VERSION, "analogpc_version": __version__})
        _write_group(file, tree)
    whole = body.getbuffer()
    replace_file(path, _seal(kind, len(whole), whole[BLOCK:]), whole[BLOCK:])


def _pinned(kind: str, length: int) -> bytes:
    return f"format_version {FORMAT_VERSION}\nkind {kind}\nbytes {length}\n".encode()


def _seal(kind: str, length: int, rest: memoryview | bytes) -> bytes:
    """The user block: a magic line, then text that fixes every other byte of the file."""
    text = _pinned(kind, length)
    digest = hashlib.sha256(text)
    digest.update(rest)
    return _block(text, digest.hexdigest())


def _seal_of(kind: str, length: int, file: BinaryIO) -> bytes:
    """Compute the seal for the rest of an open file, read in pieces."""
    text = _pinned(kind, length)
    digest = hashlib.sha256(text)
    while piece := file.read(_PIECE):
        digest.update(piece)
    return _block(text, digest.hexdigest())


def _block(text: bytes, digest: str) -> bytes:
    return (_MAGIC + text + f"sha256 {digest}\n".encode()).ljust(BLOCK, b"\0")


def _write_group(group: h5py.Group, tree: Tree) -> None:
    if group.name.count("/") > _DEEPEST:
        raise StorageError(f"the tree holds itself, or dictionaries more than {_DEEPEST} deep")
    for name in tree:
        if not isinstance(name, str) or not name or "/" in name:
            raise StorageError(f"{name!r} cannot be a name in a file: names are texts without '/'")
    for name, value in sorted(tree.items()):
        try:
            _write_item(group, _stored(name, group.name == "/"), value)
        except StorageError:
            raise
        except (OSError, RuntimeError, TypeError, ValueError) as error:  # of HDF5: 33 axes, names of 64 KiB
            raise StorageError(f"{_place(group, name)} cannot be stored: {error}") from None


def _write_item(group: h5py.Group, name: str, value: Any) -> None:
    if isinstance(value, dict):
        _write_group(group.create_group(name), value)
    elif isinstance(value, Leaf):
        data = _write_array(group, name, value.array)
        data.attrs.update({"unit": value.unit, "description": value.description, "dims": ", ".join(value.dims)})
    elif isinstance(value, np.ndarray):
        _write_array(group, name, value)
    elif isinstance(value, str):
        _write_text(group, name, value)
    elif isinstance(value, (bool, float, np.bool_, np.float16, np.float32)):
        group.attrs[name] = value
    elif isinstance(value, (int, np.integer)):
        if not -(2**63) <= value < 2**64:
            raise StorageError(f"{_place(group, name)} = {value} does not fit into 64 bits")
        group.attrs[name] = np.int64(value) if value < 2**63 else np.uint64(value)
    else:
        raise StorageError(f"{_place(group, name)} is a {type(value).__name__}, which a file cannot hold")


def _place(group: h5py.Group, name: str) -> str:
    return repr(f"{group.name.rstrip('/')}/{name[:200]}")


def _stored(name: str, at_root: bool) -> str:
    """Encode a name for HDF5: unsupported and special characters are percent-encoded as in URLs."""
    if name == "." or (at_root and name in _OWN):
        return f"%{ord(name[0]):02X}{name[1:]}"
    return re.sub(f"[%{_UNSTORABLE}]", lambda found: quote(found[0], errors="surrogatepass"), name)


def _write_text(group: h5py.Group, name: str, value: str) -> None:
    encoded = value.encode("utf-8", "surrogatepass")
    # Opaque bytes store strings that HDF5 would truncate or refuse; `str` removes subclasses.
    stored = np.void(encoded) if re.search(f"[{_UNSTORABLE}]", value) else encoded.decode()
    if len(encoded) < _TEXT_ATTRIBUTE:
        group.attrs[name] = stored
    else:
        group.create_dataset(name, data=stored, track_times=False)


def _write_array(group: h5py.Group, name: str, array: np.ndarray) -> h5py.Dataset:
    array, masked = np.asarray(array), isinstance(array, np.ma.MaskedArray)
    # Longer floating types differ from one platform to the next, and their padding from one run to the next.
    if masked or array.dtype.kind not in "biufc" or array.dtype.itemsize > (16 if array.dtype.kind == "c" else 8):
        what = "is masked" if masked else f"has the type {array.dtype}"
        raise StorageError(f"the array {_place(group, name)} {what}, which a file cannot hold")
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if array.nbytes >= _COMPRESS_FROM else {}
    return group.create_dataset(name, data=array, track_times=False, **packed)


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[StrictFile, dict[str, Any]]]:
    """Open a file with a valid seal; yield it with the contents of the seal, and convert HDF5 errors to messages."""
    if not isinstance(path, (str, os.PathLike)):
        raise StorageError(f"{path!r} is not the name of a file")
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            what = "a folder" if Path(path).is_dir() else "a device, a pipe or a socket"
            raise StorageError(f"{path} is not an analogpc file but {what}")
        with open(path, "rb") as file:
            header = _checked_seal(path, file)
            with _readable(path), h5py.File(file, "r") as content:
                if content.userblock_size != BLOCK:
                    raise StorageError("its content does not start after the first block")
                strict = StrictFile(content, header["bytes"])
                own = {name: _plain(value) for name, value in strict.attributes(content["/"]) if name in _OWN}
                for name, expected in (("format", "analogpc"), ("kind", header["kind"]), ("format_version", FORMAT_VERSION)):
                    if own.get(name) != expected:
                        raise StorageError(f"its {name} is {own.get(name)!r}, but the first block has {expected!r}")
                yield strict, header | {"analogpc_version": str(own.get("analogpc_version", ""))}
    except FileNotFoundError:
        raise StorageError(f"{path} does not exist") from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}") from None


def _checked_seal(path: str | Path, file: BinaryIO) -> dict[str, Any]:
    """Return the contents of the seal of a file, after checking every byte against it."""
    block = file.read(BLOCK)
    if not block.startswith(_MAGIC):
        raise StorageError(f"{path} is not an analogpc file")
    size = file.seek(0, os.SEEK_END)
    if size < BLOCK:
        raise StorageError(f"{path} is truncated: {size} bytes of at least {BLOCK}")
    lines = block[len(_MAGIC) :].rstrip(b"\0").decode("utf-8", "replace").splitlines()
    said = dict(line.partition(" ")[::2] for line in lines)
    if not said.get("bytes", "").isdecimal() or not said.get("format_version", "").isdecimal():
        raise StorageError(f"{path} is damaged: its first {BLOCK} bytes are not those of an analogpc file")
    version, length = int(said["format_version"]), int(said["bytes"])
    if version > FORMAT_VERSION:
        raise StorageError(f"{path} was written by a newer version (format {version}; this version reads {FORMAT_VERSION})")
    if size < length:
        raise StorageError(f"{path} is truncated: {size} bytes of {length}")
    kind = said.get("kind", "")
    file.seek(BLOCK)
    if block != _seal_of(kind, size, file):
        raise StorageError(f"{path} is damaged: its checksum does not match")
    return {"kind": kind, "format_version": version, "bytes": length}


@contextmanager
def _readable(path: str | Path) -> Iterator[None]:
    """Convert errors in the content of a file to messages with the path."""
    try:
        yield
    except MemoryError:
        raise StorageError(f"{path} does not fit into memory") from None
    except Exception as error:
        # A valid checksum does not imply a valid HDF5 file; its library raises errors of any type.
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise StorageError(f"{path} is not compatible with this version of analogpc: {reason}") from error


@contextmanager
def open_file(path: str | Path, kind: str) -> Iterator[Tree]:
    """Open a tree written by `write_file` within a block; arrays are read on demand (`StoredArray`).

    Parameters
    ----------
    path : path
    kind : str
        Required kind of the file.

    Raises
    ------
    StorageError
        As in `read_file`, and for errors in the content raised within the block, with the path.
    """
    with _opened(path) as (strict, header):
        if header["kind"] != kind:
            raise StorageError(f"it is a {header['kind']} file, not a {kind} file{_TAKEN_BY.get(header['kind'], '')}")
        yield _read_group(strict, strict.file["/"])


def read_header(path: str | Path) -> dict[str, Any]:
    """Return the header of a file, after a check of every byte: "kind", "format_version", "bytes", "analogpc_version".

    Raises
    ------
    StorageError
        As in `read_file`.
    """
    with _opened(path) as (_, header):
        return header


def read_file(path: str | Path, kind: str | None = None) -> Tree:
    """Read a tree written by `write_file`, after a check of every byte.

    Parameters
    ----------
    path : path
    kind : str
        Required kind of the file; any by default.

    Raises
    ------
    StorageError
        If the file is missing, foreign, truncated, damaged, newer than this version, or of another kind.
    """
    with _opened(path) as (strict, header):
        if kind is not None and header["kind"] != kind:
            raise StorageError(f"it is a {header['kind']} file, not a {kind} file{_TAKEN_BY.get(header['kind'], '')}")
        return in_tree(lambda stored: stored.read(), _read_group(strict, strict.file["/"]))


def _read_group(strict: StrictFile, group: h5py.Group) -> Tree:
    own = _OWN if group.name == "/" else ()
    tree = {name: _plain(value) for name, value in strict.attributes(group) if name not in own}
    for name, item in strict.groups_and_arrays(group):
        if name in tree:
            raise StorageError(f"{group.name} holds two things of the name {name}")
        tree[name] = _read_group(strict, item) if isinstance(item, h5py.Group) else _read_data(strict, item)
    return {unquote(name, errors="surrogatepass"): value for name, value in tree.items()}


def _read_data(strict: StrictFile, data: h5py.Dataset) -> StoredArray | str:
    return _plain(text_of(data, strict.size)) if holds_text(data) else StoredArray(data, strict.size)


def _plain(value: Any) -> Any:
    """Convert an attribute or string of h5py to a Python value."""
    if isinstance(value, (bytes, np.void)):
        held = value.tobytes() if isinstance(value, np.void) else value
        return held.decode("utf-8", "surrogatepass")
    return value.item() if isinstance(value, np.generic) else value


def describe(path: str | Path) -> list[Entry]:
    """List all groups, arrays and attributes of a file, after a check of every byte.

    Raises
    ------
    StorageError
        As in `read_file`.
    """
    entries: list[Entry] = []

    def visit(group: h5py.Group, prefix: str) -> None:
        for name, value in strict.attributes(group):
            entries.append(Entry(f"{prefix}{name}", _short(_plain(value)), ""))
        for name, item in strict.groups_and_arrays(group):
            if isinstance(item, h5py.Group):
                entries.append(Entry(f"{prefix}{name}/", "group", ""))
                visit(item, f"{prefix}{name}/")
                continue
            held = _read_data(strict, item)
            content = _short(held) if isinstance(held, str) else f"{held.shape} {held.dtype}"
            described = {name: str(_plain(value)) for name, value in strict.attributes(item)}
            notes = described.get("unit"), described.get("description"), f"({described.get('dims', '')})"
            entries.append(Entry(f"{prefix}{name}", content, " ".join(note for note in notes if note and note != "()")))

    with _opened(path) as (strict, _):
        visit(strict.file["/"], "/")
    return entries


def _short(value: Any) -> str:
    first = "".join(str(value).splitlines()[:1])[:80]
    return first if first == str(value) else f"{first} …"
