"""Channel plans of the convolutional networks of the papers: sequences of convolutions and poolings.

- "pc-vgg5", "pc-vgg7", "pc-vgg9", "pc-vgg10", "pc-vgg11", "pc-vgg13", "pc-vgg15": the predictive-coding networks of Pinchetti et
  al. (PCX, arXiv 2407.01163; 5 and 7) and Qi et al. (arXiv 2506.23800), as in their code; their printed tables differ from that
  code in the paddings of VGG5 and in the lengths of the lists, and lack VGG9, 11 and 13.
- "crnn-vgg7": the network of "Scalable Equilibrium Propagation via Intermediate Error Signals for Deep Convolutional CRNNs", as
  printed there.
- "crnn-vgg10", "crnn-vgg11", "crnn-vgg12", "crnn-vgg13": networks of the same paper, in part *reconstructed*. It states the number
  of convolutions in each of the five blocks and the number of dense layers; the channels of the blocks (64, 128, 256, 512, 512)
  follow Simonyan and Zisserman (arXiv 1409.1556), and the 512 units of the hidden dense layers those of its VGG-7.
- "laborieux": the network for CIFAR-10 of Laborieux et al. (arXiv 2006.03824), as in their code; its last convolution is unpadded.
- "scellier": the network for 32x32 images of Scellier et al. (arXiv 2312.15103), as in their code: the same channels, all padded.
- "kerjan-vgg5": the network of Kerjan et al. (arXiv 2606.03584), Table 5, with six weight layers as printed, though it is called
  VGG5: the first convolution is not pooled.
- "kerjan-vgg10": the network for ImageNet of the same paper, Table 6, for images of 224x224 pixels. Their VGG10Skip, which has 1x1
  convolutions with strides that are not given, from layer 2 to layer 5 and from layer 5 to layer 8, is not among the plans.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

PlanName = Literal[
    "pc-vgg5",
    "pc-vgg7",
    "pc-vgg9",
    "pc-vgg10",
    "pc-vgg11",
    "pc-vgg13",
    "pc-vgg15",
    "crnn-vgg7",
    "crnn-vgg10",
    "crnn-vgg11",
    "crnn-vgg12",
    "crnn-vgg13",
    "laborieux",
    "scellier",
    "kerjan-vgg5",
    "kerjan-vgg10",
]

Entry = tuple[int, int] | Literal["P"]
"""The channels and the padding of a 3x3 convolution of stride 1, or "P" for 2x2 max-pooling."""


@dataclass(frozen=True)
class _Plan:
    """``channels`` of the padded convolutions with "P" for a pooling, positions ``unpadded`` without padding, and dense layers."""

    channels: tuple[int | Literal["P"], ...]
    unpadded: tuple[int, ...] = ()
    dense: tuple[int, ...] = ()


def _blocks(*convolutions: int) -> tuple[int | Literal["P"], ...]:
    """Return five blocks with the given numbers of convolutions, the channels of Simonyan and Zisserman, and pooling after each."""
    plan: list[int | Literal["P"]] = []
    for count, channels in zip(convolutions, (64, 128, 256, 512, 512), strict=True):
        plan += [channels] * count
        plan.append("P")
    return tuple(plan)


_PLANS: dict[PlanName, _Plan] = {
    "pc-vgg5": _Plan((128, "P", 256, "P", 512, "P", 512, "P")),
    "pc-vgg7": _Plan((128, "P", 128, 256, "P", 256, 512, "P", 512), unpadded=(3, 5)),
    "pc-vgg9": _Plan((64, "P", 128, 128, "P", 256, 256, "P", 512, 512, "P", 512)),
    "pc-vgg10": _Plan((64, 128, 128, "P", 128, 256, "P", 256, 256, "P", 256, 512, "P")),
    "pc-vgg11": _Plan((64, 128, 128, "P", 128, 256, "P", 256, 256, "P", 256, 512, "P", 512)),
    "pc-vgg13": _Plan((128, 128, 128, "P", 128, 256, "P", 256, 256, "P", 256, 512, "P", 512, 512, "P", 512)),
    "pc-vgg15": _Plan((64, 64, "P", 128, 128, "P", 256, 256, 256, "P", 512, 512, 512, "P", 512, 512, 512, "P"), dense=(4096,)),
    "crnn-vgg7": _Plan(_blocks(1, 1, 1, 1, 1), dense=(512,)),
    "crnn-vgg10": _Plan(_blocks(1, 1, 2, 2, 2), dense=(512,)),
    "crnn-vgg11": _Plan(_blocks(1, 1, 2, 2, 2), dense=(512, 512)),
    "crnn-vgg12": _Plan(_blocks(2, 2, 2, 2, 2), dense=(512,)),
    "crnn-vgg13": _Plan(_blocks(2, 2, 2, 2, 2), dense=(512, 512)),
    "laborieux": _Plan((128, "P", 256, "P", 512, "P", 512, "P"), unpadded=(3,)),
    "scellier": _Plan((128, "P", 256, "P", 512, "P", 512, "P")),
    "kerjan-vgg5": _Plan((128, 256, "P", 512, "P", 512, "P", 512, "P")),
    "kerjan-vgg10": _Plan((64, "P", 128, "P", 256, 256, "P", 512, 512, "P", 512, 512, "P"), dense=(2048,)),
}


def scaled(channels: int, width: float) -> int:
    """Return ``channels`` times the width factor, rounded down, and at least 1."""
    return max(1, math.floor(channels * width))


def _plan(name: PlanName) -> _Plan:
    if name not in _PLANS:
        raise ValueError(f"there is no plan '{name}'; the plans are {', '.join(get_args(PlanName))}")
    return _PLANS[name]


def convolution_plan(name: PlanName, width: float = 1.0) -> tuple[Entry, ...]:
    """Return the convolutions of a plan, in order.

    Parameters
    ----------
    name : PlanName
    width : float
        Factor on all channels; see `scaled`.

    Returns
    -------
    tuple of (channels, padding) or "P"

    Raises
    ------
    ValueError
        If there is no plan of that name.
    """
    plan = _plan(name)
    entries: list[Entry] = []
    convolution = 0
    for channels in plan.channels:
        if channels == "P":
            entries.append("P")
            continue
        entries.append((scaled(channels, width), 0 if convolution in plan.unpadded else 1))
        convolution += 1
    return tuple(entries)


def dense_plan(name: PlanName, width: float = 1.0) -> tuple[int, ...]:
    """Return the sizes of the dense layers between the last convolution and the output; for arguments see `convolution_plan`."""
    return tuple(scaled(size, width) for size in _plan(name).dense)


def remaining(plan: tuple[Entry, ...], side: int) -> int:
    """Return the side length of images after a plan, in pixels; below 1 if the input is too small."""
    for entry in plan:
        side = side // 2 if entry == "P" else side + 2 * entry[1] - 2
        if side < 1:
            return 0
    return side
