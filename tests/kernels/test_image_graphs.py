"""Captured graphs of patches, pooling and normalisation."""

from __future__ import annotations

import numpy as np

from analogpc.kernels.images.patches import fold, patches
from analogpc.kernels.images.pooling import average_pool, average_unpool, max_pool, max_unpool
from analogpc.kernels.images.soft_pooling import soft_pool, soft_unpool
from analogpc.kernels.normalisation import column_moments, normalisation_transposed, normalise_columns


def test_graphs_replay_them(device, rng) -> None:
    """All of it may be captured: nothing waits, and a second run in the same memory gives what it would give afresh."""
    first, second = rng.normal(size=(2, 2, 6, 6, 4)).astype(np.float32)
    x, one = device.array(first), device.ones(4, np.float32)

    def everything(x, one) -> list:
        y, where = max_pool(x, 2, 2)
        soft, shares = soft_pool(x, 3, 2, 1.0)
        rows = x.reshape(-1, 4)
        mean, variance = column_moments(rows)
        normal = normalise_columns(rows, mean.astype(x.dtype), one, one, one)[1]
        backs = [max_unpool(y, where, x.shape, 2, 2), soft_unpool(soft, x, soft, shares, 3, 2, 1.0)]
        backs += [average_unpool(average_pool(x, 2, 2), x.shape, 2, 2), fold(patches(x, 3, 1, 1), x.shape, 3, 1, 1)]
        return [variance, normalisation_transposed(rows, normal, one), *backs]

    # Compilation and first allocations come before.
    everything(x, one)
    stream = device.cuda.Stream(non_blocking=True)
    pool = device.cuda.MemoryPool()
    with stream, device.cuda.using_allocator(pool.malloc):
        stream.begin_capture()
        results = everything(x, one)
        graph = stream.end_capture()
        x.set(second)
        graph.launch(stream)
        stream.synchronize()
    for found, expected in zip(results, everything(device.array(second), one), strict=True):
        assert np.array_equal(found.get(), expected.get())
