"""Fully connected networks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from typing_extensions import override

from analogpc.blocks import Activation, ActivationName, BlockSpecification, Chain, Dense, Initialisation, Residual
from analogpc.devices.bounds import NonNegative, Positive, PositiveInteger
from analogpc.networks.base import ArchitectureBase, usual_width


class MLP(ArchitectureBase):
    """A fully connected network.

    Attributes
    ----------
    widths : tuple of int
        Sizes of the states, input and output included.
    activation : str
        Activation of the hidden layers; the output is linear.
    convention : "f(Wx)" or "Wf(x)"
        Position of the nonlinearity: states are its outputs (as in PCX and in the EP papers) or its inputs (as in the
        predictive-coding papers; the first layer then reads the input without the nonlinearity).
    bias : bool
    init : str
        See `Dense`. Default: "kaiming-uniform" in the standard parametrisation; "normal", the only allowed value, in the others.
    parametrisation : "standard", "ntk" or "mupc"
        Gains of the layers (see `Dense`) with n inputs each, in a network of L layers:

        - "standard": 1.
        - "ntk": 1 / sqrt(n) in all layers, so that at initialisation the sizes of activations and of function changes in
          training do not depend on the widths (Jacot et al.).
        - "mupc": 1 / sqrt(n), but 1 / n in the output layer, so that features of wide networks change in training (Innocenti et al.).

        In both, hidden layers with a skip have the gain 1 / sqrt(n L). Biases have no gain and start at zero.
    skips : bool
        Identity skips across single layers between hidden states of equal sizes, not from the input, nor to the output.
    gamma : float
        Divisor of the gain of the output layer.
    init_gain : float
        Factor on all drawn weights.

    Notes
    -----
    Gains are those of ``_get_param_scalings`` in JPC, the code of Innocenti et al., which writes D and N for our n of the first and of
    the other layers, and also multiplies biases by them. The parametrisation "ntp" of JPC draws weights uniformly within 1 / sqrt(n) and
    also multiplies by 1 / sqrt(n); "ntk" here is the parametrisation of Jacot et al., with weights of unit variance.

    JPC uses the convention "Wf(x)". In the convention "f(Wx)" the skip also bypasses the activation: x + f(gain * W x).

    The best learning rate refers to weights of unit variance: for Adam and wide networks JPC divides it by sqrt(N), with skips by
    sqrt(N L); for plain gradient descent it multiplies it by N gamma**2.

    References
    ----------
    Jacot, Gabriel and Hongler, arXiv 1806.07572; Innocenti, Achour and Buckley, arXiv 2505.13124, with the code JPC.

    Examples
    --------
    >>> MLP(widths=(64, 100, 100, 10), parametrisation="mupc").gains()
    [0.125, 0.1, 0.01]
    """

    kind: Literal["mlp"] = "mlp"
    widths: Annotated[tuple[PositiveInteger, ...], Field(min_length=2)]
    activation: ActivationName = "leaky_relu"
    convention: Literal["f(Wx)", "Wf(x)"] = "f(Wx)"
    bias: bool = True
    init: Initialisation = "kaiming-uniform"
    parametrisation: Literal["standard", "ntk", "mupc"] = "standard"
    skips: bool = False
    gamma: Positive = 1.0
    init_gain: NonNegative = 1.0

    @override
    @classmethod
    def usual(cls, input_shape: Sequence[int], outputs: int, given: Mapping[str, Any]) -> Self:
        inputs = math.prod(input_shape)
        return cls(widths=(inputs, *2 * (usual_width(inputs),), outputs))

    @override
    @classmethod
    def consequences(cls, said: Mapping[str, Any]) -> dict[str, Any]:
        return {"init": "kaiming-uniform" if said.get("parametrisation", "standard") == "standard" else "normal"}

    @model_validator(mode="after")
    def _parts_fit(self) -> MLP:
        if self.parametrisation != "standard" and self.init != "normal":
            raise ValueError(f"init = '{self.init}' cannot be used with parametrisation = '{self.parametrisation}': use 'normal'")
        if self.skips and not any(self._skipped(number) for number in range(len(self.widths) - 1)):
            raise ValueError(f"skips need two hidden states of equal sizes one after the other, but widths = {self.widths}")
        return self

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.widths[:1]

    def _skipped(self, number: int) -> bool:
        """Return whether layer ``number``, counted from 0, has a skip."""
        return self.skips and 0 < number < len(self.widths) - 2 and self.widths[number] == self.widths[number + 1]

    def gains(self) -> list[float]:
        """Return the gain of every layer, first layer first."""
        depth = len(self.widths) - 1
        if self.parametrisation == "standard":
            gains = [1.0] * depth
        else:
            inputs = [n * depth if self._skipped(number) else n for number, n in enumerate(self.widths[:-1])]
            gains = [1 / math.sqrt(n) for n in inputs]
            if self.parametrisation == "mupc":
                gains[-1] = 1 / self.widths[-2]
        return [*gains[:-1], gains[-1] / self.gamma]

    @override
    def layers(self) -> tuple[BlockSpecification, ...]:
        """Return dense layers with the activation after or before each."""
        act = Activation(function=self.activation)
        layers: list[BlockSpecification] = []
        for number, (width, gain) in enumerate(zip(self.widths[1:], self.gains(), strict=True)):
            dense = Dense(features=width, bias=self.bias, gain=gain, init=self.init, init_gain=self.init_gain)
            if self.convention == "f(Wx)":
                body = Chain(blocks=(dense,) if number == len(self.widths) - 2 else (dense, act))
            else:
                body = Chain(blocks=(dense,) if number == 0 else (act, dense))
            layers.append(Residual(body=body) if self._skipped(number) else body)
        return tuple(layers)
