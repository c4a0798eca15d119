"""States of networks from elsewhere: their structure, and their validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analogpc.devices.matrix import Matrix
from analogpc.devices.state import Shaped, StateError, Varying, fitted


def fitted_state(
    state: dict[str, Any],
    matrices: Mapping[str, Matrix],
    buffers: Mapping[str, np.ndarray],
    outputs: Sequence[tuple[int, ...]],
    dtype: np.dtype,
) -> dict[str, Any]:
    """Return a state with all its arrays read, rejecting it unless it matches a network.

    Parameters
    ----------
    state : dict
        See `Network.held`; arrays may be lazy (see `state.fitted`).
    matrices, buffers : dict by name
        Those of the network; only their templates and shapes count.
    outputs : sequence of tuple of int
        Output shape of every layer, which carried states have.
    dtype : numpy.dtype
        Type of the states.

    Raises
    ------
    StateError
        If it is not a state of such a network; the message names the entry.
    """

    def carried(given: dict[str, Any]) -> dict[str, Any]:
        samples = {array.shape[0] for array in given.values() if getattr(array, "ndim", 0)}
        if len(samples) != 1:
            raise StateError("the carried states have different numbers of samples")
        return {str(number): Shaped((min(samples), *shape), (dtype.name,)) for number, shape in enumerate(outputs)}

    template: dict[str, Any] = {name: matrix.template() for name, matrix in matrices.items()}
    template |= {name: {"values": array} for name, array in buffers.items()}
    if isinstance(state, dict) and "carried" in state:
        template["carried"] = Varying(carried)
    return fitted(state, template)
