"""Text on its way to a terminal."""

from __future__ import annotations


def visible(text: str, but: str = "") -> str:
    r"""A text with everything that does not print shown by its number, as ``\x1b``, so that no file can command a terminal.

    Characters of ``but`` stay as they are.
    """
    return "".join(sign if sign.isprintable() or sign in but else sign.encode("unicode_escape").decode() for sign in text)
