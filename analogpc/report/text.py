"""Text for terminals."""

from __future__ import annotations


def visible(text: str, but: str = "") -> str:
    r"""Escape unprintable characters, as in ``\x1b``, so that file contents cannot control a terminal.

    Characters in ``but`` are kept.
    """
    return "".join(sign if sign.isprintable() or sign in but else sign.encode("unicode_escape").decode() for sign in text)
