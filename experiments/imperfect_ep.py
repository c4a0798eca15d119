"""Equilibrium propagation with contrasts that are measured with a bias, and with noise of the states; overclamping.

Used by contrast.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import numpy as np
from typing_extensions import override

from analogpc.dynamics.recurrent import Recurrent
from analogpc.dynamics.relaxation import output_error
from analogpc.kernels.random.streams import Key, normals
from analogpc.networks import Hopfield
from analogpc.networks.network import Network
from analogpc.rules.base import Apply, StepContext
from analogpc.rules.hopfield.holomorphic import HolomorphicEP
from analogpc.rules.hopfield.hopfield_ep import HopfieldEP, Phase
from analogpc.rules.hopfield.traces import Traces


class Imperfect(HopfieldEP):
    """Equilibrium propagation whose contrasts have a fixed bias, and whose nudged states have noise.

    Attributes
    ----------
    bias : float
        Standard deviation, over the weights, of the offset in dPhi/dW(plus) - dPhi/dW(minus) of every sample; drawn once.
    exchange : bool
        Exchange the inputs of all comparators after every batch: the sign of the bias changes, that of the contrast does not.
    noise : float
        Standard deviation of the noise added to the drive of every state at every nudged step.
    draw : int
        Seed of bias and noise.
    """

    names: ClassVar[dict[str, dict[str, Any]]] = {}
    kind: Literal["imperfect-hopfield-ep"] = "imperfect-hopfield-ep"
    bias: float = 0.0
    exchange: bool = False
    noise: float = 0.0
    draw: int = 0
    batch: int = 0

    @override
    def at(self, context: StepContext) -> Self:
        return super().at(context).but(batch=context.step)

    @override
    def begin(self, network: Network, x: np.ndarray, target: np.ndarray) -> Recurrent:
        return disturbed(super().begin(network, x, target), self.noise, self.draw, self.batch)

    @override
    def _learn(self, apply: Apply, plus: Traces, minus: Traces, base: Recurrent, gain: float) -> None:
        super()._learn(apply, plus, minus, base, gain)
        if self.bias == 0:
            return
        sign = -1 if self.exchange and self.batch % 2 else 1
        seconds = self.learning_time(plus, base)
        for number, layer in enumerate(base.layers):
            matrix = layer.matrices["weight"]
            inputs, outputs = layer.input_shape[0], layer.output_shape[0]
            drawn = normals(Key(self.draw).fold("bias", number), 0, (inputs, outputs), base.states[0].dtype)
            # One row for every input: the sum of the products is the bias times the learning time.
            apply([(matrix, np.eye(inputs, dtype=drawn.dtype), drawn * drawn.dtype.type(sign * self.bias * seconds))], gain)

    def learning_time(self, plus: Traces, base: Recurrent) -> float:
        """Time for which the weights learn a batch, in units of that of a sample: one for every sample."""
        return float(len(base.states[0]))


class Overclamped(Imperfect):
    """Coupled learning with overclamping, the training method of Dillavou et al. (arXiv 2505.22887).

    The output is clamped at the fixed distance ``beta`` from its free value in the direction of the target, beyond the target where the
    error is smaller, and the weights learn for a time proportional to the error. Contrast times time is minus the gradient of the
    loss as in coupled learning, to first order; bias times time vanishes with the error.
    """

    names: ClassVar[dict[str, dict[str, Any]]] = {}
    kind: Literal["overclamped-hopfield-ep"] = "overclamped-hopfield-ep"
    nudging: Literal["positive"] = "positive"
    drive: Literal["clamp"] = "clamp"

    @override
    def phase(self, network: Network, free: Recurrent, target: np.ndarray, beta: float) -> Phase:
        error = output_error(self.output, target, free.output())
        distance = np.maximum(np.linalg.norm(error, axis=1, keepdims=True), np.finfo(error.dtype).tiny)
        clamped = free.copy()
        clamped.hold_output(free.output() + error.dtype.type(beta) * error / distance)
        return TimedPhase(clamped, None, distance)

    @override
    def learning_time(self, plus: Traces, base: Recurrent) -> float:
        assert isinstance(plus, TimedTraces)
        return float(plus.times.sum())


@dataclass
class TimedTraces(Traces):
    """Traces of which every sample counts for the time that its weights learn, (n, 1)."""

    times: np.ndarray = field(default_factory=lambda: np.ones((1, 1)))

    @classmethod
    def timed(cls, traces: Traces, times: np.ndarray) -> Self:
        """Give traces their times."""
        parts = [part and (part[0], part[1] * times) for part in traces.parts]
        return cls(traces.layers, parts, traces.returns, times)


@dataclass
class TimedPhase(Phase):
    """A phase of which every sample counts for a time of its own, (n, 1)."""

    times: np.ndarray

    @override
    def traces(self) -> TimedTraces:
        return TimedTraces.timed(super().traces(), self.times)

    @override
    def before(self, free: Recurrent) -> TimedTraces:
        return TimedTraces.timed(super().before(free), self.times)


class NoisyHolomorphicEP(HolomorphicEP):
    """Holomorphic equilibrium propagation with noise of the states, of the same size in their real and imaginary parts."""

    kind: Literal["noisy-holomorphic-ep"] = "noisy-holomorphic-ep"
    noise: float = 0.0
    draw: int = 0
    batch: int = 0

    @override
    def at(self, context: StepContext) -> Self:
        return super().at(context).but(batch=context.step)

    @override
    def begin(self, network: Network, x: np.ndarray, target: np.ndarray) -> tuple[Recurrent, Hopfield]:
        free, architecture = super().begin(network, x, target)
        return disturbed(free, self.noise, self.draw, self.batch), architecture


def disturbed(free: Recurrent, noise: float, draw: int, batch: int) -> Recurrent:
    """Give all states of the phases that continue ``free`` a noisy drive."""
    if noise == 0:
        return free
    count = iter(range(10**9))

    def force(number: int) -> Any:
        def drawn(states: Recurrent) -> np.ndarray:
            state = states.states[number]
            parts = [
                normals(Key(draw).fold("noise", batch, next(count)), 0, state.shape, state.real.dtype)
                for _ in range(1 + np.iscomplexobj(state))
            ]
            return state.real.dtype.type(noise) * (parts[0] if len(parts) == 1 else parts[0] + 1j * parts[1])

        return drawn

    for number in range(1, len(free.states)):
        free.pulls[number] = force(number)
    return free
