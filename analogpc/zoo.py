"""Networks by one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analogpc.architectures import MLP, VGG
from analogpc.devices.substrate import Analog, Digital
from analogpc.network import Network


def mlp(widths: Sequence[int], *, substrate: Digital | Analog | None = None, seed: int = 0, **fields: Any) -> Network:
    """A fully connected network.

    Parameters
    ----------
    widths : sequence of int
        Sizes of the states, input and output included.
    substrate : Digital or Analog
        Ideal-digital if not given.
    seed : int
        Initial weights and devices.
    **fields
        Further fields of `MLP`: ``activation``, ``convention``, ``bias``, ``init``, ``dtype``.

    Examples
    --------
    >>> mlp([784, 256, 256, 10], activation="leaky_relu").output_shape
    (10,)
    """
    return Network(MLP(widths=tuple(widths), **fields), substrate, seed)


def vgg(depth: int = 5, *, substrate: Digital | Analog | None = None, seed: int = 0, **fields: Any) -> Network:
    """A VGG-type convolutional network of 5, 7, 10 or 15 weight layers.

    Parameters
    ----------
    depth : int
    substrate, seed
        As for `mlp`.
    **fields
        Further fields of `VGG`: ``input_shape``, ``classes``, ``activation``, ``width``, ``init``, ``dtype``.
    """
    return Network(VGG(depth=depth, **fields), substrate, seed)
