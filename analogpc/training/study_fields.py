"""Build studies from files and command-line options, which override the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from analogpc.data import check_name
from analogpc.devices.fields import lay
from analogpc.devices.specification import SpecificationError
from analogpc.devices.texts import parse_toml, read_toml
from analogpc.training.study import Study

RULE = "s+f"
"""Default rule of a study."""


def assemble(path: Path | None, options: Mapping[str, Any], settings: Iterable[str] = ()) -> Study:
    """Build a study from a file, overridden by options.

    Parameters
    ----------
    path : path
        A TOML file with fields of `Study`; without one, all fields have their defaults, and the rule is `RULE`.
    options : mapping of path to value
        See `analogpc.devices.fields.lay`; None stands for an option that was not given. In addition, "device" is a short form of
        the substrate: "digital", or the devices of the crossbars in the file, or of default crossbars.
    settings : iterable of str
        FIELD=VALUE; the value is TOML or else a plain string.

    Raises
    ------
    ValueError
        If the file cannot be read, a field is given two values, or the study is invalid.
    """
    fields = read_toml(path) if path is not None else {}
    changes: dict[str, Any] = {}
    given = [(name, value) for name, value in options.items() if value is not None]
    for name, value in [*given, *map(setting, settings)]:
        name = _substrate_or_device(fields, value) if name == "device" else name
        if name in changes and changes[name] != value:
            raise SpecificationError(f"{name} is given two values, {changes[name]!r} and {value!r}; give one")
        changes[name] = value
    if not {"rule", "rule.kind"} & changes.keys():
        fields.setdefault("rule", RULE)
    laid = lay(Study, fields, changes)
    if isinstance(dataset := laid.get("dataset"), str):
        check_name(dataset)
    return Study.from_dict(laid)


def setting(text: str) -> tuple[str, Any]:
    """Parse FIELD=VALUE into path and value; the value is TOML or else a plain string.

    Raises
    ------
    ValueError
        If there is no equals sign.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set {text!r} is not of the form FIELD=VALUE")
    try:
        return name.strip(), parse_toml(f"value = {value}")["value"]
    except ValueError:
        return name.strip(), value.strip()


def _substrate_or_device(fields: Mapping[str, Any], device: str) -> str:
    """Return the field that --device changes; crossbars of a file keep their other fields."""
    substrate = fields.get("substrate", "digital")
    kind = substrate.get("kind", "analog") if isinstance(substrate, Mapping) else substrate
    return "substrate" if "digital" in (kind, device) else "substrate.device"
