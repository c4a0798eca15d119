"""Predictive coding: relax the states to minimise the energy of the prediction errors, then learn from the remaining errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, FiniteFloat, model_validator
from typing_extensions import override

from analogpc.devices.bounds import Fraction, NonNegative, Positive
from analogpc.devices.costs.schedule import at_once
from analogpc.dynamics.relaxation import Relaxation, Watch
from analogpc.dynamics.repetition import repeated
from analogpc.networks.network import Network
from analogpc.rules.base import Apply, StepResult
from analogpc.rules.clamped import RelaxingRule
from analogpc.rules.swept import pc_step

_TAIL = 0.01
"""Factor on decaying precisions in the reference code of Qi et al."""


# Base values of the named rules: within the ranges of Pinchetti et al., and those of Qi et al.
_PLAIN: dict[str, Any] = {"steps": 8, "step_size": 0.02, "momentum": 0.3}
_SCHEDULED: dict[str, Any] = {"steps": "layers", "step_size": 0.5}


class PredictiveCoding(RelaxingRule):
    """Discriminative predictive coding with a clamped output and feed-forward initialisation.

    All hidden states are updated together, ``steps`` times (see `RelaxingRule`). Then every layer learns from its error and input.
    The network determines whether layers are f(W x) or W f(x).

    Attributes
    ----------
    precision : str
        Schedule of the precisions, after Qi et al., with T steps t = 0, 1, ..., T - 1 and L layers l = 1, ..., L; the error reaches
        layer l at t = L - l.

        - "standard": all precisions 1.
        - "spiking": layer L - t has precision 1, layers above it ``base_precision``, and layers below are inactive, as in their
          code. (Their eq. 4, read literally with one alpha, would erase every error one step after its arrival.)
        - "decay-paper": eq. 5. Layer l, once reached, has exp(-k (l - L + t)) / sum_j exp(-k j), j = 0, ..., T - L + l, k being ``decay``;
          before that, 1. (The sum is 1 only over t = L - l, ..., T, one step more than available.)
        - "decay-code": their code. 1 when reached, then exp(-k i) / 100 times sum_j exp(-k j), j = 0, ..., n - 1, after i more of the
          n = T - L + l remaining steps of the layer; layers not reached are inactive.
    base_precision : float
        Precision of the layers above the active one under "spiking".
    decay : float
        k of the decaying precisions; 1 in the reference code.
    update : "standard" or "forward"
        Learn from the errors at the relaxed states; or from x_l(T) - mu_l(0) and the initial inputs of each layer (forward update,
        eq. 6 there, as in its code: prediction and presynaptic activity are both those of the feed-forward pass). In both cases the
        products are not weighted by precisions.
    gain : "none" or "closed-form"
        Spiking precision with forward updates gives the gradient of backpropagation times (1 - s) s^(L-l) in hidden layer l, where s is
        the step size, up to O(base_precision). "closed-form" multiplies the products of every layer by the inverse. An
        optimiser that normalises gradients is not affected by the factor; pulsed devices of finite granularity are.
    step_decay : float
        Factor on the step size whenever the energy of the batch has risen (0.9 for the language models of Salvatori
        et al., ICLR 2024); 1 keeps it. Needs standard precision: a schedule changes the energy.
    tolerance : float
        Stop the relaxation once no component of the gradient of the energy with respect to a state exceeds this value; 0: never.

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
    base_precision: Fraction = 1e-3
    decay: Positive = 1.0
    update: Literal["standard", "forward"] = "standard"
    gain: Literal["none", "closed-form"] = "none"
    step_decay: Annotated[FiniteFloat, Field(gt=0, le=1)] = 1.0
    tolerance: NonNegative = 0.0

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
            raise ValueError(
                f"gain = 'closed-form' needs tolerance = 0, not {self.tolerance:g}: it assumes that all steps are made"
            )
        return self

    @property
    @override
    def usual_rate(self) -> float:
        if self.output == "cross-entropy":
            return 0.1
        scheduled = self.precision != "standard" and self.update == "forward"
        return 0.3 if scheduled or self.nudging.beta < 1 else 1.0

    def precisions(self, layers: int, step: int) -> list[float]:
        """Return the precision of every layer at a relaxation step, first layer first; zero for inactive layers."""
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
        """Return the factor on the products of every layer, first layer first, without nudging.

        Raises
        ------
        ValueError
            If gain = "closed-form" and there are fewer steps than layers.
        """
        if self.gain == "none":
            return [1.0] * layers
        if self.step_count(layers) < layers:
            raise ValueError(f"gain = 'closed-form' needs at least as many steps as layers: {layers}, not steps = {self.steps}")
        s = self.step_size
        return [1 / ((1 - s) * s**above) for above in range(layers - 1, 0, -1)] + [1.0]

    @override
    def residuals(self, network: Network, x: np.ndarray, target: np.ndarray) -> dict[str, list[np.ndarray]]:
        """See `Rule.residuals`: the gradient of the energy with respect to the hidden states, all precisions being 1.

        Only under nudging by precision, the output keeps its own, so that schedules are measured against the same equilibrium.
        """
        relaxation = self.begin(network, x, target)
        self.relax(relaxation)
        relaxation.differentiate([1.0] * (len(network.layers) - 1) + [self.output_precision()])
        found = zip(relaxation.gradients[1:-1], relaxation.states[1:-1], strict=True)
        return {"relaxed": [np.zeros_like(state) if gradient is None else gradient for gradient, state in found]}

    @override
    def repeatable(self, network: Network) -> bool:
        # With value nodes inside layers, step sizes are computed on the GPU.
        return self.tolerance == 0 and (self.step_decay == 1 or (network.swept and self.momentum == 0))

    @override
    def train_step(
        self, network: Network, x: np.ndarray, target: np.ndarray, apply: Apply, watch: Watch | None = None
    ) -> StepResult:
        """See `Rule.train_step`; ``watch`` is passed to `relax`."""
        if network.swept:
            return pc_step(self, network, x, target, apply, watch)
        layers = network.layers
        beta = self.nudging.strength
        gains = [gain / beta for gain in self.gains(len(layers))]
        # Products are not weighted by the output precision, which contains all of beta here.
        gains[-1] *= self.output_precision()
        if watch is None:
            outputs, tapes, errors, relaxation = repeated(self, partial(self._relaxed, network), x, target)
        else:
            outputs, tapes, errors, relaxation = self._relaxed(network, x, target, watch)
        for layer, tape, error, factor in at_once(zip(layers, tapes, errors, gains, strict=True)):
            apply(layer.products(tape, error), factor)
        return StepResult(outputs, relaxation.energies())

    def _relaxed(
        self, network: Network, x: np.ndarray, target: np.ndarray, watch: Watch | None = None
    ) -> tuple[np.ndarray, list[Any], list[np.ndarray], Relaxation]:
        """Relax, and return the feed-forward output, the tapes and the errors from which the layers learn, and the relaxation."""
        relaxation = self.begin(network, x, target)
        outputs = relaxation.prediction(-1)
        self.relax(relaxation, watch)
        if self.update == "forward":
            relaxation.rewind()
        else:
            relaxation.predict([1.0] * len(network.layers))
        errors = [relaxation.unweighted(index) for index in range(len(network.layers))]
        return outputs, relaxation.tapes, errors, relaxation

    def relax(self, relaxation: Relaxation, watch: Watch | None = None) -> None:
        """Relax the states according to the schedule.

        ``watch`` is called before every step and after the last; it may need an additional read of the predictions.
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
    """Return sum_j exp(-k j) over j = 0, ..., terms - 1."""
    return math.fsum(math.exp(-k * j) for j in range(terms))
