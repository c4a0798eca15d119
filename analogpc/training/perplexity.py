"""Perplexity: how well a language model predicts the targets of a text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from analogpc.data.samples import DataError
from analogpc.data.text import TextData, TextSplit
from analogpc.kernels.gpu.arrays import to_host
from analogpc.kernels.gpu.graphs import working_stream
from analogpc.kernels.random.streams import Key
from analogpc.kernels.targets import cross_entropy
from analogpc.networks.network import Network
from analogpc.networks.transformer import Transformer

_ROWS = 8192
"""Number of targets evaluated together."""


@dataclass(frozen=True)
class Perplexity:
    """Perplexity of a language model on some instances.

    Attributes
    ----------
    nats : float
        Sum of -log p over all targets.
    targets, characters : int
        Number of targets, and of the characters they represent.
    """

    nats: float
    targets: int
    characters: int

    @property
    def value(self) -> float:
        """exp of the mean over all targets (not a mean over batches); infinite on overflow."""
        mean = self.nats / max(1, self.targets)
        return math.exp(mean) if mean < 700 else math.inf

    @property
    def bits_per_character(self) -> float:
        """Bits per character of the targets."""
        return self.nats / math.log(2) / max(1, self.characters)


def perplexity(
    network: Network, data: TextData, split: TextSplit = "test", *, instances: int = 0, key: Key | None = None
) -> Perplexity:
    """Compute the perplexity of the feed-forward predictions on a split of a text; masks are fixed and hide every target.

    Parameters
    ----------
    network : Network
        Left unchanged: read noise is drawn from ``key``, and the reads are not metered.
    data : TextData
    split : "train", "validation" or "test"
    instances : int
        Number of instances, from the first; 0: all.
    key : Key
        Key of the read noise; ``Key(0)`` by default.
    """
    architecture = transformer_of(network)
    total = len(data.instances(split))
    count = min(instances or total, total)
    at_once = max(1, _ROWS // data.positions) if architecture.task == "conditional" else _ROWS // 8
    nats, targets, characters = 0.0, 0, 0
    with network.isolated_reads(Key(0) if key is None else key), working_stream(network.backend):
        for start in range(0, count, at_once):
            # Masks are keyed by the start of a batch, so they are the same in every evaluation.
            places = np.arange(start, min(start + at_once, count))
            ids, target = data.batch(split, places, architecture.task, Key(0).fold("evaluate"), start)
            nats += float(to_host(_losses(network, network.inputs(ids), network.brought(target))))
            targets += int((target[:, 1] >= 0).sum())
            characters += data.characters(target)
    return Perplexity(nats, targets, characters)


def _losses(network: Network, ids: np.ndarray, target: np.ndarray) -> Any:
    """Return the summed loss of all targets in one forward pass."""
    sweep = network.architecture.sweep(ids, target, False)
    y = ids
    for layer in network.layers:
        y, _ = layer.pass_forward(y, sweep)
    losses, _ = cross_entropy(y, np.ascontiguousarray(target[:, 1], like=target))
    return losses.sum(dtype=np.float64)


def transformer_of(network: Network) -> Transformer:
    """Return the architecture of a network; refuse all but transformers."""
    if not isinstance(network.architecture, Transformer):
        raise DataError(f"texts need a transformer, not a network of the architecture '{network.architecture.kind}'")
    return network.architecture
