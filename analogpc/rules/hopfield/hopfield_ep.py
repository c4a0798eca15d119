"""Equilibrium propagation in networks of Hopfield type: the contrast of two equilibria is the gradient of the loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, FiniteFloat
from typing_extensions import override

from analogpc.dynamics.recurrent import Force, Order, Recurrent
from analogpc.dynamics.relaxation import Output, output_energy, output_error, refuse_target, softmax
from analogpc.kernels.gpu.arrays import to_host
from analogpc.kernels.products import inner, row
from analogpc.networks import Hopfield
from analogpc.networks.network import Network
from analogpc.rules.base import Apply, Rule, StepResult
from analogpc.rules.contrast import NudgedRule
from analogpc.rules.hopfield.traces import Traces, learn_averaged, learn_contrast, learn_vector_field


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


def step_result(free: Recurrent, target: np.ndarray, output: Output) -> StepResult:
    """What is reported of a batch: the free output, and -<s^n, layer_n(s^{n-1})> of every layer in the free state.

    For a softmax read-out the last number is the cross-entropy.
    """
    count = len(free.states) - 1
    energies = [-inner(free.states[i + 1], free.read(i)[0]) / len(target) for i in range(count)]
    outputs = free.output()
    if free.readout == "softmax":
        energies.append(output_energy(output, target, outputs))
        outputs = softmax(outputs)
    return StepResult(outputs, row(energies, target))


def check_target(free: Recurrent, target: np.ndarray) -> None:
    """Refuse a target of another shape than the output."""
    refuse_target(target, free.output())


@dataclass
class Phase:
    """A nudged phase: its states, and the force at the output (None if the output is clamped)."""

    states: Recurrent
    force: Force | None

    def traces(self) -> Traces:
        """What learns from the present states."""
        return Traces.of(self.states, None if self.force is None else self.force(self.states))

    def before(self, free: Recurrent) -> Traces:
        """The same of the free states, where no force acts."""
        return Traces.of(free, None)


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
    feedback_update : "own" or "averaged"
        Of networks with feedback = "separate", which have no Phi: forward and backward weights learn their own presynaptic state of
        the free phase times the difference of their postsynaptic states; or both learn the mean of their contrasts.
    warm_start : bool
        The free phase of a batch starts from the free states of the batch before, of which the first are taken if it was larger; it
        starts as the network says if it was smaller. Predictions never do that.
    beta, nudging, drive, output
        See `NudgedRule`. A network with a softmax read-out needs the cross-entropy and can only be nudged; its last layer learns
        from its own error in the nudged phases, (target - softmax) s^T.

    References
    ----------
    Scellier and Bengio, Front. Comput. Neurosci. 11:24 (2017); Laborieux et al., Front. Neurosci. 15:633674 (2021); Ernoult et al.,
    arXiv 2005.04168 (C-EP); Stern et al., Phys. Rev. X 11:021045 (2021, coupled learning); Scellier et al., arXiv 2312.15103 (with
    warm starts); Scellier et al., arXiv 1808.04873 (vector fields).
    """

    names: ClassVar[Mapping[str, Mapping[str, Any]]] = {"ep-hopfield": {}}
    kind: Literal["hopfield-ep"] = "hopfield-ep"
    beta: Annotated[FiniteFloat, Field(gt=0)] = 0.5
    steps: Annotated[int, Field(ge=1)] = 10
    update: Literal["equilibrium", "continual"] = "equilibrium"
    feedback_update: Literal["own", "averaged"] = "own"
    warm_start: bool = False

    @property
    @override
    def usual_rate(self) -> float:
        return 0.1

    @override
    def refuse(self, architecture: str) -> str:
        return hopfield_only(self, architecture)

    def begin(self, network: Network, x: np.ndarray, target: np.ndarray) -> Recurrent:
        """The free equilibrium, after all checks."""
        architecture = recurrent(self, network, self.output)
        if architecture.readout == "softmax" and self.drive == "clamp":
            raise ValueError("drive = 'clamp' needs an output state to hold, and a network whose readout is 'softmax' has none")
        if self.feedback_update != "own" and architecture.feedback == "transposed":
            raise ValueError(f"feedback_update = '{self.feedback_update}' needs a network with feedback = 'separate'")
        warm = self.warm_start and network.carried and len(x) <= len(network.carried[0])
        start = [state[: len(x)] for state in network.carried] if warm else []
        free = architecture.free(network.layers, x, network.extras, start)
        check_target(free, target)
        if self.warm_start:
            network.carried = free.states[1:]
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

    def phase(self, network: Network, free: Recurrent, target: np.ndarray, beta: float) -> Phase:
        """A nudged phase at its start; a rule that pulls at other states, too, begins here."""
        return Phase(*self.nudged(free, target, beta))

    @override
    def repeatable(self, network: Network) -> bool:
        return not self.warm_start and recurrent(self, network, self.output).tolerance == 0

    @override
    def train_step(self, network: Network, x: np.ndarray, target: np.ndarray, apply: Apply) -> StepResult:
        order = recurrent(self, network, self.output).order
        free = self.begin(network, x, target)
        result = step_result(free, target, self.output)
        signs = self.signs()
        gain = 1 / (len(signs) * self.beta)
        if self.update == "continual":
            for number, sign in enumerate(signs):
                if number:
                    free.forget_reads()
                    free.relax(self.steps, order)
                phase = self.phase(network, free, target, sign * self.beta)
                self._learn_on_the_way(phase, free, sign, order, apply, gain)
            return result
        ends = []
        for sign in signs:
            phase = self.phase(network, free, target, sign * self.beta)
            phase.states.relax(self.steps, order, phase.force)
            ends.append(phase.traces())
        if len(ends) == 1:
            ends.append(phase.before(free))
        plus, minus = ends if signs[0] > 0 else reversed(ends)
        self._learn(apply, plus, minus, free, gain)
        return result

    def _learn(self, apply: Apply, plus: Traces, minus: Traces, base: Recurrent, gain: float) -> None:
        """Learn from two phases; ``base`` are the states before both."""
        if not base.separate:
            learn_contrast(apply, plus, minus, gain)
        elif self.feedback_update == "averaged":
            learn_averaged(apply, plus, minus, gain)
        else:
            learn_vector_field(apply, plus, minus, Traces.of(base, None), len(base.states) - 1, gain)

    def _learn_on_the_way(self, phase: Phase, free: Recurrent, sign: int, order: Order, apply: Apply, gain: float) -> None:
        """One nudged phase with a change of the weights at each step."""
        before, former = phase.before(free), free
        for _ in range(self.steps):
            phase.states.step(order, phase.force)
            after = phase.traces()
            self._learn(apply, *((after, before) if sign > 0 else (before, after)), former, gain)
            before, former = after, phase.states.copy()
            phase.states.forget_reads()


def feedback_angle(network: Network) -> dict[int, float]:
    """The angle between forward and backward weights of a network with feedback = "separate".

    Parameters
    ----------
    network : Network

    Returns
    -------
    dict of float by int
        Degrees, by the number of the layer: arccos of the cosine similarity of all weights of the layer, biases left out. 0 is the
        transpose, 90 what independent weights have on average.

    Raises
    ------
    ValueError
        If no layer has a block of feedback.
    """
    backward = {
        int(name.removeprefix("feedback")): block for name, block in network.extras.items() if name.startswith("feedback")
    }
    if not backward:
        raise ValueError("there is no angle: every layer of this network is sent back through its own transpose")
    angles = {}
    for number, block in backward.items():
        forward = network.layers[number - 1].matrices
        pairs = [(to_host(forward[name].weights()), to_host(matrix.weights())) for name, matrix in block.matrices.items()]
        v, w = (np.concatenate([side.ravel() for side in sides]).astype(np.float64) for sides in zip(*pairs, strict=True))
        cosine = np.dot(v, w) / (np.linalg.norm(v) * np.linalg.norm(w))
        angles[number] = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    return angles
