"""Finding the published files of a data set on this machine, or downloading them."""

from __future__ import annotations

import os
import shutil
import tarfile
import zlib
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from analogpc.data.samples import DataError
from analogpc.data.sources import Remote, Source

_CHUNK = 1 << 17


def find(name: str, source: Source, data_dir: Path | None) -> list[Path]:
    """The files of a data set, in the order of `Source.files`.

    Parameters
    ----------
    name : str
        Of the data set, for messages and for the cache.
    source : Source
    data_dir : path or None
        Look here and nowhere else; None for the usual places, the internet last.

    Raises
    ------
    DataError
        If ``data_dir`` does not hold them, or if they are nowhere and cannot be downloaded.
    """
    if data_dir is not None:
        data_dir = data_dir.expanduser()
        if not data_dir.is_dir():
            raise DataError(f"there is no folder {data_dir} to read '{name}' from")
        found = in_folder(source, data_dir)
        if found is None:
            raise DataError(f"{data_dir} does not hold the files of '{name}': {_expected(source)}")
        return found
    for place in filter(None, (os.environ.get("ANALOGPC_DATA"), source.system)):
        found = in_folder(source, Path(place).expanduser())
        if found is not None:
            return found
    return _download(name, source)


def in_folder(source: Source, folder: Path) -> list[Path] | None:
    """All files of a data set in one of its usual sub-folders or in the folder itself; None if one of them is missing.

    The sub-folders come first: their names tell data sets apart whose files have the same names.
    """
    endings = ("", ".gz") if source.layout == "idx" else ("",)
    for place in (*(folder / sub for sub in source.folders), folder):
        candidates = [[place / (name + ending) for ending in endings] for name in source.files]
        found = [next((path for path in paths if path.is_file()), None) for paths in candidates]
        if all(found):
            return [path for path in found if path]
    return None


def _expected(source: Source) -> str:
    zipped = " (each plain or as .gz)" if source.layout == "idx" else ""
    return f"{', '.join(source.files)}{zipped}, there or in a sub-folder {' or '.join(source.folders)}"


def _download(name: str, source: Source) -> list[Path]:
    """Fetch what the cache lacks; pooch refuses whatever does not have the published checksum, be it new or cached."""
    import pooch

    cache = Path(pooch.os_cache("analogpc")) / name
    for remote in source.remotes:
        archive = remote.name.endswith(".tar.gz")
        if archive and in_folder(source, cache):
            continue
        _retrieve(name, source, remote, cache)
        if archive:
            _unpack(cache / remote.name, source)
    found = in_folder(source, cache)
    if found is None:
        raise DataError(f"the archive of '{name}' in {cache} does not hold {', '.join(source.files)}")
    return found


def _retrieve(name: str, source: Source, remote: Remote, cache: Path) -> None:
    """One file, from the first mirror that gives it."""
    import pooch

    fault = "no address is known"
    for mirror in source.mirrors:
        try:
            with _Bar(remote.name) as bar:
                downloader = pooch.HTTPDownloader(progressbar=bar, chunk_size=_CHUNK)
                pooch.retrieve(
                    mirror + remote.name, known_hash=f"md5:{remote.md5}", fname=remote.name, path=cache, downloader=downloader
                )
        except Exception as error:  # Whatever the network or the mirror does, the next mirror is tried and the last fault told.
            fault = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
        else:
            return
    raise DataError(
        f"'{name}' is not on this machine and could not be downloaded ({fault}); run again with internet, or point "
        f"--data-dir or the environment variable ANALOGPC_DATA to a folder with {_expected(source)}"
    )


def _unpack(archive: Path, source: Source) -> None:
    """Put the files of a data set beside their archive, each whole or not at all; nothing else in the archive is touched."""
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                file = Path(member.name).name
                content = tar.extractfile(member) if member.isfile() and file in source.files else None
                if content is None:
                    continue
                partial = archive.with_name(f"{file}.{os.getpid()}.part")
                with content, partial.open("wb") as out:
                    shutil.copyfileobj(content, out)
                partial.replace(archive.with_name(file))
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{archive} cannot be unpacked: {error}") from None


class _Bar:
    """The progress bar that pooch asks for (``total``, `update`, `reset`, `close`), on standard error; a file in the cache shows none."""

    def __init__(self, file: str) -> None:
        self.total = 0
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task(file, total=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A download that breaks never calls `close`, and rich refuses a second bar while the first one is alive.
        if self._bar.live.is_started:
            self._bar.stop()

    def update(self, count: int) -> None:
        """So many bytes more."""
        if not self._bar.live.is_started:
            self._bar.start()
        self._bar.update(self._task, advance=count, total=self.total or None)

    def reset(self) -> None:
        """Back to nothing: pooch does so before it reports the whole."""
        self._bar.reset(self._task, total=self.total or None)

    def close(self) -> None:
        """The download is complete."""
