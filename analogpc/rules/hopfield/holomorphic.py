"""Holomorphic equilibrium propagation: the derivative at beta = 0 as a mean over a circle of complex nudges."""

from __future__ import annotations

import cmath
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from typing_extensions import override

from analogpc.blocks import Product
from analogpc.blocks.pool import MaxPoolBlock
from analogpc.devices.bounds import Positive, PositiveInteger
from analogpc.devices.costs.schedule import at_once
from analogpc.devices.substrate import Digital
from analogpc.dynamics.complex_recurrent import ComplexRecurrent
from analogpc.dynamics.recurrent import Recurrent
from analogpc.dynamics.relaxation import Output, output_error
from analogpc.dynamics.state_functions import STATE_FUNCTIONS
from analogpc.networks import Hopfield
from analogpc.networks.network import Network
from analogpc.rules.base import Apply, Rule, StepResult
from analogpc.rules.contrast import apply_together
from analogpc.rules.hopfield.hopfield_ep import check_target, recurrent, step_result


class HolomorphicEP(Rule):
    """Equilibrium propagation with N nudges on a circle, beta_k = beta exp(2 pi i k / N), each relaxed from the free state.

    The weights change along 1/N sum_k 1/beta_k dPhi/dW(s^{beta_k}), which is minus the gradient of the loss up to O(beta^N): Cauchy's
    formula by the trapezoidal rule. Two points give centered equilibrium propagation. States of conjugate nudges are conjugate, so
    that only half of them is relaxed.

    It runs on the digital substrate only, in networks of the architecture `Hopfield` with a holomorphic activation
    ("steep_sigmoid", "soft_half_sigmoid" or "tanh"), no max-pooling (soft or mean pooling is allowed),
    and transposed feedback.

    Attributes
    ----------
    points : int
        Number N of points, at least 2.
    beta : float
        Radius of the circle.
    steps : int
        Number of steps of each nudged phase.
    output : "squared-error" or "cross-entropy"
        The loss, see `NudgedRule`.

    References
    ----------
    Laborieux and Zenke, "Holomorphic equilibrium propagation computes exact gradients through finite size oscillations", NeurIPS 2022.
    """

    kind: Literal["holomorphic-ep"] = "holomorphic-ep"
    recurrent: ClassVar[bool] = True
    points: Annotated[int, Field(ge=2)] = 4
    beta: Positive = 0.4
    steps: PositiveInteger = 20
    output: Output = "squared-error"

    def begin(self, network: Network, x: np.ndarray, target: np.ndarray) -> tuple[Recurrent, Hopfield]:
        """Return the free equilibrium and the architecture, after all checks."""
        architecture = recurrent(self, network, self.output)
        if not isinstance(network.substrate, Digital):
            raise ValueError(
                "the rule 'holomorphic-ep' relaxes complex states, which crossbars cannot read; use network.on(analogpc.Digital())"
            )
        for name in architecture.activations or (architecture.activation,):
            if not STATE_FUNCTIONS[name].holomorphic:
                able = ", ".join(f"'{able}'" for able, function in STATE_FUNCTIONS.items() if function.holomorphic)
                raise ValueError(f"the rule 'holomorphic-ep' needs a holomorphic activation, {able}, not '{name}'")
        if architecture.feedback != "transposed":
            raise ValueError("the rule 'holomorphic-ep' needs a primitive function: a network with feedback = 'transposed'")
        if architecture.skips:
            raise ValueError("the rule 'holomorphic-ep' does not train skips: use a network without them")
        if any(isinstance(leaf, MaxPoolBlock) for layer in network.layers for leaf in layer.leaves()):
            raise ValueError("the rule 'holomorphic-ep' needs layers without max-pooling, which is not holomorphic")
        free = architecture.free(network.layers, x, network.extras)
        check_target(free, target)
        return free, architecture

    def relax(self, free: Recurrent, architecture: Hopfield, target: np.ndarray, k: int) -> ComplexRecurrent:
        """Relax the states of phase k."""
        states = ComplexRecurrent.continued(free)
        strength = self._strength(k, states.states[0].dtype)
        states.relax(self.steps, architecture.order, lambda now: strength * output_error(self.output, target, now.output()))
        return states

    def _strength(self, k: int, dtype: np.dtype) -> np.complexfloating:
        exact = {0: 1, self.points: -1}.get(2 * k, cmath.rect(1, 2 * cmath.pi * k / self.points))
        return dtype.type(self.beta * exact)

    def _products(self, states: ComplexRecurrent, target: np.ndarray, index: int, k: int) -> list[Product]:
        """Re (1/beta_k dPhi/dW) N beta, counted twice for a nudge that also represents its conjugate."""
        beta = self._strength(k, states.states[0].dtype)
        if index + 1 < len(states.states):
            post = states.states[index + 1] * (self.beta / beta)
        else:
            post = states.states[0].dtype.type(self.beta) * output_error(self.output, target, states.output())
        if 2 * k % self.points:
            post = 2 * post
        return states.products(index, post)

    @override
    def repeatable(self, network: Network) -> bool:
        return recurrent(self, network, self.output).tolerance == 0

    @override
    def train_step(self, network: Network, x: np.ndarray, target: np.ndarray, apply: Apply) -> StepResult:
        free, architecture = self.begin(network, x, target)
        result = step_result(free, target, self.output)
        ks = range(self.points // 2 + 1)
        phases = [self.relax(free, architecture, target, k) for k in ks]
        learnt = [
            [self._products(states, target, index, k) for k, states in zip(ks, phases, strict=True)]
            for index in range(len(network.layers))
        ]
        for sets in at_once(learnt):
            apply_together(apply, sets, 1 / (self.points * self.beta))
        return result
