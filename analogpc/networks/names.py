"""Networks by short names, as studies and options give them: "vgg7", "784-256-10", "resnet18"."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from analogpc.devices.specification import SpecificationError
from analogpc.networks.cnn import CNN, AlexNet
from analogpc.networks.hopfield import Hopfield
from analogpc.networks.mlp import MLP
from analogpc.networks.resnet import ResNet
from analogpc.networks.vgg import VGG

if TYPE_CHECKING:
    from analogpc.networks import Architecture

_WIDTHS = re.compile(r"(?:(mlp|hopfield)[-:])?(\d+(?:-\d+)+)")
_IMAGES: dict[str, Any] = {"vgg": VGG, "cnn": CNN, "alexnet": AlexNet, "resnet": ResNet}
_WIDTH_KINDS: dict[str, Any] = {"mlp": MLP, "hopfield": Hopfield}


def network_names() -> tuple[str, ...]:
    """The names that stand for a network by themselves; widths such as "784-256-10" stand for a perceptron besides.

    Examples
    --------
    >>> "vgg7" in network_names()
    True
    """
    deep = [f"{kind}{depth}" for kind in ("vgg", "resnet") for depth in get_args(_IMAGES[kind].model_fields["depth"].annotation)]
    return ("mlp", "hopfield", "cnn", "alexnet", *deep)


def named_network(name: str) -> dict[str, Any]:
    """The fields that a short name stands for.

    Parameters
    ----------
    name : str
        One of `network_names`; or widths joined by hyphens, input and output included, for a perceptron, with "hopfield:" before
        them for a network of Hopfield type.

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
        return {"kind": found[1] or "mlp", "widths": tuple(map(int, found[2].split("-")))}
    names = network_names()
    if text not in names:
        close = difflib.get_close_matches(text, names, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else f": {', '.join(names)}, or widths such as '784-256-10'"
        raise SpecificationError(f"network = {name!r} is not a network{hint}")
    kind = text.rstrip("0123456789")
    depth = text[len(kind) :]
    return {"kind": kind, "depth": int(depth)} if depth else {"kind": kind}


def usual_network(kind: str, input_shape: Sequence[int], outputs: int, given: Mapping[str, Any]) -> Architecture | None:
    """The network of a kind that is usual for data of a shape; None for kinds that have no usual network.

    Perceptrons and Hopfield networks get hidden layers of 64 units below 256 inputs and of 256 above, two in a perceptron and one in a
    Hopfield network.

    Parameters
    ----------
    kind : str
    input_shape : sequence of int
        Of one sample.
    outputs : int
        Classes, or numbers to be predicted.
    given : mapping
        Fields that are going to be laid over those of this network.

    Raises
    ------
    SpecificationError
        If such a network cannot read samples of that shape.

    Examples
    --------
    >>> usual_network("mlp", (28, 28, 1), 10, {}).widths
    (784, 256, 256, 10)
    """
    if kind in _IMAGES:
        ends: dict[str, Any] = {"input_shape": tuple(input_shape), "classes": outputs}
        try:
            return _IMAGES[kind](**ends)
        except SpecificationError:
            # Another depth, or no pooling, may be what makes the network small enough.
            return _IMAGES[kind](**{**ends, **{name: value for name, value in given.items() if name != "kind"}})
    if kind in _WIDTH_KINDS:
        inputs = math.prod(input_shape)
        hidden = (64 if inputs < 256 else 256,) * (2 if kind == "mlp" else 1)
        return _WIDTH_KINDS[kind](widths=(inputs, *hidden, outputs))
    return None
