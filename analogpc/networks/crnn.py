"""The convolutional Hopfield networks of the papers on equilibrium propagation (convergent recurrent networks, CRNNs)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from analogpc.blocks import BlockSpecification, Chain, Conv2d, Dense, Flatten
from analogpc.blocks.pool import AvgPool, MaxPool, SoftPool
from analogpc.networks.hopfield import Hopfield
from analogpc.networks.plans import Entry, PlanName, convolution_plan, dense_plan, remaining

Pooling = Literal["max", "average", "soft"]
"""Pooling of 2x2 windows, before the nonlinearity: maximum; mean; or mean weighted by exp(value)."""

_POOLS: dict[str, BlockSpecification] = {"max": MaxPool(size=2), "average": AvgPool(size=2), "soft": SoftPool(size=2)}

_PUBLISHED: dict[str, dict[str, Any]] = {
    "laborieux": {"activation": "half_hard_sigmoid", "readout": "softmax", "order": "synchronous", "steps": 250},
    "scellier": {"activation": "hard_sigmoid", "readout": "linear", "order": "asynchronous", "steps": 60},
    "crnn-vgg7": {"steps": 250},
    "crnn-vgg10": {"steps": 130, "start": "uniform"},
    "crnn-vgg11": {"steps": 400},
    "crnn-vgg12": {"steps": 100, "start": "uniform"},
    "crnn-vgg13": {"steps": 140},
}
_CRNN = {"activation": "hard_sigmoid", "readout": "softmax", "order": "synchronous"}
_INIT_GAINS = {"scellier": 0.5, "crnn-vgg11": 0.5, "crnn-vgg12": 0.5, "crnn-vgg13": 0.5}
_BIAS_GAINS = {"scellier": 0.5, "crnn-vgg11": 0.5, "crnn-vgg12": 0.5, "crnn-vgg13": 0.5}
_RELU_CONVOLUTIONS = ("crnn-vgg12",)


def hopfield_cnn(
    plan: PlanName,
    *,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    width: float = 1.0,
    pooling: Pooling = "max",
    init_gains: Sequence[float] = (),
    **fields: Any,
) -> Hopfield:
    """Create a convolutional Hopfield network: one state after every convolution (and its pooling) and after every dense layer.

    Parameters
    ----------
    plan : PlanName
        Plan of convolutions and poolings; see `analogpc.networks.plans`. The defaults are those published with

        - "laborieux": activation "half_hard_sigmoid", a softmax read-out, 250 synchronous steps. For squared errors its authors use
          readout = "activated".
        - "scellier": activation "hard_sigmoid", a linear read-out, 60 asynchronous steps; weights within +-0.5 / sqrt(fan_in), as
          their comparative study. Their best results use gains (0.4, 0.7, 0.6, 0.3, 0.4) for CIFAR-10 and
          (0.5, 0.4, 0.5, 0.8, 0.5) for CIFAR-100.
        - "crnn-...": activation "hard_sigmoid", a softmax read-out, synchronous steps; in the networks trained by distillation alone
          (VGG-10 and VGG-12) the initial states are between 0 and 1, and the convolutions of VGG-12 have the activation "relu". VGG-11,
          VGG-12 and VGG-13 start from weights scaled by one half.

        Other plans, of predictive networks, use the defaults of `Hopfield`.
    input_shape : (height, width, channels)
    classes : int
        Number of outputs.
    width : float
        Factor on all channels and on the sizes of hidden dense layers, rounded down, and at least 1 each.
    pooling : Pooling
    init_gains : sequence of float
        Factors on the drawn weights of each layer, including the output layer; or one for all.
    **fields
        Further fields of `Hopfield`, which override those of the papers.

    Returns
    -------
    Hopfield

    Raises
    ------
    ValueError
        If there is no such plan or pooling, the images are too small, or the number of gains is wrong.

    References
    ----------
    Laborieux et al., Front. Neurosci. 15:633674 (2021); Scellier et al., arXiv 2312.15103, ``ConvHopfieldEnergy32`` in their code;
    Lin et al., arXiv 2508.15989.

    Examples
    --------
    >>> network = hopfield_cnn("laborieux", width=0.25)
    >>> [layer.blocks[0].channels for layer in network.blocks[:-1]]
    [32, 64, 128, 128]
    """
    if pooling not in _POOLS:
        raise ValueError(f"pooling = '{pooling}' is not allowed: it is one of {', '.join(get_args(Pooling))}")
    entries, hidden = convolution_plan(plan, width), dense_plan(plan, width)
    if remaining(entries, min(input_shape[:2])) < 1:
        raise ValueError(f"input_shape = {tuple(input_shape)} is too small for the plan '{plan}': the images become empty")
    convolutions = sum(entry != "P" for entry in entries)
    gains = _gains(plan, tuple(init_gains), convolutions + len(hidden) + 1)
    groups = _layers(entries, (*hidden, classes), gains, _BIAS_GAINS.get(plan, 1.0), _POOLS[pooling])
    published = {**(_CRNN if plan.startswith("crnn") else {}), **_PUBLISHED.get(plan, {})}
    if plan in _RELU_CONVOLUTIONS and not {"activation", "activations"} & fields.keys():
        states = len(groups) - (fields.get("readout", published["readout"]) == "softmax")
        published["activations"] = ("relu",) * convolutions + ("hard_sigmoid",) * (states - convolutions)
    return Hopfield(
        input_shape=tuple(input_shape), blocks=tuple(Chain(blocks=tuple(group)) for group in groups), **{**published, **fields}
    )


def _layers(
    entries: tuple[Entry, ...], dense: tuple[int, ...], gains: tuple[float, ...], bias_gain: float, pool: BlockSpecification
) -> list[list[BlockSpecification]]:
    """Return the blocks of every layer: convolutions with their poolings, then dense layers."""
    groups: list[list[BlockSpecification]] = []
    for entry in entries:
        if entry == "P":
            groups[-1].append(pool)
        else:
            gain = gains[len(groups)]
            groups.append([Conv2d(channels=entry[0], padding=entry[1], init_gain=gain, bias_gain=bias_gain)])
    for number, features in enumerate(dense):
        layer = Dense(features=features, init_gain=gains[len(groups)], bias_gain=bias_gain)
        groups.append([layer] if number else [Flatten(), layer])
    return groups


def _gains(plan: PlanName, given: tuple[float, ...], layers: int) -> tuple[float, ...]:
    """Return one factor for each layer."""
    gains = given or (_INIT_GAINS.get(plan, 1.0),)
    if len(gains) == 1:
        return gains * layers
    if len(gains) != layers:
        raise ValueError(f"init_gains = {gains} must be one number, or one for each of the {layers} layers of the plan '{plan}'")
    return gains
