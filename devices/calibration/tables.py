"""Files of measured data as columns of text: delimited text in any common form, Excel workbooks, MATLAB files."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_COMMENTS = ("#", "%", "//")
_MOST_BYTES = 200_000_000
_DECIMAL_COMMA = re.compile(r"^\s*[+-]?\d+,\d+([eE][+-]?\d+)?\s*$")


class CalibrationError(ValueError):
    """Measured data cannot be used; the message gives the reason in one sentence."""


@dataclass(frozen=True)
class Table:
    """A file as columns.

    Attributes
    ----------
    name : str
        File name without its folder; empty if the data did not come from a file.
    sha256 : str
        SHA-256 digest of the content.
    header : tuple of str
        Names of the columns; empty if there are none.
    columns : tuple of tuple of str
        Cells as text; a column ends with its last nonempty cell.
    form : str
        Short description of how the file was read.
    """

    name: str
    sha256: str
    header: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    form: str

    @property
    def rows(self) -> int:
        """Length of the longest column."""
        return max((len(column) for column in self.columns), default=0)


def is_number(text: str) -> bool:
    """Whether a cell is a number, finite or not."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_table(path: str | Path) -> Table:
    """Read a file: .xlsx, .mat, or text with columns separated by commas, semicolons, tabs or spaces.

    Raises
    ------
    CalibrationError
        If it cannot be read, is empty, or its rows do not match its header.
    """
    path = Path(path)
    try:
        if (size := path.stat().st_size) > _MOST_BYTES:
            raise CalibrationError(
                f"{path} holds {size / 1e6:,.0f} MB, and {_MOST_BYTES / 1e6:.0f} MB are allowed: leave out devices, cycles or readings"
            )
        content = path.read_bytes()
    except OSError as error:
        raise CalibrationError(f"{path} cannot be read: {error.strerror or error}") from None
    ending = path.suffix.lower()
    if ending in (".xlsx", ".xlsm"):
        rows, form = _excel(path), "an Excel workbook"
    elif ending == ".mat":
        return _matlab(path, hashlib.sha256(content).hexdigest())
    else:
        rows, form = _text(path, content)
    if not rows:
        raise CalibrationError(f"{path} is empty")
    header, body = _split_header(rows)
    width = max(len(row) for row in (header, *body))
    for number, row in enumerate(body, 1):
        if header and len(row) < len(header) and any(len(other) == len(header) for other in body) and _long(header):
            raise CalibrationError(f"{path}: data row {number} has {len(row)} cells and the header {len(header)}")
        if header and len(row) > len(header) and any(row[len(header) :]) and _long(header):
            raise CalibrationError(
                f"{path}: data row {number} has {len(row)} cells and the header {len(header)} (decimal commas need another separator)"
            )
    columns = tuple(_column(body, k) for k in range(width))
    used = [k for k in range(width) if columns[k] or (k < len(header) and header[k])]
    kept = tuple(header[k] if k < len(header) else "" for k in used) if header else ()
    return Table(path.name, hashlib.sha256(content).hexdigest(), kept, tuple(columns[k] for k in used), form)


def _long(header: list[str]) -> bool:
    """Whether the header names the columns of a long table, whose rows have equal lengths."""
    return any(name.strip().lower().startswith(("pulse", "conductance", "resistance", "current")) for name in header)


def _column(body: list[list[str]], k: int) -> tuple[str, ...]:
    cells = [row[k].strip() if k < len(row) else "" for row in body]
    while cells and not cells[-1]:
        cells.pop()
    return tuple(cells)


def _split_header(rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Return the header, merged with a row of units below it, and the remaining rows."""

    def named(row: list[str]) -> bool:
        return any(cell.strip() and not is_number(cell) for cell in row)

    if not named(rows[0]) or (len(rows) > 1 and not any(is_number(cell) for row in rows[1:] for cell in row)):
        return ([], rows) if not named(rows[0]) else (rows[0], rows[1:])
    header, body = [cell.strip() for cell in rows[0]], rows[1:]
    if len(body) > 1 and len(body[0]) <= len(header) and not any(re.search(r"\d", cell) for cell in body[0]):
        units = [cell.strip().strip("[]()") for cell in body[0]]
        header = [f"{name} [{unit}]" if unit else name for name, unit in zip(header, units, strict=False)]
        body = body[1:]
    return header, body


def _decoded(path: Path, content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    if b"\0" in content:
        raise CalibrationError(f"{path} cannot be read as a table: it is not text, nor an Excel or MATLAB file")
    return content.decode("latin-1")


def _text(path: Path, content: bytes) -> tuple[list[list[str]], str]:
    """Return rows of cells, and a description of their separators."""
    lines = [line for line in _decoded(path, content).splitlines() if line.strip() and not line.lstrip().startswith(_COMMENTS)]
    if not lines:
        return [], ""
    sample = lines[: min(len(lines), 200)]
    if sum(";" in line for line in sample) > len(sample) / 2:
        separator, word = ";", "semicolons"
    elif sum("\t" in line for line in sample) > len(sample) / 2:
        separator, word = "\t", "tabs"
    elif sum("," in line for line in sample) > len(sample) / 2:
        separator, word = ",", "commas"
    else:
        separator, word = "", "blanks"
    if separator:
        rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO("\n".join(lines)), delimiter=separator)]
    else:
        rows = [line.split() for line in lines]
    cells = [cell for row in rows[:200] for cell in row]
    if separator != "," and any(_DECIMAL_COMMA.match(cell) for cell in cells):
        rows = [[cell.replace(",", ".") if _DECIMAL_COMMA.match(cell) else cell for cell in row] for row in rows]
        word += ", decimal commas"
    # A line may end with a separator.
    width = max(len(row) for row in rows)
    if all(len(row) < width or not row[-1] for row in rows):
        rows = [row[: width - 1] for row in rows]
    return [row for row in rows if any(row)], f"text with {word}"


def _excel(path: Path) -> list[list[str]]:
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise CalibrationError(
            f'{path}: an Excel workbook needs openpyxl: pip install "analogpc[excel]", or save it as CSV'
        ) from None
    try:
        sheet = load_workbook(path, read_only=True, data_only=True).active
    except Exception as error:
        raise CalibrationError(f"{path} cannot be read as an Excel workbook: {error}") from None
    rows = [["" if cell is None else str(cell) for cell in row] for row in sheet.iter_rows(values_only=True)]
    return [row for row in rows if any(cell.strip() for cell in row)]


def _matlab(path: Path, digest: str) -> Table:
    from scipy.io import loadmat

    try:
        found = loadmat(path)
    except NotImplementedError:
        raise CalibrationError(f"{path} is a MATLAB file of version 7.3: save it with '-v7', or as CSV") from None
    except Exception as error:
        raise CalibrationError(f"{path} cannot be read as a MATLAB file: {error}") from None
    header, columns = [], []
    for name, value in found.items():
        if name.startswith("__") or not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub" or value.ndim != 2:
            continue
        block = value.T if value.shape[0] == 1 else value
        for k in range(block.shape[1]):
            header.append(name if block.shape[1] == 1 else f"{name}{k + 1}")
            columns.append(tuple("" if np.isnan(cell) else repr(float(cell)) for cell in block[:, k]))
    if not columns:
        raise CalibrationError(f"{path} holds no array of numbers")
    trimmed = []
    for column in columns:
        cells = list(column)
        while cells and not cells[-1]:
            cells.pop()
        trimmed.append(tuple(cells))
    return Table(path.name, digest, tuple(header), tuple(trimmed), "a MATLAB file")
