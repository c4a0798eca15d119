"""The digital memory in which a chip holds the states between its reads, of so many bits."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from analogpc.devices.specification import Specification
from analogpc.kernels.memory import empty


class StateMemory(Specification):
    """How finely states are held: as integers, with one scale for every layer and batch, as hardware with block floating point does.

    With b bits there are 2**b - 1 levels from -m to +m about zero, m being the largest magnitude in the layer and batch of what is held.

    Attributes
    ----------
    bits : int
    holds : "states" or "deviations"
        What is rounded: every state, m being that of the feed-forward states, beyond which states saturate; or how far it has moved
        since the feed-forward pass, beside states of the floating type. A state that moves by less than half a level does not move;
        deviations have levels of their own size.
    """

    bits: Annotated[int, Field(ge=2, le=24)]
    holds: Literal["states", "deviations"] = "states"

    def held(self, start: np.ndarray, deviation: np.ndarray) -> np.ndarray:
        """What remains of a deviation from the feed-forward states ``start``; both of one shape and type."""
        if self.holds == "deviations":
            return self._rounded(deviation, deviation)
        first = self._rounded(start, start)
        return self._rounded(start + deviation, start) - first

    def _rounded(self, values: np.ndarray, measure: np.ndarray) -> np.ndarray:
        """On the levels that the largest magnitude of ``measure`` sets."""
        most = 2 ** (self.bits - 1) - 1
        if values.size == 0:
            return values
        # A 0-d array, so that the GPU need not be synchronised; the smallest normal number avoids a division by zero.
        step = np.maximum(np.abs(measure).max() / most, np.finfo(values.dtype).tiny).astype(values.dtype)
        codes = np.clip(np.rint(values / step), -most, most, out=empty(values.shape, values.dtype, values))
        return codes * step
