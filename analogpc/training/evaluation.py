"""Evaluation of networks without leaving a trace in them."""

from __future__ import annotations

import numpy as np

from analogpc.data import Dataset
from analogpc.data.dataset import Split
from analogpc.kernels.random.streams import Key
from analogpc.networks.network import Network

_BATCH = 500


def evaluate(network: Network, data: Dataset, split: Split = "test", *, key: Key | None = None) -> float:
    """The accuracy of feed-forward predictions on a split, from 0 to 1.

    Parameters
    ----------
    network : Network
        Left without a trace: read noise is drawn from ``key``, and its meters do not count.
    data : Dataset
    split : "train" or "test"
    key : Key
        ``Key(0)`` if not given.
    """
    labels = data.train_labels if split == "train" else data.test_labels
    correct = 0
    with network.aside(Key(0) if key is None else key):
        for start in range(0, len(labels), _BATCH):
            indices = np.arange(start, min(start + _BATCH, len(labels)))
            x = data.inputs(split, indices, dtype=network.architecture.dtype, backend=network.backend)
            right = network.predict(x).argmax(1) == data.labels(split, indices, backend=network.backend)
            correct += int(right.sum())
    return correct / len(labels)
