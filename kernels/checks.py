"""Validation of arrays and numbers, with uniform error messages.

All floors above check their arguments here. For arrays on a GPU only shape and type are checked, which needs no synchronisation; their
values are checked where they come from main memory.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from analogpc.kernels.gpu.arrays import on_gpu

Lengths = tuple[int | str, ...]
"""Lengths of axes: a number, or a letter for any length."""


class TooLargeError(ValueError):
    """The requested amount of memory exceeds that of this machine."""


def real_array(value: Any, what: str, shape: Lengths | None = None, dtype: Any = None) -> Any:
    """Convert a value to an array of finite real numbers.

    Parameters
    ----------
    value : array or nested sequence
        Values to convert. Arrays on a GPU stay there.
    what : str
        Name in messages, in the plural: "the weights".
    shape : tuple
        Lengths of its axes, such as (4, "n"); by default any.
    dtype : numpy.dtype
        Type of the result; by default that of the value.

    Raises
    ------
    ValueError
        If it is masked, contains anything but real numbers, has another shape, or contains a number that is not finite in that type.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(f"{what} are a masked array; fill in or remove the masked values first")
    there = on_gpu(value)
    try:
        array = value if there else np.asarray(value)
    except (ValueError, TypeError):
        raise ValueError(f"{what} must be an array of real numbers, not rows of different lengths") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{what} must be real numbers, not {array.dtype}")
    if shape is not None:
        refuse_shape(array, what, shape)
    if dtype is not None and array.dtype != dtype:
        with np.errstate(over="ignore"):
            array = array.astype(dtype)
    if array.dtype.kind == "f" and not there and not np.isfinite(array).all():
        raise ValueError(f"{what} must be finite numbers{'' if dtype is None else f' in {np.dtype(dtype)}'}")
    return array


def refuse_shape(array: Any, what: str, shape: Lengths) -> None:
    """Reject an array of another shape; see `real_array`."""
    found = getattr(array, "shape", None)
    if found is None:
        raise ValueError(f"{what} must be an array of shape {_shown(shape)}, not {type(array).__name__}")
    if len(found) == len(shape):
        # A plain loop: this runs for every read, and a generator would take twice as long.
        for n, m in zip(shape, found):  # noqa: B905
            if n != m and isinstance(n, int):
                break
        else:
            return
    raise ValueError(f"{what} must have the shape {_shown(shape)}, not {tuple(found)}")


def _shown(shape: Lengths) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def whole_number(value: Any, what: str, least: int = 0, most: float = math.inf) -> int:
    """Convert an integer to Python's int. NumPy integers are accepted; booleans and floats are not.

    Raises
    ------
    ValueError
        If it is not an integer from ``least`` to ``most``.
    """
    try:
        found = None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        found = None
    if found is None or not least <= found <= most:
        upwards = f"a whole number from {least}" + ("" if math.isinf(most) else f" to {most}")
        raise ValueError(f"{what} = {value!r} is not allowed: it is {upwards}")
    return found


def several(value: Any) -> list[Any]:
    """Return the entries of a sequence; anything else, including a text, is returned as a list of one entry."""
    return list(value) if isinstance(value, Iterable) and not isinstance(value, (str, bytes)) else [value]


LONGEST_SECONDS = 4.4e17
"""Age of the universe in seconds: the longest accepted duration."""


def passing_seconds(value: Any, what: str = "seconds") -> float:
    """Convert a duration to seconds.

    Raises
    ------
    ValueError
        If it is not a finite number, is negative, or is longer than `LONGEST_SECONDS`.
    """
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not 0 <= value < math.inf:
        raise ValueError(f"{what} = {value!r} is not allowed: time passes forwards, by a finite number of seconds")
    if value > LONGEST_SECONDS:
        raise ValueError(f"{what} = {value!r} is not allowed: that is longer than the age of the universe, {LONGEST_SECONDS:g} s")
    return float(value)


def refuse_beyond_memory(numbers: float, dtype: Any, what: str) -> None:
    """Reject an allocation of the given number of values of a type if it exceeds the memory of this machine.

    Raises
    ------
    TooLargeError
    """
    wanted, there = numbers * np.dtype(dtype).itemsize, memory_bytes()
    if wanted > there:
        raise TooLargeError(f"{what} would take {_in_words(wanted)} of memory, and this machine has {_in_words(there)}")


def memory_bytes() -> float:
    """Return the memory available to this process, in bytes; infinite if unknown."""
    try:
        found = float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return math.inf
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return found
    return min(found, float(limit)) if limit.isdecimal() else found


def _in_words(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} PiB"
