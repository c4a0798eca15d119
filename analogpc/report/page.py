"""One page for runs or a sweep: HTML without external resources, and its figures as separate PNG files."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from analogpc.report.page_pictures import Picture

_WIDE = 1200
"""Figures wider than this, in pixels, span the page."""


@dataclass(frozen=True)
class TablePart:
    """A sortable and filterable table.

    Attributes
    ----------
    title : str
    rows : sequence of dict
        Plain values by column; a pair is the sort key and the displayed value.
    columns : sequence of str
    percent : set of str
        Columns displayed in percent.
    """

    title: str
    rows: Sequence[Mapping[str, Any]]
    columns: Sequence[str]
    percent: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Part:
    """A section of a page, with optional texts, facts, tables, figures and listings."""

    name: str
    title: str
    texts: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    tables: Sequence[TablePart] = ()
    pictures: Sequence[Picture] = ()
    listings: Mapping[str, str] = field(default_factory=dict)


def render(title: str, subtitle: str, parts: Sequence[Part]) -> str:
    """Render the page as HTML; texts are escaped.

    Parameters
    ----------
    title, subtitle : str
    parts : sequence of Part
    """
    from jinja2 import Environment, StrictUndefined

    source = resources.files("analogpc.report").joinpath("page.html").read_text(encoding="utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(source)
    return template.render(title=title, subtitle=subtitle, parts=[_shown(part) for part in parts])


def _shown(part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "title": part.title,
        "texts": part.texts,
        "facts": part.facts,
        "tables": [_table(one) for one in part.tables],
        "pictures": [_picture(one) for one in part.pictures],
        "listings": part.listings,
    }


def _picture(one: Picture) -> dict[str, Any]:
    width, height = struct.unpack(">II", one.png[16:24])  # of the header of every PNG
    return {
        "title": one.title,
        "caption": one.caption,
        "alternative": one.alternative,
        "data": base64.b64encode(one.png).decode(),
        "width": round(width / 1.5),
        "height": round(height / 1.5),
        "wide": width > _WIDE,
    }


def _table(one: TablePart) -> dict[str, Any]:
    numeric = {
        name
        for name in one.columns
        if any(_is_number(row.get(name)) for row in one.rows)
        and all(_is_number(row[name]) for row in one.rows if row.get(name) not in (None, ""))
    }
    rows = [
        {
            "failed": row.get("status") in ("failed", "lost"),
            "cells": [_cell(row.get(name, ""), name, name in numeric, one.percent) for name in one.columns],
        }
        for row in one.rows
    ]
    columns = [{"title": name.replace("_", " "), "number": name in numeric} for name in one.columns]
    return {"title": one.title, "columns": columns, "rows": rows}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cell(value: Any, name: str, number: bool, percent: frozenset[str]) -> dict[str, Any]:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        value = ""
    shown = readable(value, name in percent)
    if isinstance(value, tuple):
        value, shown = value
    return {"text": shown, "value": value, "number": number, "sentence": name == "sentence"}


def readable(value: Any, percent: bool = False) -> str:
    """Format a value: percent, groups of thousands, four digits."""
    if not _is_number(value):
        return str(value)
    if percent:
        return f"{100 * value:.2f} %"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return f"{value:,.0f}" if 10_000 <= abs(value) < 1e15 else f"{value:.4g}"
