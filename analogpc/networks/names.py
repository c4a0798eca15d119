"""Networks by short names, used by studies and options: "vgg7", "784-256-10", "resnet18"."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from analogpc.devices.names import unknown
from analogpc.devices.specification import SpecificationError
from analogpc.networks import Architecture, ArchitectureBase

_WIDTHS = re.compile(r"(?:([a-z][a-z0-9-]*):)?(\d+(?:-\d+)+)")


def network_names() -> tuple[str, ...]:
    """Return the short names of networks, including those of user-defined architectures.

    Widths such as "784-256-10" also denote a perceptron.

    Examples
    --------
    >>> "vgg7" in network_names()
    True
    """
    return tuple(_names())


def _names() -> dict[str, dict[str, Any]]:
    return {name: fields for kind in ArchitectureBase.kinds().values() for name, fields in kind.short_names().items()}


def named_network(name: str) -> dict[str, Any]:
    """Return the fields of a short name.

    Parameters
    ----------
    name : str
        One of `network_names`; or widths joined by hyphens, including input and output, for a perceptron; or after "KIND:" for any
        kind of network that has widths, as in "hopfield:784-256-10".

    Raises
    ------
    SpecificationError
        If there is no such network.

    Examples
    --------
    >>> named_network("784-256-10")
    {'kind': 'mlp', 'widths': (784, 256, 10)}
    >>> named_network("vgg7")
    {'kind': 'vgg', 'depth': 7}
    """
    text = name.strip().lower()
    if found := _WIDTHS.fullmatch(text):
        member = ArchitectureBase.kinds().get(found[1] or "mlp")
        if member is not None and ("widths" in member.model_fields or "widths" in member.shorthands):
            return {"kind": found[1] or "mlp", "widths": tuple(map(int, found[2].split("-")))}
    names = _names()
    if text not in names:
        raise SpecificationError(unknown("network", name, [*names, "widths such as 784-256-10"]))
    return names[text]


def usual_network(kind: str, input_shape: Sequence[int], outputs: int, given: Mapping[str, Any]) -> Architecture | None:
    """Return the default network of a kind for data of a shape; see `ArchitectureBase.usual`. None for unknown kinds.

    Examples
    --------
    >>> usual_network("mlp", (28, 28, 1), 10, {}).widths
    (784, 256, 256, 10)
    """
    member = ArchitectureBase.kinds().get(kind)
    return None if member is None else member.usual(input_shape, outputs, given)
