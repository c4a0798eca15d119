"""The command ``devices``: list the presets, or describe one device."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analogpc.commands.output import Json, Overwrite, print_json, spare, terminal

if TYPE_CHECKING:
    from analogpc.devices.device import Device

_COLUMNS = 120
_ROWS_SHOWN = 6
_PICTURES = (".png", ".pdf", ".svg")


def devices(
    name: Annotated[str | None, typer.Argument(help="Name of a preset, or a device file (.toml).")] = None,
    plot: Annotated[Path | None, typer.Option(help="Plot the device in this file (.png, .pdf or .svg).")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the simulated devices.", min=0)] = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """List the device presets, or print all parameters of one and plot it."""
    from dataclasses import asdict

    from analogpc.devices.device_numbers import device_numbers
    from analogpc.devices.presets import PRESETS, preset

    if name is None:
        if plot is not None:
            raise ValueError("--plot needs the name of one device, as in analogpc devices reram-sb --plot reram-sb.png")
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
    text = device.to_toml()
    print(_shortened(text) if sys.stdout.isatty() else text)
    if plot is not None:
        print(f"Figure: {plot}.", file=sys.stderr)


def _shortened(text: str) -> str:
    """Shorten TOML for display: omit the middle of long arrays."""
    kept, depth_lines = [], 0
    for line in text.splitlines():
        depth_lines = depth_lines + 1 if line.startswith("    ") else 0
        if depth_lines <= _ROWS_SHOWN:
            kept.append(line)
        elif depth_lines == _ROWS_SHOWN + 1:
            kept.append("    …")
    return "\n".join(kept)


def _draw(device: Device, plot: Path, seed: int, overwrite: bool) -> None:
    from analogpc.report.devices import plot_device

    check_picture(plot, overwrite)
    plot_device(device, plot, seed)


def check_picture(plot: Path, overwrite: bool) -> None:
    """Refuse an output file that cannot be written, before any computation."""
    if plot.suffix.lower() not in _PICTURES:
        raise ValueError(f"--plot {plot}: the file name must end in one of {', '.join(_PICTURES)}")
    spare(plot, overwrite)


def _print_list(listed: list[Device]) -> None:
    from analogpc.report.device_table import LIST_NOTE, device_list

    console = terminal(width=_COLUMNS)
    console.print(device_list(listed))
    console.print(LIST_NOTE)
