"""Replacing a file as a whole."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

_STALE_SECONDS = 3_600


def replace_file(path: Path, *parts: bytes | memoryview) -> None:
    """Write ``parts`` one after the other to a temporary file in the same folder, force it to disk, and rename it to ``path``.

    A kill at any moment leaves the former file or the new one.

    Raises
    ------
    OSError
        If the file cannot be written; nothing is left behind then.
    """
    prefix = f".{path.name}."
    descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)
    # A killed writer leaves its temporary file behind. Age tells it from that of a writer at work, on every platform and file
    # system, where locks and process numbers do not: nobody writes one file for an hour.
    for left in path.parent.glob(f"{prefix}*.partial"):
        try:
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                left.unlink()
        except OSError:
            continue


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Make the renaming itself durable, where a folder can be opened."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
