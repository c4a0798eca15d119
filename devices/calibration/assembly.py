"""Combination of several measurements to one device, with assumptions for what was not measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analogpc.devices.calibration.current_voltage import iv_part
from analogpc.devices.calibration.endurance import endurance_part
from analogpc.devices.calibration.fitting import Calibration, calibration_of, source_of
from analogpc.devices.calibration.parts import Part
from analogpc.devices.calibration.programming import programming_part
from analogpc.devices.calibration.reads import reads_part
from analogpc.devices.calibration.retention import drift_part
from analogpc.devices.calibration.step_tables import step_table_part
from analogpc.devices.calibration.tables import CalibrationError
from analogpc.devices.calibration.understanding import Reading, Understood, understand
from analogpc.devices.device import Device
from analogpc.devices.nonidealities import ConstantNoise
from analogpc.devices.provenance import Curve, Provenance, StepModel
from analogpc.devices.responses import Programmable

_FITS: dict[str, Callable[[Understood], Part]] = {
    "drift": drift_part,
    "reads": reads_part,
    "programming": programming_part,
    "iv": iv_part,
    "endurance": endurance_part,
}
_UNMEASURED = {
    "response": "pulses were not measured: the device is programmed, not pulsed",
    "read_noise": "read noise was not measured: reads are exact",
    "programming": "programming errors were not measured: programming is exact, up to the response's own noise",
    "drift": "drift was not measured: conductances are constant",
    "conduction": "the current-voltage curve was not measured: Ohm's law holds",
    "faults": "faults were not measured: every device works",
    "thermal": "the temperature dependence was not measured: there is none",
}


class RefusedDeviceError(CalibrationError):
    """A measurement failed its checks; ``fit`` holds the rejected fit."""

    def __init__(self, fit: DeviceFit) -> None:
        self.fit = fit
        super().__init__(f"the fit is refused: {'; '.join(fit.failures)} (--accept writes the device nevertheless)")


@dataclass(frozen=True)
class DeviceFit:
    """A device fitted to measurements.

    Attributes
    ----------
    device : Device
    understood : tuple of Understood
        Interpretation of each file.
    pulses : Calibration or None
        Fit of the pulse series.
    parts : tuple of Part
        Results of the other measurements.
    failures, remarks : tuple of str
        Reasons why the fit cannot be trusted, and caveats.
    """

    device: Device
    understood: tuple[Understood, ...]
    pulses: Calibration | None
    parts: tuple[Part, ...]
    failures: tuple[str, ...]
    remarks: tuple[str, ...]


def calibrate_files(
    sources: Sequence[Any],
    name: str = "calibrated",
    nodes: int | None = None,
    accept: bool = False,
    reading: Reading | None = None,
    by_hand: dict[str, float] | None = None,
) -> DeviceFit:
    """Fit one device to one or several measurements.

    Parameters
    ----------
    sources : sequence of path, or mapping of column name to sequence
        Files of any kind; see `understanding.KINDS`. Several files of pulses form one measurement, and so do two tables of steps.
    name : str
        Name of the device.
    nodes : int, optional
        Number of nodes, as in `fitting.calibrate`.
    accept : bool
        Return a fit that fails its checks, marked as such, instead of raising.
    reading : Reading, optional
        Interpretation of data that do not give it. Its unit and voltage apply to every file that gives none.
    by_hand : dict, optional
        Values to use instead of fitted ones: "c2c" (of a step), "d2d" (of a step), "read_noise" (siemens).

    Raises
    ------
    RefusedDeviceError
        If a fit fails its checks.
    CalibrationError
        If a file cannot be used, or two files measure the same quantity.
    """
    understood = tuple(_understood(source, reading) for source in sources)
    if not understood:
        raise CalibrationError("there is no measurement: name a file")
    pulses = [one for one in understood if one.kind == "pulses"]
    tables = [one for one in understood if one.kind == "step-table"]
    if pulses and tables:
        raise CalibrationError(
            "pulse series and tables of steps both describe the response to pulses: calibrate from one of them"
        )
    calibration = calibration_of(pulses, name, nodes, True) if pulses else None
    parts = [step_table_part(tables)] if tables else []
    for one in understood:
        if one.kind in _FITS:
            if any(part.kind == one.kind for part in parts):
                raise CalibrationError(f"two files measure the kind '{one.kind}': put them into one, with a column 'device'")
            parts.append(_FITS[one.kind](one))
    failures = (*(calibration.checks.failures if calibration else ()), *(f for part in parts for f in part.failures))
    device = _device(name, understood, calibration, tuple(parts), failures, by_hand or {})
    fit = DeviceFit(device, understood, calibration, tuple(parts), failures, device.provenance.remarks)
    if failures and not accept:
        raise RefusedDeviceError(fit)
    return fit


def _understood(source: Any, reading: Reading | None) -> Understood:
    try:
        return understand(source, reading)
    except CalibrationError as error:
        where = Path(source).name if isinstance(source, (str, Path)) else ""
        raise CalibrationError(str(error) if not where or where in str(error) else f"{where}: {error}") from None


def _device(
    name: str,
    understood: tuple[Understood, ...],
    calibration: Calibration | None,
    parts: tuple[Part, ...],
    failures: tuple[str, ...],
    by_hand: dict[str, float],
) -> Device:
    fields: dict[str, Any] = {}
    before = calibration.device.provenance if calibration else Provenance()
    intervals, assumptions, remarks = list(before.intervals), list(before.assumptions), list(before.remarks)
    step_model, measured = (before.step_model, before.measured) if calibration else (StepModel(), Curve())
    if calibration:
        for field in ("response", "g_min_siemens", "g_max_siemens", "read_noise"):
            fields[field] = getattr(calibration.device, field)
    for part in parts:
        if part.kind == "reads" and calibration and fields.get("read_noise") is not None:
            remarks.append("the white read noise is that of the repeated reads, not of the pulse series")
            intervals = [one for one in intervals if one.field != "read_noise.std_siemens"]
            assumptions = [one for one in assumptions if not one.startswith("white read noise, seen once")]
        if part.kind == "iv" and "response" in part.fields and "response" in fields:
            fields["conduction"] = part.fields["conduction"]
            remarks.append(
                "the steps are those of the measured pulses; the physical model of the sweep gives the conduction only"
            )
            remarks += part.remarks
            continue
        fields |= part.fields
        intervals += part.intervals
        assumptions += part.assumptions
        remarks += part.remarks
    if "response" not in fields:
        windows = [part.window for part in parts if part.window[1] > 0]
        if not windows:
            raise CalibrationError(
                "these measurements hold no conductance: add one with conductances, such as programming or pulses"
            )
        low, high = min(w[0] for w in windows), max(w[1] for w in windows)
        low = 0.0 if low > 0.98 * high else low
        fields |= {"response": Programmable(), "g_min_siemens": low, "g_max_siemens": high}
        remarks.append(f"the window is what was measured, {low * 1e6:.4g} to {high * 1e6:.4g} µS")
        assumptions.append(_UNMEASURED["response"])
    assumptions += [said for field, said in _UNMEASURED.items() if field not in fields]
    fields, said = _by_hand(fields, by_hand)
    verdict = "passed" if not failures else "accepted although " + "; ".join(failures)
    questions = [question for one in understood for question in one.questions if question not in remarks]
    provenance = Provenance(
        sources=tuple(source_of(one, calibration.data if calibration and one.kind == "pulses" else None) for one in understood),
        intervals=tuple(intervals),
        assumptions=tuple(assumptions),
        remarks=(*questions, *remarks, *said),
        verdict=verdict,
        step_model=step_model,
        measured=measured,
    )
    files = [one.table.name for one in understood if one.table.name]
    source = calibration.device.source if calibration and len(understood) == 1 else f"fitted to {' and '.join(files) or 'data'}"
    return Device(name=name, source=source, provenance=provenance, **fields)


def _by_hand(fields: dict[str, Any], values: dict[str, float]) -> tuple[dict[str, Any], list[str]]:
    """Replace values set by hand, and return a note on each."""
    said = []
    for name, value in values.items():
        response = fields["response"]
        if name in ("c2c", "d2d"):
            if not hasattr(response, "dw_min_std"):
                raise CalibrationError(f"--{name} needs a device that responds to pulses")
            fields["response"] = response.but(**{"dw_min_std" if name == "c2c" else "dw_min_dtod": value})
        elif name == "read_noise":
            fields["read_noise"] = ConstantNoise(std_siemens=value)
        said.append(f"{name} = {value:g} was set by hand")
    return fields, said
