"""The command ``calibrate``: fit a device to measurements, and refuse a bad fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analogpc.commands.devices import check_picture
from analogpc.commands.output import Json, Overwrite, print_json, show, spare

if TYPE_CHECKING:
    from analogpc.devices.calibration.assembly import DeviceFit
    from analogpc.devices.calibration.understanding import Reading, Understood


def calibrate(
    data: Annotated[
        list[Path],
        typer.Argument(help="Measurements: .csv, .txt, .xlsx or .mat; several files describe one device.", metavar="DATA..."),
    ],
    out: Annotated[Path | None, typer.Option(help="The device file to write (.toml).")] = None,
    plot: Annotated[Path | None, typer.Option(help="Plot data and fit in this file (.png, .pdf or .svg).")] = None,
    show_only: Annotated[bool, typer.Option("--show", help="Print how the files are interpreted, without fitting.")] = False,
    kind: Annotated[
        str,
        typer.Option(
            help="What was measured: pulses, drift, reads, programming, iv, endurance or step-table (default: from the columns)."
        ),
    ] = "",
    unit: Annotated[str, typer.Option(help="Unit of the readings: S, mS, uS, nS, ohm, kohm, A, uA, nA or normalised.")] = "",
    read_volts: Annotated[float, typer.Option(help="Read voltage of the currents, in volts.", min=0)] = 0.0,
    window: Annotated[
        tuple[float, float],
        typer.Option(help="Conductances, in siemens, of the lowest and the highest reading of normalised data."),
    ] = (0.0, 0.0),
    c2c: Annotated[float | None, typer.Option(help="Set the cycle-to-cycle noise of a step by hand.", min=0)] = None,
    d2d: Annotated[float | None, typer.Option(help="Set the device-to-device spread of the step by hand.", min=0)] = None,
    read_noise: Annotated[float | None, typer.Option(help="Set the white read noise by hand, in siemens.", min=0)] = None,
    name: Annotated[str | None, typer.Option(help="Name of the device (default: the name of the device file).")] = None,
    nodes: Annotated[
        int | None, typer.Option(help="Number of grid points of the step table, odd, from 3 to 257 (default: from the data).")
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Write the device even if its fit is refused, and mark it as such.")
    ] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Fit a device to measurements: pulse series, drift, repeated reads, programming, I-V, endurance, tables of steps."""
    from analogpc.devices.calibration.assembly import RefusedDeviceError, calibrate_files
    from analogpc.devices.calibration.understanding import Reading

    reading = Reading(kind, unit, read_volts, window)
    if show_only:
        _show(data, reading, as_json)
        return
    if out is None:
        raise ValueError(
            "--out is missing: name the device file to write, as in --out mine.toml, or use --show to inspect the data first"
        )
    if out.suffix != ".toml":
        raise ValueError(f"--out {out}: a device file ends in .toml, so that --device can tell it from a preset")
    spare(out, overwrite)
    if plot is not None:
        check_picture(plot, overwrite)
    by_hand = {word: value for word, value in (("c2c", c2c), ("d2d", d2d), ("read_noise", read_noise)) if value is not None}
    try:
        fit = calibrate_files(data, out.stem if name is None else name, nodes, accept, reading, by_hand)
    except RefusedDeviceError as refused:
        if plot is None:
            raise
        _draw(refused.fit, plot)
        raise ValueError(f"{refused}; the picture is in {plot}") from None
    _write(fit, out, plot, as_json)


def _write(fit: DeviceFit, out: Path, plot: Path | None, as_json: bool) -> None:
    from analogpc.files.atomic import replace_file
    from analogpc.report.device_table import fit_table

    files = {"device": str(out)}
    if plot is not None:
        _draw(fit, plot)
        files["plot"] = str(plot)
    replace_file(out, fit.device.to_toml().encode())
    if as_json:
        print_json({"command": "calibrate", **_summary(fit), "files": files})
        return
    show(fit_table(fit))
    for remark in fit.remarks:
        print(f"note: {remark}")
    for assumption in fit.device.provenance.assumptions:
        print(f"assumed: {assumption}")
    where = f"Device: {out}" + (f", figure: {plot}" if plot is not None else "")
    print(f"{where}. Use it as in: analogpc train --device {out}")


