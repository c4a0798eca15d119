"""Predictive coding: relax the states to lower the energy of the prediction errors, then learn from the errors that remain."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, FiniteFloat, model_validator
from typing_extensions import override

from analogpc.devices.costs.schedule import at_once
from analogpc.dynamics.relaxation import Relaxation, Watch
from analogpc.networks.network import Network
from analogpc.rules.base import Apply, StepResult
from analogpc.rules.clamped import Positive, RelaxingRule
from analogpc.rules.swept import pc_step

_TAIL = 0.01
"""What the reference code of Qi et al. multiplies a decaying precision by."""


# What the names begin from: numbers within the ranges of Pinchetti et al., and those of Qi et al.
_PLAIN: dict[str, Any] = {"steps": 8, "step_size": 0.02, "momentum": 0.3}
_SCHEDULED: dict[str, Any] = {"steps": "layers", "step_size": 0.5}


class PredictiveCoding(RelaxingRule):
    """Discriminative predictive coding with a held output and feed-forward initialisation.

    All hidden states move at once, ``steps`` times (see `RelaxingRule`). Then every layer learns from its error and its input.
    Whether the layers are f(W x) or W f(x) is the network's.

    Attributes
    ----------
    precision : str
        With T steps t = 0, 1, ..., T - 1 and L layers l = 1, ..., L, after Qi et al.; the error reaches layer l at t = L - l.

        - "standard": all precisions 1.
        - "spiking": layer L - t has precision 1, the layers above it ``base_precision``, and those below do not take part, as in their
          code. (Their eq. 4, read literally with one alpha, would erase every error one step after its arrival.)
        - "decay-paper": eq. 5. Layer l, once reached, has exp(-k (l - L + t)) / sum_j exp(-k j), j = 0, ..., T - L + l, k being ``decay``;
          before that 1. (The sum is 1 only over t = L - l, ..., T: one step more than there are.)
        - "decay-code": what their code does. 1 when reached, then exp(-k i) / 100 times sum_j exp(-k j), j = 0, ..., n - 1, after i
          more of the n = T - L + l steps that are left to the layer; layers not reached do not take part.
    base_precision : float
        See "spiking".
    decay : float
        k of the decaying precisions; 1 in the reference code.
    update : "standard" or "forward"
        Learn from the errors at the relaxed states; or from x_l(T) - mu_l(0) and the initial inputs of each layer (forward update,
        eq. 6 there, as in its code: both the prediction and the presynaptic activity are those of the feed-forward pass).
        Either way precisions do not weigh the products.
    gain : "none" or "closed-form"
        Spiking precision with forward updates gives the gradient of backpropagation times (1 - s) s^(L-l) in hidden layer l, s being
        the step size, up to O(base_precision). "closed-form" multiplies the products of every layer by the inverse. An
        optimiser that normalises gradients does not notice; pulsed devices of finite granularity do.
    step_decay : float
        The step size is multiplied by this whenever the energy of the batch has risen (0.9 for the language models of Salvatori
        et al., ICLR 2024); 1 leaves it alone. Needs standard precision: under a schedule the energy rises by itself.
    tolerance : float
        Relaxation ends before ``steps`` as soon as no component of the gradient of the energy with respect to a state exceeds this;
        0 for never.

    References
    ----------
    Whittington and Bogacz, Neural Comput. 29:1229 (2017); Pinchetti et al., arXiv 2407.01163; Qi et al., arXiv 2506.23800.
    """

    names: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "pc": _PLAIN,
        "pc-se": _PLAIN | {"output": "squared-error"},
        "pc-ce": _PLAIN | {"output": "cross-entropy"},
        "pc-pn": _PLAIN | {"nudging": {"beta": 0.3, "sign": "positive"}},
        "pc-nn": _PLAIN | {"nudging": {"beta": 0.3, "sign": "negative"}},
        "pc-cn": _PLAIN | {"nudging": {"beta": 0.3, "sign": "random"}},
        "pc-cn-paper": _PLAIN | {"nudging": {"beta": 0.3, "sign": "random", "form": "precision"}},
        "f": _PLAIN | {"update": "forward"},
        "s": _SCHEDULED | {"precision": "spiking"},
        "d": _SCHEDULED | {"precision": "decay-code"},
        "d-paper": _SCHEDULED | {"precision": "decay-paper"},
        "s+f": _SCHEDULED | {"precision": "spiking", "update": "forward", "gain": "closed-form"},
        "d+f": _SCHEDULED | {"precision": "decay-code", "update": "forward"},
        "d+f-paper": _SCHEDULED | {"precision": "decay-paper", "update": "forward"},
    }
    sweeps: ClassVar[bool] = True
    kind: Literal["predictive-coding"] = "predictive-coding"
    watchable: ClassVar[bool] = True
    precision: Literal["standard", "spiking", "decay-paper", "decay-code"] = "standard"
    base_precision: Annotated[FiniteFloat, Field(ge=0, le=1)] = 1e-3
    decay: Positive = 1.0
    update: Literal["standard", "forward"] = "standard"
    gain: Literal["none", "closed-form"] = "none"
    step_decay: Annotated[FiniteFloat, Field(gt=0, le=1)] = 1.0
    tolerance: Annotated[FiniteFloat, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _parts_fit(self) -> PredictiveCoding:
        if self.step_decay < 1 and self.precision != "standard":
            raise ValueError(f"step_decay = {self.step_decay:g} needs precision = 'standard', not '{self.precision}'")
        if self.gain == "none":
            return self
        if self.precision != "spiking" or self.update != "forward" or self.momentum != 0:
            raise ValueError(
                "gain = 'closed-form' needs precision = 'spiking', update = 'forward' and momentum = 0; "
                f"got '{self.precision}', '{self.update}' and {self.momentum:g}"
            )
        if self.step_size >= 1:
            raise ValueError(f"gain = 'closed-form' needs step_size below 1, not {self.step_size:g}: the gain has no limit there")
        if self.tolerance > 0:
            raise ValueError(f"gain = 'closed-form' needs tolerance = 0, not {self.tolerance:g}: it counts on every step")
        return self

    @property
    @override
    def usual_rate(self) -> float:
        if self.output == "cross-entropy":
            return 0.1
        scheduled = self.precision != "standard" and self.update == "forward"
        return 0.3 if scheduled or self.nudging.beta < 1 else 1.0

    def precisions(self, layers: int, step: int) -> list[float]:
        """The precision of every layer at a relaxation step, first layer first; zero where a layer takes no part."""
        if self.precision == "standard":
            return [1.0] * layers
        # Steps since the error reached the layer; negative before.
        ages = [step - above for above in range(layers - 1, -1, -1)]
        if self.precision == "spiking":
            return [0.0 if age < 0 else 1.0 if age == 0 else self.base_precision for age in ages]
        total, k = self.step_count(layers), self.decay
        if self.precision == "decay-paper":
            return [1.0 if age < 0 else math.exp(-k * age) / _decays(k, total - step + age + 1) for age in ages]
        return [
            0.0 if age < 0 else 1.0 if age == 0 else _TAIL * math.exp(-k * age) * _decays(k, total - step + age) for age in ages
        ]

    def gains(self, layers: int) -> list[float]:
        """The factor on the products of every layer, first layer first, apart from nudging.

        Raises
        ------
        ValueError
            If the closed form is asked for with fewer steps than layers.
        """
        if self.gain == "none":
            return [1.0] * layers
        if self.step_count(layers) < layers:
            raise ValueError(f"gain = 'closed-form' needs at least as many steps as layers: {layers}, not steps = {self.steps}")
        s = self.step_size
        return [1 / ((1 - s) * s**above) for above in range(layers - 1, 0, -1)] + [1.0]

    @override
    def repeatable(self, network: Network) -> bool:
        # Where value nodes lie inside layers, step sizes are found on the GPU.
        return self.tolerance == 0 and (self.step_decay == 1 or (network.swept and self.momentum == 0))

    @override
    def train_step(
        self, network: Network, x: np.ndarray, target: np.ndarray, apply: Apply, watch: Watch | None = None
    ) -> StepResult:
        """See `Rule.train_step`; a ``watch`` sees the relaxation (see `relax`)."""
        if network.swept:
            return pc_step(self, network, x, target, apply, watch)
        layers = network.layers
        beta = self.nudging.strength
        gains = [gain / beta for gain in self.gains(len(layers))]
        # The precision of the output does not weigh its products, and it holds all of beta there.
        gains[-1] *= self.output_precision()
        relaxation = self.begin(network, x, target)
        outputs = relaxation.prediction(-1)
        self.relax(relaxation, watch)
        if self.update == "forward":
            relaxation.rewind()
        else:
            relaxation.predict([1.0] * len(layers))
        for i, (layer, factor) in at_once(enumerate(zip(layers, gains, strict=True))):
            apply(layer.products(relaxation.tapes[i], relaxation.unweighted(i)), factor)
        return StepResult(outputs, relaxation.energies())

    def relax(self, relaxation: Relaxation, watch: Watch | None = None) -> None:
        """Move the states by the schedule.

        A ``watch`` sees the states before every step and after the last, for which predictions that the rule itself may not need
        are read once more.
        """
        layers = len(relaxation.layers)
        step_size, last = self.step_size, math.inf
        for step in range(self.step_count(layers)):
            precisions = self.precisions(layers, step)
            precisions[-1] *= self.output_precision()
            relaxation.differentiate(precisions)
            relaxation.show(watch)
            if self.tolerance > 0 and relaxation.residual() <= self.tolerance:
                return
            if self.step_decay < 1:
                now = relaxation.energy(precisions)
                step_size, last = step_size * (self.step_decay if now > last else 1.0), now
            relaxation.descend(step_size, self.momentum, self.nesterov)
        relaxation.show(watch)


def _decays(k: float, terms: int) -> float:
    """sum_j exp(-k j) over j = 0, ..., terms - 1."""
    return math.fsum(math.exp(-k * j) for j in range(terms))
