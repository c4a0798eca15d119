"""Shared parts of figures: display in notebooks, colours, names of runs, units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from analogpc.training.run import Run

# Colour-blind safe colours of Okabe and Ito, and line styles for print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":")
_MOST_NAMES = 28


class Picture(Figure):
    """A matplotlib figure that displays itself once in a notebook."""

    def _repr_png_(self) -> bytes:
        from io import BytesIO

        buffer = BytesIO()
        self.savefig(buffer, format="png", dpi=100)
        return buffer.getvalue()


def picture(width: float, height: float) -> Picture:
    """Create an empty figure of a size in inches."""
    return Picture(figsize=(width, height), layout="constrained")


def legend_below(figure: Any, axes: Any) -> None:
    """Add one legend below all panels, with the curves of ``axes`` except those of the training part."""
    lines = [line for line in axes.get_lines() if not str(line.get_label()).endswith(", train")]
    labels = [str(line.get_label()).rsplit(", ", 1)[0] for line in lines]
    if 0 < len(lines) <= _MOST_NAMES:
        columns = max(1, min(len(lines), int(12 * figure.get_figwidth() / max(map(len, labels)))))
        figure.legend(lines, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)


def colour(number: int) -> str:
    """Return the colour of a curve, by number."""
    return COLOURS[number % len(COLOURS)]


def style(number: int) -> str:
    """Return the line style of a curve, by number; it changes when the colours repeat."""
    return STYLES[number // len(COLOURS) % len(STYLES)]


def names_of(runs: Sequence[Run]) -> list[str]:
    """Return a name for each run: the differences between its study and the others.

    Rules and devices have their short names; the corresponding fields are not listed.
    """
    flat = [_flat(run.study.said()) for run in runs]
    differing = [key for key in dict.fromkeys(key for one in flat for key in one) if len({str(one.get(key)) for one in flat}) > 1]
    parts: list[list[str]] = [[] for _ in runs]
    hidden = ["network_seed", "optimiser.kind"]
    for place, name_of in (("rule", rule_of), ("substrate", substrate_of)):
        names = [name_of(run) for run in runs]
        if len(set(names)) > 1:
            hidden.append(place)
            for part, name in zip(parts, names, strict=True):
                part.append(name)
    for key in differing:
        if not any(key == place or key.startswith(f"{place}.") for place in hidden):
            for part, fields in zip(parts, flat, strict=True):
                part.append(f"{key.rsplit('.', 1)[-1]} {fields.get(key, '–')}")
    labels = [", ".join(part) or substrate_of(run) for part, run in zip(parts, runs, strict=True)]
    return labels if len(set(labels)) == len(labels) else [f"{n}: {label}" for n, label in enumerate(labels, start=1)]


def substrate_of(run: Run) -> str:
    """Return "digital" or the name of the device."""
    substrate: Any = run.study.substrate
    return "digital" if substrate.kind == "digital" else substrate.device.name


def rule_of(run: Run) -> str:
    """Return the short name of the rule, or its kind."""
    from analogpc.rules import named_rules

    rule = run.study.rule
    return next((name for name, named in named_rules().items() if named == rule), rule.kind)


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix: tree}
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{prefix}.{key}" if prefix else key)
    return found
