"""The commands about single devices: what there is, what one looks like, and how measured data becomes one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analogpc.commands.output import Json, Overwrite, print_json, show, spare, terminal

if TYPE_CHECKING:
    from analogpc.devices.calibration.fitting import Calibration
    from analogpc.devices.device import Device

_COLUMNS = 120
_PICTURES = (".png", ".pdf", ".svg")


def devices(
    name: Annotated[str | None, typer.Argument(help="A preset's name, or a device file (.toml).")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the device to this file (.png, .pdf or .svg).")] = None,
    seed: Annotated[int, typer.Option(help="Which devices are drawn.", min=0)] = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """List the device presets, or tell everything about one and draw it."""
    from dataclasses import asdict

    from analogpc.devices.presets import PRESETS, preset
    from analogpc.report.device_numbers import device_numbers

    if name is None:
        if plot is not None:
            raise ValueError("--plot draws one device: name it, as in analogpc devices reram-sb --plot reram-sb.png")
        if as_json:
            derived = {device.name: asdict(device_numbers(device)) for device in PRESETS.values()}
            print_json({"command": "devices", "devices": [device.to_dict() for device in PRESETS.values()], "derived": derived})
        else:
            _print_list(list(PRESETS.values()))
        return
    device = preset(name)
    files = {}
    if plot is not None:
        _draw(device, plot, seed, overwrite)
        files["plot"] = str(plot)
    if as_json:
        derived = asdict(device_numbers(device))
        print_json({"command": "devices", "device": device.to_dict(), "derived": derived, "files": files})
        return
    print(device.to_toml())
    if plot is not None:
        print(f"The picture is in {plot}.", file=sys.stderr)


def _draw(device: Device, plot: Path, seed: int, overwrite: bool) -> None:
    from analogpc.report.devices import plot_device

    _check_picture(plot, overwrite)
    plot_device(device, plot, seed)


def _check_picture(plot: Path, overwrite: bool) -> None:
    """Refuse what cannot be drawn to before anything is worked out."""
    if plot.suffix.lower() not in _PICTURES:
        raise ValueError(f"--plot {plot}: the ending says the format, one of {', '.join(_PICTURES)}")
    spare(plot, overwrite)


def _print_list(listed: list[Device]) -> None:
    from analogpc.report.device_table import LIST_NOTE, device_list

    console = terminal(width=_COLUMNS)
    console.print(device_list(listed))
    console.print(LIST_NOTE)


def calibrate(
    data: Annotated[Path, typer.Argument(help="A CSV file: columns pulse, conductance (S) or conductance_us, direction, …")],
    out: Annotated[Path, typer.Option(help="The device file to write (.toml).")],
    plot: Annotated[Path | None, typer.Option(help="Draw data and fit to this file (.png, .pdf or .svg).")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the device; by default that of the device file.")] = None,
    nodes: Annotated[int, typer.Option(help="Places at which the step is tabulated: odd, from 3 to 257.")] = 17,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Fit a device to measured conductance against pulse number."""
    from analogpc.devices.calibration.fitting import calibrate as fit_device
    from analogpc.files.atomic import replace_file

    if out.suffix != ".toml":
        raise ValueError(f"--out {out}: a device file ends in .toml, so that --device can tell it from a preset")
    spare(out, overwrite)
    if plot is not None:
        _check_picture(plot, overwrite)
    fit = fit_device(data, out.stem if name is None else name, nodes)
    files = {"device": str(out)}
    if plot is not None:
        from analogpc.report.device_fits import plot_calibration

        plot_calibration(fit, plot)
        files["plot"] = str(plot)
    replace_file(out, fit.device.to_toml().encode())
    if as_json:
        print_json({"command": "calibrate", **_summary(fit), "files": files})
        return
    from analogpc.report.device_table import fit_table

    show(fit_table(fit))
    for warning in fit.warnings:
        print(f"warning: {warning}")
    where = f"The device is in {out}" + (f", the picture in {plot}" if plot is not None else "")
    print(f"{where}. Use it as in: analogpc train --device {out}")


def _summary(fit: Calibration) -> dict[str, Any]:
    """What was fitted, as plain data; SI units."""
    return {
        "device": fit.device.to_dict(),
        "readings": len(fit.data.pulse),
        "devices": list(fit.data.device_names),
        "r_squared": fit.r_squared,
        "residual_rms_siemens": fit.residual_rms,
        "read_noise_siemens": fit.read_noise,
        "read_noise_relative_error": fit.read_noise_error,
        "cycle_noise": fit.cycle_noise,
        "cycle_noise_relative_error": fit.cycle_noise_error,
        "node_siemens": fit.node_conductance,
        "step_up_siemens": fit.step_up,
        "step_up_error_siemens": fit.step_up_error,
        "step_down_siemens": fit.step_down,
        "step_down_error_siemens": fit.step_down_error,
        "warnings": list(fit.warnings),
    }
