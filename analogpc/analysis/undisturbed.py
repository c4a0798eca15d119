"""Running a rule on a network whose state stays unchanged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from analogpc.blocks import Product
from analogpc.devices.costs.meter import Meter
from analogpc.devices.substrate import Digital
from analogpc.kernels.checks import real_array
from analogpc.kernels.random.streams import Key
from analogpc.networks.network import Network
from analogpc.rules import Rule, StepContext, as_rule

R = TypeVar("R", bound=Rule)


@contextmanager
def undisturbed(network: Network, key: Key) -> Iterator[dict[str, Meter]]:
    """Read within this block without leaving a trace.

    Noise comes from streams of ``key``, counts go to the meters that are handed out, by the names of the matrices (see
    `Network.isolated_reads`), and what blocks keep besides matrices, such as running statistics, is put back.
    """
    kept = {name: array.copy() for name, array in network.buffers().items()}
    try:
        with network.isolated_reads(key) as meters:
            yield meters
    finally:
        for name, array in network.buffers().items():
            array[...] = kept[name]


def exact_copy(network: Network) -> Network:
    """A digital copy in float64 that holds the weights which the devices of a network hold, and what its blocks keep.

    In it the smallest errors of deep networks are seen that float32 swallows.
    """
    network = network.to("cpu")
    state: dict[str, Any] = {name: {"values": array} for name, array in network.buffers().items()}
    for name, matrix in network.matrices().items():
        state[name] = {"weights": matrix.weights().astype(np.float64), "meter": Meter().as_dict()}
    specification = network.specification | {"architecture": network.architecture.but(dtype="float64"), "substrate": Digital()}
    return Network.from_snapshot(specification, state)


def batch(network: Network, x: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets in the shape and type of the network.

    Raises
    ------
    ValueError
        If samples or targets have another shape than the network wants, or there are not equally many, or none; or if a number is
        not finite.
    """
    x = network.inputs(x)
    target = real_array(target, "targets", dtype=network.dtype)
    if not len(x):
        raise ValueError("there are no samples, so that nothing can be measured")
    if target.shape != (len(x), *network.output_shape):
        raise ValueError(
            f"target must hold one row of shape {network.output_shape} for each of the {len(x)} samples, not {target.shape}"
        )
    return x, target


def at_once(rule: R, key: Key) -> R:
    """The rule at the first moment of a run with that key: a rule that draws has drawn."""
    return rule.at(StepContext(key.fold("rule")))


def directions(
    network: Network, rule: Rule | str, x: np.ndarray, target: np.ndarray, *, key: Key | None = None
) -> dict[str, np.ndarray]:
    """What a rule would make every matrix learn from one batch; nothing learns.

    Parameters
    ----------
    network : Network
        Left without a trace.
    rule : Rule
        Rules that learn while they relax (incremental and continual ones) are seen with weights that stand still: the sum over
        their steps.
    x : (n, *input_shape) array
    target : (n, *output_shape) array
    key : Key
        Of read noise, and of a rule that draws; ``Key(0)`` if not given.

    Returns
    -------
    dict of (n_out, n_in) arrays
        By the names of `Network.matrices`, in the type of the network: the sum over the batch of gain times post pre^T. Matrices
        that are taught nothing have zeros.
    """
    rule = as_rule(rule)
    network = network.to("cpu")
    x, target = batch(network, x, target)
    key = Key(0) if key is None else key
    matrices = network.matrices()
    names = {id(matrix): name for name, matrix in matrices.items()}
    learnt = {name: np.zeros(matrix.shape, matrix.dtype) for name, matrix in matrices.items()}

    def apply(products: Iterable[Product], gain: float) -> None:
        for matrix, pre, post in products:
            learnt[names[id(matrix)]] += matrix.dtype.type(gain) * (post.T @ pre)

    with undisturbed(network, key):
        at_once(rule, key).train_step(network, x, target, apply)
    return learnt
