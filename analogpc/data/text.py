"""Texts for language models: instances of tokens in three parts, and batches of them with targets."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from analogpc.data.samples import DataError
from analogpc.data.tokeniser import END, MASK, PAD, SPECIAL, START, Tokeniser
from analogpc.kernels.random.streams import Key, uniforms
from analogpc.networks.transformer import Task

TextSplit = Literal["train", "validation", "test"]
SPLITS: tuple[TextSplit, ...] = ("train", "validation", "test")
_KIND = "text"
MASKED_SHARE = 0.15
"""Fraction of the tokens of an instance that are masked, rounded, at least one token."""


@dataclass(frozen=True, eq=False)
class TextData:
    """The tokens of a text, in three parts.

    Parameters
    ----------
    name : str
    tokeniser : Tokeniser
        Tokeniser, trained on the training part.
    train, validation, test : (n, positions + 1) uint16 arrays
        Instances: ``<s>``, tokens, ``</s>``, then padding. An instance that is cut off has no ``</s>``.
    """

    name: str
    tokeniser: Tokeniser
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @property
    def positions(self) -> int:
        """Length of the inputs."""
        return self.train.shape[1] - 1

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""
        return self.tokeniser.vocabulary

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the tokeniser and all tokens, in hexadecimal."""
        digest = hashlib.sha256(self.tokeniser.json.encode())
        for ids in (self.train, self.validation, self.test):
            digest.update(str((ids.shape, ids.dtype.str)).encode())
            digest.update(np.ascontiguousarray(ids).data)
        return digest.hexdigest()

    def instances(self, split: TextSplit) -> np.ndarray:
        """Return the tokens of a split, (n, positions + 1)."""
        if split not in SPLITS:
            raise DataError(f"there is no split {split!r}; the splits are train, validation and test")
        return {"train": self.train, "validation": self.validation, "test": self.test}[split]

    def batch(
        self, split: TextSplit, indices: np.ndarray, task: Task, key: Key, step: int = 0, *, bert: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return inputs and targets of a batch.

        Conditional: every token except the first is a target at the previous position. Masked: 15 % of the non-special tokens of every
        instance, at least one, are targets and replaced by ``<mask>``.

        Parameters
        ----------
        split : "train", "validation" or "test"
        indices : (n,) ints
        task : "masked" or "conditional"
        key, step
            Key and step of the choice of masked tokens.
        bert : bool
            Keep a tenth of the chosen tokens, and replace another tenth by random tokens (Devlin et al.). Only for training:
            in evaluation, such positions would reward copying.

        Returns
        -------
        ids : (n, positions) int32 array
        target : (p, 2) int32 array
            Position (position + positions * sample) and token of every target; padded with tokens -1, so that p depends only on n.
        """
        whole = self.instances(split)[indices].astype(np.int32)
        ids = np.ascontiguousarray(whole[:, :-1])
        if task == "conditional":
            following = whole[:, 1:].reshape(-1)
            labels = np.where(following == PAD, -1, following)
            return ids, np.stack([np.arange(labels.size), labels], axis=1).astype(np.int32)
        return _masked(ids, self.vocabulary, key, step, bert)

    def save(self, path: str | Path) -> None:
        """Write the tokens and the tokeniser to an HDF5 file."""
        from analogpc.files.storage import write_file

        parts = {str(split): self.instances(split) for split in SPLITS}
        tree: dict[str, Any] = {"name": self.name, "tokeniser": self.tokeniser.json}
        write_file(path, _KIND, tree | parts)

    @classmethod
    def load(cls, path: str | Path) -> TextData:
        """Load a file written by `save`; the tokeniser package is not needed.

        Raises
        ------
        StorageError
            If the file is missing, damaged or of another kind.
        """
        from analogpc.files.storage import read_file

        tree = read_file(path, _KIND)
        return cls(tree["name"], Tokeniser(tree["tokeniser"]), *(tree[split] for split in SPLITS))

    def characters(self, target: np.ndarray) -> int:
        """Return the number of characters of the targets of a batch."""
        labels = target[target[:, 1] >= 0, 1]
        return int(self.tokeniser.lengths[labels].sum())


def _masked(ids: np.ndarray, vocabulary: int, key: Key, step: int, bert: bool) -> tuple[np.ndarray, np.ndarray]:
    n, positions = ids.shape
    eligible = ids >= len(SPECIAL)
    most = max(1, round(MASKED_SHARE * positions))
    order = np.argsort(np.where(eligible, uniforms(key.fold("mask"), step, ids.shape, np.float64), 2.0), axis=1)[:, :most]
    found = eligible.sum(axis=1)
    wanted = np.minimum(np.maximum(1, np.rint(MASKED_SHARE * found)), found)
    used = np.arange(most)[None, :] < wanted[:, None]
    samples = np.broadcast_to(np.arange(n)[:, None], order.shape)
    labels = np.where(used, ids[samples, order], -1)
    hidden = ids.copy()
    put = np.full(order.shape, MASK)
    if bert:
        draw = uniforms(key.fold("bert"), step, order.shape, np.float64)
        other = len(SPECIAL) + np.floor(uniforms(key.fold("other"), step, order.shape, np.float64) * (vocabulary - len(SPECIAL)))
        put = np.where(draw < 0.1, ids[samples, order], np.where(draw < 0.2, other, MASK))
    hidden[samples[used], order[used]] = put[used]
    places = np.where(used, samples * positions + order, 0)
    return hidden, np.stack([places.reshape(-1), labels.reshape(-1)], axis=1).astype(np.int32)


def text_data(
    name: str, parts: dict[TextSplit, Sequence[str]], vocabulary: int, positions: int, *, packed: bool = False
) -> TextData:
    """Tokenise texts that are already divided into instances.

    Parameters
    ----------
    name : str
    parts : dict of sequences of str
        Instances of "train", "validation" and "test".
    vocabulary : int
        Number of tokens, learnt from the training part; at most 65536.
    positions : int
        Length of the inputs; longer instances are cut off.
    packed : bool
        Concatenate the instances of a part, each followed by ``</s>``, and cut the result into full lengths.

    Raises
    ------
    DataError
        If a part is empty, or the training part gives fewer tokens.
    """
    if not 6 <= vocabulary <= 2**16:
        raise DataError(f"vocabulary = {vocabulary} is not allowed: it is from 6 to {2**16}, special tokens included")
    tokeniser = Tokeniser.train(list(parts["train"]), vocabulary)
    made = {}
    for split, texts in parts.items():
        found = tokeniser.encode(texts)
        made[split] = _packed(found, positions) if packed else _padded(found, positions)
        if not len(made[split]):
            raise DataError(f"the {split} part of '{name}' gives no instance of {positions} positions")
    return TextData(name, tokeniser, made["train"], made["validation"], made["test"])


def _padded(found: list[list[int]], positions: int) -> np.ndarray:
    ids = np.full((len(found), positions + 1), PAD, np.uint16)
    for row, tokens in zip(ids, found, strict=True):
        # Truncated instances have no end token, because a forced one would be trivial to predict.
        whole = [START, *tokens, END][: positions + 1]
        row[: len(whole)] = whole
    return ids


def _packed(found: list[list[int]], positions: int) -> np.ndarray:
    stream = [token for tokens in found for token in (*tokens, END)]
    count = len(stream) // (positions + 1)
    return np.array(stream[: count * (positions + 1)], np.uint16).reshape(count, positions + 1)
