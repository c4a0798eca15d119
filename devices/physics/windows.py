"""Window functions, which slow the state down near the limits; all depend on the fraction x of the way from one limit."""

from __future__ import annotations

from typing import Literal

import numpy as np

WindowName = Literal["none", "joglekar", "biolek", "prodromakis"]


def window(name: WindowName, fraction: np.ndarray, rising: np.ndarray, p: float | np.ndarray) -> np.ndarray:
    """Return the factor, from 0 to 1, by which a window slows the motion of the state.

    Parameters
    ----------
    name : {"none", "joglekar", "biolek", "prodromakis"}
        Joglekar 1 - (2x - 1)^2p and Prodromakis 1 - ((x - 1/2)^2 + 3/4)^p vanish at both limits: a state exactly on a limit never
        leaves it. Biolek, 1 - (x - [falling])^2p, vanishes only at the limit that the state moves to.
    fraction : (...)
        The state x as a fraction, 0 at the lower limit and 1 at the upper one.
    rising : (...), bool
        Whether the state moves towards 1.
    p : float or (...)
        Exponent; the larger, the flatter the window in the middle.

    Returns
    -------
    (...)

    References
    ----------
    Joglekar and Wolf, Eur. J. Phys. 30:661 (2009); Biolek et al., Radioengineering 18:210 (2009); Prodromakis et al., IEEE Trans.
    Electron Devices 58:3099 (2011).
    """
    if name == "joglekar":
        return 1 - np.abs(2 * fraction - 1) ** (2 * p)
    if name == "biolek":
        return 1 - np.where(rising, fraction, 1 - fraction) ** (2 * p)
    if name == "prodromakis":
        return 1 - ((fraction - 0.5) ** 2 + 0.75) ** p
    return np.ones_like(fraction)
