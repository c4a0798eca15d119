"""Tokens of a text: byte-pair encoding, learnt from the training part only (extra ``[text]``)."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from analogpc.data.samples import DataError

SPECIAL = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
PAD, UNKNOWN, START, END, MASK = range(5)


def _tokenizers() -> Any:
    try:
        return importlib.import_module("tokenizers")
    except ImportError as error:
        raise DataError(f"texts need the package tokenizers: install analogpc[text] ({error})") from None


class Tokeniser:
    """Byte-pair encoding of texts; words start with a mark for the preceding space.

    The tokens 0 to 4 are ``<pad> <unk> <s> </s> <mask>``.

    Parameters
    ----------
    text : str
        Trained tokeniser, in the format of the package tokenizers.
    """

    def __init__(self, text: str) -> None:
        self.json = text

    @classmethod
    def train(cls, texts: Sequence[str], vocabulary: int) -> Tokeniser:
        """Learn the given number of tokens from texts, including special ones.

        Raises
        ------
        DataError
            If the texts give fewer.
        """
        package = _tokenizers()
        model = package.Tokenizer(package.models.BPE(unk_token=SPECIAL[UNKNOWN]))
        model.pre_tokenizer = package.pre_tokenizers.Metaspace()
        model.decoder = package.decoders.Metaspace()
        trainer = package.trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=list(SPECIAL), show_progress=False)
        model.train_from_iterator(texts, trainer)
        found = model.get_vocab_size()
        if found < vocabulary:
            raise DataError(
                f"vocabulary = {vocabulary} is more than the training text gives: it has {found} tokens; choose at most {found}"
            )
        if found > vocabulary:
            raise DataError(
                f"vocabulary = {vocabulary} is less than the {found} special tokens and single characters of the training text; choose at "
                f"least {found}"
            )
        return cls(model.to_str())

    @cached_property
    def _model(self) -> Any:
        return _tokenizers().Tokenizer.from_str(self.json)

    @cached_property
    def names(self) -> list[str]:
        """Tokens as strings, in the order of their numbers."""
        held = json.loads(self.json)["model"]["vocab"]
        return sorted(held, key=held.__getitem__)

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""
        return len(self.names)

    def encode(self, texts: Iterable[str]) -> list[list[int]]:
        """Tokenise texts, without start and end tokens."""
        return [found.ids for found in self._model.encode_batch(list(texts))]

    def decode(self, ids: Iterable[int]) -> str:
        """Convert tokens to text, without special tokens."""
        return str(self._model.decode([int(one) for one in ids], skip_special_tokens=True))

    @cached_property
    def lengths(self) -> np.ndarray:
        """Number of characters of each token, (vocabulary,) int64; 0 for special tokens, but 1 for ``<unk>``."""
        found = np.array([len(name) for name in self.names], np.int64)
        found[: len(SPECIAL)] = 0
        found[UNKNOWN] = 1
        return found