def _draw(fit: DeviceFit, plot: Path) -> None:
    from analogpc.report.device_fits import plot_calibration, plot_parts

    if fit.pulses is not None:
        plot_calibration(fit.pulses, plot)
    if fit.parts:
        plot_parts(fit, plot if fit.pulses is None else plot.with_stem(f"{plot.stem}-others"))


def _show(data: list[Path], reading: Reading, as_json: bool) -> None:
    """Print how the files are interpreted."""
    from analogpc.devices.calibration.understanding import understand

    found = [understand(path, reading) for path in data]
    if as_json:
        print_json({"command": "calibrate", "show": [_told(one) for one in found]})
        return
    for one in found:
        print(f"{one.table.name}: {one.kind} ({one.table.form}, {one.table.rows} rows)")
        for name, meaning in one.meaning[:12]:
            print(f"  {name or '(no name)'}: {meaning}")
        if len(one.meaning) > 12:
            print(f"  … and {len(one.meaning) - 12} more")
        for name, values in one.columns.items():
            print(f"  {_range(name, values)}")
        for note in (*one.notes, *one.questions):
            print(f"  {note}")


def _range(name: str, values: Any) -> str:
    """Summarise a column in a few words."""
    units = {
        "conductance": "S",
        "target": "S",
        "result": "S",
        "seconds": "s",
        "volts": "V",
        "current": "A",
        "places": "S",
        "steps": "S",
    }
    if isinstance(values, tuple):
        kinds = list(dict.fromkeys(values))
        shown = ", ".join(kinds[:4]) + (" …" if len(kinds) > 4 else "")
        return f"{name}: {len(kinds)} ({shown})"
    unit = units.get(name, "")
    return f"{name}: {values.size} values from {values.min():.4g} to {values.max():.4g} {unit}".rstrip()


def _told(one: Understood) -> dict[str, Any]:
    numbers = {k: v for k, v in one.columns.items() if not isinstance(v, tuple)}
    return {
        "file": one.table.name,
        "kind": one.kind,
        "form": one.table.form,
        "rows": one.table.rows,
        "columns": dict(one.meaning),
        "ranges": {name: [values.min(), values.max()] for name, values in numbers.items() if values.size},
        "notes": list(one.notes),
        "questions": list(one.questions),
    }


def _summary(fit: DeviceFit) -> dict[str, Any]:
    """Return the fit as plain data, in SI units."""
    provenance = fit.device.provenance
    summary: dict[str, Any] = {
        "device": fit.device.to_dict(),
        "kinds": [one.kind for one in fit.understood],
        "verdict": provenance.verdict,
        "failures": list(fit.failures),
        "warnings": list(fit.remarks),
        "assumptions": list(provenance.assumptions),
        "intervals": [one.to_dict() for one in provenance.intervals],
    }
    if fit.pulses is None:
        return summary
    c = fit.pulses
    return summary | {
        "readings": len(c.data.pulse),
        "devices": list(c.data.device_names),
        "r_squared": c.r_squared,
        "curve_r_squared": c.checks.curve_r_squared,
        "residual_rms_siemens": c.residual_rms,
        "family": c.family,
        "coverage": c.checks.coverage,
        "read_noise_siemens": c.read_noise,
        "read_noise_interval_siemens": c.read_noise_interval,
        "slow_noise_siemens": c.slow_noise,
        "slow_noise_interval_siemens": c.slow_noise_interval,
        "cycle_noise": c.cycle_noise,
        "cycle_noise_interval": c.cycle_noise_interval,
        "node_siemens": c.node_conductance,
        "step_up_siemens": c.step_up,
        "step_up_error_siemens": c.step_up_error,
        "step_down_siemens": c.step_down,
        "step_down_error_siemens": c.step_down_error,
    }
