"""What the blocks of a network share while it is swept, forward and back: which positions are real, and the states of value nodes."""

from __future__ import annotations

from typing import Literal

import numpy as np

from analogpc.kernels.softmax import BLOCKED

Extent = Literal["all", "positions", "scores", "targets"]
"""Which values of a node count.

All; those of real positions; scores of real queries for keys that they may see; those that have a target.
"""


class Sweep:
    """The common knowledge of the blocks of one network while one batch is swept.

    Parameters
    ----------
    real : (n, positions) bool array or None
        Which positions hold a token; None for all.
    places : (p,) int32 array or None
        Where outputs are wanted, as position + positions * sample; None for everywhere.
    counted : (p,) bool array or None
        Which of ``places`` have a target; None for all.
    cut : bool
        Whether value nodes hold states of their own. Otherwise they hand on what they get, and a sweep back is backpropagation.

    Attributes
    ----------
    real, places, counted, cut
        As given.
    states : dict of arrays
        Of the value nodes that have moved, by name; all others follow their predictions.
    predictions : dict of arrays
        What each value node got at the latest sweep forward.
    gradients : dict of arrays or None
        Of the energy with respect to the state of each node, from the latest sweep back; None where zero by construction.
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
        """What is added to scores (n, heads, positions, positions) so that attention ignores padding and later positions, or None."""
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
        """1 where ``values`` of a node count and 0 elsewhere, with as many axes as these; None if all count."""
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
