"""Equilibrium propagation in Hopfield networks: the contrast of two equilibria is the gradient of the loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from typing_extensions import override

from analogpc.devices.bounds import Positive, PositiveInteger
from analogpc.dynamics.recurrent import Force, Order, Recurrent
from analogpc.dynamics.relaxation import Output, output_energy, output_error, refuse_target, softmax
from analogpc.dynamics.repetition import repeated
from analogpc.kernels.gpu.arrays import to_host
from analogpc.kernels.products import inner, row, scaled
from analogpc.networks import Hopfield
from analogpc.networks.hopfield import feedback_name
from analogpc.networks.network import Network
from analogpc.rules.base import Apply, Rule, StepResult
from analogpc.rules.contrast import NudgedRule, phase_name
from analogpc.rules.hopfield.traces import Traces, learn_averaged, learn_contrast, learn_vector_field


def recurrent(rule: Rule, network: Network, output: Output) -> Hopfield:
    """Return the architecture of a Hopfield network; check that its read-out matches the loss.

    Raises
    ------
    ValueError
        If the architecture differs, or if the read-out is a softmax and the loss is not the cross-entropy.
    """
    architecture = network.architecture
    if reason := rule.refuse(architecture):
        raise ValueError(reason)
    assert isinstance(architecture, Hopfield)
    if architecture.readout == "softmax" and output != "cross-entropy":
        raise ValueError(f"output = '{output}' cannot be used with readout = 'softmax': use 'cross-entropy'")
    return architecture


def step_result(free: Recurrent, target: np.ndarray, output: Output) -> StepResult:
    """Return the result of a batch: the free output, and -<s^n, layer_n(s^{n-1})> of every layer in the free state.

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
        """Return the traces of the current states."""
        return Traces.of(self.states, None if self.force is None else self.force(self.states))

    def before(self, free: Recurrent) -> Traces:
        """Return the traces of the free states, without a force."""
        return Traces.of(free, None)


