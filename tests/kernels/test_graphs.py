"""Captured graphs: whose memory they read."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from analogpc.kernels.gpu.arrays import copied, to_host
from analogpc.kernels.gpu.graphs import Graph, working_stream
from analogpc.kernels.products import matmul


def of_local_arrays(left, right):
    """Return a graph of a product whose operands nobody else holds."""
    left, right = copied(left, "gpu"), copied(right, "gpu")
    result = copied(np.empty((len(left), right.shape[1])), "gpu")

    def work():
        matmul(left, right, result)
        return result + right

    work()
    return Graph(work)


def test_a_graph_keeps_the_arrays_that_its_work_reads(device):
    left, right = np.random.default_rng(0).integers(-4, 5, (2, 8, 8)).astype(float)
    with working_stream("gpu"):
        graph = of_local_arrays(left, right)
        gc.collect()
        # They would be in memory that was freed.
        others = [copied(np.full((8, 8), np.nan), "gpu") for _ in range(8)]
        graph.launch()
    assert len(others) == 8
    np.testing.assert_array_equal(to_host(graph.result), left @ right + right)


def test_the_emulation_refuses_graphs_of_freed_memory(emulated):
    with working_stream("gpu"):
        graph = of_local_arrays(np.eye(4), np.eye(4))
        graph.launch()
        del graph._work
        gc.collect()
        with pytest.raises(AssertionError, match="memory that it reads or writes was freed"):
            graph.launch()
