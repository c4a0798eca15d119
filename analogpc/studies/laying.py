"""Laying the changes of a trial over the fields of a study."""

from __future__ import annotations

import copy
from typing import Any

from analogpc.devices.specification import SpecificationError
from analogpc.training.study import Study


def study_with(fields: dict[str, Any], changes: dict[str, Any]) -> Study:
    """The study of these fields with changes laid over them.

    Parameters
    ----------
    fields : dict
        As a study file says them: what follows from them is not filled in.
    changes : dict
        Values by dotted path.

    Raises
    ------
    SpecificationError, ValueError
        If the study that follows is not allowed.
    """
    whole = {"rule": "s+f", **laid_over(fields, changes)}
    optimiser = whole.get("optimiser")
    if isinstance(optimiser, dict) and "kind" not in optimiser:
        usual = Study.from_dict({name: value for name, value in whole.items() if name != "optimiser"}).optimiser.kind
        whole["optimiser"] = {"kind": usual, **optimiser}
    return Study.from_dict(whole)


def laid_over(fields: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The same fields with changes laid over them: values by dotted path."""
    whole = copy.deepcopy(fields)
    for path, value in changes.items():
        _lay(whole, path, value)
    return whole


def _lay(fields: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        inside = fields.get(parent, {"kind": "analog"} if parent == "substrate" else {})
        if isinstance(inside, str):
            inside = _opened(parent, inside, path)
        if not isinstance(inside, dict):
            raise SpecificationError(f"{path}: '{parent}' is not a group of fields")
        fields[parent] = fields = dict(inside)
    old = fields.get(last)
    if isinstance(value, dict) and isinstance(old, dict) and value.get("kind", old.get("kind")) == old.get("kind"):
        fields[last] = dict(old)
        for name, one in value.items():
            _lay(fields[last], name, one)
    else:
        fields[last] = copy.deepcopy(value)


def _opened(name: str, short: str, path: str) -> dict[str, Any]:
    """The fields that a short name stands for."""
    from analogpc.devices.presets import preset
    from analogpc.rules import named_rule

    if name == "substrate":
        return {"kind": "digital"} if short == "digital" else {"kind": "analog", "device": short}
    if name == "device":
        return preset(short).to_dict()
    if name == "rule":
        return named_rule(short).to_dict()
    raise SpecificationError(f"{path}: '{name}' is not a group of fields")
