"""Floor 2: device physics, converters, arrays, mapping and update schemes; a whole logical matrix on crossbars."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analogpc.devices.crossbars.crossbar import Crossbar

__all__ = ["Crossbar"]


def __getattr__(name: str) -> Any:
    # Imported on first use: specifications alone need no kernels.
    if name == "Crossbar":
        from analogpc.devices.crossbars.crossbar import Crossbar

        return Crossbar
    raise AttributeError(f"analogpc.devices has no '{name}'")
