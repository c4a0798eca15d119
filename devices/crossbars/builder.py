"""Creation of matrices from the specification of a substrate."""

from __future__ import annotations

import numpy as np

from analogpc.devices.crossbars.crossbar_matrix import CrossbarMatrix
from analogpc.devices.digital_matrix import DigitalMatrix
from analogpc.devices.matrix import Matrix
from analogpc.devices.substrate import Analog, Digital
from analogpc.kernels.random.streams import Key


def make_matrix(substrate: Digital | Analog, weights: np.ndarray, key: Key) -> Matrix:
    """Create a matrix on a substrate.

    Parameters
    ----------
    substrate : Digital or Analog
    weights : (n_out, n_in) array, float32 or float64
        Initial weights: copied, or programmed as precisely as the devices allow.
    key : Key
        Random stream of the devices and converters.

    Examples
    --------
    >>> make_matrix(Digital(), np.eye(3), Key(0)).forward(np.ones((1, 3)))
    array([[1., 1., 1.]])
    """
    return DigitalMatrix(weights) if isinstance(substrate, Digital) else CrossbarMatrix(weights, substrate, key)


def blank_matrix(substrate: Digital | Analog, shape: tuple[int, int], dtype: np.dtype) -> Matrix:
    """Create a matrix (n_out, n_in) without state, to be restored from a snapshot; see `Stateful.blank`."""
    if isinstance(substrate, Digital):
        return DigitalMatrix.blank({"shape": shape, "dtype": dtype})
    return CrossbarMatrix.blank({"substrate": substrate, "shape": shape, "dtype": dtype})
