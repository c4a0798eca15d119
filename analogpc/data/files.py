"""Search for the published files of a data set on this machine, and their download."""

from __future__ import annotations

import os
import shutil
import tarfile
import zlib
from pathlib import Path
from typing import Self

from analogpc.data.samples import DataError
from analogpc.data.sources import Remote, Source

_CHUNK = 1 << 17


def find(name: str, source: Source, data_dir: Path | None) -> list[Path]:
    """Find the files of a data set, in the order of `Source.files`.

    Parameters
    ----------
    name : str
        Name of the data set, for messages and the cache.
    source : Source
    data_dir : path or None
        Only folder to search; None for the default places and then the internet.

    Raises
    ------
    DataError
        If ``data_dir`` lacks them, or if they are not found and cannot be downloaded.
    """
    if data_dir is not None:
        data_dir = data_dir.expanduser()
        if not data_dir.is_dir():
            raise DataError(f"there is no folder {data_dir} to read '{name}' from")
        found = in_folder(source, data_dir)
        if found is None:
            raise DataError(f"{data_dir} does not contain the files of '{name}': {_expected(source)}")
        return found
    for place in filter(None, (os.environ.get("ANALOGPC_DATA"), source.system)):
        found = in_folder(source, Path(place).expanduser())
        if found is not None:
            return found
    return _download(name, source)


def in_folder(source: Source, folder: Path) -> list[Path] | None:
    """Find all files of a data set in one of its default sub-folders or in the folder; None if one is missing.

    Sub-folders are searched first, because their names distinguish data sets with equal file names.
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
    """Download missing files to the cache; pooch refuses new or cached files without the published checksum."""
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
        raise DataError(f"the archive of '{name}' in {cache} does not contain {', '.join(source.files)}")
    return found


def _retrieve(name: str, source: Source, remote: Remote, cache: Path) -> None:
    """Download one file from the first working mirror."""
    import pooch

    fault = "no address is known"
    for mirror in source.mirrors:
        try:
            with _Bar(remote.name) as bar:
                downloader = pooch.HTTPDownloader(progressbar=bar, chunk_size=_CHUNK)
                pooch.retrieve(
                    mirror + remote.name, known_hash=f"md5:{remote.md5}", fname=remote.name, path=cache, downloader=downloader
                )
        except Exception as error:  # On any error try the next mirror, and report the last error.
            fault = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
        else:
            return
    raise DataError(
        f"'{name}' is not on this machine and could not be downloaded ({fault}); run again with internet access, or point "
        f"--data-dir or the environment variable ANALOGPC_DATA to a folder with {_expected(source)}"
    )


def _unpack(archive: Path, source: Source) -> None:
    """Unpack the files of a data set next to their archive, each atomically; ignore everything else in the archive."""
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
    """Progress bar for pooch (``total``, `update`, `reset`, `close`), on standard error; not shown for cached files."""

    def __init__(self, file: str) -> None:
        self.total = 0
        # Imported here, since few calls download anything.
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task(file, total=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A failed download never calls `close`, and rich refuses a second active bar.
        if self._bar.live.is_started:
            self._bar.stop()

    def update(self, count: int) -> None:
        """Advance by a number of bytes."""
        if not self._bar.live.is_started:
            self._bar.start()
        self._bar.update(self._task, advance=count, total=self.total or None)

    def reset(self) -> None:
        """Reset to zero; pooch calls this before it reports the total."""
        self._bar.reset(self._task, total=self.total or None)

    def close(self) -> None:
        """Stop the bar after the download."""
