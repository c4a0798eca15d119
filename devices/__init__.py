"""Floor 2: device physics, converters, arrays, mappings and update schemes, and logical matrices on crossbars.

Modules outside of rooms are shared by several of them: specifications and their fields, devices, substrates, states, matrices.
A new room documents what it contains and where new code goes, like those that exist.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analogpc.devices.crossbars.crossbar import Crossbar

__all__ = ["Crossbar"]


def __getattr__(name: str) -> Any:
    # Imported on first use: specifications alone do not need the kernels.
    if name == "Crossbar":
        from analogpc.devices.crossbars.crossbar import Crossbar

        return Crossbar
    raise AttributeError(f"analogpc.devices has no '{name}'")
