"""Text generation by language models: continuing a prompt, and filling in masked words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analogpc.data.samples import DataError
from analogpc.data.tokeniser import END, MASK, PAD, SPECIAL, START, UNKNOWN, Tokeniser
from analogpc.kernels.gpu.arrays import to_host
from analogpc.kernels.random.streams import Key, uniforms
from analogpc.kernels.softmax import softmax
from analogpc.networks.network import Network

_MASK = SPECIAL[MASK]
_NEVER = (PAD, UNKNOWN, START, MASK)


def generate(
    network: Network, tokeniser: Tokeniser, prompt: str, *, tokens: int = 30, temperature: float = 1.0, key: Key | None = None
) -> str:
    """Continue a text; see `Network.generate`. Sampling and read noise draw from ``key`` (default ``Key(0)``)."""
    if _task(network) != "conditional":
        raise DataError("a masked language model does not continue a text: fill finds its masked tokens")
    if tokens < 0 or not temperature >= 0 or not np.isfinite(temperature):
        raise DataError(f"tokens = {tokens} and temperature = {temperature:g} must not be negative")
    key, positions = Key(0) if key is None else key, network.input_shape[0]
    known = tokens_to_continue(tokeniser, prompt)
    with network.isolated_reads(key.fold("read")):
        for number in range(tokens):
            seen = known[-positions:]
            logits = _logits(network, seen)[len(seen) - 1]
            logits[list(_NEVER)] = -np.inf
            chosen = int(logits.argmax()) if temperature == 0 else _drawn(logits / temperature, key, number)
            if chosen == END:
                break
            known.append(chosen)
    return tokeniser.decode(known[1:])


def fill(network: Network, tokeniser: Tokeniser, text: str) -> str:
    """Fill in the masked tokens of a text; see `Network.fill`."""
    if _task(network) != "masked":
        raise DataError("a conditional language model has no masked tokens: generate continues a text")
    return filled(network, tokeniser, tokens_to_fill(tokeniser, text, network.input_shape[0]))


def tokens_to_continue(tokeniser: Tokeniser, prompt: str) -> list[int]:
    """Return the tokens of a prompt, with ``<s>``.

    Raises
    ------
    DataError
        If it contains special tokens, or characters that the training text lacks.
    """
    return [START, *_known(tokeniser, prompt)]


def tokens_to_fill(tokeniser: Tokeniser, text: str, positions: int) -> list[int]:
    """Return the tokens of a text with masks, with ``<s>`` and ``</s>``.

    Raises
    ------
    DataError
        If it has no mask, is longer than ``positions``, or contains other special tokens or characters that the training text lacks.
    """
    parts = text.split(_MASK)
    if len(parts) < 2:
        raise DataError(f"there is no {_MASK} in the text")
    known = [START]
    for number, part in enumerate(parts):
        known += [MASK] if number else []
        known += _known(tokeniser, part)
    known.append(END)
    if len(known) > positions:
        raise DataError(f"the text has {len(known)} tokens, and the model takes {positions}")
    return known


def filled(network: Network, tokeniser: Tokeniser, known: Sequence[int]) -> str:
    """Return the text of tokens in which every ``<mask>`` is replaced; ``known`` starts with ``<s>`` and fits into the model."""
    with network.isolated_reads(Key(0)):
        logits = _logits(network, known)
    logits[:, [*_NEVER, END]] = -np.inf
    return tokeniser.decode(int(logits[place].argmax()) if one == MASK else one for place, one in enumerate(known[1:], start=1))


def _known(tokeniser: Tokeniser, text: str) -> list[int]:
    """Return the tokens of a text.

    Raises
    ------
    DataError
        If it contains special tokens, or characters that the training text lacks.
    """
    # Training texts have single spaces.
    text = " ".join(text.split())
    if not text:
        return []
    if special := next((token for token in SPECIAL if token in text), None):
        raise DataError(f"the text contains '{special}', which is not a word but a special token of the model: leave it out")
    found = tokeniser.encode([text])[0]
    if UNKNOWN in found:
        missing = next((letter for letter in text if UNKNOWN in tokeniser.encode([letter])[0]), text)
        raise DataError(f"the text contains '{missing}', which does not occur in the training text of the model: leave it out")
    return found


def words_of(network: Network) -> Tokeniser:
    """Return the tokeniser of a network.

    Raises
    ------
    DataError
        If the network was not trained on a text.
    """
    _task(network)
    if network.tokeniser is None:
        raise DataError("the network was not trained on a text, so it has no tokeniser (see fit_text)")
    return network.tokeniser


def _task(network: Network) -> str:
    task = getattr(network.architecture, "task", "")
    if not task:
        raise DataError(f"networks of the architecture '{network.architecture.kind}' do not model text")
    return str(task)


def _logits(network: Network, known: Sequence[int]) -> np.ndarray:
    """Compute the logits at all positions of one text, (positions, vocabulary) float64."""
    ids = np.full((1, network.input_shape[0]), PAD, np.int32)
    ids[0, : len(known)] = known
    return np.array(to_host(network.predict(ids))[0], np.float64)


def _drawn(logits: np.ndarray, key: Key, step: int) -> int:
    at = uniforms(key.fold("generate"), step, (1,), np.float64)[0]
    total = np.cumsum(softmax(logits))
    return int(min(np.searchsorted(total, at * total[-1], side="right"), len(logits) - 1))
