"""An analog matrix with files and plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analogpc.devices.crossbars.crossbar import Crossbar as Plain


class Crossbar(Plain):
    """The crossbar of `analogpc.devices`, with files and plots."""

    __doc__ = Plain.__doc__

    def export(self, path: str | Path) -> None:
        """Write the conductances of all tiles, in siemens, to an HDF5 file (layout: ``docs/files.md``), as the matrix "matrix".

        Raises
        ------
        StorageError
            If the file cannot be written.
        """
        from analogpc.files.export import export_matrix

        export_matrix(self.matrix, path)

    def spice(self, path: str | Path, array: str = "", volts: float | None = None) -> None:
        """Write one physical array as a SPICE netlist; see `netlist` for ``array`` and ``volts``."""
        from analogpc.files.atomic import replace_file

        replace_file(Path(path), self.netlist(array, volts).encode())

    def plot(self) -> Any:
        """Plot the conductances as a histogram and tile by tile; return a matplotlib figure."""
        from analogpc.plot import tiles

        return tiles(self)

    def _repr_html_(self) -> str:
        from analogpc.plot.html import crossbar_html

        return crossbar_html(self)
