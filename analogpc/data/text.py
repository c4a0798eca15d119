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
"""Of the tokens of an instance that are masked, rounded, and at least one."""


@dataclass(frozen=True, eq=False)
class TextData:
    """The tokens of a text, in three parts.

    Parameters
    ----------
    name : str
    tokeniser : Tokeniser
        Learnt from the training part.
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
        """The tokens of a part, (n, positions + 1)."""
        if split not in SPLITS:
            raise DataError(f"there is no split {split!r}; the splits are train, validation and test")
        return {"train": self.train, "validation": self.validation, "test": self.test}[split]

    def batch(
        self, split: TextSplit, indices: np.ndarray, task: Task, key: Key, step: int = 0, *, bert: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets.

        Conditional: every token but the first is a target at the position before it. Masked: of every instance 15 % of the tokens that are
        not special, at least one, are targets, and ``<mask>`` stands in their place.

        Parameters
        ----------
        split : "train", "validation" or "test"
        indices : (n,) ints
        task : "masked" or "conditional"
        key, step
            Of the choice of what is masked.
        bert : bool
            Of the chosen tokens, leave a tenth as they are, and put random ones in place of another tenth (Devlin et al.). For training:
            scores of such positions would tell how well the answer is copied.

        Returns
        -------
        ids : (n, positions) int32 array
        target : (p, 2) int32 array
            Place (position + positions * sample) and token of every target; tokens of -1 fill up, so that p depends on n alone.
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
        """Read what `save` wrote; that needs no tokeniser package.

        Raises
        ------
        StorageError
            If the file is missing, damaged or of another kind.
        """
        from analogpc.files.storage import read_file

        tree = read_file(path, _KIND)
        return cls(tree["name"], Tokeniser(tree["tokeniser"]), *(tree[split] for split in SPLITS))

    def characters(self, target: np.ndarray) -> int:
        """How many characters the targets of a batch stand for."""
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
    """The tokens of texts that are cut into instances already.

    Parameters
    ----------
    name : str
    parts : dict of sequences of str
        The instances of "train", "validation" and "test".
    vocabulary : int
        Tokens that are learnt from the training part; at most 65536.
    positions : int
        Length of the inputs; longer instances are cut off.
    packed : bool
        Put the instances of a part one after the other, each followed by ``</s>``, and cut that into full lengths.

    Raises
    ------
    DataError
        If a part is empty, or the training part does not give so many tokens.
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
        # What does not fit is cut off, and a forced end would cost nothing to foretell.
        whole = [START, *tokens, END][: positions + 1]
        row[: len(whole)] = whole
    return ids


def _packed(found: list[list[int]], positions: int) -> np.ndarray:
    stream = [token for tokens in found for token in (*tokens, END)]
    count = len(stream) // (positions + 1)
    return np.array(stream[: count * (positions + 1)], np.uint16).reshape(count, positions + 1)
