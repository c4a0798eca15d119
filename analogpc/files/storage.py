"""Trees of arrays, numbers and texts in HDF5 files that are whole or not there at all. Layout: ``docs/files.md``."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import h5py
import numpy as np

from analogpc._version import __version__
from analogpc.files.atomic import StorageError as StorageError
from analogpc.files.atomic import replace_file

FORMAT_VERSION = 1
BLOCK = 512
"""Bytes of the HDF5 user block in front of the file, which holds the seal."""

_MAGIC = b"\x89analogpc\r\n\x1a\n"
_TEXT_ATTRIBUTE = 32_768
_COMPRESS_FROM = 4_096
_LONGEST_KIND, _DEEPEST = 64, 100
_OWN = ("format", "kind", "format_version", "analogpc_version")
# What HDF5 text cannot hold: the null character and halves of surrogate pairs.
_UNSTORABLE = "\0\ud800-\udfff"

Tree = dict[str, Any]


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
    """One line of a listing: place in the file; shape and type, or value; unit, description and (axes)."""

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
        Names are any text without "/". Leaves are arrays (bool, whole, real or complex numbers of any byte order and of at most
        64 bits a part), `Leaf`, int (64 bits), float, bool or str; NumPy scalars come back as Python's. Equal trees give equal
        files, byte for byte, in whatever order their names were set.

    Raises
    ------
    StorageError
        If the file cannot be written, or a name or value cannot be stored.
    """
    path = Path(path)
    # A line break would end the kind early in the seal, and the file could never be read again.
    if not 1 <= len(kind) <= _LONGEST_KIND or not kind.isprintable():
        raise StorageError(f"kind = {kind!r} is not allowed: it is 1 to {_LONGEST_KIND} printable characters")
    body = io.BytesIO()
    with h5py.File(body, "w", userblock_size=BLOCK) as file:
        file.attrs.update({"format": "analogpc", "kind": kind, "format_version": FORMAT_VERSION, "analogpc_version": __version__})
        _write_group(file, tree)
    whole = body.getbuffer()
    replace_file(path, _seal(kind, len(whole), whole[BLOCK:]), whole[BLOCK:])


def _seal(kind: str, length: int, rest: memoryview | bytes) -> bytes:
    """The user block: a magic line, then text that pins down every other byte of the file."""
    text = f"format_version {FORMAT_VERSION}\nkind {kind}\nbytes {length}\n".encode()
    digest = hashlib.sha256(text)
    digest.update(rest)
    text += f"sha256 {digest.hexdigest()}\n".encode()
    return (_MAGIC + text).ljust(BLOCK, b"\0")


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
    """A name as HDF5 can hold it: what it cannot, and what means something else there, is percent-encoded as in an address."""
    if name == "." or (at_root and name in _OWN):
        return f"%{ord(name[0]):02X}{name[1:]}"
    return re.sub(f"[%{_UNSTORABLE}]", lambda found: quote(found[0], errors="surrogatepass"), name)


def _write_text(group: h5py.Group, name: str, value: str) -> None:
    encoded = value.encode("utf-8", "surrogatepass")
    # Opaque bytes keep exactly the texts that HDF5 strings would cut or refuse; `str` frees the others of subclasses.
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


def _read_whole(path: str | Path) -> tuple[bytes, dict[str, Any]]:
    """All bytes of a file whose seal is good, and what the seal says."""
    if Path(path).is_dir():
        raise StorageError(f"{path} is not an analogpc file but a folder")
    try:
        with open(path, "rb") as file:
            # A look at the first bytes spares reading the whole of a large foreign file.
            if file.read(len(_MAGIC)) != _MAGIC:
                raise StorageError(f"{path} is not an analogpc file")
            file.seek(0)
            content = file.read()
    except FileNotFoundError:
        raise StorageError(f"{path} does not exist") from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(content) < BLOCK:
        raise StorageError(f"{path} is truncated: {len(content)} bytes of at least {BLOCK}")
    block = content[:BLOCK]
    lines = block[len(_MAGIC) :].rstrip(b"\0").decode("utf-8", "replace").splitlines()
    said = dict(line.partition(" ")[::2] for line in lines)
    if not said.get("bytes", "").isdecimal() or not said.get("format_version", "").isdecimal():
        raise StorageError(f"{path} is damaged: its first {BLOCK} bytes are not those of an analogpc file")
    version, length = int(said["format_version"]), int(said["bytes"])
    if version > FORMAT_VERSION:
        raise StorageError(f"{path} was written by a newer version (format {version}; this version reads {FORMAT_VERSION})")
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
        return _read_group(file)


def _read_group(group: h5py.Group) -> Tree:
    own = _OWN if group.name == "/" else ()
    tree = {name: _plain(value) for name, value in group.attrs.items() if name not in own}
    for name, item in group.items():
        tree[name] = _read_group(item) if isinstance(item, h5py.Group) else _read_data(item)
    return {unquote(name, errors="surrogatepass"): value for name, value in tree.items()}


def _read_data(data: h5py.Dataset) -> np.ndarray | str:
    # Numbers of any shape, 0-d too, are arrays; only texts are stored as objects or opaque bytes.
    return _plain(data[()]) if data.dtype.kind in "OV" else np.asarray(data[()])


def _plain(value: Any) -> Any:
    """A Python value from what h5py gives for an attribute or a text."""
    if isinstance(value, (bytes, np.void)):
        held = value.tobytes() if isinstance(value, np.void) else value
        return held.decode("utf-8", "surrogatepass")
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
            entries.append(Entry(f"{prefix}{name}", _short(_plain(value)), ""))
        for name, item in group.items():
            if isinstance(item, h5py.Group):
                entries.append(Entry(f"{prefix}{name}/", "group", ""))
                visit(item, f"{prefix}{name}/")
            else:
                content = _short(_read_data(item)) if item.dtype.kind in "OV" else f"{item.shape} {item.dtype}"
                notes = item.attrs.get("unit"), item.attrs.get("description"), f"({item.attrs.get('dims', '')})"
                entries.append(Entry(f"{prefix}{name}", content, " ".join(note for note in notes if note and note != "()")))

    with _opened(path) as (file, _):
        visit(file, "/")
    return entries


def _short(value: Any) -> str:
    first = "".join(str(value).splitlines()[:1])[:80]
    return first if first == str(value) else f"{first} …"
