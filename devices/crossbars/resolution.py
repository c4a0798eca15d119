"""Checks that devices, steps and scales are resolved by a floating-point type, since changes below its resolution are lost silently."""

from __future__ import annotations

import numpy as np

from analogpc.devices.device import Device

FEWEST_STATES = 1000
"""Smallest number of distinct conductances in the window that a type must resolve."""


class ResolutionError(ValueError):
    """A floating-point type has too little precision or range for the devices or weights."""


def refuse_unresolved(device: Device, scales: np.ndarray, dtype: np.dtype) -> None:
    """Reject devices and scales that a type cannot represent.

    Parameters
    ----------
    device : Device
    scales : array
        Logical weight per unit of state difference.
    dtype : numpy.dtype
        Type of the matrix.

    Raises
    ------
    ResolutionError
        If the conductance window, a pulse or a scale is lost in rounding.
    """
    info = np.finfo(dtype)
    wider = "; use float64" if dtype == np.float32 else ""
    low, high = device.g_min_siemens, device.g_max_siemens
    if (high - low) < FEWEST_STATES * float(info.eps) * high:
        raise ResolutionError(
            f"the window of the device '{device.name}' from {low:.10g} to {high:.10g} S holds fewer than {FEWEST_STATES} numbers of {dtype}"
            + wider
        )
    response = device.response
    if response.pulsed and response.mean_step < float(info.eps) * response.reach:
        raise ResolutionError(
            f"a pulse of the device '{device.name}' changes its state by dw_min = {response.mean_step:g}, which is lost in {dtype} next to "
            f"states up to {response.reach:g}{wider}"
        )
    largest, smallest = float(scales.max()), float(scales.min())
    if not largest <= float(info.max) or smallest < float(info.tiny):
        raise ResolutionError(
            f"weights that need scales from {smallest:.3g} to {largest:.3g} per unit of state go beyond the normal numbers of "
            f"{dtype}; scale them first{wider.replace(';', ' or')}"
        )
