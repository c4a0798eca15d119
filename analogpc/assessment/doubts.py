"""Doubts about the description of a device, which its assessment inherits."""

from __future__ import annotations

from analogpc.devices.device import Device
from analogpc.devices.names import in_unit

PLAUSIBLE_SIEMENS = (1e-12, 1e-2)
"""Conductances of devices; others are probably in another unit."""


def doubts(device: Device) -> list[str]:
    """Return sentences about implausible conductances, a fit that was refused, and properties that were not measured.

    Parameters
    ----------
    device : Device

    Examples
    --------
    >>> import analogpc as apc
    >>> mine = apc.preset("reram-sb").but(g_min_siemens=2.0, g_max_siemens=80.0)
    >>> doubts(mine)[0]
    "The conductances of 'reram-sb', 2 S to 80 S, are hardly possible: g_min_siemens and g_max_siemens are in siemens (80 µS is 8e-05)."
    """
    low, high = device.g_min_siemens, device.g_max_siemens
    made = []
    if not PLAUSIBLE_SIEMENS[0] <= high <= PLAUSIBLE_SIEMENS[1]:
        made.append(
            f"The conductances of '{device.name}', {in_unit(low, 'S')} to {in_unit(high, 'S')}, are hardly possible: g_min_siemens and "
            "g_max_siemens are in siemens (80 µS is 8e-05)."
        )
    origin = device.provenance
    if origin.measured_any and origin.verdict not in ("", "passed"):
        made.append(f"The fit of '{device.name}' to its measurements was refused, and accepted nevertheless: {origin.verdict}.")
    if origin.assumptions:
        made.append(
            f"The description of '{device.name}' rests on {len(origin.assumptions)} assumptions about what was not measured, among them "
            "properties that may limit it; the page lists them."
        )
    return made
