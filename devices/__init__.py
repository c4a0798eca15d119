"""Floor 2: device physics, converters, arrays, mappings and update schemes, and logical matrices on crossbars."""

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
