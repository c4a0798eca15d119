"""Floors: the plain matrix products that a workload requires."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from analogpc.devices.matrix import TwoPhases
from analogpc.kernels.gpu.arrays import copied
from analogpc.kernels.products import batched, matmul
from analogpc.networks.network import Network
from analogpc.networks.transformer import Transformer


def products_of(network: Network, teach: Callable[[Network, Callable[..., None]], Any]) -> Callable[[], None]:
    """Return all products of the weight matrices in one training batch, as plain BLAS calls on arrays of the same shapes.

    The results are written to preallocated arrays.

    The numbers of vectors read and learnt by every matrix are counted by its meter, with the same number of calls, each with the
    rows of one batch for that matrix (one for each sample; in a convolution, one for each output position). Look-ups of an
    embedding copy rows and are not products; products of two activations within an attention are included.

    Parameters
    ----------
    network : Network
        Network, trained on one batch for the counts.
    teach : function of the network and of an ``apply``
    """

    phases_of: Counter[int] = Counter()

    def apply(products: Any, gain: float) -> None:
        phases, learnt = 2 if isinstance(products, TwoPhases) else 1, set()
        for matrix, pre, post in products:
            learnt.add(id(matrix))
            matrix.learn([(pre, post)], 0.0)
        phases_of.update(dict.fromkeys(learnt, phases))

    teach(network, apply)
    calls: list[tuple[int, np.ndarray, np.ndarray, np.ndarray | None]] = []
    rng = np.random.default_rng(0)

    def some(*shape: int) -> np.ndarray:
        return copied(rng.normal(size=shape).astype(network.dtype), network.backend)

    for name, matrix in network.matrices().items():
        counts = matrix.meter
        if not name.endswith("weight") or counts.look_ups or not phases_of[id(matrix)]:
            continue
        n_out, n_in = matrix.shape
        # Each update of a matrix uses all rows of the batch.
        rows = counts.updates // phases_of[id(matrix)]
        x, g, weights = some(rows, n_in), some(rows, n_out), some(n_in, n_out)
        calls += [
            (counts.forward_reads // rows, x, weights, some(rows, n_out)),
            (counts.backward_reads // rows, g, weights.T, some(rows, n_in)),
            (phases_of[id(matrix)], x.T, g, some(n_in, n_out)),
        ]
        if name.endswith("queries.weight"):
            output = network.matrices()[name.replace("queries", "output")].meter
            times = counts.forward_reads // rows, output.backward_reads // rows, phases_of[id(matrix)]
            calls += _of_activations(cast(Transformer, network.architecture), rows, times, some)

    def products() -> None:
        for times, left, right, out in calls:
            for _ in range(times):
                # Products of two activations: one for each sample and head.
                batched(left, right) if out is None else matmul(left, right, out)

    return products


def _of_activations(
    architecture: Transformer, rows: int, times: tuple[int, int, int], some: Callable[..., np.ndarray]
) -> list[tuple[int, np.ndarray, np.ndarray, None]]:
    """Return the products of two activations in one attention: forward, back to scores and values, and back to queries and keys."""
    positions, features = architecture.positions, architecture.features // architecture.heads
    items = rows // positions * architecture.heads
    q, a = some(items, positions, features), some(items, positions, positions)
    forward, back, learnt = times
    return [(forward + back, q, q.swapaxes(1, 2), None), (forward + back + 2 * learnt, a, q, None)]
