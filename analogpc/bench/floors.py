"""Floors: the plain matrix products that a workload cannot do without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from analogpc.devices.matrix import TwoPhases
from analogpc.kernels.products import matmul
from analogpc.networks.network import Network


def products_of(network: Network, teach: Callable[[Network, Callable[..., None]], Any]) -> Callable[[], None]:
    """All products of the weight matrices in one taught batch, as plain calls of BLAS on arrays of the same shapes.

    Their results go to arrays that are there already, so that no time is lost with memory.

    How many vectors every matrix reads and learns from is what its meter counts; they come in as many calls as they did, each of the
    rows that one batch brings to that matrix (one for each sample; in a convolution, one for each output position).

    Parameters
    ----------
    network : Network
        Taught once, for the counts.
    teach : function of the network and of an ``apply``
    """

    phases: dict[int, int] = {}

    def apply(products: Any, gain: float) -> None:
        for matrix, pre, post in products:
            phases[id(matrix)] = 2 if isinstance(products, TwoPhases) else 1
            matrix.learn([(pre, post)], 0.0)

    teach(network, apply)
    calls: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]] = []
    rng = np.random.default_rng(0)

    def some(*shape: int) -> np.ndarray:
        return network.brought(rng.normal(size=shape))

    for name, matrix in network.matrices().items():
        if not name.endswith("weight"):
            continue
        n_out, n_in = matrix.shape
        counts = matrix.meter
        # Every matrix learns once in a batch, from all its rows, as they are in one phase or in each of two.
        rows = counts.updates // phases[id(matrix)]
        x, g, weights = some(rows, n_in), some(rows, n_out), some(n_in, n_out)
        calls += [
            (counts.forward_reads // rows, x, weights, some(rows, n_out)),
            (counts.backward_reads // rows, g, weights.T, some(rows, n_in)),
            (phases[id(matrix)], x.T, g, some(n_in, n_out)),
        ]

    def products() -> None:
        for times, left, right, out in calls:
            for _ in range(times):
                matmul(left, right, out)

    return products
