"""Sampling of devices that are compatible with the measurements, from the uncertainty of a fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from analogpc.devices.calibration.families import PiecewiseFamily, family_of
from analogpc.devices.calibration.responses import response_of
from analogpc.devices.calibration.tables import CalibrationError
from analogpc.devices.device import Device
from analogpc.devices.provenance import Interval, StepModel
from analogpc.devices.specification import Specification
from analogpc.kernels.random.streams import Key, normals

_KEPT = ("dw_min_std", "dw_min_dtod", "up_down_dtod", "w_max_dtod", "w_min_dtod", "write_noise_std")


def sample_devices(device: Device | str | Path, count: int, seed: int = 0) -> list[Device]:
    """Draw devices from the uncertainty of a calibration.

    Parameters
    ----------
    device : Device or path
        Device made by ``analogpc calibrate``, which contains the intervals of its numbers.
    count : int
        Number of devices.
    seed : int
        Seed; each device is a function of (seed, its number).

    Returns
    -------
    list of Device
        Devices named ``NAME-1`` and so on. Steps are drawn jointly with their correlations, other numbers independently: logarithms
        are normal if the interval excludes zero; otherwise a magnitude that stays below its upper end in 90 of 100 draws.

    Raises
    ------
    CalibrationError
        If the device has no intervals.

    Examples
    --------
    >>> from analogpc.devices.presets import preset
    >>> sample_devices(preset("reram-sb"), 3)
    Traceback (most recent call last):
        ...
    analogpc.devices.calibration.tables.CalibrationError: the device 'reram-sb' was not calibrated here: it holds no intervals to draw from
    """
    if not isinstance(device, Device):
        from analogpc.devices.presets import preset

        device = preset(str(device))
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
        raise CalibrationError(f"count = {count!r} is not allowed: a positive whole number")
    origin = device.provenance
    if not origin.intervals and not origin.step_model.family:
        raise CalibrationError(f"the device '{device.name}' was not calibrated here: it holds no intervals to draw from")
    return [_drawn(device, f"{device.name}-{k + 1}", Key(seed).fold("sampled device"), k) for k in range(count)]


def _drawn(device: Device, name: str, key: Key, number: int) -> Device:
    origin = device.provenance
    fields: dict[str, Any] = {"name": name}
    if origin.step_model.family and device.response.pulsed:
        fields |= _steps(device, origin.step_model, key, number)
    drawn = device.but(**fields)
    free = [one for one in origin.intervals if one.field]
    xi = normals(key.fold("numbers"), number, max(len(free), 1), np.float64)
    for one, z in zip(free, xi, strict=False):
        value = _value(one, float(z))
        if one.field == "response.write_noise_std" and one.value > 0:
            # Relative to a step, which was drawn as well: the noise is known in siemens.
            value *= getattr(drawn.response, "write_noise_std", 0.0) / one.value
        drawn = _replaced(drawn, one.field.split("."), value)
    return drawn


def _steps(device: Device, model: StepModel, key: Key, number: int) -> dict[str, Any]:
    """Return response and window for parameters drawn with their covariance."""
    count = len(model.parameters)
    lower = np.zeros((count, count))
    for row, values in enumerate(model.covariance):
        lower[row, : row + 1] = values
    whole = lower + np.tril(lower, -1).T
    sizes, directions = np.linalg.eigh(whole)
    xi = normals(key.fold("steps"), number, count, np.float64)
    theta = np.array(model.parameters) + directions @ (np.sqrt(np.maximum(sizes, 0)) * xi)
    nodes = model.family.removeprefix("table of ")
    family = PiecewiseFamily(model.family, int(nodes)) if nodes.isdigit() else family_of(model.family)
    base, unit = model.base_siemens, model.unit_siemens
    found = response_of(family, theta, (model.low_bound, model.high_bound), -base / unit)
    before = device.pulse_response
    response = found.response.but(**{field: getattr(before, field) for field in _KEPT})
    half = unit * (found.high - found.low) / (response.w_max - response.w_min)
    # The noise of a write is known in siemens.
    siemens = before.write_noise_std * before.dw_min * device.siemens_per_state
    response = response.but(write_noise_std=siemens / (half * response.dw_min))
    bottom, top = response.window
    low = base + unit * found.low
    return {
        "response": response,
        "g_min_siemens": max(low + (bottom - response.w_min) * half, 0.0),
        "g_max_siemens": low + (top - response.w_min) * half,
    }


def _value(one: Interval, z: float) -> float:
    if one.low > 0:
        return float(np.exp(np.log(max(one.value, one.low)) + z * np.log(one.high / one.low) / (2 * 1.645)))
    if one.high > 0:
        return abs(z) * one.high / 1.645
    return one.value + z * (one.high - one.low) / (2 * 1.645)


def _replaced(part: Any, path: list[str], value: float) -> Any:
    """Return a specification with the field at the end of ``path`` changed; unchanged if the field does not exist."""
    if not isinstance(part, Specification) or path[0] not in type(part).model_fields:
        return part
    if len(path) == 1:
        return part.but(**{path[0]: value})
    return part.but(**{path[0]: _replaced(getattr(part, path[0]), path[1:], value)})
