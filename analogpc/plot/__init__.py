"""Pictures of runs, devices and crossbars: functions that return a matplotlib figure.

Enters: what draws. Each function takes things of the other rooms and gives a `Figure`, which shows itself in a notebook and is
saved by ``figure.savefig("picture.png")``. No function needs a display, or changes matplotlib's settings.

- `runs`: learning curves and energies of any number of runs, named by what differs between them
- `learning`: accuracies and losses alone
- `energies`: energies by layer and relaxation step of a rule
- `conductances`: how conductances are distributed within their window
- `pulse_response`: what pulses do to a device
- `tiles`: the arrays of a crossbar, place by place
- `confusion`: which classes are taken for which
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
