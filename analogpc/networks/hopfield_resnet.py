"""The residual convolutional Hopfield network of Elayedam and Srinivasan (arXiv 2509.26003)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analogpc.blocks import BlockSpecification, Chain, Conv2d, Dense, Flatten
from analogpc.networks.hopfield import Hopfield, Skip
from analogpc.networks.plans import scaled

_CHANNELS = (128, 256, 512, 512)
_GAIN, _SKIP_GAIN, _HEAD_GAIN, _BIAS_GAIN = 0.6, 0.7, 0.8, 0.5


def hopfield_resnet(
    *,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    width: float = 1.0,
    channels: Sequence[int] = _CHANNELS,
    residual: bool = True,
    **fields: Any,
) -> Hopfield:
    """Create Hopfield-ResNet13: four residual blocks and a dense layer, 9 states joined by 13 weight tensors.

    A residual block has two 3x3 convolutions, the second of stride 2, with a state after each, and a 1x1 convolution of stride 2 without a
    bias past the first state. Initial weights are within +-gain / sqrt(fan_in), with a gain of 0.6 for the 3x3 convolutions,
    0.7 for the skips, 0.8 for the dense layer and 0.5 for the biases. Activation "relu6", a linear read-out, 120 asynchronous
    steps, as in the code of its authors.

    Parameters
    ----------
    input_shape : (height, width, channels)
    classes : int
    width : float
        Factor on all channels, rounded down, and at least 1 each.
    channels : sequence of int
        Channels of each residual block.
    residual : bool
        Whether there are skips; without them, the same network as a sequence of layers.
    **fields
        Further fields of `Hopfield`, which override those of the paper.

    References
    ----------
    Elayedam and Srinivasan, "Scaling Equilibrium Propagation to Deeper Neural Network Architectures", arXiv 2509.26003, and its code,
    which derives from that of Scellier et al. (arXiv 2312.15103).

    Examples
    --------
    >>> network = hopfield_resnet(width=0.25)
    >>> [(skip.below, skip.above, skip.block.channels) for skip in network.skips]
    [(0, 2, 32), (2, 4, 64), (4, 6, 128), (6, 8, 128)]
    """
    blocks: list[BlockSpecification] = []
    skips = []
    for number, count in enumerate(channels):
        count = scaled(count, width)
        for stride in (1, 2):
            blocks.append(Conv2d(channels=count, stride=stride, init_gain=_GAIN, bias_gain=_BIAS_GAIN))
        past = Conv2d(channels=count, kernel=1, stride=2, padding=0, bias=False, init_gain=_SKIP_GAIN)
        skips.append(Skip(below=2 * number, above=2 * number + 2, block=past))
    blocks.append(Chain(blocks=(Flatten(), Dense(features=classes, init_gain=_HEAD_GAIN, bias_gain=_BIAS_GAIN))))
    published = {"activation": "relu6", "readout": "linear", "order": "asynchronous", "steps": 120}
    return Hopfield(
        input_shape=tuple(input_shape), blocks=tuple(blocks), **{**published, "skips": tuple(skips) if residual else (), **fields}
    )
