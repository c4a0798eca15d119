"""Execution of a rule on a network without changing its state."""

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
    """Isolate the network in this block.

    Noise is drawn from streams of ``key``, counts go to the yielded meters, by matrix name (see `Network.isolated_reads`), and other
    block state, such as running statistics, is restored.
    """
    kept = {name: array.copy() for name, array in network.buffers().items()}
    try:
        with network.isolated_reads(key) as meters:
            yield meters
    finally:
        for name, array in network.buffers().items():
            array[...] = kept[name]


def exact_copy(network: Network) -> Network:
    """Return a digital float64 copy with the weights stored in the devices of a network, and its other block state.

    It resolves small errors of deep networks that are lost in float32.
    """
    network = network.to("cpu")
    state: dict[str, Any] = {name: {"values": array} for name, array in network.buffers().items()}
    for name, matrix in network.matrices().items():
        state[name] = {"weights": matrix.weights().astype(np.float64), "meter": Meter().as_dict()}
    specification = network.specification | {"architecture": network.architecture.but(dtype="float64"), "substrate": Digital()}
    return Network.from_snapshot(specification, state)


def batch(network: Network, x: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and targets in the shape and type of the network.

    Raises
    ------
    ValueError
        If samples or targets have the wrong shape or different lengths, or are empty; or if a number is
        not finite.
    """
    x = network.inputs(x)
    target = real_array(target, "targets", dtype=network.dtype)
    if not len(x):
        raise ValueError("there are no samples to evaluate")
    if target.shape != (len(x), *network.output_shape):
        raise ValueError(
            f"target must hold one row of shape {network.output_shape} for each of the {len(x)} samples, not {target.shape}"
        )
    return x, target


def at_once(rule: R, key: Key) -> R:
    """Return the rule of the first training step of a run with that key."""
    return rule.at(StepContext(key.fold("rule")))


def directions(
    network: Network, rule: Rule | str, x: np.ndarray, target: np.ndarray, *, key: Key | None = None
) -> dict[str, np.ndarray]:
    """Compute the updates of every matrix by a rule for one batch. The weights do not change.

    Parameters
    ----------
    network : Network
        Left unchanged.
    rule : Rule
        Rules that update during relaxation (incremental and continual) are evaluated with fixed weights: the sum over
        their steps.
    x : (n, *input_shape) array
    target : (n, *output_shape) array
    key : Key
        Key of read noise and of random rules; ``Key(0)`` by default.

    Returns
    -------
    dict of (n_out, n_in) arrays
        By name in `Network.matrices`, in the type of the network: the sum over the batch of gain times post pre^T. Matrices
        without updates have zeros.
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
