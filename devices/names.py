"""What is said about a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggestion(name: object, names: Iterable[str]) -> str:
    """ "; did you mean 'pcm'?" for a name close to one of ``names``, otherwise nothing.

    Examples
    --------
    >>> suggestion("reram_sb", ["reram-sb", "pcm"])
    "; did you mean 'reram-sb'?"
    """
    by_lower = {known.lower(): known for known in names}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=1)
    return f"; did you mean '{by_lower[close[0]]}'?" if close else ""


def unknown(what: str, name: object, names: Iterable[str], plural: str = "") -> str:
    """The sentence for a name that is none of ``names``: all of them, and the nearest."""
    names = list(names)
    return f"there is no {what} {str(name)!r}; the {plural or what + 's'} are {', '.join(names)}{suggestion(name, names)}"
