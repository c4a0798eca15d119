"""Messages about unknown names, and formatting of quantities."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggestion(name: object, names: Iterable[str]) -> str:
    """Return "; did you mean 'pcm'?" for a name close to one of ``names``, otherwise an empty string.

    Examples
    --------
    >>> suggestion("reram_sb", ["reram-sb", "pcm"])
    "; did you mean 'reram-sb'?"
    """
    by_lower = {known.lower(): known for known in names}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=1)
    return f"; did you mean '{by_lower[close[0]]}'?" if close else ""


def unknown(what: str, name: object, names: Iterable[str], plural: str = "") -> str:
    """Return the message for an unknown name: all valid names, and the closest one."""
    names = list(names)
    return f"there is no {what} {str(name)!r}; the {plural or what + 's'} are {', '.join(names)}{suggestion(name, names)}"


_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f"))


def unit_of(value: float) -> tuple[float, str]:
    """Return the largest unit (factor and prefix) in which a value is at least 1.

    Examples
    --------
    >>> unit_of(3.2e-5)
    (1e-06, 'µ')
    """
    return next(((factor, prefix) for factor, prefix in _PREFIXES if abs(value) >= factor), _PREFIXES[-1])


def in_unit(value: float, unit: str) -> str:
    """Format a quantity with a unit prefix.

    Examples
    --------
    >>> in_unit(3.2e-5, "S")
    '32 µS'
    """
    factor, prefix = unit_of(value) if value else (1.0, "")
    return f"{value / factor:.3g} {prefix}{unit}"
