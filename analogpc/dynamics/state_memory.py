"""The digital memory of states between reads, with a limited number of bits."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from analogpc.devices.specification import Specification
from analogpc.kernels.memory import empty


class StateMemory(Specification):
    """Memory of states as integers with one scale per layer and batch, as in block-floating-point hardware.

    With b bits there are 2**b - 1 levels from -m to +m about zero, where m is the largest stored magnitude in the layer and batch.

    Attributes
    ----------
    bits : int
    holds : "states" or "deviations"
        What is rounded: every state, where m is that of the feed-forward states, beyond which states saturate; or its deviation from the
        feed-forward pass, in addition to states of the floating type. A state that moves by less than half a level does not move;
        deviations have their own level size.
    """

    bits: Annotated[int, Field(ge=2, le=24)]
    holds: Literal["states", "deviations"] = "states"

    def held(self, start: np.ndarray, deviation: np.ndarray) -> np.ndarray:
        """Return the stored deviation from the feed-forward states ``start``; both of one shape and type."""
        if self.holds == "deviations":
            return self._rounded(deviation, deviation)
        first = self._rounded(start, start)
        return self._rounded(start + deviation, start) - first

    def _rounded(self, values: np.ndarray, measure: np.ndarray) -> np.ndarray:
        """Round to the levels set by the largest magnitude of ``measure``."""
        most = 2 ** (self.bits - 1) - 1
        if values.size == 0:
            return values
        # A 0-d array, so that the GPU is not synchronised; the smallest normal number avoids a division by zero.
        step = np.maximum(np.abs(measure).max() / most, np.finfo(values.dtype).tiny).astype(values.dtype)
        codes = np.clip(np.rint(values / step), -most, most, out=empty(values.shape, values.dtype, values))
        return codes * step
