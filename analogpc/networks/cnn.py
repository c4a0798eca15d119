"""Small convolutional networks: networks of the papers on incremental predictive coding, and their common base class."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import override

from analogpc.blocks import (
    Activation,
    ActivationName,
    BatchNorm,
    BlockSpecification,
    Chain,
    Conv2d,
    Dense,
    Flatten,
    Initialisation,
    MaxPool,
)
from analogpc.devices.bounds import NonNegative, PositiveInteger
from analogpc.networks.base import ArchitectureBase
from analogpc.networks.plans import scaled


@dataclass(frozen=True)
class Stage:
    """One convolutional layer: a convolution, and optional 2x2 max-pooling after the activation."""

    channels: int
    pooled: bool
    kernel: int = 3
    stride: int = 1
    padding: int = 1

    def side(self, before: int) -> int:
        """Return the side length of images after the layer, in pixels; below 1 if the input is too small."""
        after = (before + 2 * self.padding - self.kernel) // self.stride + 1
        return after // 2 if self.pooled else after


class Convolutional(ArchitectureBase):
    """Base class of convolutional networks: convolution, optional normalisation, activation, pooling, then the state.

    The convolutions are followed by dense layers with the activation, and a linear output.

    Attributes
    ----------
    input_shape : (height, width, channels)
    classes : int
    activation : str
    width : float
        Factor on all channels, rounded down, and at least 1 each.
    widen_dense : bool
        Whether ``width`` also applies to the hidden dense layers.
    batch_norm : bool
        `BatchNorm` between every convolution and its activation. Biases of the convolutions stay, as in the code of Qi et al.
    freezing : bool
        Whether the running statistics are frozen during relaxation; see `BatchNorm`.
    norm_convention : "pytorch" or "pcx"
        Update of the running statistics, and their use in training; see `BatchNorm`.
    init : str
        See `Dense`. "kaiming-uniform-fan-out" is for the convolutions; the dense layers have "kaiming-uniform" then.
    init_gain, output_init_gain : float
        Factors on the drawn weights: on all, and an additional one on those of the output layer (0.2 for ImageNet 32x32 with squared
        errors in Kerjan et al., arXiv 2606.03584).
    """

    input_shape: tuple[PositiveInteger, PositiveInteger, PositiveInteger] = (32, 32, 3)
    classes: PositiveInteger = 10
    activation: ActivationName = "gelu"
    width: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    widen_dense: bool = False
    batch_norm: bool = False
    freezing: bool = True
    norm_convention: Literal["pytorch", "pcx"] = "pytorch"
    init: Initialisation = "kaiming-uniform"
    init_gain: NonNegative = 1.0
    output_init_gain: NonNegative = 1.0

    @abstractmethod
    def stages(self) -> list[Stage]:
        """Return the convolutional layers, with scaled width."""

    @abstractmethod
    def hidden(self) -> tuple[int, ...]:
        """Return the sizes of the hidden dense layers at width 1."""

    @property
    def title(self) -> str:
        """Name of the network in messages."""
        return type(self).__name__

    @model_validator(mode="after")
    def _survives_pooling(self) -> Convolutional:
        size = min(self.input_shape[:2])
        for stage in self.stages():
            size = stage.side(size)
            if size < 1:
                raise ValueError(f"input_shape = {self.input_shape} is too small for {self.title}: the images become empty")
        return self

    @override
    def layers(self) -> tuple[BlockSpecification, ...]:
        """Return the convolutional layers, each with its pooling, then the dense layers."""
        groups: list[list[BlockSpecification]] = [self._convolution(stage) for stage in self.stages()]
        tail: list[BlockSpecification] = [Flatten()]
        for size in self.hidden():
            features = scaled(size, self.width) if self.widen_dense else size
            groups.append([*tail, self._dense(features, 1.0), Activation(function=self.activation)])
            tail = []
        groups.append([*tail, self._dense(self.classes, self.output_init_gain)])
        return tuple(Chain(blocks=tuple(group)) for group in groups)

    def _convolution(self, stage: Stage) -> list[BlockSpecification]:
        convolution = Conv2d(
            channels=stage.channels,
            kernel=stage.kernel,
            stride=stage.stride,
            padding=stage.padding,
            init=self.init,
            init_gain=self.init_gain,
        )
        norm = [BatchNorm(freezing=self.freezing, convention=self.norm_convention)] if self.batch_norm else []
        pool = [MaxPool(size=2)] if stage.pooled else []
        return [convolution, *norm, Activation(function=self.activation), *pool]

    def _dense(self, features: int, gain: float) -> Dense:
        init = "kaiming-uniform" if self.init == "kaiming-uniform-fan-out" else self.init
        return Dense(features=features, init=init, init_gain=self.init_gain * gain)


class CNN(Convolutional):
    """A small convolutional network: convolutions, each with 2x2 max-pooling, then dense layers.

    The defaults are the network of the width study of Salvatori et al.: three convolutions of 8, 16 and 8 channels, all pooled, and a
    hidden dense layer of 128 units. Their table has width factors C = 1 to 20: ``width`` = C. Their network for SVHN and
    CIFAR-10 has ``channels`` = (64, 128, 64) and two dense layers; the paper does not give the size of the hidden one.

    Attributes
    ----------
    channels : tuple of int
        Channels of the convolutions, before ``width``.
    kernel : int
        Side of the windows.
    padding : int
        Rings of zeros; -1 preserves the image size, which requires an odd kernel.
    pooled : bool
        Whether every convolution is pooled, or none.
    dense : tuple of int
        Sizes of the hidden dense layers, before ``width``.
    input_shape, classes, activation, width, widen_dense, batch_norm, freezing, init, init_gain, output_init_gain
        See `Convolutional`.

    References
    ----------
    Salvatori et al., "A stable, fast, and fully automatic learning algorithm for predictive coding networks", ICLR 2024: Table 1 (SVHN
    and CIFAR-10) and Table 2 (widths). Kernels, activation and whether the width factor also counts for the dense layer are not given
    there: here 3x3 with padding, ReLU, and no.

    Examples
    --------
    >>> [layer.blocks[0].channels for layer in CNN(width=2).layers()[:3]]
    [16, 32, 16]
    """

    kind: Literal["cnn"] = "cnn"
    activation: ActivationName = "relu"
    channels: Annotated[tuple[PositiveInteger, ...], Field(min_length=1)] = (8, 16, 8)
    kernel: PositiveInteger = 3
    padding: Annotated[int, Field(ge=-1)] = -1
    pooled: bool = True
    dense: tuple[PositiveInteger, ...] = (128,)

    @model_validator(mode="after")
    def _padding_exists(self) -> CNN:
        if self.padding == -1 and self.kernel % 2 == 0:
            raise ValueError(f"kernel = {self.kernel} has no padding that preserves the image size: set padding")
        return self

    @override
    def stages(self) -> list[Stage]:
        padding = (self.kernel - 1) // 2 if self.padding == -1 else self.padding
        return [Stage(scaled(count, self.width), self.pooled, kernel=self.kernel, padding=padding) for count in self.channels]

    @override
    def hidden(self) -> tuple[int, ...]:
        return self.dense


class AlexNet(Convolutional):
    """AlexNet for 32x32 images: five convolutions, the first, second and fifth with pooling, and three dense layers.

    Attributes
    ----------
    first_stride : 1 or 2
        Stride of the first convolution.
    input_shape, classes, activation, width, widen_dense, batch_norm, freezing, init, init_gain, output_init_gain
        See `Convolutional`.

    References
    ----------
    Krizhevsky, Sutskever and Hinton, NeurIPS 2012, in the single-column form of Krizhevsky, arXiv 1404.5997 (64, 192, 384, 256 and 256
    channels, dense layers of 4096), with 3x3 windows and 2x2 pooling, as is usual for CIFAR-10 in public PyTorch code (the first
    stride is 2 there). Salvatori et al., ICLR 2024, who train AlexNet by predictive coding, give no further details.
    """

    kind: Literal["alexnet"] = "alexnet"
    activation: ActivationName = "relu"
    widen_dense: bool = True
    first_stride: Literal[1, 2] = 2

    @override
    def stages(self) -> list[Stage]:
        plan = ((64, True), (192, True), (384, False), (256, False), (256, True))
        strides = (self.first_stride, 1, 1, 1, 1)
        return [
            Stage(scaled(channels, self.width), pooled, stride=stride)
            for (channels, pooled), stride in zip(plan, strides, strict=True)
        ]

    @override
    def hidden(self) -> tuple[int, ...]:
        return (4096, 4096)
