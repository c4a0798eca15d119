"""Deterministic pulse trains, and the separation of trains by direction."""

from __future__ import annotations

from typing import Literal

import numpy as np

from analogpc.kernels.words import MAX_LENGTH, SIGN


def _spread_words() -> np.ndarray:
    """Words (BL + 1, levels) in which b of the first BL slots are set, as evenly as possible."""
    words = np.zeros((MAX_LENGTH + 1, MAX_LENGTH + 1), np.uint32)
    for length in range(1, MAX_LENGTH + 1):
        for level in range(length + 1):
            ends = (2 * np.arange(length + 1) * level + length) // (2 * length)
            words[length, level] = sum(1 << slot for slot in np.flatnonzero(np.diff(ends)).tolist())
    return words


_SPREAD = _spread_words()


def deterministic_trains(
    values: np.ndarray, gain: np.ndarray, length: np.ndarray, form: Literal["first", "spread"]
) -> tuple[np.ndarray, np.ndarray]:
    """Return trains with a fixed number of pulses: gain * |value| of all slots, rounded and limited to all slots.

    A line of the form "first" fires in the first a of BL slots; a line of the form "spread" fires in b evenly spaced slots, such
    that floor(k b / BL + 1/2) of them lie among the first k. The two coincide exactly a b / BL times, rounded (halves up): the
    product of the two quantised values, without randomness. This is one implementation of the *deterministic implicit* pulses of
    aihwkit (Rasch et al., arXiv 2104.02184), which counts the rounded product; there lines may have resolutions other than 1 / BL.

    Parameters
    ----------
    values : (n, lines) array
    gain : (n,) float64 array
        Share of the slots per unit of value. This and ``length`` are in main memory, wherever ``values`` are.
    length : (n,) int64 array
        Number of slots BL, 0 to 31.
    form : "first" or "spread"

    Returns
    -------
    words : (n, lines) uint32 array
        Trains, encoded as in `kernels.pulses.trains.trains`.
    clipped : integer array
        Its sum is the number of lines whose requested share exceeded 1.
    """
    gains, lengths = (np.asarray(numbers, like=values)[:, None] for numbers in (gain, length))
    share = np.abs(values).astype(np.float64) * gains
    level = np.rint(np.minimum(share, 1.0) * lengths).astype(np.int64)
    words = ((1 << level) - 1).astype(np.uint32) if form == "first" else np.asarray(_SPREAD, like=values)[lengths, level]
    return np.where(values < 0, words | SIGN, words), (share > 1.0).sum(axis=1)


def by_direction(rows: np.ndarray, columns: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split trains into four passes: two whose coincidences all increase, then two whose coincidences all decrease.

    Parameters
    ----------
    rows, columns : (n, lines) uint32 arrays

    Returns
    -------
    list of (rows, columns)
        Positive with positive lines, negative with negative lines, then positive rows with negative columns, and the reverse.
    """

    def halves(words: np.ndarray) -> list[np.ndarray]:
        down = words >= SIGN
        return [np.where(down, np.uint32(0), words), np.where(down, words, np.uint32(0))]

    (row_up, row_down), (column_up, column_down) = halves(rows), halves(columns)
    return [(row_up, column_up), (row_down, column_down), (row_up, column_down), (row_down, column_up)]