class HopfieldEP(NudgedRule):
    """Equilibrium propagation in a network of the architecture `Hopfield`.

    The free phase is the relaxation of the network. From the free state s* the output is nudged, and with the primitive function Phi
    the weights change along

        (1/beta) (dPhi/dW(s^beta) - dPhi/dW(s*)),  (1/beta) (dPhi/dW(s*) - dPhi/dW(s^-beta)),  or half their sum (centered),

    which is minus the gradient of the loss at the free state, with an error of O(beta) or, centered, O(beta^2). Every dense layer
    provides its pre- and postsynaptic states in two phases, which are passed to the matrices as `TwoPhases`. With drive = "clamp" this
    is coupled learning (contrastive learning for beta = 1).

    Attributes
    ----------
    steps : int
        Number of steps of each nudged phase.
    update : "equilibrium" or "continual"
        Update at the end of the phases, or at every nudged step from the change of the states in it (C-EP); for small learning rates
        the sums are equal. Before a second nudged phase the states are reset to the free ones and relaxed for ``steps`` steps under
        the new weights. Intended for plain SGD: an optimiser with state would count each step as a batch. The states respond to the
        changing weights, so learning rates of the order of beta / ||s||^2 are too large.
    feedback_update : "own" or "averaged"
        For networks with feedback = "separate", which have no Phi. "own": forward and backward weights learn the presynaptic state
        of the free phase times the difference of their postsynaptic states. "averaged": both learn the mean of their contrasts.
    warm_start : bool
        Start the free phase of a batch from the free states of the previous batch (the first ones, if that was larger); if it was
        smaller, use the initial states of the network. Predictions never use a warm start.
    beta, nudging, drive, output
        See `NudgedRule`. A network with a softmax read-out needs the cross-entropy and can only be nudged; its last layer is trained
        by its own error in the nudged phases, (target - softmax) s^T.

    References
    ----------
    Scellier and Bengio, Front. Comput. Neurosci. 11:24 (2017); Laborieux et al., Front. Neurosci. 15:633674 (2021); Ernoult et al.,
    arXiv 2005.04168 (C-EP); Stern et al., Phys. Rev. X 11:021045 (2021, coupled learning); Scellier et al., arXiv 2312.15103 (with
    warm starts); Scellier et al., arXiv 1808.04873 (vector fields).
    """

    names: ClassVar[Mapping[str, Mapping[str, Any]]] = {"ep-hopfield": {}}
    kind: Literal["hopfield-ep"] = "hopfield-ep"
    recurrent: ClassVar[bool] = True
    beta: Positive = 0.5
    steps: PositiveInteger = 10
    update: Literal["equilibrium", "continual"] = "equilibrium"
    feedback_update: Literal["own", "averaged"] = "own"
    warm_start: bool = False

    @property
    @override
    def usual_rate(self) -> float:
        return 0.1

    @override
    def residuals(self, network: Network, x: np.ndarray, target: np.ndarray) -> dict[str, list[np.ndarray]]:
        """See `Rule.residuals`: s - f(dPhi/ds), the distance of every state from its target, in the free and the nudged phases."""
        order = recurrent(self, network, self.output).order
        free = self.begin(network, x, target)
        found = {"free": _distances(free, None)}
        for sign in self.signs():
            phase = self.phase(network, free, target, sign * self.beta)
            phase.states.relax(self.steps, order, phase.force)
            found[phase_name(sign)] = _distances(phase.states, phase.force)
        return found

    def begin(self, network: Network, x: np.ndarray, target: np.ndarray) -> Recurrent:
        """Return the free equilibrium, after all checks."""
        architecture = recurrent(self, network, self.output)
        if architecture.readout == "softmax" and self.drive == "clamp":
            raise ValueError("drive = 'clamp' needs an output state to clamp, which a network with readout = 'softmax' lacks")
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
        """Return the force at the output, -beta dC/do at the current states."""
        return lambda states: scaled(output_error(self.output, target, states.output()), beta)

    def nudged(self, free: Recurrent, target: np.ndarray, beta: float) -> tuple[Recurrent, Force | None]:
        """Return the initial states of a nudged phase and its force; None if the output is clamped."""
        states, force = free.copy(), self.force(target, beta)
        if self.drive == "nudge":
            return states, force
        states.hold_output(states.output() + force(states))
        return states, None

    def phase(self, network: Network, free: Recurrent, target: np.ndarray, beta: float) -> Phase:
        """Start a nudged phase; override this to apply forces at other states."""
        return Phase(*self.nudged(free, target, beta))

    @override
    def repeatable(self, network: Network) -> bool:
        return not self.warm_start and recurrent(self, network, self.output).tolerance == 0

    @override
    def train_step(self, network: Network, x: np.ndarray, target: np.ndarray, apply: Apply) -> StepResult:
        signs = self.signs()
        gain = 1 / (len(signs) * self.beta)
        if self.update == "equilibrium":
            free, ends, _ = repeated(self, partial(self._phases, network), x, target)
            result = step_result(free, target, self.output)
            plus, minus = ends if signs[0] > 0 else reversed(ends)
            self._learn(apply, plus, minus, free, gain)
            return result
        order = recurrent(self, network, self.output).order
        free = self.begin(network, x, target)
        result = step_result(free, target, self.output)
        for number, sign in enumerate(signs):
            if number:
                free.forget_reads()
                free.relax(self.steps, order)
            phase = self.phase(network, free, target, sign * self.beta)
            self._learn_on_the_way(phase, free, sign, order, apply, gain)
        return result

    def _phases(self, network: Network, x: np.ndarray, target: np.ndarray) -> tuple[Recurrent, list[Traces], list[Any]]:
        """Run all phases; return the free states, the traces of two phases, and all their arrays."""
        order = recurrent(self, network, self.output).order
        free = self.begin(network, x, target)
        # All that the result of the step needs, so that a repetition renews it; the phases begin with these reads.
        for index in range(len(free.layers)):
            free.read(index)
        ends = []
        for sign in self.signs():
            phase = self.phase(network, free, target, sign * self.beta)
            phase.states.relax(self.steps, order, phase.force)
            ends.append(phase.traces())
        if len(ends) == 1:
            ends.append(phase.before(free))
        return free, ends, [free.states, *(end.parts for end in ends)]

    def _learn(self, apply: Apply, plus: Traces, minus: Traces, base: Recurrent, gain: float) -> None:
        """Update the weights from two phases; ``base`` are the states before both."""
        if not base.separate:
            learn_contrast(apply, plus, minus, gain)
        elif self.feedback_update == "averaged":
            learn_averaged(apply, plus, minus, gain)
        else:
            learn_vector_field(apply, plus, minus, Traces.of(base, None), len(base.states) - 1, gain)

    def _learn_on_the_way(self, phase: Phase, free: Recurrent, sign: int, order: Order, apply: Apply, gain: float) -> None:
        """Run one nudged phase with a weight update at each step."""
        before, former = phase.before(free), free
        for _ in range(self.steps):
            phase.states.step(order, phase.force)
            after = phase.traces()
            self._learn(apply, *((after, before) if sign > 0 else (before, after)), former, gain)
            before, former = after, phase.states.copy()
            phase.states.forget_reads()


def _distances(states: Recurrent, force: Force | None) -> list[np.ndarray]:
    after = states.copy()
    after.step("synchronous", force)
    last = len(states.states) - int(states.held)
    return [after.states[number] - states.states[number] for number in range(1, last)]


def feedback_angle(network: Network) -> dict[int, float]:
    """Compute the angle between forward and backward weights of a network with feedback = "separate".

    Parameters
    ----------
    network : Network

    Returns
    -------
    dict of float by int
        Angle in degrees, by layer number: arccos of the cosine similarity of all weights of the layer, without biases. 0 is the
        transpose; independent weights have 90 on average.

    Raises
    ------
    ValueError
        If no layer has a feedback block.
    """
    architecture = network.architecture
    numbers = architecture.feedback_layers if isinstance(architecture, Hopfield) else ()
    backward = {number: network.extras[feedback_name(number)] for number in numbers}
    if not backward:
        raise ValueError("there is no angle: the feedback of every layer of this network is its transpose")
    angles = {}
    for number, block in backward.items():
        forward = network.layers[number - 1].matrices
        pairs = [(to_host(forward[name].weights()), to_host(matrix.weights())) for name, matrix in block.matrices.items()]
        v, w = (np.concatenate([side.ravel() for side in sides]).astype(np.float64) for sides in zip(*pairs, strict=True))
        cosine = np.dot(v, w) / (np.linalg.norm(v) * np.linalg.norm(w))
        angles[number] = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    return angles
