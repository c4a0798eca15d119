"""Wires as a specification, an array followed through changes, and the text of its netlist."""

import numpy as np
import pytest

from analogpc.devices.crossbars.netlist import netlist
from analogpc.devices.specification import SpecificationError
from analogpc.devices.wires.wired_array import WiredArray, Wires
from analogpc.kernels.wires.effective import effective_conductance


def test_a_specification_survives_toml_and_refuses_nonsense():
    wires = Wires(row_ohms=1.0, column_ohms=2.5, driver_ohms=100.0, sense_end="both", refresh=0.01)
    assert Wires.from_toml(wires.to_toml()) == wires
    assert wires.present
    assert not Wires(drive_end="both", refresh=0.1).present
    with pytest.raises(SpecificationError, match=r"Wires: row_ohms = -1.0 is not allowed"):
        Wires(row_ohms=-1.0)
    with pytest.raises(SpecificationError, match=r"Wires: sense_ohms = inf is not allowed"):
        Wires(sense_ohms=float("inf"))
    with pytest.raises(SpecificationError, match=r"Wires: drive_end = 'top' is not allowed"):
        Wires(drive_end="top")
    with pytest.raises(SpecificationError, match=r"Wires: refresh = nan is not allowed"):
        Wires(refresh=float("nan"))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_without_refresh_every_matrix_is_exact(rng, dtype):
    wires = Wires(row_ohms=3.0, column_ohms=5.0, driver_ohms=40.0)
    array = WiredArray(wires, (12, 9))
    for _ in range(3):
        g = rng.uniform(1e-6, 5e-5, (12, 9)).astype(dtype)
        for transposed in (False, True):
            expected = effective_conductance(g, row_ohms=3.0, column_ohms=5.0, driver_ohms=40.0, transposed=transposed)
            got = array.matrix(g, transposed)
            np.testing.assert_array_equal(got, expected)
            assert got.dtype == dtype
    with pytest.raises(ValueError, match=r"shape \(9, 12\)"):
        array.matrix(g.T)


def test_open_lines_are_the_arrays_own(rng):
    g = rng.uniform(1e-6, 5e-5, (6, 5))
    row = np.full((6, 5), 2.0)
    row[3, 2] = np.inf
    got = WiredArray(Wires(row_ohms=2.0, column_ohms=2.0), (6, 5), row_ohms=row).matrix(g)
    np.testing.assert_array_equal(got, effective_conductance(g, row_ohms=row, column_ohms=2.0))


def rms(values):
    return np.sqrt((values**2).mean())


@pytest.mark.parametrize(("ohms", "random_gain", "common_gain"), [(0.3, 60, 60), (3.0, 15, 8), (30.0, 20, 4)])
@pytest.mark.parametrize("transposed", [False, True])
def test_corrections_follow_small_changes(rng, ohms, random_gain, common_gain, transposed):
    """How many times better than the ratio of conductances, and than nothing, on 64 x 64 and changes of 1 % of the range."""
    g = rng.uniform(1e-6, 5e-5, (64, 64))
    wires = Wires(row_ohms=ohms, column_ohms=ohms, driver_ohms=10 * ohms, refresh=0.5)
    changes = {random_gain: rng.normal(size=g.shape), common_gain: rng.normal(size=(64, 1)) + rng.normal(size=(1, 64))}
    for gain, change in changes.items():
        array = WiredArray(wires, g.shape)
        last = array.matrix(g, transposed)
        moved = np.clip(g + change * 5e-7, 1e-6, 5e-5)
        exact = effective_conductance(moved, **wires.lines(transposed))
        np.testing.assert_allclose(last, effective_conductance(g, **wires.lines(transposed)), rtol=1e-12)
        error = rms(array.matrix(moved, transposed) - exact)
        ratio = moved / g if transposed else (moved / g).T
        assert array.exact_solutions == 1
        assert error * gain < rms(last * ratio - exact)
        assert error * gain < rms(last - exact)


def test_the_wires_are_solved_again_when_devices_have_moved(rng):
    g = rng.uniform(1e-6, 5e-5, (16, 8))
    array = WiredArray(Wires(row_ohms=10.0, column_ohms=10.0, refresh=0.02), g.shape)
    array.matrix(g)
    array.matrix(g * 1.019)
    assert array.exact_solutions == 1
    got = array.matrix(g * 1.021)
    assert array.exact_solutions == 2
    np.testing.assert_allclose(got, effective_conductance(g * 1.021, 10.0), rtol=1e-12)
    # Equal driver and sense resistances: the other direction needs no solution of its own.
    np.testing.assert_array_equal(array.matrix(g * 1.021, transposed=True), got.T)
    assert array.exact_solutions == 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_restored_array_continues_to_the_same_bits(rng, dtype):
    wires = Wires(row_ohms=10.0, column_ohms=5.0, driver_ohms=50.0, refresh=0.03)
    path = np.cumsum(rng.normal(size=(12, 10, 7)) * 5e-7, axis=0) + 2e-5
    path = path.astype(dtype)
    whole = WiredArray(wires, (10, 7))
    expected = [whole.matrix(g, turn % 3 == 0) for turn, g in enumerate(path)]
    assert 2 < whole.exact_solutions < 12
    for stop in range(12):
        first, second = WiredArray(wires, (10, 7)), WiredArray(wires, (10, 7))
        for turn, g in enumerate(path[:stop]):
            first.matrix(g, turn % 3 == 0)
        state = first.snapshot()
        assert all(isinstance(values, np.ndarray) for values in state.values())
        second.restore(state)
        for turn in range(stop, 12):
            np.testing.assert_array_equal(second.matrix(path[turn], turn % 3 == 0), expected[turn])


def test_a_netlist_is_deterministic_and_leaves_out_what_is_not_there():
    g = np.array([[1e-5, 0.0], [2e-5, 4e-5]])
    row = np.array([[1.0, 1.0], [np.inf, 1.0]])
    text = netlist(g, Wires(row_ohms=1.0, sense_ohms=3.0), np.array([0.1, 0.2]), "two by two", row_ohms=row)
    assert text == netlist(g, Wires(row_ohms=1.0, sense_ohms=3.0), np.array([0.1, 0.2]), "two by two", row_ohms=row)
    lines = text.splitlines()
    assert lines[0] == "two by two"
    assert "Vin1 in1 0 DC 0.2" in lines
    assert "Rrow0_0 in0 w0_0 1.0" in lines
    assert not [line for line in lines if line.startswith(("Rrow1_0 ", "Rdev0_1 "))]
    # Bit line 0 has no resistance but that of its sense amplifier: all its nodes are one.
    assert [line.split()[2] for line in lines if line.startswith("Rdev")] == ["b1_0", "b1_0", "b1_1"]
    assert "Rcol0_0 out0 b1_0 3.0" in lines
    assert lines[-1] == ".end"


def test_a_netlist_refuses_what_it_cannot_write():
    g = np.full((2, 3), 1e-5)
    with pytest.raises(ValueError, match="volts must be 2 finite numbers"):
        netlist(g, Wires(), np.ones(3))
    with pytest.raises(ValueError, match=r"sinh_volts = -1.0 is not allowed"):
        netlist(g, Wires(), np.ones(2), sinh_volts=-1.0)
    with pytest.raises(ValueError, match="title must be one line"):
        netlist(g, Wires(), np.ones(2), "two\nlines")
