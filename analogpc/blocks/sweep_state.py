"""Shared state of the blocks of a network during forward and backward sweeps: masks, and the states of value nodes."""

from __future__ import annotations

from typing import Literal

import numpy as np

from analogpc.kernels.softmax import BLOCKED

Extent = Literal["all", "positions", "scores", "targets"]
"""Values of a node that count.

All; those at real positions; scores of real queries for visible keys; those with a target.
"""


class Sweep:
    """Shared state of the blocks of one network during the sweeps of one batch.

    Parameters
    ----------
    real : (n, positions) bool array or None
        True at positions with a token; None for all.
    places : (p,) int32 array or None
        Positions of the outputs, as position + positions * sample; None for all.
    counted : (p,) bool array or None
        True for ``places`` with a target; None for all.
    cut : bool
        Whether value nodes have their own states. Otherwise they are transparent, and a backward sweep is backpropagation.

    Attributes
    ----------
    real, places, counted, cut
        As given.
    states : dict of arrays
        States of the value nodes that have moved, by name; all others equal their predictions.
    predictions : dict of arrays
        Prediction of each value node in the last forward sweep.
    gradients : dict of arrays or None
        Gradient of the energy with respect to the state of each node, from the last backward sweep; None if zero by construction.
    """

    def __init__(
        self,
        real: np.ndarray | None = None,
        places: np.ndarray | None = None,
        counted: np.ndarray | None = None,
        *,
        cut: bool = True,
    ) -> None:
        self.real, self.places, self.counted, self.cut = real, places, counted, cut
        self.states: dict[str, np.ndarray] = {}
        self.predictions: dict[str, np.ndarray] = {}
        self.gradients: dict[str, np.ndarray | None] = {}
        self._blocked: dict[bool, np.ndarray | None] = {}
        self._weights: dict[tuple[Extent, bool], np.ndarray | None] = {}

    def blocked(self, causal: bool, scores: np.ndarray) -> np.ndarray | None:
        """Return the mask added to scores (n, heads, positions, positions) to exclude padding and later positions, or None."""
        if causal not in self._blocked:
            self._blocked[causal] = self._find_blocked(causal, scores)
        return self._blocked[causal]

    def _find_blocked(self, causal: bool, scores: np.ndarray) -> np.ndarray | None:
        kind = scores.dtype.type
        seen = None if self.real is None else self.real[:, None, None, :]
        if causal:
            order = np.arange(scores.shape[-1], like=scores)
            before = (order[None, :] <= order[:, None])[None, None]
            seen = before if seen is None else before & seen
        return None if seen is None else (kind(1) - seen.astype(scores.dtype)) * kind(BLOCKED)

    def weight(self, extent: Extent, causal: bool, values: np.ndarray) -> np.ndarray | None:
        """Return 1 where ``values`` of a node count and 0 elsewhere, with the same number of axes; None if all count."""
        if (extent, causal) not in self._weights:
            self._weights[extent, causal] = self._find_weight(extent, causal, values)
        return self._weights[extent, causal]

    def _find_weight(self, extent: Extent, causal: bool, values: np.ndarray) -> np.ndarray | None:
        if extent == "scores":
            blocked = self.blocked(causal, values)
            if blocked is None:
                return None
            seen = (blocked == 0).astype(values.dtype)
            return seen if self.real is None else seen * self.real[:, None, :, None].astype(values.dtype)
        known = {"all": None, "positions": self.real, "targets": self.counted}[extent]
        return None if known is None else known.astype(values.dtype)[..., None]
