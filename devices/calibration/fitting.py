"""Calibration: fit of a device to measured conductance against pulse number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analogpc.devices.calibration.checks import Checks, check
from analogpc.devices.calibration.measurements import CalibrationError, PulseData, pulse_data
from analogpc.devices.calibration.pulse_device import pulse_part
from analogpc.devices.calibration.pulse_fit import PulseFit, fit_pulses
from analogpc.devices.calibration.state_space import EXTRA
from analogpc.devices.calibration.understanding import Reading, Understood, understand
from analogpc.devices.device import Device
from analogpc.devices.provenance import Curve, Provenance, Source

__all__ = ["Calibration", "CalibrationError", "RefusedFitError", "calibrate"]

_KEPT = 2000
_FINEST = 257


class RefusedFitError(CalibrationError):
    """A fit failed its checks; ``calibration`` holds the rejected fit."""

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration
        super().__init__(
            f"the fit is refused: {'; '.join(calibration.checks.failures)} (--accept writes the device nevertheless)"
        )


@dataclass(frozen=True)
class Calibration:
    """A device fitted to pulse series, and the quality of the fit.

    Attributes
    ----------
    device : Device
        Device with the response of the selected family; the states -1 and 1 represent the low and high end of the measured range.
    data : PulseData
        Fitted data.
    pulse_fit : PulseFit
        Fitted model, in scaled units.
    checks : Checks
        Checks of the fit.
    fitted : (n,), siemens
        Noise-free curve of the fit through the measured pulses, each series from its own estimated start.
    band : (n,), siemens
        Standard deviation of a reading about it: accumulated cycle-to-cycle noise, and read noise.
    node_conductance : (nodes,), siemens
        Places over the measured range at which the steps are tabulated for reports.
    step_up, step_down : (nodes,), siemens
        Fitted changes per pulse there; downward changes are negative.
    step_up_error, step_down_error : (nodes,), siemens
        Standard errors of the steps.
    device_scales : (devices, 2)
        Steps up and down of each device relative to the common ones.
    read_noise, slow_noise : float
        Standard deviations of the white and of the slow part of the read noise, in siemens.
    cycle_noise : float
        Standard deviation of a step relative to its mean.
    read_noise_interval, slow_noise_interval, cycle_noise_interval : (low, high)
        90 % intervals of these noises.
    residual_rms : float
        Root mean square of data minus ``fitted``, in siemens.
    r_squared : float
        1 - residual variance / variance of the data.
    warnings : tuple of str
        Caveats about the fit, one sentence each.
    """

    device: Device
    data: PulseData
    pulse_fit: PulseFit
    checks: Checks
    fitted: np.ndarray
    band: np.ndarray
    node_conductance: np.ndarray
    step_up: np.ndarray
    step_down: np.ndarray
    step_up_error: np.ndarray
    step_down_error: np.ndarray
    device_scales: np.ndarray
    read_noise: float
    slow_noise: float
    cycle_noise: float
    read_noise_interval: tuple[float, float]
    slow_noise_interval: tuple[float, float]
    cycle_noise_interval: tuple[float, float]
    residual_rms: float
    r_squared: float
    warnings: tuple[str, ...]

    @property
    def family(self) -> str:
        """Selected family of steps."""
        return self.pulse_fit.fit.label


def calibrate(
    source: str | Path | Mapping[str, Any],
    name: str = "calibrated",
    nodes: int | None = None,
    accept: bool = False,
    reading: Reading | None = None,
) -> Calibration:
    """Fit a device to measured conductance against pulse number.

    Parameters
    ----------
    source : path, or mapping of column name to sequence
        See `measurements.read_pulse_data`.
    name : str
        Name of the device.
    nodes : int, optional
        Number of nodes of a table, odd, from 3 to 257; by default the family, or the number of nodes, is selected by the data.
    accept : bool
        Return a fit that fails its checks, marked as such, instead of raising.
    reading : Reading, optional
        Interpretation of data that do not give it: unit, read voltage.

    Returns
    -------
    Calibration

    Raises
    ------
    RefusedFitError
        If the fit fails its checks.
    CalibrationError
        If the data cannot be used, in one sentence: columns are missing or wrong, values are not finite, pulses are too few in a
        direction, or the conductance does not follow them.

    Examples
    --------
    >>> pulse = np.arange(121)
    >>> down = pulse > 60
    >>> rise = 1 - np.exp(-np.minimum(pulse, 60) / 30)
    >>> siemens = 1e-6 * (1 + rise * np.exp(-np.maximum(pulse - 60, 0) / 30))
    >>> fit = calibrate({"pulse": pulse, "conductance": siemens, "direction": np.where(down, -1, 1)})
    >>> bool(fit.r_squared > 0.999)
    True
    """
    found = understand(source, reading)
    if found.kind != "pulses":
        raise CalibrationError(f"no pulses can be recognised: the data look like the kind '{found.kind}'")
    return calibration_of([found], name, nodes, accept)


def _checked_nodes(nodes: int | None) -> int | None:
    if nodes is None:
        return None
    if isinstance(nodes, bool) or not isinstance(nodes, (int, np.integer)) or not 3 <= nodes <= _FINEST or nodes % 2 == 0:
        raise CalibrationError(f"nodes = {nodes!r} is not allowed: an odd whole number from 3 to {_FINEST}")
    return int(nodes)


def source_of(part: Understood, data: PulseData | None = None) -> Source:
    """Return the source entry of a measurement."""
    rows = max((len(values) for values in part.columns.values()), default=0)
    return Source(
        kind=part.kind,
        file=part.table.name,
        sha256=part.table.sha256,
        readings=rows,
        devices=len(data.device_names) if data is not None else len(set(part.columns.get("device", ("0",)))),
        cycles=int(data.series.max()) + 1 if data is not None else 0,
        understood="; ".join((part.table.form, *part.notes)),
    )


def calibration_of(parts: Sequence[Understood], name: str, nodes: int | None, accept: bool) -> Calibration:
    """Fit a device to pulse series in one or several tables."""
    nodes = _checked_nodes(nodes)
    data = pulse_data(parts)
    sources = tuple(source_of(part, data if len(parts) == 1 else None) for part in parts)
    fitted = fit_pulses(data, nodes)
    checks, part = check(fitted), pulse_part(fitted)
    verdict = "passed" if not checks.failures else "accepted although " + "; ".join(checks.failures)
    remarks = (*_remarks(data, fitted), *part.remarks, *checks.remarks)
    provenance = Provenance(
        sources=sources,
        intervals=part.intervals,
        assumptions=part.assumptions,
        remarks=remarks,
        verdict=verdict,
        step_model=part.step_model,
        measured=_kept(data),
    )
    origin = " and ".join(one.file for one in sources if one.file)
    device = Device(
        name=name,
        source=f"fitted to {len(data.pulse)} readings of {len(data.device_names)} device(s){' in ' + origin if origin else ''}",
        provenance=provenance,
        **part.fields,
    )
    result = _result(device, data, fitted, checks, remarks)
    if checks.failures and not accept:
        raise RefusedFitError(result)
    return result


def _result(device: Device, data: PulseData, fitted: PulseFit, checks: Checks, remarks: tuple[str, ...]) -> Calibration:
    """Convert the results to siemens."""
    unit, base, fit = fitted.unit, fitted.base, fitted.fit
    places = np.linspace(0, 1, len(getattr(device.response, "nodes_up", range(17))))
    up, down, up_error, down_error = (unit * one for one in fitted.steps_at(places))
    mean = base + unit * fitted.mean
    cycle, white, slow = fitted.noises
    return Calibration(
        device=device,
        data=data,
        pulse_fit=fitted,
        checks=checks,
        fitted=mean,
        band=unit * fitted.band,
        node_conductance=base + unit * places,
        step_up=up,
        step_down=-down,
        step_up_error=up_error,
        step_down_error=down_error,
        device_scales=np.exp(fit.own[:, :2]),
        read_noise=unit * fit.noise[1] if fit.free[-EXTRA + 1] else 0.0,
        slow_noise=unit * fit.noise[2],
        cycle_noise=cycle[0],
        read_noise_interval=(unit * white[1], unit * white[2]),
        slow_noise_interval=(unit * slow[1], unit * slow[2]),
        cycle_noise_interval=cycle[1:],
        residual_rms=float(np.sqrt(np.mean((data.conductance - mean) ** 2))),
        r_squared=checks.r_squared,
        warnings=remarks,
    )


def _remarks(data: PulseData, fitted: PulseFit) -> list[str]:
    """Return remarks on what the data do not determine."""
    said = list(data.notes)
    if data.directions_inferred:
        said.append("directions were inferred from the trend; a column 'direction' is safer near turning points")
    best, *others = fitted.ranking
    other = next((one for one in others if one.fit.label != best.fit.label), None)
    if other is not None:
        lead = other.criterion - best.criterion
        said.append(f"steps: {fitted.fit.label}, ahead of {other.fit.label} by {lead:.3g} in Schwarz's criterion")
    if (fitted.data.pulses > 1).any():
        said.append("readings skip pulses; the cycle-to-cycle noise rests on their sums")
    value, low, high = fitted.noises[0]
    if low == 0 and high > 0.1:
        said.append(
            f"the cycle-to-cycle noise is {value:.2g} of a step, but anything up to {high:.2g} fits as well: "
            f"some {_more_cycles(data, value, high):,} times as many cycles would distinguish them"
        )
    return said


def _more_cycles(data: PulseData, value: float, high: float) -> int:
    """Factor on the amount of data for which the interval of σ_c² (which shrinks with its root) would be a third of its width."""
    wanted = max(0.6 * value**2, 0.01)
    return max(2, int(np.ceil((high**2 / 2 / wanted) ** 2)))


def _kept(data: PulseData) -> Curve:
    """Return the first series of the first device, up to `_KEPT` readings, for plots."""
    own = np.flatnonzero(data.device == 0)[:_KEPT]
    begins = np.flatnonzero(np.diff(data.series[own], prepend=-1) != 0)
    pulses = np.zeros(len(own), np.int64)
    for first, last in zip(begins, [*begins[1:], len(own)], strict=True):
        pulses[first:last] = data.pulse[own[first:last]] - data.pulse[own[first]]
    return Curve(
        pulses=tuple(pulses.tolist()),
        upward=tuple((data.direction[own] > 0).tolist()),
        siemens=tuple(float(f"{g:.6g}") for g in data.conductance[own]),
        begins=tuple(begins.tolist()),
    )
