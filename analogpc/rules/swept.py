"""The rules on networks with value nodes inside the layers (`SweepRelaxation`): the same schedules, sweep by sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from analogpc.devices.costs.paths import WHILE_WRITTEN
from analogpc.devices.costs.schedule import at_once
from analogpc.dynamics.node_relaxation import SweepRelaxation
from analogpc.dynamics.relaxation import Watch
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.networks.network import Network
from analogpc.rules.base import Apply, StepResult

if TYPE_CHECKING:
    from analogpc.rules.backprop import Backprop
    from analogpc.rules.clamped import ClampedRule
    from analogpc.rules.incremental import IncrementalPC
    from analogpc.rules.predictive_coding import PredictiveCoding
    from analogpc.rules.zil import ZIL


def begin_sweeps(rule: ClampedRule, network: Network, x: np.ndarray, target: np.ndarray) -> SweepRelaxation:
    """Start a relaxation from feed-forward states, with the output clamped at the target.

    Raises
    ------
    ValueError
        If there are no value nodes, or the rule nudges.
    """
    if rule.nudging.beta != 1:
        raise ValueError(
            f"nudging.beta = {rule.nudging.beta:g} is not allowed in networks with value nodes inside layers: it is 1 there"
        )
    if rule.memory() is not None:
        raise ValueError("state_bits is not allowed in networks with value nodes inside layers: use state_bits = 0")
    relaxation = SweepRelaxation(network, x, target, rule.output)
    if not relaxation.nodes:
        raise ValueError(f"the rule '{rule.kind}' needs value nodes, which the network lacks: use backpropagation")
    return relaxation


def step_count(rule: Any, relaxation: SweepRelaxation) -> int:
    """Return the number of relaxation steps of a rule; "layers" counts the nodes and the output."""
    return rule.step_count(len(relaxation.nodes) + 1)


def backprop_step(rule: Backprop, network: Network, x: np.ndarray, target: np.ndarray, apply: Apply) -> StepResult:
    """Run one backward sweep through transparent nodes. Only the energy of the output is nonzero."""
    relaxation = SweepRelaxation(network, x, target, rule.output, cut=False)
    relaxation.differentiate()
    energies = relaxation.energies()
    relaxation.learn(apply)
    return StepResult(relaxation.first_outputs, energies)


def pc_step(
    rule: PredictiveCoding, network: Network, x: np.ndarray, target: np.ndarray, apply: Apply, watch: Watch | None
) -> StepResult:
    """Run T steps of the states (T + 1 sweeps); the matrices reached by an error learn from the last sweep.

    Raises
    ------
    ValueError
        If the rule has a schedule that counts layers.
    """
    if rule.precision != "standard" or rule.update != "standard":
        raise ValueError(
            f"precision = '{rule.precision}' and update = '{rule.update}' count layers: networks with value nodes inside layers take "
            "'standard' for both"
        )
    relaxation = begin_sweeps(rule, network, x, target)
    step_size: Any = rule.step_size
    last: Any = None
    for _ in range(step_count(rule, relaxation)):
        relaxation.differentiate()
        relaxation.show(watch)
        if rule.tolerance > 0 and relaxation.residual() <= rule.tolerance:
            break
        if rule.step_decay < 1:
            now = relaxation.energy()
            step_size, last = _decayed(step_size, rule.step_decay, now, last), now
        relaxation.descend(step_size, rule.momentum, rule.nesterov)
    relaxation.differentiate()
    relaxation.show(watch)
    energies = relaxation.energies()
    relaxation.learn(apply)
    return StepResult(relaxation.first_outputs, energies)


def _decayed(step_size: Any, factor: float, now: Any, last: Any) -> Any:
    """Return the step size, times ``factor`` if the energy has risen; without synchronisation if ``now`` is on the GPU."""
    if last is None:
        return step_size
    if on_gpu(now):
        return (1 - (1 - factor) * (now > last).astype(np.float64)) * step_size
    return step_size * (factor if now > last else 1.0)


def ipc_step(
    rule: IncrementalPC, network: Network, x: np.ndarray, target: np.ndarray, apply: Apply, watch: Watch | None
) -> StepResult:
    """In every sweep, move the states down their gradient, then update every matrix reached by an error.

    Raises
    ------
    ValueError
        If matrices not reached by an error should learn.
    """
    if not rule.stoppable:
        raise ValueError(
            "stoppable = false is not allowed in networks with value nodes inside layers: there is no error to learn from"
        )
    relaxation = begin_sweeps(rule, network, x, target)
    energies = np.zeros(0)
    steps = step_count(rule, relaxation)
    found = False

    def learn() -> None:
        if found:
            relaxation.learn(apply)

    for step in range(steps):
        # Where arrays allow it, the update of a sweep overlaps with the reads of the next.
        for do in at_once((learn, relaxation.differentiate), WHILE_WRITTEN):
            do()
        found = True
        relaxation.show(watch)
        if step == steps - 1:
            energies = relaxation.energies()
        # Move the states first: they must not depend on the weight update from the same errors.
        relaxation.descend(rule.step_size, rule.momentum, rule.nesterov)
    learn()
    relaxation.show(watch)
    return StepResult(relaxation.first_outputs, energies)


def zil_step(rule: ZIL, network: Network, x: np.ndarray, target: np.ndarray, apply: Apply) -> StepResult:
    """Update every matrix in the sweep in which an error reaches it, until all are updated or none is reached.

    With nodes in "levels", squared errors and a step size of 1, this is backpropagation.
    """
    if network.architecture.tied:
        raise ValueError(
            "the rule 'zil' updates every matrix at a different sweep, but a tied decoder shares one with the embedding: give the "
            "network tied_decoder = false"
        )
    relaxation = begin_sweeps(rule, network, x, target)
    known: set[int] = set()
    count = len(network.matrices())
    energies: np.ndarray | None = None
    for _ in range(len(relaxation.nodes) + 1):
        relaxation.differentiate()
        energies = relaxation.energies() if energies is None else energies
        relaxation.descend(rule.step_size, front=rule.sweep == "front")
        relaxation.learn_new(known, apply)
        if len(known) == count:
            break
    assert energies is not None
    return StepResult(relaxation.first_outputs, energies)
