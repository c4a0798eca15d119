"""A stand-alone analog matrix with the interface ``A @ x``."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from analogpc.devices.costs.meter import Meter
from analogpc.devices.crossbars.crossbar_matrix import CrossbarMatrix
from analogpc.devices.crossbars.errors import ErrorReport, History, error_report
from analogpc.devices.crossbars.netlist import netlist
from analogpc.devices.device import Device
from analogpc.devices.names import unknown
from analogpc.devices.substrate import Analog
from analogpc.kernels.checks import real_array
from analogpc.kernels.random.streams import Key


class Crossbar:
    """Weight matrix on memristor crossbars that multiplies like a NumPy matrix and rejects what a crossbar cannot do.

    Parameters
    ----------
    weights : (n_out, n_in) array
        Real numbers, programmed as precisely as the devices allow. float32 and float64 are kept, other types become float32.
    device : Device, Analog or str
        Device specification, name of a preset or device file, or a whole substrate.
    seed : int
        Seed of the devices and their noise.
    **fields
        Further fields of `Analog`, such as ``rows``, ``columns``, ``adc_bits``, ``read_noise`` and ``mapping``. Unless the headroom
        of the mapping is given, the largest weight uses the whole range of the devices (headroom 1), since nothing learns here.

    Raises
    ------
    ValueError
        If the weights are not a finite real matrix, or a field is not allowed.

    Examples
    --------
    >>> import math
    >>> A = Crossbar(np.eye(3), device="ideal", dac_bits=math.inf, adc_bits=math.inf, read_noise=0.0)
    >>> A @ np.array([1.0, 2.0, 3.0])
    array([1., 2., 3.])
    >>> A.T.shape
    (3, 3)
    """

    # NumPy then leaves ``x @ A`` to this class.
    __array_ufunc__ = None
    ndim = 2

    def __init__(self, weights: np.ndarray, device: Device | Analog | str = "idealized", *, seed: int = 0, **fields: Any) -> None:
        self._begin(_real(weights, "weights"), _for_reading(device, fields), seed)

    def _begin(self, weights: np.ndarray, substrate: Analog, seed: int, scale: float | None = None) -> None:
        self._matrix, self._transposed = CrossbarMatrix(weights, substrate, Key(seed), scale), False
        self._history = History(weights, substrate, seed, scale)

    @classmethod
    def from_siemens(
        cls, plus: np.ndarray, minus: np.ndarray | None = None, device: Device | Analog | str = "idealized", **fields: Any
    ) -> Self:
        """Create a crossbar whose devices are programmed to given conductances; ``A @ volts`` is in amperes.

        Parameters
        ----------
        plus : (n_in, n_out) array
            Conductances in siemens, word lines (inputs) by bit lines (outputs), as returned by `conductances`.
        minus : (n_in, n_out) array
            Conductances of the second device of every pair, whose current is subtracted; by default the lowest conductance of the
            device. Not allowed if every device has its own reference device (see `Device.has_reference`).
        device, seed, fields
            As for a crossbar of weights.

        Raises
        ------
        ValueError
            If a conductance lies outside the window of the device.
        """
        seed = fields.pop("seed", 0)
        substrate = _for_reading(device, fields)
        names = tuple(leg.name for leg in substrate.mapping.legs)
        if names not in (("plus", "minus"), ("plus",)) or (names == ("plus",) and minus is not None):
            raise ValueError(
                f"from_siemens needs pairs of devices, but the mapping '{substrate.mapping.kind}' has {', '.join(names)}"
            )
        grids = {"plus": _real(plus, "plus")}
        if "minus" in names:
            lowest = substrate.device.nominal_siemens[0]
            grids["minus"] = np.full_like(grids["plus"], lowest) if minus is None else _real(minus, "minus")
        new = cls.__new__(cls)
        zeros = np.zeros(grids["plus"].shape[::-1], grids["plus"].dtype)
        new._begin(zeros, substrate, seed, substrate.device.siemens_per_state)
        new._history.given = grids
        new._history.program(new._matrix)
        return new

    @property
    def matrix(self) -> CrossbarMatrix:
        """Underlying matrix with its arrays, tiles and learning; shared with the transpose."""
        return self._matrix

    @property
    def shape(self) -> tuple[int, int]:
        """(n_out, n_in), or the reverse for a transpose."""
        n_out, n_in = self._matrix.shape
        return (n_in, n_out) if self._transposed else (n_out, n_in)

    @property
    def dtype(self) -> np.dtype:
        """Floating type of inputs and results."""
        return self._matrix.dtype

    @property
    def T(self) -> Crossbar:
        """Transpose: the same devices, read from the other side."""
        twin = object.__new__(type(self))
        twin._matrix, twin._transposed, twin._history = self._matrix, not self._transposed, self._history
        return twin

    @property
    def meter(self) -> Meter:
        """Counts of the operations performed."""
        return self._matrix.meter

    def weights(self) -> np.ndarray:
        """Return the weights that an ideal read would find, in the shape of this matrix."""
        weights = self._matrix.weights()
        return weights.T if self._transposed else weights

    def elapse(self, seconds: float) -> None:
        """Let time pass for every device: drift, relaxation, retention, slow noise.

        Parameters
        ----------
        seconds : float
            Nonnegative duration.
        """
        self._matrix.elapse(seconds)
        self._history.seconds.append(float(seconds))

    def conductances(self) -> dict[str, np.ndarray]:
        """Return the present conductances in siemens: (n_in, n_out) arrays, word lines by bit lines, by the names of the devices.

        A differential pair has "plus" and "minus"; a subtracted column is repeated for every output.
        """
        n_out, n_in = self._matrix.shape
        whole: dict[str, np.ndarray] = {}
        for tile in self._matrix.tiles():
            for name, g in tile.conductances.items():
                grid = whole.setdefault(name, np.zeros((n_in, n_out), self.dtype))
                grid[tile.rows, tile.columns] = g
        return whole

    def stuck(self) -> np.ndarray:
        """Return which weights have a device that cannot be moved or carries no current: bool, in the shape of this matrix."""
        stuck = np.zeros(self._matrix.shape[::-1], bool)
        for tile in self._matrix.tiles():
            stuck[tile.rows, tile.columns] = tile.stuck
        return stuck if self._transposed else stuck.T

    def error_report(self, x: np.ndarray) -> ErrorReport:
        """Decompose the error of a product by source (see `ErrorReport`).

        Parameters
        ----------
        x : (n_in,) or (n_in, k) array
            Inputs; the error is that of all k products together.
        """
        return error_report(self._history, np.atleast_2d(self._vectors(x).T), self._transposed)

    def netlist(self, array: str = "", volts: float | None = None) -> str:
        """Return one physical array with its wires as a SPICE netlist, whose bit-line currents ``ngspice -b`` prints.

        Parameters
        ----------
        array : str
            "TILE/DEVICES", such as "0/plus"; by default the first one.
        volts : float
            Voltage on every word line; by default the read voltage of the substrate.
        """
        tiles = {f"{n}/{name}": g for n, tile in enumerate(self._matrix.tiles()) for name, g in tile.conductances.items()}
        array = array or next(iter(tiles))
        if array not in tiles:
            raise ValueError(unknown("array", array, tiles))
        substrate = self._matrix.substrate
        conduction = substrate.device.conduction
        if conduction.kind not in ("ohmic", "sinh"):
            raise ValueError(f"a netlist supports the conductions 'ohmic' and 'sinh', not '{conduction.kind}'")
        drive = np.full(len(tiles[array]), substrate.read_volts if volts is None else volts)
        curve = conduction.scale_volts if conduction.kind == "sinh" else np.inf
        return netlist(tiles[array], substrate.wires, drive, f"{array} of {substrate.device.name}", sinh_volts=curve)

    def __matmul__(self, x: np.ndarray) -> np.ndarray:
        """Read the matrix: (n_in,) -> (n_out,), or column by column (n_in, k) -> (n_out, k)."""
        vectors = self._vectors(x)
        read = self._matrix.backward if self._transposed else self._matrix.forward
        return read(np.ascontiguousarray(np.atleast_2d(vectors.T))).T.reshape(self.shape[0], *vectors.shape[1:])

    def __rmatmul__(self, x: np.ndarray) -> np.ndarray:
        """Read the transpose: (n_out,) -> (n_in,), or row by row (k, n_out) -> (k, n_in)."""
        vectors = real_array(x, "inputs of a crossbar")
        if vectors.ndim not in (1, 2) or vectors.shape[-1] != self.shape[0]:
            raise ValueError(f"x @ crossbar needs x of shape ({self.shape[0]},) or (k, {self.shape[0]}), not {vectors.shape}")
        return (self.T @ vectors.T).T

    def _vectors(self, x: np.ndarray) -> np.ndarray:
        """Check inputs and arrange them as row vectors."""
        vectors = real_array(x, "inputs of a crossbar", dtype=self.dtype)
        if vectors.ndim not in (1, 2) or vectors.shape[0] != self.shape[1]:
            raise ValueError(f"crossbar @ x needs x of shape ({self.shape[1]},) or ({self.shape[1]}, k), not {vectors.shape}")
        return vectors

    def __repr__(self) -> str:
        substrate = self._matrix.substrate
        rows, columns = substrate.rows, substrate.columns
        tiles = -(-self._matrix.shape[1] // rows) * -(-self._matrix.shape[0] // columns)
        wires = ", wires" if substrate.wires.present else ""
        aged = f", aged {sum(self._history.seconds):g} s" if self._history.seconds else ""
        return (
            f"Crossbar({self.shape[0]} x {self.shape[1]}, device={substrate.device.name!r}, {tiles} tile{'s' if tiles > 1 else ''} of "
            f"at most {rows} x {columns}, DAC {substrate.dac.bits:g} bits, ADC {substrate.adc.bits:g} bits{wires}{aged})"
        )


def _real(given: Any, what: str) -> np.ndarray:
    """Return a finite real matrix in a floating-point type."""
    array = real_array(given, what, ("n", "m"))
    if not array.size:
        raise ValueError(f"{what} must be a matrix of at least one number, not of shape {array.shape}")
    return real_array(array, what, dtype=array.dtype if array.dtype in (np.float32, np.float64) else np.float32)


def _for_reading(device: Device | Analog | str, fields: dict[str, Any]) -> Analog:
    """Return the substrate of a matrix that is only read: the given fields, with headroom 1 unless given."""
    substrate = (device.but(**fields) if fields else device) if isinstance(device, Analog) else Analog(device=device, **fields)
    said = substrate.said().get("mapping", {})
    if "headroom" in (said if isinstance(said, dict) else said.said()):
        return substrate
    return substrate.but(mapping=substrate.mapping.but(headroom=1.0))
