"""Shared parts of the rules with a clamped output: nudging towards the target, and the loss at the output."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, FiniteFloat, field_validator
from typing_extensions import override

from analogpc.devices.bounds import NonNegative, NonNegativeInteger, Positive
from analogpc.devices.specification import Specification
from analogpc.dynamics.relaxation import Output, Relaxation, softmax
from analogpc.dynamics.state_memory import StateMemory
from analogpc.kernels.products import difference, scaled
from analogpc.kernels.random.streams import uniforms
from analogpc.networks.network import Network
from analogpc.rules.base import Rule, StepContext


class Nudging(Specification):
    """Nudging of the output from its feed-forward prediction u towards the target y.

    In epoch e = 0, 1, ... the strength is beta_e = sign (beta + growth e), and 1 once its absolute value reaches 1; a negative
    strength then also becomes +1, as in the reference code of Pinchetti et al. The update is divided by beta_e.

    Attributes
    ----------
    beta : float
        Strength, above 0 and at most 1. The default 1 clamps the output at the target.
    growth : float
        Increase of the strength per epoch.
    sign : "positive", "negative" or "random"
        Sign of the nudge; random signs are drawn for each batch, with equal probability ("centered nudging" of predictive coding).
    form : "clamped-target" or "precision"
        Clamp the output at u + beta (y - u), where u is the initial prediction (for cross-entropy its softmax), as in the reference
        code; or at y, with precision beta, as printed by Qi et al. Both start with the error beta (y - u). Later the error is
        beta (y - u) - (u_t - u) for the first form, and beta (y - u_t) for the second.

    References
    ----------
    Pinchetti et al., arXiv 2407.01163, with their code PCX 0.6.1; Qi et al., arXiv 2506.23800, Section 3.
    """

    beta: Annotated[FiniteFloat, Field(gt=0, le=1)] = 1.0
    growth: NonNegative = 0.0
    sign: Literal["positive", "negative", "random"] = "positive"
    form: Literal["clamped-target", "precision"] = "clamped-target"

    @property
    def settled(self) -> bool:
        """Whether the strength is the same in every training step."""
        return self.growth == 0 and self.sign != "random"

    def at(self, context: StepContext) -> Nudging:
        """Return the nudging of one training step, with fixed strength and sign."""
        sign = self.sign
        if sign == "random":
            drawn = uniforms(context.key.fold("nudging"), context.step, (1,), np.float64)[0]
            sign = "positive" if drawn < 0.5 else "negative"
        return self.but(beta=min(1.0, self.beta + self.growth * context.epoch), growth=0.0, sign=sign)

    @property
    def strength(self) -> float:
        """Signed strength beta of a settled nudging.

        Raises
        ------
        ValueError
            If the nudging is not settled.
        """
        if not self.settled:
            raise ValueError(
                f"a nudging with sign = '{self.sign}' and growth = {self.growth:g} has no fixed strength: "
                "use the rule of a training step, rule.at(context)"
            )
        return -self.beta if self.sign == "negative" and self.beta < 1 else self.beta


class ClampedRule(Rule):
    """A rule with a clamped output.

    Attributes
    ----------
    output : "squared-error" or "cross-entropy"
        Loss at the output layer: 1/2 ||h - u||^2, or - sum h log softmax(u) for the clamped output h and its prediction u; the error
        of the latter is h - softmax(u).
    nudging : Nudging
    """

    output: Output = "squared-error"
    nudging: Nudging = Nudging()

    @override
    def at(self, context: StepContext) -> Self:
        return self if self.nudging.settled else self.but(nudging=self.nudging.at(context))

    def held(self, outputs: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Return the clamped output (n, *output_shape), for feed-forward ``outputs`` and a ``target`` of that shape."""
        beta = self.nudging.strength
        if beta == 1 or self.nudging.form == "precision":
            return target
        start = outputs if self.output == "squared-error" else softmax(outputs)
        return difference(start, scaled(difference(start, target), beta))

    def output_precision(self) -> float:
        """Factor of the nudging on the precision of the output layer."""
        return self.nudging.strength if self.nudging.form == "precision" else 1.0

    def begin(self, network: Network, x: np.ndarray, target: np.ndarray) -> Relaxation:
        """Start a relaxation from feed-forward states, with the output clamped."""
        relaxation = Relaxation(network.layers, x, target, self.output, self.memory())
        relaxation.hold(self.held(relaxation.prediction(-1), target))
        return relaxation

    def memory(self) -> StateMemory | None:
        """Memory of the states; None for the floating type."""
        return None


class RelaxingRule(ClampedRule):
    """A rule that relaxes all hidden states together, by gradient descent on the energy.

    With errors e_l = x_l - mu_l(x_{l-1}) and precisions P_l the energy is E = 1/2 sum_l P_l ||e_l||^2 (per sample). A step is

        g_l = P_l e_l - J_{l+1}^T P_{l+1} e_{l+1};   v_l <- momentum v_l + g_l;   x_l <- x_l - step_size v_l

    where J^T is the transposed read of the layer above.

    Attributes
    ----------
    steps : int or "layers"
        Relaxation steps T; "layers": as many as there are layers. Layer l of L receives an error only if T >= L - l.
    step_size : float
        Step size of the states.
    momentum : float
    nesterov : bool
        Nesterov momentum: x_l <- x_l - step_size (g_l + momentum v_l).
    state_bits : int
        Bits of the digital memory of the hidden states between reads (see `StateMemory`); 0, the default, for the floating type of
        the network.
    state_memory : "states" or "deviations"
        Content of that memory: the states, or their deviations from the feed-forward pass.
    """

    steps: NonNegativeInteger | Literal["layers"] = 8
    step_size: Positive = 0.02
    momentum: Annotated[FiniteFloat, Field(ge=0, lt=1)] = 0.0
    nesterov: bool = False
    state_bits: Annotated[int, Field(ge=0, le=24)] = 0
    state_memory: Literal["states", "deviations"] = "states"

    @field_validator("state_bits")
    @classmethod
    def _two_bits_at_least(cls, bits: int) -> int:
        if bits == 1:
            raise ValueError("state_bits = 1 has only the level zero: use 0 for the floating type, or 2 to 24")
        return bits

    @override
    def memory(self) -> StateMemory | None:
        return StateMemory(bits=self.state_bits, holds=self.state_memory) if self.state_bits > 0 else None

    def step_count(self, layers: int) -> int:
        """Return the number of relaxation steps for the given number of layers."""
        return layers if self.steps == "layers" else self.steps
