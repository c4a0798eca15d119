"""Equilibrium propagation in networks of Hopfield type: the contrast of two equilibria is the gradient of the loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, FiniteFloat
from typing_extensions import override

from analogpc.architectures import Hopfield
from analogpc.blocks import Block, Product
from analogpc.devices.matrix import TwoPhases
from analogpc.network import Network
from analogpc.recurrent import Force, Order, Recurrent
from analogpc.relaxation import Output, output_energy, output_error, softmax
from analogpc.rules.base import Apply, Lesson, Rule
from analogpc.rules.contrast import NudgedRule


def recurrent(rule: Rule, network: Network, output: Output) -> Hopfield:
    """The architecture of a network of Hopfield type, whose read-out goes with the loss.

    Raises
    ------
    ValueError
        If the network is of another type, or its read-out is a softmax and the loss is not the cross-entropy.
    """
    architecture = network.architecture
    if not isinstance(architecture, Hopfield):
        raise ValueError(hopfield_only(rule, architecture.kind))
    if architecture.readout == "softmax" and output != "cross-entropy":
        raise ValueError(f"output = '{output}' does not go with a network whose readout is 'softmax'; use 'cross-entropy'")
    return architecture


def hopfield_only(rule: Rule, architecture: str) -> str:
    """Why a network of an architecture of that kind cannot be taught by a rule for Hopfield networks; empty if it can."""
    if architecture == "hopfield":
        return ""
    return (
        f"the rule '{rule.kind}' teaches networks of the architecture 'hopfield', not '{architecture}'; "
        "for predictive networks there is 'equilibrium-propagation'"
    )


def lesson(free: Recurrent, target: np.ndarray, output: Output) -> Lesson:
    """What is reported of a batch: the free output, and -<s^n, layer_n(s^{n-1})> of every layer in the free state.

    For a softmax read-out the last number is the cross-entropy.
    """
    count = len(free.states) - 1
    energies = [-float(np.vdot(free.states[i + 1], free.read(i)[0])) / len(target) for i in range(count)]
    outputs = free.output()
    if free.readout == "softmax":
        energies.append(output_energy(output, target, outputs))
        outputs = softmax(outputs)
    return Lesson(outputs, np.array(energies))


def check_target(free: Recurrent, target: np.ndarray) -> None:
    """Refuse a target of another shape than the output."""
    if target.shape != free.output().shape:
        raise ValueError(f"the target must have the shape of the output, {free.output().shape}, not {target.shape}")


@dataclass
class Traces:
    """What every layer needs of one phase to learn: its tape, and the state above it; (tape, post), or nothing to learn from."""

    layers: list[Block]
    parts: list[tuple[Any, np.ndarray] | None]

    @classmethod
    def of(cls, states: Recurrent, pulled: np.ndarray | None) -> Traces:
        """Those of the present states; ``pulled`` is the force at a softmax read-out, if there is one."""
        posts: list[np.ndarray | None] = [*states.states[1:]]
        if states.readout == "softmax":
            posts.append(pulled)
        parts = [None if post is None else (states.read(index)[1], post) for index, post in enumerate(posts)]
        return cls(list(states.layers), parts)

    def products(self, index: int, sign: float = 1) -> Iterable[Product]:
        """The products of one layer, post times ``sign``; none where there is nothing to learn from."""
        part = self.parts[index]
        if part is None:
            return ()
        tape, post = part
        return self.layers[index].products(tape, post if sign == 1 else post.dtype.type(sign) * post)


def learn_contrast(apply: Apply, plus: Traces, minus: Traces, gain: float) -> None:
    """Let every layer learn dPhi/dW of ``plus`` minus that of ``minus``, times ``gain``."""
    for index in range(len(plus.layers)):
        if minus.parts[index] is None:
            apply(plus.products(index), gain)
        elif plus.parts[index] is None:
            apply(minus.products(index, -1), gain)
        else:
            apply(TwoPhases(plus.products(index), minus.products(index)), gain)


class HopfieldEP(NudgedRule):
    """Equilibrium propagation in a network of the architecture `Hopfield`.

    The free phase is the network's own relaxation. From the free state s* the output is nudged, and with the primitive function Phi
    the weights move along

        (1/beta) (dPhi/dW(s^beta) - dPhi/dW(s*)),  (1/beta) (dPhi/dW(s*) - dPhi/dW(s^-beta)),  or half their sum (centered),

    which is minus the gradient of the loss at the free state, off by O(beta) or, centered, O(beta^2). Every dense layer sees its own
    pre- and postsynaptic states in two phases, which go to the matrices as `TwoPhases`. With drive = "clamp" this is coupled
    learning (contrastive learning for beta = 1).

    Attributes
    ----------
    steps : int
        Of each nudged phase.
    update : "equilibrium" or "continual"
        Learn at the end of the phases, or at every nudged step from the step of the states (C-EP), which sums up to the same for
        small learning rates. Before a second nudged phase the states, put back to the free ones, relax ``steps`` times under the new
        weights. Meant for plain SGD: an optimiser with memory would take each step for a batch. The
        states answer to the weights that change under them, so that learning rates of the order of beta / ||s||^2 are too large.
    beta, nudging, drive, output
        See `NudgedRule`. A network with a softmax read-out needs the cross-entropy and can only be nudged; its last layer learns
        from its own error in the nudged phases, (target - softmax) s^T.

    References
    ----------
    Scellier and Bengio, Front. Comput. Neurosci. 11:24 (2017); Laborieux et al., Front. Neurosci. 15:633674 (2021); Ernoult et al.,
    arXiv 2005.04168 (C-EP); Stern et al., Phys. Rev. X 11:021045 (2021, coupled learning); Scellier et al., arXiv 2312.15103.
    """

    names: ClassVar[Mapping[str, Mapping[str, Any]]] = {"ep-hopfield": {}}
    kind: Literal["hopfield-ep"] = "hopfield-ep"
    beta: Annotated[FiniteFloat, Field(gt=0)] = 0.5
    steps: Annotated[int, Field(ge=1)] = 10
    update: Literal["equilibrium", "continual"] = "equilibrium"

    @override
    def refuse(self, architecture: str) -> str:
        return hopfield_only(self, architecture)

    def begin(self, network: Network, x: np.ndarray, target: np.ndarray) -> Recurrent:
        """The free equilibrium, after all checks."""
        architecture = recurrent(self, network, self.output)
        if architecture.readout == "softmax" and self.drive == "clamp":
            raise ValueError("drive = 'clamp' needs an output state to hold, and a network whose readout is 'softmax' has none")
        free = architecture.free(network.layers, x)
        check_target(free, target)
        return free

    def force(self, target: np.ndarray, beta: float) -> Force:
        """The pull at the output, -beta dC/do at the present states."""
        strength = target.dtype.type(beta)
        return lambda states: strength * output_error(self.output, target, states.output())

    def nudged(self, free: Recurrent, target: np.ndarray, beta: float) -> tuple[Recurrent, Force | None]:
        """The states at the start of a nudged phase, and the force that acts in it; a held output needs none."""
        states, force = free.copy(), self.force(target, beta)
        if self.drive == "nudge":
            return states, force
        states.hold_output(states.output() + force(states))
        return states, None

    @override
    def teach(self, network: Network, x: np.ndarray, target: np.ndarray, apply: Apply) -> Lesson:
        order = recurrent(self, network, self.output).order
        free = self.begin(network, x, target)
        told = lesson(free, target, self.output)
        signs = self.signs()
        gain = 1 / (len(signs) * self.beta)
        if self.update == "continual":
            for number, sign in enumerate(signs):
                if number:
                    free.forget_reads()
                    free.relax(self.steps, order)
                self._learn_on_the_way(free, target, sign, order, apply, gain)
            return told
        ends = []
        for sign in signs:
            states, force = self.nudged(free, target, sign * self.beta)
            states.relax(self.steps, order, force)
            ends.append(Traces.of(states, None if force is None else force(states)))
        if len(ends) == 1:
            ends.append(Traces.of(free, None))
        plus, minus = ends if signs[0] > 0 else reversed(ends)
        learn_contrast(apply, plus, minus, gain)
        return told

    def _learn_on_the_way(self, free: Recurrent, target: np.ndarray, sign: int, order: Order, apply: Apply, gain: float) -> None:
        """One nudged phase with a change of the weights at each step."""
        states, force = self.nudged(free, target, sign * self.beta)
        before = Traces.of(free, None)
        for _ in range(self.steps):
            states.step(order, force)
            after = Traces.of(states, None if force is None else force(states))
            learn_contrast(apply, *((after, before) if sign > 0 else (before, after)), gain)
            states.forget_reads()
            before = after
