"""Perplexity: how well a language model foretells the targets of a text."""

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
"""Targets that are evaluated at once."""


@dataclass(frozen=True)
class Perplexity:
    """How well a language model foretells the targets of some instances.

    Attributes
    ----------
    nats : float
        Sum of - log p over all targets.
    targets, characters : int
        How many targets there are, and the characters that they stand for.
    """

    nats: float
    targets: int
    characters: int

    @property
    def value(self) -> float:
        """exp of the mean over all targets, not a mean over batches; infinite where that overflows."""
        mean = self.nats / max(1, self.targets)
        return math.exp(mean) if mean < 700 else math.inf

    @property
    def bits_per_character(self) -> float:
        """Bits that the characters of the targets cost, for each."""
        return self.nats / math.log(2) / max(1, self.characters)


def perplexity(
    network: Network, data: TextData, split: TextSplit = "test", *, instances: int = 0, key: Key | None = None
) -> Perplexity:
    """Of the feed-forward predictions on a part of a text; masks are the same every time, and hide every target.

    Parameters
    ----------
    network : Network
        Left without a trace: read noise is drawn from ``key``, and its meters do not count.
    data : TextData
    split : "train", "validation" or "test"
    instances : int
        So many of the first instances; all if 0.
    key : Key
        Of read noise; ``Key(0)`` if not given.
    """
    architecture = transformer_of(network)
    total = len(data.instances(split))
    count = min(instances or total, total)
    at_once = max(1, _ROWS // data.positions) if architecture.task == "conditional" else _ROWS // 8
    nats, targets, characters = 0.0, 0, 0
    with network.isolated_reads(Key(0) if key is None else key), working_stream(network.backend):
        for start in range(0, count, at_once):
            # Masks are keyed by where a batch begins: once and for all.
            places = np.arange(start, min(start + at_once, count))
            ids, target = data.batch(split, places, architecture.task, Key(0).fold("evaluate"), start)
            nats += float(to_host(_losses(network, network.inputs(ids), network.brought(target))))
            targets += int((target[:, 1] >= 0).sum())
            characters += data.characters(target)
    return Perplexity(nats, targets, characters)


def _losses(network: Network, ids: np.ndarray, target: np.ndarray) -> Any:
    """What all targets cost together, of one sweep forward."""
    sweep = network.architecture.sweep(ids, target, False)
    y = ids
    for layer in network.layers:
        y, _ = layer.pass_forward(y, sweep)
    losses, _ = cross_entropy(y, np.ascontiguousarray(target[:, 1], like=target))
    return losses.sum(dtype=np.float64)


def transformer_of(network: Network) -> Transformer:
    """The architecture of a network, refused unless it learns texts."""
    if not isinstance(network.architecture, Transformer):
        raise DataError(f"texts are learnt by transformers, not by networks of the architecture '{network.architecture.kind}'")
    return network.architecture
