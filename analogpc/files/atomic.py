"""Atomic replacement of regular files."""

from __future__ import annotations

import glob
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_STALE_SECONDS = 3_600
_LONGEST_NAME = 200
"""Bytes of the target name repeated in the name of its temporary file: file systems allow 255."""


class StorageError(ValueError):
    """Raised if a file cannot be written or read; the message gives the reason."""


def replace_file(path: str | Path, *parts: bytes | memoryview) -> None:
    """Write ``parts`` in order to a temporary file in the same folder, flush it to disk, and rename it to ``path``.

    A kill at any time leaves the old file or the new one. If ``path`` is a symbolic link, its target is
    replaced; an existing file keeps its mode, and its owner if the system permits.

    Raises
    ------
    StorageError
        If the file cannot be written, or must not be replaced (see `check_writable`); no temporary file is left.
    """
    with _telling(path):
        target, former = _target(path)
        name, descriptor = _create(target)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                if former is not None:
                    _keep_owner_and_mode(file.fileno(), former)
                os.fsync(file.fileno())
            os.replace(name, target)
        except BaseException:
            name.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
    _remove_stale(target)


def check_writable(path: str | Path) -> None:
    """Check that `replace_file` could write ``path``, before a long computation.

    Raises
    ------
    StorageError
        If its folder does not exist or is not writable; if it is a folder, a device, a pipe or a socket; if it is read-only; or if
        it has several names (hard links), all but one of which would keep the old content.
    """
    with _telling(path):
        target, _ = _target(path)
        name, descriptor = _create(target)
        os.close(descriptor)
        name.unlink()


def make_folder(path: str | Path) -> Path:
    """Create a folder and its parents, if they do not exist.

    Raises
    ------
    StorageError
        If it cannot be created; the message gives the reason.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"the folder {folder} cannot be created: {error.strerror or error}") from None
    return folder


@contextmanager
def _telling(path: str | Path) -> Iterator[None]:
    """Convert system errors to messages with the path."""
    try:
        yield
    except FileNotFoundError:
        folder = Path(os.path.realpath(path) if os.path.islink(path) else path).parent
        raise StorageError(f"{path} cannot be written: there is no folder {folder}") from None
    except OSError as error:
        raise StorageError(f"{path or repr(path)} cannot be written: {error.strerror or error}") from None


def _target(path: str | Path) -> tuple[Path, os.stat_result | None]:
    """Resolve all links of a path; return the file and its status, or refuse one that must not be replaced."""
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise OSError(0, "it is not the name of a file")
    target = Path(os.path.realpath(path))
    try:
        former = os.stat(target)
    except FileNotFoundError:
        return target, None
    if stat.S_ISDIR(former.st_mode):
        raise IsADirectoryError(0, "it is a folder")
    if not stat.S_ISREG(former.st_mode):
        raise OSError(0, "it is not a regular file but a device, a pipe or a socket")
    if former.st_nlink > 1:
        raise OSError(0, f"the file has {former.st_nlink} names (hard links), and the others would keep the old content")
    if not os.access(target, os.W_OK):
        raise PermissionError(0, "the file is read-only")
    return target, former


def _create(target: Path) -> tuple[Path, int]:
    """Create a new file next to ``target``, with the default mode of the user; return it with its descriptor."""
    while True:
        name = target.parent / f"{_prefix(target)}{secrets.token_hex(4)}.partial"
        try:
            return name, os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        except FileExistsError:
            continue


def _prefix(target: Path) -> str:
    """Return the prefix of the temporary files of a target."""
    return f".{os.fsdecode(os.fsencode(target.name)[:_LONGEST_NAME])}."


def _keep_owner_and_mode(descriptor: int, former: os.stat_result) -> None:
    """Copy owner and mode of the old file; changing the owner may not be permitted."""
    if hasattr(os, "fchown"):
        with suppress(PermissionError):
            os.fchown(descriptor, former.st_uid, former.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(former.st_mode))


def _sync_folder(folder: Path) -> None:
    """Make the rename durable, where a folder can be opened."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_stale(target: Path) -> None:
    """Remove temporary files left by killed writers of this file.

    They are distinguished from active writers by age, which works on all platforms and file systems, unlike locks and PIDs: no
    write of one file takes an hour.
    """
    for left in target.parent.glob(f"{glob.escape(_prefix(target))}*.partial"):
        try:
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                left.unlink()
        except OSError:
            continue
