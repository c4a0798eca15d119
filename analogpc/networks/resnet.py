"""Residual networks with value nodes on the skips."""

from __future__ import annotations

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
    GlobalMean,
    Initialisation,
    Parallel,
    Residual,
    Sum,
)
from analogpc.devices.bounds import Positive, PositiveInteger
from analogpc.kernels.images.patches import output_size
from analogpc.networks.base import ArchitectureBase
from analogpc.networks.plans import scaled

_BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2)}
_CHANNELS = (64, 128, 256, 512)

Image = tuple[int, int, int]


@dataclass(frozen=True)
class _Residual:
    """One residual block: the input and output shapes, and the stride."""

    before: Image
    after: Image
    stride: int

    @property
    def projects(self) -> bool:
        return self.before != self.after


class ResNet(ArchitectureBase):
    """A residual network for small images, with states before the activations, as in the code of Qi et al.

    A 3x3 convolution of 64 channels, four groups of residual blocks with 64, 128, 256 and 512 channels, the first block of each but the
    first group with stride 2; finally the activation, the mean over all pixels and a dense layer. A residual block is activation,
    convolution, activation, convolution, plus its input, or a 1x1 convolution of it where the shape changes. Convolutions
    have no biases.

    With ``delay``, every convolution is followed by a state, and the skip has states as well: each state of the main path has a *delay
    state* at the same level, whose prediction is the input of the layer below (or its 1x1 convolution). The error from above thus
    reaches the fork by both paths in the same step. Both form one state of the network, concatenated in a flat sample
    (n, values of the main path + values of the skip); the next layer adds them where the paths meet. For relaxation, rules and
    storage it is a sequence of ``depth`` layers like any other.

    Without ``delay`` each residual block is one layer: two convolutions and the skip between one state and the next. A skip across
    several states without states of its own cannot be written as a sequence of layers, and is not available.

    Attributes
    ----------
    depth : 10 or 18
        Layers with weights, apart from the 1x1 convolutions: one or two residual blocks in each group.
    input_shape : (height, width, channels)
    classes : int
    activation : str
    width : float
        Factor on all channels, rounded down, and at least 1 each.
    delay : bool
        Whether there are delay states.
    delay_precision : float
        Weight of the energies of the delay states predicted by an identity. With 1 / (step size of the states), as in the reference
        code, and without momentum, a delay state moves to its prediction plus the step size times the error above it, so that errors
        are passed on unattenuated, as by a delay line; with 1, errors on the skip shrink by the step size in every layer, as on the
        main path. It applies where states are relaxed by their energy (`Relaxation`: predictive coding and incremental predictive
        coding). Z-IL, error-based predictive coding and equilibrium propagation use 1 for all weights, the value for which Z-IL equals
        backpropagation; fixed predictions and backpropagation have no such energies.
    batch_norm : bool
        `BatchNorm` after the two 3x3 convolutions of every residual block, before the state.
    freezing : bool
        Whether the running statistics are frozen during relaxation; see `BatchNorm`.
    norm_convention : "pytorch" or "pcx"
        Update of the running statistics, and their use in training; see `BatchNorm`.
    init : str
        See `Dense`.

    References
    ----------
    Qi et al., arXiv 2506.23800, whose code (DeepPCNs) has these networks, with the delay states as auxiliary value nodes of
    weight 1 / lr; He et al., arXiv 1512.03385.
    """

    kind: Literal["resnet"] = "resnet"
    depth: Literal[10, 18] = 10
    input_shape: tuple[PositiveInteger, PositiveInteger, PositiveInteger] = (32, 32, 3)
    classes: PositiveInteger = 10
    activation: ActivationName = "gelu"
    width: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    delay: bool = True
    delay_precision: Positive = 1.0
    batch_norm: bool = False
    freezing: bool = True
    norm_convention: Literal["pytorch", "pcx"] = "pytorch"
    init: Initialisation = "kaiming-uniform"

    @model_validator(mode="after")
    def _precision_has_states(self) -> ResNet:
        if self.delay_precision != 1 and not self.delay:
            raise ValueError(f"delay_precision = {self.delay_precision:g} needs delay = true: there are no delay states")
        return self

    def _residuals(self) -> list[_Residual]:
        rows, columns, _ = self.input_shape
        shape = (rows, columns, scaled(_CHANNELS[0], self.width))
        residuals = []
        for group, (channels, count) in enumerate(zip(_CHANNELS, _BLOCKS[self.depth], strict=True)):
            for number in range(count):
                stride = 2 if group > 0 and number == 0 else 1
                rows, columns = (output_size(side, 3, stride, 1) for side in (rows, columns))
                after = (rows, columns, scaled(channels, self.width))
                residuals.append(_Residual(shape, after, stride))
                shape = after
        return residuals

    @override
    def layers(self) -> tuple[BlockSpecification, ...]:
        """Return the first convolution, the residual blocks and the read-out."""
        residuals = self._residuals()
        first = Chain(blocks=(self._convolution(residuals[0].before[2]),))
        inner: list[BlockSpecification] = []
        for number, residual in enumerate(residuals):
            inner += self._delayed(residual, number > 0) if self.delay else [self._at_once(residual)]
        meet = [Sum(shape=residuals[-1].after)] if self.delay else []
        dense = Dense(features=self.classes, init=self.init)
        return (first, *inner, Chain(blocks=(*meet, self._act(), GlobalMean(), dense)))

    def _delayed(self, residual: _Residual, meets: bool) -> list[BlockSpecification]:
        """Return the two layers of a residual block; the first adds the two parts of the state below, if any, and forks."""
        enter = [Sum(shape=residual.before)] if meets else []
        passed = 1.0 if residual.projects else self.delay_precision
        fork = Parallel(branches=(self._main(residual, residual.stride), self._shortcut(residual)), precisions=(1.0, passed))
        beside = Parallel(
            branches=(self._main(residual, 1), Flatten()), shapes=(residual.after,) * 2, precisions=(1.0, self.delay_precision)
        )
        return [Chain(blocks=(*enter, fork)), Chain(blocks=(beside,))]

    def _at_once(self, residual: _Residual) -> BlockSpecification:
        """Return a residual block as one layer."""
        body = Chain(blocks=(*self._main(residual, residual.stride).blocks, *self._main(residual, 1).blocks))
        shortcut = self._projection(residual) if residual.projects else Activation(function="identity")
        return Residual(body=body, shortcut=shortcut)

    def _main(self, residual: _Residual, stride: int) -> Chain:
        return Chain(blocks=(self._act(), self._convolution(residual.after[2], stride), *self._norm()))

    def _shortcut(self, residual: _Residual) -> BlockSpecification:
        """Return the skip across the first convolution: the identity, or a projection."""
        return self._projection(residual) if residual.projects else Flatten()

    def _projection(self, residual: _Residual) -> Conv2d:
        return self._convolution(residual.after[2], residual.stride, kernel=1)

    def _act(self) -> Activation:
        return Activation(function=self.activation)

    def _convolution(self, channels: int, stride: int = 1, kernel: int = 3) -> Conv2d:
        return Conv2d(channels=channels, kernel=kernel, stride=stride, padding=kernel // 2, bias=False, init=self.init)

    def _norm(self) -> tuple[BatchNorm, ...]:
        return (BatchNorm(freezing=self.freezing, convention=self.norm_convention),) if self.batch_norm else ()
