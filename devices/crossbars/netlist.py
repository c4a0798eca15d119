"""SPICE netlist of one array with its wires, for circuit simulators."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from analogpc.devices.wires.wired_array import Wires
from analogpc.kernels.wires.grid import grid_of

Resistor = tuple[str, str, str, float]


class _Nodes:
    """Union of electrical nodes: each set is named after its first node in the earliest call of `join`."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def find(self, node: str) -> str:
        self._parent.setdefault(node, node)
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node

    def join(self, first: str, second: str) -> None:
        self._parent[self.find(second)] = self.find(first)


def _line(name: str, port: str, nodes: list[str], ohms: np.ndarray) -> Iterator[Resistor]:
    """Yield the segments of one line, omitting open ones: from its port along its nodes, and back to the port at a connected far end."""
    path = [port, *nodes, port]
    for number, value in enumerate(ohms):
        if np.isfinite(value):
            yield f"{name}_{number}", path[number], path[number + 1], float(value)


def netlist(
    conductance: np.ndarray,
    wires: Wires,
    volts: np.ndarray,
    title: str = "crossbar",
    *,
    transposed: bool = False,
    sinh_volts: float = np.inf,
    row_ohms: ArrayLike | None = None,
    column_ohms: ArrayLike | None = None,
) -> str:
    """Return a netlist for which ``ngspice -b`` prints the sensed currents.

    Word line i has the port ``in`` or ``out`` i, depending on the read direction, and nodes w{i}_{j}; bit line j has nodes b{i}_{j}.
    Segments without resistance merge their two nodes. Open segments, devices without conductance, and parts without connection to a
    port are omitted.

    Parameters
    ----------
    conductance : (rows, columns) array, float32 or float64
        Siemens.
    wires : Wires
    volts : (rows,) array
        Word-line voltages; (columns,) bit-line voltages if ``transposed``.
    title : str
        First line of the netlist.
    transposed : bool
        Drive the bit lines and sense the word lines.
    sinh_volts : float
        Devices carry G V_s sinh(V / V_s) with this V_s, as behavioural sources; infinite for resistors.
    row_ohms, column_ohms : arrays, optional
        Segment resistances that replace those of ``wires`` (see `kernels.parasitics.effective_conductance`).

    Returns
    -------
    str
        Netlist; the sensed currents are those of the sources vout0, vout1 and so on, in amperes into virtual ground.

    Raises
    ------
    ValueError
        If an argument is not allowed.
    """
    lines = wires.lines(transposed)
    if row_ohms is not None:
        lines["row_ohms"] = row_ohms
    if column_ohms is not None:
        lines["column_ohms"] = column_ohms
    grid = grid_of(conductance, lines)
    rows, columns = conductance.shape
    driven = columns if transposed else rows
    volts = np.asarray(volts, np.float64)
    if volts.shape != (driven,) or not np.isfinite(volts).all():
        raise ValueError(f"volts must be {driven} finite numbers, not an array of the shape {volts.shape}")
    if not sinh_volts > 0:
        raise ValueError(f"sinh_volts = {sinh_volts!r} is not allowed: give a positive number, or inf for linear devices")
    if not title.isprintable():
        raise ValueError("title must be one line of printable characters")
    # Line numbers of the caller, in the order of the grid.
    names = np.arange(rows)[grid.places[0]], np.arange(columns)[grid.places[1]]
    row_port, column_port = ("out", "in") if transposed else ("in", "out")
    wire = [
        each
        for at, i in enumerate(names[0])
        for each in _line(f"Rrow{i}", f"{row_port}{i}", [f"w{i}_{j}" for j in names[1]], grid.row[at])
    ]
    wire += [
        each
        for at, j in enumerate(names[1])
        for each in _line(f"Rcol{j}", f"{column_port}{j}", [f"b{i}_{j}" for i in names[0]], grid.column[:, at])
    ]
    ports = [f"in{i}" for i in range(driven)] + [f"out{i}" for i in range(rows + columns - driven)]
    text = [title, "* voltages on the driven lines, and virtual grounds that measure the sensed currents"]
    text += [f"Vin{i} in{i} 0 DC {value!r}" for i, value in enumerate(volts.tolist())]
    text += [f"Vout{i} out{i} 0 DC 0" for i in range(rows + columns - driven)]
    text += _elements(conductance, wire, ports, sinh_volts)
    currents = " ".join(f"i(Vout{i})" for i in range(rows + columns - driven))
    text += [".options reltol=1e-12 abstol=1e-18 vntol=1e-12 gmin=1e-18", ".control", "set numdgt=15", "op"]
    text += [f"print {current}" for current in currents.split()]
    return "\n".join([*text, ".endc", ".end", ""])


def _elements(conductance: np.ndarray, wire: list[Resistor], ports: list[str], sinh_volts: float) -> list[str]:
    """Return the netlist lines of wires and devices."""
    same, held = _Nodes(), _Nodes()
    for port in ports:
        same.find(port)
        held.join("0", port)
    for _, first, second, ohms in wire:
        held.join(first, second)
        if ohms == 0:
            # Ports come first, so that a node joined to one takes its name.
            port_second = second in ports
            same.join(*((second, first) if port_second else (first, second)))
    devices = [(i, j, float(conductance[i, j])) for i, j in np.ndindex(conductance.shape) if conductance[i, j] > 0]
    for i, j, _ in devices:
        held.join(f"w{i}_{j}", f"b{i}_{j}")
    ground = held.find("0")
    text = ["* wire segments, ohms, from port to far end"]
    for name, first, second, ohms in wire:
        if ohms > 0 and held.find(first) == ground:
            text.append(f"{name} {same.find(first)} {same.find(second)} {ohms!r}")
    text.append("* devices")
    for i, j, siemens in devices:
        word, bit = f"w{i}_{j}", f"b{i}_{j}"
        if held.find(word) != ground:
            continue
        word, bit = same.find(word), same.find(bit)
        if np.isinf(sinh_volts):
            text.append(f"Rdev{i}_{j} {word} {bit} {1 / siemens!r}")
        else:
            law = f"{siemens * sinh_volts!r}*sinh(V({word},{bit})/{sinh_volts!r})"
            text.append(f"Bdev{i}_{j} {word} {bit} I={law}")
    return text
