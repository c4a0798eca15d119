"""Equilibrium propagation with intermediate signals: selected hidden states are also nudged, by their own losses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, FiniteFloat, model_validator
from typing_extensions import override

from analogpc.devices.bounds import NonNegative, PositiveInteger
from analogpc.devices.specification import Specification
from analogpc.dynamics.recurrent import Recurrent
from analogpc.networks.network import Network
from analogpc.rules.base import StepContext
from analogpc.rules.hopfield.hopfield_ep import HopfieldEP, Phase
from analogpc.rules.hopfield.intermediate import LocalError, Signal, Signals
from analogpc.rules.hopfield.traces import Traces


class Steady(Specification):
    """Constant gamma."""

    kind: Literal["constant"] = "constant"
    start: NonNegative = 0.65

    def at(self, epoch: int) -> float:
        """Return gamma in an epoch, counted from 0."""
        return self.start


class Linear(Specification):
    """Linear change of gamma: start - (start - end) e / epochs until e = epochs, then end."""

    kind: Literal["linear"] = "linear"
    start: NonNegative = 0.65
    end: NonNegative = 0.0
    epochs: PositiveInteger

    def at(self, epoch: int) -> float:
        """Return gamma in an epoch, counted from 0."""
        return self.start - (self.start - self.end) * min(1.0, epoch / self.epochs)


class Exponential(Specification):
    """Exponential decay of gamma: start ratio^e, but not below end."""

    kind: Literal["exponential"] = "exponential"
    start: NonNegative = 0.65
    end: NonNegative = 0.0
    ratio: Annotated[FiniteFloat, Field(gt=0, lt=1)] = 0.98

    def at(self, epoch: int) -> float:
        """Return gamma in an epoch, counted from 0."""
        return max(self.end, self.start * self.ratio**epoch)


class Cosine(Specification):
    """Cosine decay of gamma: end + (start - end) (1 + cos(pi e / epochs)) / 2 until e = epochs, then end."""

    kind: Literal["cosine"] = "cosine"
    start: NonNegative = 0.65
    end: NonNegative = 0.0
    epochs: PositiveInteger

    def at(self, epoch: int) -> float:
        """Return gamma in an epoch, counted from 0."""
        return self.end + 0.5 * (self.start - self.end) * (1 + math.cos(math.pi * min(1.0, epoch / self.epochs)))


Gamma = Annotated[Steady | Linear | Exponential | Cosine, Field(discriminator="kind")]
"""Strength of the intermediate signals by epoch (Lin et al., arXiv 2508.15989, eq. 16)."""


@dataclass
class SignalledPhase(Phase):
    """A nudged phase at whose end the heads of the signals also learn, from their own errors times beta."""

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
    """Equilibrium propagation that also nudges hidden states, for networks too deep for the nudge at the output to reach lower layers.

    In a nudged phase the force on every selected state n is beta gamma tau w^T (p_T - p_S) inside its nonlinearity, where
    p_S = softmax(w s / tau) and p_T is its target: minus beta gamma times the gradient of L^n = tau^2 KL(p_T || p_S). All forces
    change sign with beta. The layers thus learn minus the gradient of L + gamma sum_n L^n at the free state, with p_T fixed, with an
    error of O(beta) or, centered, O(beta^2). Heads learn (p_T - p_S) s^T of the nudged phases, their mean if centered: minus the
    gradient of L^n / tau for any gamma. Networks with feedback = "separate" have no such gradient, and learn as in `HopfieldEP`.

    This is a reconstruction from the equations of the paper, whose code was not available. The paper leaves open how states of
    convolutional layers are compared; here heads read the flattened state, and distillation without heads compares the means of the
    channels.

    Attributes
    ----------
    signals : LocalError, Distillation or WeightedDistillation
        Intermediate losses and their states.
    gamma : Steady, Linear, Exponential or Cosine
        Strength of the losses by epoch.
    beta, nudging, output, steps, update
        See `HopfieldEP`; drive = "clamp" is not available.

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
            raise ValueError(f"drive = '{self.drive}' cannot be used with intermediate signals: use 'nudge'")
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
            raise ValueError("gamma changes between epochs: use the rule of a training step, rule.at(context)")
        states, force = self.nudged(free, target, beta)
        signals = self.signals.of(network, free, target)
        if self.gamma.start > 0:
            states.pulls.update({signal.number: signal.force(beta * self.gamma.start) for signal in signals})
        return SignalledPhase(states, force, signals, beta)
