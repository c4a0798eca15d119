"""Evaluation of networks without side effects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from analogpc.data import Dataset, as_dataset
from analogpc.data.dataset import Split
from analogpc.data.targets import Targets
from analogpc.dynamics.relaxation import Output
from analogpc.kernels.checks import several
from analogpc.kernels.gpu.arrays import to_host
from analogpc.kernels.random.streams import Key
from analogpc.networks.network import Network
from analogpc.networks.zoo import as_network
from analogpc.training.metrics import Answers, measured, metric

_BATCH = 500


def evaluate(
    network: Network, data: Dataset | str, split: Split = "test", *, key: Key | None = None, metrics: Sequence[Any] | None = None
) -> Any:
    """Evaluate the feed-forward predictions on a split: the accuracy, from 0 to 1, or the given metrics.

    Parameters
    ----------
    network : Network
        Left unchanged: read noise is drawn from ``key``, and the reads are not metered.
    data : Dataset or str
        Data, or the name of a published data set.
    split : "train", "validation" or "test"
    key : Key
        Key of the read noise; ``Key(0)`` by default.
    metrics : sequence of names, functions or `Metric`
        See `metric`.

    Returns
    -------
    float, or a dict of floats by name if ``metrics`` are given

    Raises
    ------
    ValueError
        If the network does not have one output for each class of the data (or for each regression target).
    """
    answers = answers_of(as_network(network), as_dataset(data), split, key=key)
    return (
        measured(answers, [metric("accuracy")])["accuracy"]
        if metrics is None
        else measured(answers, list(map(metric, several(metrics))))
    )


def answers_of(
    network: Network,
    data: Dataset,
    split: Split,
    *,
    key: Key | None = None,
    output: Output = "squared-error",
    between: Callable[[], None] = lambda: None,
) -> Answers:
    """Return the outputs of a network on a split, without side effects; see `evaluate`.

    ``between`` is called before each batch; an exception from it ends the evaluation, also without side effects.
    """
    labels = data.labels(split, np.arange(len(data.labels_of(split))))
    refuse_other_outputs(network, data.target_kind, data.name)

    def batches() -> Iterator[np.ndarray]:
        for start in range(0, len(labels), _BATCH):
            between()
            indices = np.arange(start, min(start + _BATCH, len(labels)))
            yield data.inputs(split, indices, dtype=network.architecture.dtype, backend=network.backend)

    return Answers(outputs_of(network, batches(), key), labels, data.target_kind, output)


def in_batches(x: np.ndarray) -> Iterator[np.ndarray]:
    """Yield samples in batches of the evaluation batch size."""
    for start in range(0, len(x), _BATCH):
        yield x[start : start + _BATCH]


def outputs_of(network: Network, batches: Iterator[np.ndarray], key: Key | None = None) -> np.ndarray:
    """Return the outputs for normalised batches, without side effects: (n, outputs), in main memory."""
    with network.isolated_reads(Key(0) if key is None else key):
        found = [to_host(network.predict(x)) for x in batches]
    return np.concatenate(found) if found else np.empty((0, *network.output_shape), network.dtype)


def refuse_other_outputs(network: Network, targets: Targets, name: str) -> None:
    """Refuse a network that does not have one output for each class, or for each regression target."""
    if network.output_shape == (targets.outputs,):
        return
    if targets.task == "regression":
        hint = "; class labels must be integers or strings" if targets.outputs == 1 else ""
        needed = f"{targets.outputs} regression targets{hint}"
    else:
        needed = f"{targets.outputs} classes"
    raise ValueError(f"the network has outputs of shape {network.output_shape}, but '{name}' has {needed}")


def refuse_small_batches(network: Network, samples: int, size: int) -> None:
    """Refuse a batch size whose last batch is too small for a block, before training starts."""
    smallest = samples % size or size
    for number, layer in enumerate(network.layers, start=1):
        if smallest < layer.least_samples:
            raise ValueError(
                f"batch_size = {size} leaves a last batch of {smallest} of {samples} samples, and layer {number}, with batch "
                f"normalisation of dense samples, needs at least {layer.least_samples}: choose another batch_size"
            )
