"""Bills for the terminal: what training cost, by part and by matrix, and the technologies that price it."""

from __future__ import annotations

from rich.table import Table

from analogpc.devices.costs.bill import Bill
from analogpc.devices.costs.charges import Charge
from analogpc.devices.costs.technology import ENTRIES, Technology
from analogpc.devices.names import in_unit


def bill_tables(bill: Bill, twin: Bill) -> list[Table | str]:
    """Return tables of totals (next to the digital twin), parts, matrices and the critical path."""
    tables: list[Table | str] = [_totals(bill, twin), _parts(bill), _matrices(bill), _path(bill)]
    if bill.no_area:
        tables.append(f"No area: {bill.no_area}.")
    elif bill.areas:
        tables.append(_area(bill))
    return tables


def _table(title: str, *names: str) -> Table:
    table = Table(title=title, title_justify="left")
    for place, name in enumerate(names):
        table.add_column(name, justify="right" if place else "left", no_wrap=True)
    return table


def _totals(bill: Bill, twin: Bill) -> Table:
    table = _table(f"{bill.samples:,} training samples, technology {bill.technology.name}", "", "energy", "latency", "area")
    for name, one in (("as trained", bill), ("digital twin", twin)):
        area = "–" if one.no_area else f"{one.square_millimetres:,.3g} mm²"
        table.add_row(name, in_unit(one.joules, "J"), in_unit(one.seconds, "s"), area)
        table.add_row(
            "  for each batch", in_unit(one.joules / one.batches, "J"), in_unit(one.seconds / one.batches, "s"), "", style="dim"
        )
        table.add_row(
            "  for each sample",
            in_unit(one.joules / one.samples, "J"),
            in_unit(one.seconds / one.samples, "s"),
            "",
            style="dim",
        )
    return table


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "–"


def _parts(bill: Bill) -> Table:
    table = _table("Energy by part", "part", "energy", "for each sample", "share")
    for part, joules in sorted(bill.by_part().items(), key=lambda item: -item[1]):
        if joules:
            table.add_row(part, in_unit(joules, "J"), in_unit(joules / bill.samples, "J"), _share(joules, bill.joules))
    return table


def _matrices(bill: Bill) -> Table:
    table = _table("Energy by matrix", "matrix", "energy", "for each sample", "share")
    for name, joules in bill.by_matrix().items():
        table.add_row(
            name or "states and errors", in_unit(joules, "J"), in_unit(joules / bill.samples, "J"), _share(joules, bill.joules)
        )
    return table


def _path(bill: Bill) -> Table:
    table = _table(
        f"Latency by what is on the critical path (arrays are busy {bill.utilisation:.1%} of it)",
        "what",
        "latency",
        "for each sample",
        "share",
    )
    steps: dict[str, float] = {}
    for (what, _), seconds in bill.path.items():
        steps[what] = steps.get(what, 0.0) + seconds
    for what, seconds in sorted(steps.items(), key=lambda item: -item[1]):
        table.add_row(what, in_unit(seconds, "s"), in_unit(seconds / bill.samples, "s"), _share(seconds, bill.seconds))
    return table


def _area(bill: Bill) -> Table:
    table = _table("Area by part", "part", "area", "share")
    parts: dict[str, float] = {}
    for area in bill.areas:
        parts[area.part] = parts.get(area.part, 0.0) + 1e6 * area.square_metres
    for part, area_mm in sorted(parts.items(), key=lambda item: -item[1]):
        table.add_row(part, f"{area_mm:,.3g} mm²", _share(area_mm, bill.square_millimetres))
    return table


def trace_lines(bill: Bill, part: str) -> list[str]:
    """Return all charges of a part: operation, count, unit cost, and the entries behind the price with their sources."""
    lines, priced_by = [], dict.fromkeys(name for charge in bill.trace(part) for name in charge.entries)
    for charge in bill.trace(part):
        count = f"{charge.count:,.6g} {charge.unit}".rstrip()
        each, all_of_it = in_unit(charge.joules / charge.count, "J"), in_unit(charge.joules, "J")
        by = f" by {', '.join(charge.entries)}"
        lines.append(f"{charge.matrix or 'states and errors'}: {charge.what} {count}, {each} each{by}: {all_of_it}")
    lines += [f"  {name} = {_entry(bill.technology, name)} ({bill.technology.entries[name].source})" for name in priced_by]
    return lines


def _entry(technology: Technology, name: str) -> str:
    entry = technology.entries[name]
    values = ", ".join(f"{value:g} at {bits} bits" for bits, value in entry.values.items()) or f"{entry.value:g}"
    unit = "" if entry.unit == "1" else f" {entry.unit}"
    at = f" at {entry.bits} bits" if entry.bits else ""
    law = "" if entry.law == "given" else f", {entry.law} in them"
    return f"{values}{unit}{at}{law}"


def trace_dict(charge: Charge) -> dict[str, object]:
    """Return a charge as plain data."""
    each = charge.joules / charge.count if charge.count else 0.0
    return {
        "matrix": charge.matrix,
        "what": charge.what,
        "count": charge.count,
        "unit": charge.unit,
        "joules_each": each,
        "joules": charge.joules,
        "entries": list(charge.entries),
    }


def technology_table(technology: Technology) -> Table:
    """Return all entries of a technology with their sources, and its missing entries."""
    table = Table(title=f"{technology.name}: {technology.description}", title_justify="left")
    for name in ("entry", "value", "meaning", "source"):
        table.add_column(name, no_wrap=name in ("entry", "value"))
    for name, (unit, meaning) in ENTRIES.items():
        if technology.has(name):
            table.add_row(name, _entry(technology, name), meaning, technology.entries[name].source)
        else:
            table.add_row(name, "–", f"{meaning} ({unit})", "no entry", style="dim")
    return table
