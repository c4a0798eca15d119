"""Reading of text files in UTF-8, of TOML, and of JSON."""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path
from typing import Any

_LONGEST_TEXT = 16 * 2**20
"""Largest size of a text file in bytes; a specification has a few thousand."""


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML text into fields; a leading byte order mark is ignored.

    Raises
    ------
    ValueError
        In one sentence, if the text is not TOML.
    """
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError("it nests too deep") from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:  # Python converts no numbers of more than 4300 digits, and rejects dates such as 30 February.
        raise ValueError("it holds a number that is too long, or a date that does not exist") from None


def parse_json(text: str) -> Any:
    """Parse a JSON text.

    Raises
    ------
    ValueError
        In one sentence, if it is not JSON.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it nests too deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    except ValueError:  # Python converts no numbers of more than 4300 digits.
        raise ValueError("it holds a number that is too long") from None


def read_text(path: str | Path) -> str:
    """Read a text file in UTF-8 with or without a byte order mark.

    Raises
    ------
    ValueError
        In one sentence with the path, if it cannot be read, is not a regular file, is larger than a specification can be, or is not
        UTF-8 text.
    """
    try:
        held = Path(path).stat()
        if not stat.S_ISREG(held.st_mode):
            raise ValueError(f"{path} cannot be read: it is not a regular file")
        if held.st_size > _LONGEST_TEXT:
            raise ValueError(f"{path} cannot be read: {held.st_size} bytes exceed the limit of {_LONGEST_TEXT} for a text")
        content = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"{path} begins with a byte order mark of UTF-16: save it as text in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text in UTF-8") from None


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read and parse a TOML file.

    Raises
    ------
    ValueError
        In one sentence with the path, if it cannot be read or is not TOML.
    """
    text = read_text(path)
    try:
        return parse_toml(text)
    except ValueError as error:
        raise ValueError(f"{path} is not TOML: {error}") from None
