"""Check of the step size of a relaxation: whether the energy of the states grows."""

from __future__ import annotations

import numpy as np

from analogpc.dynamics.node_relaxation import SweepRelaxation
from analogpc.kernels.gpu.arrays import to_host
from analogpc.kernels.random.streams import Key
from analogpc.networks.network import Network
from analogpc.rules import IncrementalPC, PredictiveCoding
from analogpc.rules.base import Rule
from analogpc.rules.swept import step_count


class EnergyWarning(UserWarning):
    """The energy of a relaxation grows: the steps of the states are too large."""


def energy_growth(network: Network, rule: Rule, x: np.ndarray, target: np.ndarray, key: Key) -> float | None:
    """Return the energy after the steps of a rule, divided by that before, with fixed weights and a constant step size.

    Steps above 2 / lambda, with the largest eigenvalue lambda of the Hessian of the energy, let the energy grow.

    Parameters
    ----------
    network : Network
        A network with value nodes inside its layers; left unchanged.
    rule : Rule
    x, target : arrays
        A batch, on the backend of the network.
    key : Key
        Key of the read noise.

    Returns
    -------
    float or None
        None for rules without steps of the states.
    """
    if not isinstance(rule, (PredictiveCoding, IncrementalPC)):
        return None
    with network.isolated_reads(key), np.errstate(over="ignore", invalid="ignore"):
        relaxation = SweepRelaxation(network, x, target, rule.output)
        relaxation.differentiate()
        first = _total(relaxation, x, target)
        for _ in range(step_count(rule, relaxation)):
            relaxation.descend(rule.step_size, rule.momentum, rule.nesterov)
            relaxation.differentiate()
        last = _total(relaxation, x, target)
    return last / first if first > 0 else 1.0


def _total(relaxation: SweepRelaxation, x: np.ndarray, target: np.ndarray) -> float:
    """Return the energy that the states descend: the sum over all samples and targets."""
    *nodes, output = to_host(relaxation.energies())
    return float(sum(nodes) * len(x) + output * int(to_host(relaxation.network.architecture.samples(x, target))))
