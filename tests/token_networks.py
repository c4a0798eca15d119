"""Small transformers and batches of tokens, shared by several tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analogpc.data.text import TextData, text_data
from analogpc.networks import Transformer
from analogpc.networks.network import Network

VOCABULARY, POSITIONS, SAMPLES = 12, 6, 3


def transformer(seed: int = 3, **fields: Any) -> Network:
    """Build a network (default float64) whose scales, biases and weights differ from the initial ones."""
    usual = {"positions": POSITIONS, "features": 8, "hidden": 10, "blocks": 2, "dtype": "float64", "embedding_std": 0.5}
    network = Network(Transformer(vocabulary=VOCABULARY, **{**usual, **fields}), seed=seed)
    rng = np.random.default_rng(seed)
    for matrix in network.matrices().values():
        matrix.increment((0.2 * rng.normal(size=matrix.shape)).astype(matrix.dtype))
    network._initial = None
    return network


def tokens(seed: int = 0, samples: int = SAMPLES, positions: int = POSITIONS) -> tuple[np.ndarray, np.ndarray]:
    """Return token ids, with two padded positions in the second sample, and targets at all real positions; their last row is unused."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(5, VOCABULARY, (samples, positions)).astype(np.int32)
    ids[1, -2:] = 0
    places = np.append(np.flatnonzero(ids), 0)
    labels = np.append(rng.integers(5, VOCABULARY, len(places) - 1), -1)
    return ids, np.stack([places, labels], axis=1).astype(np.int32)


def small_text(positions: int = 8, vocabulary: int = 40) -> TextData:
    """Generate sentences of a small grammar."""
    pytest.importorskip("tokenizers")
    rng = np.random.default_rng(4)
    words = ["the", "a", "red", "old", "dog", "cat", "sees", "hears", "bird", "."]
    lines = [" ".join(rng.choice(words, rng.integers(2, 9))) for _ in range(120)]
    return text_data("grammar", {"train": lines[:80], "validation": lines[80:100], "test": lines[100:]}, vocabulary, positions)
