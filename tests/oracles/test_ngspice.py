"""Wire resistance against ngspice, an independent circuit simulator: operating points of the exported netlists."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from analogpc.devices.crossbars.netlist import netlist
from analogpc.devices.wires.wired_array import Wires
from analogpc.kernels.wires.effective import effective_conductance, nonlinear_currents

pytestmark = pytest.mark.skipif(
    shutil.which("ngspice") is None,
    reason="ngspice is not installed (Debian package ngspice); it is the independent reference here",
)


def simulated(text, folder):
    """Sensed currents in amperes that ngspice prints for a netlist."""
    path = folder / "array.cir"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run(["ngspice", "-b", str(path)], capture_output=True, text=True, check=False, timeout=120)
    found = re.findall(r"^i\(vout(\d+)\) = (\S+)$", done.stdout, re.M)
    assert found, done.stdout + done.stderr
    assert [int(number) for number, _ in found] == list(range(len(found)))
    return np.array([float(value) for _, value in found])


def agrees(currents, expected):
    """To 1e-6 relative, each current; one that is a rounding error of the others counts as zero."""
    np.testing.assert_allclose(currents, expected, rtol=1e-6, atol=1e-12 * np.abs(expected).max())


def random_array(rng, shape):
    """Conductances, one device stuck high above the others and one open; and voltages for the word lines and for the bit lines."""
    g = rng.uniform(1e-6, 5e-5, shape)
    g[shape[0] // 2, shape[1] // 3] = 1e-2
    if g.size > 1:
        g[-1, -1] = 0.0
    return g, rng.uniform(-0.2, 0.2, shape[0]), rng.uniform(-0.2, 0.2, shape[1])


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (12, 31), (32, 32)])
@pytest.mark.parametrize("transposed", [False, True])
def test_linear_arrays(rng, tmp_path, shape, transposed):
    g, rows, columns = random_array(rng, shape)
    wires = Wires(row_ohms=2.0, column_ohms=3.0, driver_ohms=50.0, sense_ohms=20.0)
    volts = columns if transposed else rows
    agrees(
        simulated(netlist(g, wires, volts, transposed=transposed), tmp_path),
        effective_conductance(g, **wires.lines(transposed)) @ volts,
    )


@pytest.mark.parametrize("line", ["word", "bit", "driver", "sense"])
def test_one_open_line(rng, tmp_path, line):
    g, volts, _ = random_array(rng, (16, 11))
    row, column = np.full(g.shape, 4.0), np.full(g.shape, 2.0)
    place = {"word": (7, 5), "driver": (7, 0), "bit": (9, 3), "sense": (15, 3)}[line]
    (row if line in ("word", "driver") else column)[place] = np.inf
    wires = Wires(driver_ohms=30.0)
    text = netlist(g, wires, volts, row_ohms=row, column_ohms=column)
    expected = effective_conductance(g, row_ohms=row, column_ohms=column, driver_ohms=30.0) @ volts
    agrees(simulated(text, tmp_path), expected)
    assert (expected == 0).sum() == (line == "sense")


@pytest.mark.parametrize("drive_end", ["left", "right", "both"])
@pytest.mark.parametrize("sense_end", ["bottom", "top", "both"])
def test_ends(rng, tmp_path, drive_end, sense_end):
    g, volts, _ = random_array(rng, (9, 6))
    row = rng.uniform(0, 50, (9, 6 + (drive_end == "both")))
    column = rng.uniform(0, 50, (9 + (sense_end == "both"), 6))
    row[2, 3] = column[1, 4] = 0.0
    wires = Wires(driver_ohms=70.0, drive_end=drive_end, sense_end=sense_end)
    expected = effective_conductance(g, **(wires.lines() | {"row_ohms": row, "column_ohms": column})) @ volts
    agrees(simulated(netlist(g, wires, volts, row_ohms=row, column_ohms=column), tmp_path), expected)


@pytest.mark.parametrize("fields", [{}, {"row_ohms": 30.0}, {"column_ohms": 30.0}, {"driver_ohms": 300.0}, {"sense_ohms": 300.0}])
def test_resistance_in_some_places_only(rng, tmp_path, fields):
    g, volts, _ = random_array(rng, (8, 7))
    wires = Wires(**fields)
    agrees(simulated(netlist(g, wires, volts), tmp_path), effective_conductance(g, **wires.lines()) @ volts)


@pytest.mark.parametrize("transposed", [False, True])
def test_sinh_devices(rng, tmp_path, transposed):
    """Behavioural sources; voltages high enough that the law bends the currents by tens of percent."""
    g, rows, columns = random_array(rng, (12, 10))
    volts = 2 * (columns if transposed else rows)
    wires = Wires(row_ohms=20.0, column_ohms=30.0, driver_ohms=100.0)
    currents = simulated(netlist(g, wires, volts, transposed=transposed, sinh_volts=0.2), tmp_path)
    agrees(currents, nonlinear_currents(g, volts[None], 0.2, **wires.lines(transposed))[0])
    linear = effective_conductance(g, **wires.lines(transposed)) @ volts
    assert np.median(np.abs(currents / linear - 1)) > 0.1
