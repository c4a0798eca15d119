"""Figures of runs, devices and crossbars: functions that return a matplotlib figure.

Contains all drawing functions. Each takes objects of other packages and returns a `Figure`, which displays itself in a notebook and
is saved by ``figure.savefig("picture.png")``. No function needs a display or changes matplotlib's settings.

- `runs`: learning curves and energies of runs, labelled by their differences
- `learning`: accuracies and losses only
- `energies`: energies by layer and relaxation step of a rule
- `conductances`: distribution of conductances in their window
- `pulse_response`: response of a device to pulses
- `tiles`: maps of the arrays of a crossbar
- `confusion`: confusion matrix
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analogpc.plot.crossbars import conductances, tiles
    from analogpc.plot.curves import confusion, energies, learning, pulse_response, runs

_HOME_OF = {
    "conductances": "crossbars",
    "tiles": "crossbars",
    "confusion": "curves",
    "energies": "curves",
    "learning": "curves",
    "pulse_response": "curves",
    "runs": "curves",
}

__all__ = ["conductances", "confusion", "energies", "learning", "pulse_response", "runs", "tiles"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        from analogpc.devices.names import suggestion

        raise AttributeError(f"analogpc.plot has no '{name}'{suggestion(name, __all__)}")
    return getattr(import_module(f"analogpc.plot.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
