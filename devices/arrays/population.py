"""Populations of devices: their individual parameters and faults."""

from __future__ import annotations

import numpy as np

from analogpc.devices.device import Device
from analogpc.kernels.random.streams import Key


def population(
    device: Device, shape: tuple[int, int], key: Key, dtype: np.dtype, tile: tuple[int, int] | None = None
) -> dict[str, np.ndarray]:
    """Draw the parameters that vary from device to device in a grid, faults included: (rows, columns) arrays by name.

    Parameters
    ----------
    device : Device
    shape : (rows, columns)
    key : Key
        Random stream of the devices.
    dtype : numpy.dtype
    tile : (rows, columns)
        Numbers of lines of a physical array, for faults of whole lines; by default the whole grid.
    """
    parameters = device.response.sample(key.fold("devices"), shape, dtype)
    if device.faults.active:
        faults = device.faults.sample(key.fold("faults"), shape, *(tile or shape), dtype)
        low_g, high_g = device.nominal_siemens
        level = device.state(low_g + faults["level"].astype(np.float64) * (high_g - low_g))
        level = np.clip(level, *device.response.window).astype(dtype)
        # A device with equal bounds can never move.
        for bound in ("low", "high"):
            parameters[bound] = np.where(faults["stuck"], level, parameters[bound])
        parameters["open"] = faults["open"]
    if device.endurance.active:
        lives = device.endurance.sample(key.fold("endurance"), shape)
        ends = np.clip(device.state(np.array(device.nominal_siemens)), *device.response.window).astype(dtype)
        # Wear moves the bounds of a device, so they need arrays of their own.
        parameters |= {bound: np.array(np.broadcast_to(parameters[bound], shape)) for bound in ("low", "high")}
        parameters["pulses_left"] = lives["life"]
        parameters["worn_state"] = np.where(lives["high"], ends[1], ends[0])
    return parameters


def faulty(parameters: dict[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Return which devices of a `population` cannot be moved or carry no current, (rows, columns) bool."""
    if "low" not in parameters:
        return np.zeros(shape, bool)  # Devices without limits can always move.
    stuck = parameters["low"] == parameters["high"]
    return stuck | parameters["open"] if "open" in parameters else stuck


def working_lines(
    bad: np.ndarray, shape: tuple[int, int], tile: tuple[int, int], spare: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return which crosspoints of a grid with spare lines represent those of a logical matrix, array by array.

    Every physical array leaves out the rows with most bad devices, as many as there are spare rows, then the columns with most bad
    devices in the remaining rows. The order of the others is kept; for equal counts the last ones are left out.

    Parameters
    ----------
    bad : (rows, columns) array
        Numbers of bad devices at the crosspoints of the physical grid, in which every array has its spare lines after the others.
    shape : (rows, columns)
        Shape of the logical matrix.
    tile, spare : (rows, columns)
        Numbers of used lines and spare lines of an array.

    Returns
    -------
    rows, columns : int arrays of ``shape``
        Physical positions.
    """
    rows, columns = np.empty(shape, np.intp), np.empty(shape, np.intp)
    for k, top in enumerate(range(0, shape[0], tile[0])):
        for n, left in enumerate(range(0, shape[1], tile[1])):
            used = min(tile[0], shape[0] - top), min(tile[1], shape[1] - left)
            first = top + k * spare[0], left + n * spare[1]
            block = bad[first[0] : first[0] + used[0] + spare[0], first[1] : first[1] + used[1] + spare[1]]
            kept_rows = np.sort(np.argsort(block.sum(axis=1), kind="stable")[: used[0]])
            kept_columns = np.sort(np.argsort(block[kept_rows].sum(axis=0), kind="stable")[: used[1]])
            place = slice(top, top + used[0]), slice(left, left + used[1])
            rows[place] = first[0] + kept_rows[:, None]
            columns[place] = first[1] + kept_columns[None, :]
    return rows, columns
