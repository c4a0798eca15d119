"""Wires of an array, and an array whose wire solution is updated through training."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from analogpc.devices.bounds import NonNegative
from analogpc.devices.specification import Specification
from analogpc.devices.state import Settled, Stateful, Tree
from analogpc.kernels.gpu.arrays import Backend
from analogpc.kernels.wires.effective import effective_conductance
from analogpc.kernels.wires.grid import Lines
from analogpc.kernels.wires.line_model import estimated_conductance


class Wires(Specification):
    """Resistances of the lines of an array (see `kernels.parasitics` for the circuit); all zero by default.

    Attributes
    ----------
    row_ohms, column_ohms : float
        Resistance of every segment of a word line and of a bit line.
    driver_ohms, sense_ohms : float
        Resistance at every connected end of a driven line and of a sensed line; they are exchanged in a transposed read.
    drive_end : "left", "right" or "both"
        Connected ends of the word lines.
    sense_end : "bottom", "top" or "both"
        Connected ends of the bit lines.
    refresh : float
        Relative change of the conductances of an array (root mean square) beyond which its wires are solved exactly again; for
        smaller changes the last solution is corrected (see `WiredArray`). 0 solves exactly at every change.
    """

    row_ohms: NonNegative = 0.0
    column_ohms: NonNegative = 0.0
    driver_ohms: NonNegative = 0.0
    sense_ohms: NonNegative = 0.0
    drive_end: Literal["left", "right", "both"] = "left"
    sense_end: Literal["bottom", "top", "both"] = "bottom"
    refresh: NonNegative = 0.0

    @property
    def present(self) -> bool:
        """Whether there is any resistance."""
        return bool(self.row_ohms or self.column_ohms or self.driver_ohms or self.sense_ohms)

    def lines(self, transposed: bool = False) -> Lines:
        """Return the keyword arguments for the functions of `kernels.parasitics`."""
        return Lines(
            row_ohms=self.row_ohms,
            column_ohms=self.column_ohms,
            driver_ohms=self.driver_ohms,
            sense_ohms=self.sense_ohms,
            drive_end=self.drive_end,
            sense_end=self.sense_end,
            transposed=transposed,
        )


class WiredArray(Stateful):
    """Effective conductances of one array, updated through small changes of its devices.

    With ``refresh`` above zero, the result is the line model (`kernels.line_model`) of the present conductances plus the error of that
    model at the last exact solution. Measured on 64 x 64 and 128 x 128 devices, each changed by a random 1 % of its range, where the
    wires reduce the currents by 1, 8, 21, 46 %: the error is 6e-8, 6e-6, 4e-5, 2e-4 of the root mean square of the currents, at least
    20 times less than with the last matrix scaled by the ratio of the conductances; with changes shared by whole lines 5e-7, 4e-5,
    3e-4, 1.4e-3, at least 6 times less. It is proportional to the change. The line model takes about a tenth of the time of an exact
    solution at 128 x 128.

    Parameters
    ----------
    wires : Wires
    shape : (rows, columns)
    row_ohms, column_ohms : arrays, optional
        Segment resistances that replace those of ``wires``, ``inf`` where a line is open (see `effective_conductance`).
    """

    specified = ("wires", "shape", "_own")
    exact_solutions = 0

    def __init__(
        self, wires: Wires, shape: tuple[int, int], row_ohms: ArrayLike | None = None, column_ohms: ArrayLike | None = None
    ) -> None:
        self.wires, self.shape = wires, shape
        self._own = Lines()
        if row_ohms is not None:
            self._own["row_ohms"] = np.array(row_ohms, np.float64)
        if column_ohms is not None:
            self._own["column_ohms"] = np.array(column_ohms, np.float64)
        # By read direction: the conductances at the last exact solution, and the error of the line model there.
        self._last: dict[bool, tuple[np.ndarray, np.ndarray]] = {}

    @property
    @override
    def backend(self) -> Backend:
        return "cpu"

    def matrix(self, conductance: np.ndarray, transposed: bool = False) -> np.ndarray:
        """Return line currents per voltage on the crossing lines: (columns, rows) siemens, or (rows, columns) if ``transposed``.

        Parameters
        ----------
        conductance : (rows, columns) array, float32 or float64
            Siemens.
        transposed : bool
            Drive the bit lines and sense the word lines.
        """
        if conductance.shape != self.shape:
            raise ValueError(f"conductance has the shape {conductance.shape}, but the array has {self.shape}")
        if self.wires.driver_ohms == self.wires.sense_ohms and transposed:
            # Both directions are then the same network, which is reciprocal.
            return np.ascontiguousarray(self.matrix(conductance).T)
        lines = self.wires.lines(transposed) | self._own
        if self.wires.refresh == 0:
            self.exact_solutions += 1
            return effective_conductance(conductance, **lines)
        estimate = estimated_conductance(conductance, **lines)
        if self._moved(conductance, transposed):
            self.exact_solutions += 1
            missed = effective_conductance(conductance, **lines) - estimate
            self._last[transposed] = conductance.copy(), missed
        return estimate + self._last[transposed][1]

    def _moved(self, conductance: np.ndarray, transposed: bool) -> bool:
        """Whether the last exact solution is missing or too far away."""
        if transposed not in self._last:
            return True
        last = self._last[transposed][0]
        return bool(np.linalg.norm(conductance - last) > self.wires.refresh * np.linalg.norm(last))

    @override
    def held(self) -> Tree:
        return Settled(
            {
                f"{name}_{'transposed' if transposed else 'forward'}": values
                for transposed, last in self._last.items()
                for name, values in zip(("conductance", "missed"), last, strict=True)
            }
        )

    @override
    def _adopt(self, tree: Tree, backend: Backend) -> None:
        self._last = {
            transposed: (np.array(tree[f"conductance_{name}"]), np.array(tree[f"missed_{name}"]))
            for transposed, name in ((False, "forward"), (True, "transposed"))
            if f"conductance_{name}" in tree
        }
