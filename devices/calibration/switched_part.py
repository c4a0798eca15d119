"""Device of a physical model that was fitted to switching sweeps: its steps under assumed pulses."""

from __future__ import annotations

import numpy as np

from analogpc.devices.calibration.parts import Panel, Part, column
from analogpc.devices.calibration.sweep_features import landmarks, sweeps_of
from analogpc.devices.calibration.switching import Switching, fit_switching
from analogpc.devices.calibration.tables import CalibrationError
from analogpc.devices.calibration.understanding import Understood
from analogpc.devices.device import Device
from analogpc.devices.nonidealities import ConductionModel, Ohmic, Sinh
from analogpc.devices.physics import Filament, PhysicalModel, Programming, to_device
from analogpc.devices.provenance import Interval

_LEAST_R2 = 0.9
_PULSES = (32, 16, 8, 4)
_MOST_OFF = 0.05
_UNITS = {
    "k_off": "m/s", "k_on": "m/s", "v_off": "volts", "v_on": "volts", "r_on": "ohm", "r_off": "ohm", "i0": "amperes", "v0": "volts",
    "gap_max": "m", "velocity": "m/s", "thermal_resistance": "K/W",
}  # fmt: skip
_WIDTHS = np.geomspace(1e-12, 1e5, 341)


def switched_part(part: Understood, series: np.ndarray, hysteresis: float) -> Part:
    """Fit physical models to sweeps that switch the device; the best one gives the response to pulses, and the conduction.

    Pulses have 90 % of the largest voltage of the sweep in each polarity, and a width of which up to 32 switch the device.
    """
    volts, amperes = column(part, "volts"), column(part, "current")
    sweeps, assumed = sweeps_of(volts, amperes, part.columns.get("seconds"), series)
    marks = landmarks(sweeps)
    best, runner, *_ = fit_switching(sweeps, marks)
    remarks = [
        f"currents of the way up and the way back differ by {hysteresis:.0%}: the sweep switches the device",
        f"physical model: {best.name}, ahead of {runner.name} by {runner.criterion - best.criterion:.3g} in Schwarz's criterion",
    ]
    loose = [name for name, error in best.errors.items() if error > 0.7]
    if loose:
        remarks.append(f"the sweep does not determine {', '.join(loose)}: other values fit as well")
    failures: tuple[str, ...] = ()
    if best.r_squared < _LEAST_R2:
        failures = (f"the {best.name} model has an R² of {best.r_squared:.2f} in the sweep, at least {_LEAST_R2:g} is required",)
    device, pulses = _device(best, 0.9 * marks.most_on, 0.9 * marks.most_off)
    sign = -1 if best.turned else 1
    assumed.append(
        f"pulses were not measured: the steps are those of the {best.name} model under pulses of {sign * pulses.volts_up:.3g} V, "
        f"{pulses.seconds_up:.3g} s up and {sign * pulses.volts_down:.3g} V, {pulses.seconds_down:.3g} s down, "
        f"{pulses.pulses} for the range"
    )
    fields = {
        "response": device.response,
        "g_min_siemens": device.g_min_siemens,
        "g_max_siemens": device.g_max_siemens,
        "conduction": _conduction(best.model),
    }
    panel = Panel(f"Current in the sweep: {best.name}", "volts", "magnitude of the current (µA)", log_y=True)
    for s, used in enumerate(sweeps.used):
        word = ("measured", best.name) if s == 0 else ("", "")
        # The smallest currents are noise; the fit weighs them little.
        least = 1e-5 * float(np.abs(sweeps.amperes).max())
        for values, shown, label in ((sweeps.amperes, panel.points, word[0]), (best.currents, panel.lines, word[1])):
            shown.append((sweeps.volts[s, used], np.maximum(np.abs(values[s, used]), least) * 1e6, label))
    return Part(
        "iv", fields, tuple(_intervals(best)), panel, tuple(assumed), tuple(remarks), failures,
        window=(1 / marks.high_ohms, 1 / marks.low_ohms),
    )  # fmt: skip


def _intervals(fit: Switching) -> list[Interval]:
    """Return the fitted parameters; the sign of a voltage is that of the model."""
    out = []
    for name, error in fit.errors.items():
        value, factor = float(getattr(fit.model, name)), float(np.exp(1.645 * error))
        low, high = sorted((value / factor, value * factor))
        out.append(
            Interval(name=f"{fit.name.split()[0].lower()} {name}", value=value, low=low, high=high, unit=_UNITS.get(name, ""))
        )
    return out


def _conduction(model: PhysicalModel) -> ConductionModel:
    return Sinh(scale_volts=model.v0) if isinstance(model, Filament) else Ohmic()


def _device(fit: Switching, volts_on: float, volts_off: float) -> tuple[Device, Programming]:
    """Return the device under pulses of these magnitudes; the more abruptly it switches, the fewer of them do so."""
    reason = ""
    for count in _PULSES:
        pulses = _pulses(fit, volts_on, volts_off, count)
        try:
            return to_device(fit.model, pulses, "switched", tolerance=_MOST_OFF), pulses
        except ValueError as error:
            reason = str(error)
    raise CalibrationError(f"the {fit.name} model was fitted, but gives no table of steps: {reason}")


def _pulses(fit: Switching, volts_on: float, volts_off: float, count: int) -> Programming:
    """Return pulses of these magnitudes; ``count`` of them switch the device on, and off."""
    # The model's own polarity: VTEAM lowers the conductance at positive voltages, the filament raises it.
    raising = 1.0 if isinstance(fit.model, Filament) else -1.0
    read = raising * min(0.1, 0.2 * min(volts_on, volts_off))
    ends = fit.model.limits(1.0)
    both = sorted((float(end) for end in ends), key=lambda state: float(fit.model.conductance(state, read)))
    widths = []
    for volts, start, end in ((raising * volts_on, both[0], both[1]), (-raising * volts_off, both[1], both[0])):
        final = fit.model.pulse(np.full(len(_WIDTHS), start), volts, _WIDTHS, tolerance=1e-6)
        moved = np.abs(final - start) > 0.95 * abs(end - start)
        if not moved.any():
            raise CalibrationError(
                f"the {fit.name} model does not switch at {volts:.3g} V: the sweep says too little about switching"
            )
        widths.append(float(_WIDTHS[np.argmax(moved)]) / count)
    return Programming(
        volts_up=raising * volts_on, volts_down=-raising * volts_off, seconds_up=widths[0], seconds_down=widths[1], read_volts=read,
        pulses=count,
    )  # fmt: skip
