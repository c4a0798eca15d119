"""Conversion of steps at equally spaced nodes to a piecewise response."""

from __future__ import annotations

import numpy as np

from analogpc.devices.responses import PiecewiseStep


def piecewise_from_steps(up: np.ndarray, down: np.ndarray) -> PiecewiseStep:
    """Return the response with states from -1 to 1 that has the given steps.

    Parameters
    ----------
    up, down : (nodes,)
        Changes of state per pulse at equally spaced states, an odd number of them; downward changes are negative. Steps with the
        wrong sign become zero.

    Returns
    -------
    PiecewiseStep
        Response without noise and spread; its factors are 1 at w = 0.

    Raises
    ------
    ValueError
        If the number of nodes is even, or a step in the middle is zero or has the wrong sign.
    """
    if len(up) != len(down) or len(up) % 2 == 0:
        raise ValueError(f"{len(up)} steps up and {len(down)} down are not allowed: give equally many of both, an odd number")
    rise, fall = float(up[len(up) // 2]), -float(down[len(down) // 2])
    for name, size in (("up", rise), ("down", fall)):
        if not size > 0:
            raise ValueError(f"pulses {name} do not move the device {name} in the middle of its range")
    return PiecewiseStep(
        dw_min=(rise + fall) / 2,
        up_down=(rise - fall) / (rise + fall),
        nodes_up=tuple(np.maximum(up / rise, 0.0).tolist()),
        nodes_down=tuple(np.maximum(-down / fall, 0.0).tolist()),
    )
