"""Published devices by name, each with its source.

Contains device specifications only: `training` for pulsed devices, `inference` for programmed ones.
A new preset is an entry in one of the two, with the source of every number.
"""

from __future__ import annotations

from functools import lru_cache

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
        If there is no such preset; the message lists the names.
    """
    if isinstance(name, str) and name.endswith(".toml"):
        return _described(read_text(name))
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(unknown("device preset", name, PRESETS, "presets"))
    return PRESETS[name]


@lru_cache(maxsize=16)
def _described(text: str) -> Device:
    """Return the device that a text describes; a sweep asks for the same device in every trial."""
    return Device.from_toml(text)
