"""analogpc: predictive coding and equilibrium propagation on simulated memristor crossbars.

Names are imported on first use, so that ``import analogpc`` is quick and a command that needs no kernel loads none.
"""

from pathlib import Path

from analogpc._version import __version__

# In a checkout the lower floors lie beside this folder instead of inside it; running from there works without an installation.
if not (Path(__file__).parent / "kernels").is_dir():
    __path__.append(str(Path(__file__).parents[1]))

__all__ = ["__version__"]
