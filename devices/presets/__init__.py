"""Published devices by name, each with its source.

Contains device specifications only: `training` for pulsed devices, `inference` for programmed ones.
A new preset is an entry in one of the two, with the source of every number.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from analogpc.devices.device import Device
from analogpc.devices.names import unknown
from analogpc.devices.presets.inference import INFERENCE
from analogpc.devices.presets.training import TRAINING
from analogpc.devices.texts import read_text

PRESETS: dict[str, Device] = {device.name: device for device in (*TRAINING, *INFERENCE)}


def presets() -> tuple[str, ...]:
    """Return the names of all presets; `preset` returns the device of a name."""
    return tuple(PRESETS)


def preset(name: str) -> Device:
    """Return the preset of that name, or the device that a TOML file describes.

    Parameters
    ----------
    name : str
        A name of `PRESETS`, or the path of a file that ends in ".toml" (what ``analogpc devices NAME`` prints).

    Raises
    ------
    ValueError
        If there is no such preset; the message lists the names. If a file describes no device; the message names the file.
    """
    if isinstance(name, str) and name.endswith(".toml"):
        text = read_text(name)
        try:
            return _described(text)
        except ValueError as error:
            raise ValueError(f"{name} describes no device: {error}") from None
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(_other_path(name) or unknown("device preset", name, PRESETS, "presets"))
    return PRESETS[name]


@lru_cache(maxsize=16)
def _described(text: str) -> Device:
    """Return the device that a text describes; a sweep asks for the same device in every trial."""
    return Device.from_toml(text)


def _other_path(name: object) -> str:
    """Say what is wrong with the path of a folder or of a file of another type; empty for other names."""
    path = Path(name) if isinstance(name, str) and name and "\0" not in name else None
    if path is None or not os.path.lexists(path):
        return ""
    if path.is_dir():
        return f"{name} is a folder: name a preset, or a device file (.toml)"
    return f"{name} is no device file (.toml): analogpc calibrate makes one from measurements"
