"""Texts in files: your own, and the layouts of Penn Treebank, WikiText-2 and One Billion Word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from analogpc.data.samples import DataError
from analogpc.data.text import TextData, TextSplit, text_data
from analogpc.kernels.random.streams import Key, permutation

Instances = Literal["sentences", "lines", "packed"]

_LAYOUTS: dict[str, tuple[str, str, str]] = {
    "own": ("train.txt", "valid.txt", "test.txt"),
    "Penn Treebank": ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"),
    "WikiText-2": ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"),
}
_BILLION = ("training-monolingual.tokenized.shuffled", "heldout-monolingual.tokenized.shuffled")
_HEADING = re.compile(r"^ ?=.*= ?$")
# A sentence ends after . ! or ?, optionally with quotation marks or brackets, before a space and the start of a sentence.
_END_OF_SENTENCE = re.compile(r"(?<=[.!?])(?P<close>[\"'”’)\]]*)\s+(?=[\"'“‘(\[]*[^\Wa-z_])")
_HELD_OUT = 0.05
_LEAST = 20


def load_text(
    path: str | Path,
    *,
    vocabulary: int = 1000,
    positions: int = 32,
    instances: Instances | None = None,
    held_out: int = 0,
    take: int = 0,
) -> TextData:
    """Load a text for language models.

    A *file* of running text is split into sentences without repetitions; a fixed shuffle holds out some for validation and as
    many for testing. A *folder* contains the parts: ``train.txt``, ``valid.txt`` and ``test.txt``, or the files of Penn Treebank
    (``ptb.train.txt`` and so on), WikiText-2 (``wiki.train.tokens`` and so on, without headings) or One Billion Word
    (``training-monolingual.tokenized.shuffled/news.en-*`` and ``heldout-…``), one instance per line. Texts are UTF-8.

    Parameters
    ----------
    path : path
    vocabulary : int
        Number of tokens, including special ones, learnt from the training part.
    positions : int
        Length of the inputs.
    instances : "sentences", "lines" or "packed"
        Type of instances; "packed" concatenates lines and cuts the result into full lengths. Default: sentences of a file and lines of a
        folder.
    held_out : int
        Number of instances of a file for validation and for testing; 0: 5 % each. For One Billion Word the number of sentences (10,000).
    take : int
        Maximum number of training instances, by a fixed shuffle; 0: all (200,000 for One Billion Word).

    Raises
    ------
    DataError
        If the text does not exist, is empty, not UTF-8, or too short.

    Examples
    --------
    >>> load_text("war-and-peace.txt", vocabulary=1000, positions=32)  # doctest: +SKIP
    """
    path = Path(path)
    if path.is_dir():
        return _folder(path, vocabulary, positions, instances or "lines", held_out, take)
    if not path.exists():
        raise DataError(f"there is no text {path}")
    kind = instances or "sentences"
    text = read_text(path)
    found = sentences(text) if kind == "sentences" else [line for line in map(str.strip, text.splitlines()) if line]
    pieces = found if kind == "packed" else list(dict.fromkeys(found))
    if kind == "packed" and len(pieces) < _LEAST:
        # Running text in very long lines: split at words.
        pieces = _in_pieces(text)
    if len(pieces) < _LEAST:
        named = {"packed": "piece", "lines": "line"}.get(kind, "sentence")
        advice = "" if kind == "packed" else "; for running text without sentences use instances = 'packed'"
        number = f"{len(pieces)} {named}{'s' * (len(pieces) != 1)}"
        raise DataError(f"{path} has only {number}: at least {_LEAST} are needed{advice}")
    apart = held_out or max(1, round(_HELD_OUT * len(pieces)))
    if 2 * apart >= len(pieces):
        raise DataError(f"held_out = {apart} of {len(pieces)} {kind} leaves no training instances")
    # For running text, hold out the end, so that adjacent parts stay together.
    order = np.arange(len(pieces))[::-1] if kind == "packed" else permutation(Key(0).fold("text"), 0, len(pieces))
    cuts = {"validation": order[:apart], "test": order[apart : 2 * apart], "train": order[2 * apart :]}
    cuts["train"] = cuts["train"][: take or None]
    parts: dict[TextSplit, Sequence[str]] = {
        split: [pieces[i] for i in np.sort(cuts[split])] for split in ("train", "validation", "test")
    }
    return text_data(path.stem, parts, vocabulary, positions, packed=kind == "packed")


def read_text(path: Path) -> str:
    """Read a UTF-8 file, with or without a byte-order mark.

    Raises
    ------
    DataError
        If it cannot be read, is empty, or is not UTF-8 text.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8: byte {raw[error.start]:#04x} at position {error.start}; convert it first"
        ) from None
    if "\0" in text:
        raise DataError(f"{path} is not a text: null character at position {text.index(chr(0))}")
    if not text.strip():
        raise DataError(f"{path} is empty")
    return text


def sentences(text: str) -> list[str]:
    """Split running text into sentences, joining the lines of each paragraph; single words are left out."""
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        joined = " ".join(paragraph.split())
        marked = _END_OF_SENTENCE.sub(lambda match: f"{match['close']}\n", joined)
        found += [sentence for sentence in marked.split("\n") if " " in sentence]
    return found


def _in_pieces(text: str, words: int = 20) -> list[str]:
    every = text.split()
    return [" ".join(every[start : start + words]) for start in range(0, len(every), words)]


def _folder(path: Path, vocabulary: int, positions: int, kind: Instances, held_out: int, take: int) -> TextData:
    for layout, names in _LAYOUTS.items():
        files = [path / name for name in names]
        if files[0].exists():
            missing = [file for file in files if not file.exists()]
            if missing:
                raise DataError(f"{missing[0]} is missing in the folder of {files[0].name}")
            texts = [_lines(read_text(file), kind, headings=layout == "WikiText-2") for file in files]
            break
    else:
        texts = _billion(path, held_out or 10_000, take or 200_000)
    if take:
        order = np.sort(permutation(Key(0).fold("text"), 0, len(texts[0]))[:take])
        texts[0] = [texts[0][i] for i in order]
    parts: dict[TextSplit, Sequence[str]] = {"train": texts[0], "validation": texts[1], "test": texts[2]}
    return text_data(path.name, parts, vocabulary, positions, packed=kind == "packed")


def _lines(text: str, kind: Instances, *, headings: bool) -> list[str]:
    if kind == "sentences":
        return sentences(text)
    found = (line.strip() for line in text.splitlines() if not (headings and _HEADING.match(line)))
    return [line for line in found if line]


def _billion(path: Path, held_out: int, take: int) -> list[list[str]]:
    """Return sentences of the training files, and of the first two held-out files."""
    folders = [path / name for name in _BILLION]
    files = [sorted(folder.glob("news.en*")) for folder in folders]
    if not files[0] or len(files[1]) < 2:
        names = ", ".join(layout[0] for layout in _LAYOUTS.values())
        raise DataError(f"{path} contains no text: neither {names} nor the two folders of One Billion Word")
    return [
        _chosen(files[0], take, "train"),
        _chosen(files[1][:1], held_out, "validation"),
        _chosen(files[1][1:2], held_out, "test"),
    ]


def _chosen(files: Iterable[Path], count: int, name: str) -> list[str]:
    lines = [line for file in files for line in read_text(file).splitlines() if line.strip()]
    order = permutation(Key(0).fold("billion").fold(name), 0, len(lines))[:count]
    return [lines[i] for i in np.sort(order)]
