"""analogpc: predictive coding and equilibrium propagation on simulated memristor crossbars.

Start with ``import analogpc as apc`` and

- a network and its training: `mlp`, `cnn`, `vgg`, `resnet`, `Network`, or a name such as "vgg5"; `fit`, `Run`, `Study`, `load`
- data: `load_data`, `Dataset` (`Dataset.from_arrays`, `from_hdf5`, `from_folder`)
- substrates of the matrices: `Digital`, `Analog`; devices: `presets`, `preset`, `Device`
- an analog matrix alone: `Crossbar`
- `assess`: which rules learn on a device, what limits it, what it costs
- scikit-learn estimators: `apc.sklearn`; analysis of networks: `apc.analysis`; figures: `apc.plot`
- rules by name ("pc", "s+f", "bp", ...) or as `PredictiveCoding`, `EquilibriumPropagation`, `Backprop`, ...

Names are imported on first use, so ``import analogpc`` is fast and a command without kernels loads none.
"""

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

from analogpc._version import __version__ as __version__

_HERE = Path(__file__).parent

# In a checkout the lower layers are next to this folder, not inside it; this makes them importable without installation.
if not (_HERE / "kernels").is_dir():
    __path__.append(str(_HERE.parent))


def _homes() -> dict[str, str]:
    """Return the module of each public name, read from the stub of this package."""
    stub = ast.parse((_HERE / "__init__.pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}


_HOMES = _homes()

__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        from analogpc.devices.names import suggestion

        raise AttributeError(f"analogpc has no '{name}'{suggestion(name, __all__)}")
    home = _HOMES[name]
    value = import_module(f"{home}.{name}") if home == __name__ else getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
