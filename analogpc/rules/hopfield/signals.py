"""Equilibrium propagation with intermediate signals: besides the output, chosen hidden states are pulled by losses of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, FiniteFloat, model_validator
from typing_extensions import override

from analogpc.devices.specification import Specification
from analogpc.dynamics.recurrent import Recurrent
from analogpc.networks.network import Network
from analogpc.rules.base import StepContext
from analogpc.rules.hopfield.hopfield_ep import HopfieldEP, Phase
from analogpc.rules.hopfield.intermediate import LocalError, Signal, Signals
from analogpc.rules.hopfield.traces import Traces

Strength = Annotated[FiniteFloat, Field(ge=0)]
Epochs = Annotated[int, Field(ge=1)]


class Steady(Specification):
    """The same gamma in every epoch."""

    kind: Literal["constant"] = "constant"
    start: Strength = 0.65

    def at(self, epoch: int) -> float:
        """Gamma in an epoch, of which the first is 0."""
        return self.start


class Linear(Specification):
    """start - (start - end) e / epochs until e = epochs, then end."""

    kind: Literal["linear"] = "linear"
    start: Strength = 0.65
    end: Strength = 0.0
    epochs: Epochs

    def at(self, epoch: int) -> float:
        """Gamma in an epoch, of which the first is 0."""
        return self.start - (self.start - self.end) * min(1.0, epoch / self.epochs)


class Exponential(Specification):
    """start ratio^e, but not below end."""

    kind: Literal["exponential"] = "exponential"
    start: Strength = 0.65
    end: Strength = 0.0
    ratio: Annotated[FiniteFloat, Field(gt=0, lt=1)] = 0.98

    def at(self, epoch: int) -> float:
        """Gamma in an epoch, of which the first is 0."""
        return max(self.end, self.start * self.ratio**epoch)


class Cosine(Specification):
    """end + (start - end) (1 + cos(pi e / epochs)) / 2 until e = epochs, then end."""

    kind: Literal["cosine"] = "cosine"
    start: Strength = 0.65
    end: Strength = 0.0
    epochs: Epochs

    def at(self, epoch: int) -> float:
        """Gamma in an epoch, of which the first is 0."""
        return self.end + 0.5 * (self.start - self.end) * (1 + math.cos(math.pi * min(1.0, epoch / self.epochs)))


Gamma = Annotated[Steady | Linear | Exponential | Cosine, Field(discriminator="kind")]
"""How strong the intermediate signals are, epoch by epoch (Lin et al., arXiv 2508.15989, eq. 16)."""


@dataclass
class SignalledPhase(Phase):
    """A nudged phase in whose end the heads of the signals learn, too, from their own errors times beta."""

    signals: list[Signal]
    beta: float

    @override
    def traces(self) -> Traces:
        traces = super().traces()
        for signal in self.signals:
            if signal.head is not None:
                error, tape = signal.read(self.states)
                traces.layers.append(signal.head)
                traces.parts.append((tape, error.dtype.type(self.beta) * error))
        return traces

    @override
    def before(self, free: Recurrent) -> Traces:
        traces = super().before(free)
        heads = [signal.head for signal in self.signals if signal.head is not None]
        traces.layers.extend(heads)
        traces.parts.extend([None] * len(heads))
        return traces


class SignalsEP(HopfieldEP):
    """Equilibrium propagation that also pulls at hidden states, for networks too deep for the pull at the output to be felt below.

    In a nudged phase every chosen state n feels beta gamma tau w^T (p_T - p_S) inside its nonlinearity, where p_S = softmax(w s / tau)
    and p_T is what it should be: minus beta gamma times the gradient of L^n = tau^2 KL(p_T || p_S). All pulls change their sign with
    beta. So what the layers learn is minus the gradient of L + gamma sum_n L^n at the free state, with p_T held, off by O(beta) or,
    centered, O(beta^2). Heads learn (p_T - p_S) s^T of the nudged phases, their mean if centered: minus the gradient of L^n / tau
    whatever gamma is. Networks with feedback = "separate" have no such gradient, and learn as in `HopfieldEP`.

    This is a reconstruction from the equations of the paper, whose code could not be had. The paper leaves open what states of
    convolutional layers are compared by; here heads read the flattened state, and distillation without heads compares the means of
    the channels.

    Attributes
    ----------
    signals : LocalError, Distillation or WeightedDistillation
        Which losses, where.
    gamma : Steady, Linear, Exponential or Cosine
        Their strength by epoch.
    beta, nudging, output, steps, update
        See `HopfieldEP`; there is no drive = "clamp".

    References
    ----------
    Lin, Bal and Sengupta, "Scalable Equilibrium Propagation via Intermediate Error Signals for Deep Convolutional CRNNs",
    arXiv 2508.15989: eqs. 7 to 16.

    Examples
    --------
    >>> from analogpc.kernels.random.streams import Key
    >>> SignalsEP(signals=LocalError(states=(1, 3)), gamma=Linear(start=0.8, end=0.2, epochs=100)).at(StepContext(Key(0), epoch=50)).gamma
    Steady(kind='constant', start=0.5)
    """

    kind: Literal["hopfield-ep-signals"] = "hopfield-ep-signals"  # type: ignore[assignment]
    signals: Signals = LocalError()
    gamma: Gamma = Steady()

    @model_validator(mode="after")
    def _only_nudges(self) -> Self:
        if self.drive != "nudge":
            raise ValueError(f"drive = '{self.drive}' does not go with intermediate signals, which nudge; use 'nudge'")
        return self

    @override
    def at(self, context: StepContext) -> Self:
        rule = super().at(context)
        return rule if isinstance(rule.gamma, Steady) else rule.but(gamma=Steady(start=rule.gamma.at(context.epoch)))

    @override
    def settled(self) -> Self:
        signals = self.signals.settled()
        return self if signals is self.signals else self.but(signals=signals)

    @override
    def repeatable(self, network: Network) -> bool:
        return super().repeatable(network) and isinstance(self.signals, LocalError)

    @override
    def phase(self, network: Network, free: Recurrent, target: np.ndarray, beta: float) -> Phase:
        if not isinstance(self.gamma, Steady):
            raise ValueError("gamma changes from epoch to epoch; take the rule of a moment of a run, by rule.at(context)")
        states, force = self.nudged(free, target, beta)
        signals = self.signals.of(network, free, target)
        if self.gamma.start > 0:
            states.pulls.update({signal.number: signal.force(beta * self.gamma.start) for signal in signals})
        return SignalledPhase(states, force, signals, beta)
