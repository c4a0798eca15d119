"""Functions that create networks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from analogpc.devices.substrate import Analog, Digital
from analogpc.networks import CNN, MLP, VGG, AlexNet, ResNet, Transformer
from analogpc.networks.base import ArchitectureBase
from analogpc.networks.network import Network


def mlp(widths: Sequence[int], *, substrate: Digital | Analog | str | None = None, seed: int = 0, **fields: Any) -> Network:
    """Create a fully connected network.

    Parameters
    ----------
    widths : sequence of int
        Sizes of the states, input and output included.
    substrate : Digital, Analog or str
        Substrate of the weights, or its short name, such as "reram-sb"; ideal digital by default.
    seed : int
        Seed of initial weights and devices.
    **fields
        Further fields of `MLP`: ``activation``, ``convention``, ``bias``, ``init``, ``parametrisation``, ``skips``, ``dtype`` and more.

    Examples
    --------
    >>> mlp([784, 256, 256, 10], activation="leaky_relu").output_shape
    (10,)
    """
    return Network(MLP(widths=_sizes(widths), **fields), substrate, seed)


def vgg(depth: int = 5, *, substrate: Digital | Analog | str | None = None, seed: int = 0, **fields: Any) -> Network:
    """Create a VGG-type convolutional network of 5, 7, 9, 10, 11, 12, 13 or 15 weight layers.

    Parameters
    ----------
    depth : int
    substrate, seed
        As for `mlp`.
    **fields
        Further fields of `VGG`: ``family``, ``input_shape``, ``classes``, ``activation``, ``width``, ``batch_norm``, ``init``,
        ``dtype`` and more.
    """
    return Network(VGG(depth=depth, **fields), substrate, seed)


def cnn(
    channels: Sequence[int] = (8, 16, 8), *, substrate: Digital | Analog | str | None = None, seed: int = 0, **fields: Any
) -> Network:
    """Create a small convolutional network; by default that of the width study of Salvatori et al., ICLR 2024.

    Parameters
    ----------
    channels : sequence of int
        Channels of the convolutions, each with pooling.
    substrate, seed
        As for `mlp`.
    **fields
        Further fields of `CNN`: ``dense``, ``width``, ``kernel``, ``padding``, ``pooled``, ``input_shape``, ``classes``, ``activation``,
        ``batch_norm``, ``init``, ``dtype`` and more.

    Examples
    --------
    >>> cnn([4, 8], dense=(32,), input_shape=(8, 8, 1)).output_shape
    (10,)
    """
    return Network(CNN(channels=_sizes(channels), **fields), substrate, seed)


def alexnet(*, substrate: Digital | Analog | str | None = None, seed: int = 0, **fields: Any) -> Network:
    """Create AlexNet for 32x32 images.

    Parameters
    ----------
    substrate, seed
        As for `mlp`.
    **fields
        Fields of `AlexNet`: ``first_stride``, ``width``, ``input_shape``, ``classes``, ``activation``, ``batch_norm``, ``init``, ``dtype``
        and more.
    """
    return Network(AlexNet(**fields), substrate, seed)


def resnet(depth: int = 10, *, substrate: Digital | Analog | str | None = None, seed: int = 0, **fields: Any) -> Network:
    """Create a residual network of 10 or 18 weight layers, with delay states on the skips.

    Parameters
    ----------
    depth : int
    substrate, seed
        As for `mlp`.
    **fields
        Further fields of `ResNet`: ``delay``, ``delay_precision``, ``input_shape``, ``classes``, ``activation``, ``width``,
        ``batch_norm``, ``init``, ``dtype``.
    """
    return Network(ResNet(depth=depth, **fields), substrate, seed)


def transformer(vocabulary: int, *, substrate: Digital | Analog | str | None = None, seed: int = 0, **fields: Any) -> Network:
    """Create a language model with value nodes; by default a causal one of two blocks and 64 features.

    Parameters
    ----------
    vocabulary : int
        Number of tokens, special ones included.
    substrate, seed
        As for `mlp`.
    **fields
        Further fields of `Transformer`: ``task``, ``positions``, ``features``, ``hidden``, ``blocks``, ``heads``, ``activation``,
        ``layer_norm``, ``nodes``, ``score_energy``, ``init``, ``dtype`` and more.

    Examples
    --------
    >>> transformer(100, positions=16).output_shape
    (16, 100)
    """
    return Network(Transformer(vocabulary=vocabulary, **fields), substrate, seed)


def as_network(value: Any) -> Network:
    """Return a network, given as such or by its description.

    Raises
    ------
    ValueError
        If ``value`` is neither.
    """
    if isinstance(value, Network):
        return value
    if isinstance(value, ArchitectureBase):
        return Network(value)
    raise ValueError(f"network = {value!r} is not allowed: use a network, such as apc.mlp([64, 10]) or a loaded network")


def _sizes(given: Any) -> Any:
    """Convert sizes to a tuple; the specification refuses anything but integers."""
    return tuple(given) if isinstance(given, Iterable) and not isinstance(given, (str, bytes)) else given
