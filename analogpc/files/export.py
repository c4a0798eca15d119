"""Export of crossbar weights: conductances in siemens, tile by tile, for use on hardware."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import numpy as np

from analogpc._version import __version__
from analogpc.devices.crossbars.crossbar_matrix import CrossbarMatrix, Tile
from analogpc.devices.crossbars.netlist import netlist
from analogpc.files.atomic import replace_file
from analogpc.files.storage import Leaf, write_file
from analogpc.kernels.random.streams import Key
from analogpc.networks.network import Network
from analogpc.networks.zoo import as_network

KIND = "crossbars"


class ExportError(ValueError):
    """Raised if a network cannot be exported; the message gives the reason."""


def export_crossbars(network: Network, path: str | Path) -> None:
    """Write the conductances of all crossbar arrays of a network to an HDF5 file (layout: ``docs/files.md``).

    A weight is recovered as the sum of ``factor * conductance`` over the devices of a weight, times ``weight_per_siemens``; the
    page documents how the tiles form the matrix.

    Parameters
    ----------
    network : Network
        Network with at least one matrix on crossbars.
    path : path

    Raises
    ------
    ExportError
        If the network is digital.
    StorageError
        If the file cannot be written.

    Notes
    -----
    The states of `ideal` devices have no limits. Their matrices are scaled so that the largest state meets the end of the
    conductance window; ``weight_per_siemens`` contains the scale.
    """
    network = as_network(network).to("cpu")
    matrices = {name: m for name, m in network.matrices().items() if isinstance(m, CrossbarMatrix)}
    if not matrices:
        raise ExportError(
            "the network is digital and has no conductances: put it on crossbars first, with net.on(apc.Analog(...))"
        )
    tree: dict[str, Any] = {
        "architecture": network.architecture.to_toml(),
        "substrate": network.substrate.to_toml(),
        "seed": network.seed,
        "written_by": f"analogpc {__version__}",
        "matrices": {name: _matrix(matrix) for name, matrix in matrices.items()},
        "digital": {name: _digital(m.weights()) for name, m in network.matrices().items() if name not in matrices},
    }
    write_file(path, KIND, tree)


def export_matrix(matrix: CrossbarMatrix, path: str | Path) -> None:
    """Write the conductances of one crossbar matrix, called "matrix", to a file of the layout of `export_crossbars`."""
    tree = {
        "substrate": matrix.substrate.to_toml(),
        "written_by": f"analogpc {__version__}",
        "matrices": {"matrix": _matrix(matrix.copy("cpu"))},
        "digital": {},
    }
    write_file(path, KIND, tree)


def export_netlist(network: Network, path: str | Path, array: str = "", volts: float | None = None) -> str:
    """Write one physical array of a network as a SPICE netlist, with its wires and all word lines at one voltage.

    Parameters
    ----------
    network : Network
        Network with at least one matrix on crossbars.
    path : path
        File to write or replace; ``ngspice -b`` prints the bit-line currents.
    array : str
        "MATRIX/TILE/DEVICES" as in an exported file, such as "layer1.0.weight/0/plus"; by default the first array.
    volts : float
        Voltage of all word lines; by default the read voltage of the substrate.

    Returns
    -------
    str
        Name of the written array.

    Raises
    ------
    ExportError
        If the network is digital, the array does not exist, the netlist does not support its current-voltage curve, or the
        voltage is not finite.
    """
    network = as_network(network).to("cpu")
    matrices = {name: m for name, m in network.matrices().items() if isinstance(m, CrossbarMatrix)}
    if not matrices:
        raise ExportError("the network is digital and has no arrays: put it on crossbars first, with net.on(apc.Analog(...))")
    names = [
        f"{name}/{number}/{devices}"
        for name, matrix in matrices.items()
        for number, tile in enumerate(matrix.tiles())
        for devices in tile.conductances
    ]
    array = array or names[0]
    if array not in names:
        close = difflib.get_close_matches(array, names, n=3, cutoff=0.0)
        raise ExportError(f"there is no array '{array}'; there are {len(names)}, such as {', '.join(close)}")
    name, number, devices = array.rsplit("/", 2)
    matrix = _fitted(matrices[name])
    conduction, substrate = matrix.substrate.device.conduction, matrix.substrate
    if conduction.kind not in ("ohmic", "sinh"):
        raise ExportError(f"a netlist supports ohmic and sinh devices, not the conduction '{conduction.kind}'")
    g = list(matrix.tiles())[int(number)].conductances[devices]
    if not isinstance(volts, (int, float, np.integer, np.floating, type(None))) or (volts is not None and not np.isfinite(volts)):
        raise ExportError(f"volts = {volts!r} is not allowed: a voltage is a finite number")
    drive = np.full(len(g), substrate.read_volts if volts is None else float(volts))
    curve = conduction.scale_volts if conduction.kind == "sinh" else np.inf
    text = netlist(g, substrate.wires, drive, f"analogpc {__version__}: {array} of {substrate.device.name}", sinh_volts=curve)
    replace_file(Path(path), text.encode())
    return array


def _digital(weights: np.ndarray) -> Leaf:
    return Leaf(weights, unit="1", description="parameters kept in digital memory, such as biases", dims=("output", "input"))


def _matrix(matrix: CrossbarMatrix) -> dict[str, Any]:
    substrate, device = matrix.substrate, matrix.substrate.device
    fitted = _fitted(matrix)
    tiles = {str(number): _tile(fitted, tile) for number, tile in enumerate(fitted.tiles())}
    return {
        "n_out": matrix.shape[0],
        "n_in": matrix.shape[1],
        "rows_per_array": substrate.rows,
        "columns_per_array": substrate.columns,
        "mapping": substrate.mapping.to_toml(),
        "factors": fitted.factors,
        "device": device.name,
        "g_min_siemens": device.g_min_siemens,
        "g_max_siemens": device.g_max_siemens,
        "siemens_per_state": device.siemens_per_state,
        "granularity": matrix.granularity,
        "age_seconds": matrix.arrays[0].age_seconds,
        "tiles": tiles,
    }


def _fitted(matrix: CrossbarMatrix) -> CrossbarMatrix:
    """Return the matrix, or for unbounded devices a copy whose states fill the conductance window."""
    if matrix.substrate.device.response.bounded:
        return matrix
    weights = matrix.weights()
    largest = float(np.abs(weights).max(initial=0.0))
    return CrossbarMatrix(weights, matrix.substrate, Key(0), scale=largest or 1.0)


def _tile(matrix: CrossbarMatrix, tile: Tile) -> dict[str, Any]:
    dims = ("row (word line, input)", "column (bit line, output)")
    weight = tile.scale / matrix.substrate.device.siemens_per_state
    held = {
        name: Leaf(g, unit="S", description="conductances that a read finds", dims=dims) for name, g in tile.conductances.items()
    }
    return {
        "first_input": tile.rows.start,
        "first_output": tile.columns.start,
        "conductances": held,
        "weight_per_siemens": Leaf(weight, unit="1/S", description="logical weight of one siemens", dims=dims[1:]),
        "stuck": Leaf(tile.stuck, unit="", description="true where a device of the weight cannot move", dims=dims),
    }
