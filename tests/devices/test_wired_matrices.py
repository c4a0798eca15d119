"""Matrices with wires: a whole matrix agrees with the kernels for single arrays."""

import numpy as np
import pytest

from analogpc.devices import Crossbar
from analogpc.devices.crossbars.builder import make_matrix
from analogpc.devices.device import Device
from analogpc.devices.mappings import DifferentialPair, OffsetColumn
from analogpc.devices.responses import ConstantStep, Programmable
from analogpc.devices.substrate import Analog
from analogpc.devices.wires.wired_array import Wires
from analogpc.kernels.random.streams import Key
from analogpc.kernels.wires.effective import effective_conductance, nonlinear_currents

DEVICE = Device(name="exact", response=ConstantStep(dw_min=1e-3), g_min_siemens=1e-6, g_max_siemens=1e-4)
WIRES = Wires(row_ohms=3.0, column_ohms=7.0, driver_ohms=100.0, sense_ohms=20.0)


def wired(device=DEVICE, wires=WIRES, rows=6, columns=5, seed=0, **fields):
    w = np.random.default_rng(seed).normal(size=(8, 11))
    return make_matrix(
        Analog.ideal(device=device, wires=wires, rows=rows, columns=columns, scheme={"kind": "ideal"}, **fields), w, Key(0)
    )


def by_tiles(matrix, transposed):
    """Compute the effective weights array by array and device by device."""
    n_out, n_in = matrix.shape
    total = np.zeros((n_in, n_out) if transposed else (n_out, n_in))
    factors = matrix.cells.factors
    for tile in matrix.tiles():
        for name, g in tile.conductances.items():
            effective = effective_conductance(g, transposed=transposed, **dict(WIRES.to_dict().items() - {("refresh", 0.0)}))
            place = (tile.rows, tile.columns) if transposed else (tile.columns, tile.rows)
            total[place] += factors[name] * effective
    return total * matrix.scales[0, 0] / matrix.substrate.device.siemens_per_state


@pytest.mark.parametrize(
    "mapping", [DifferentialPair(), DifferentialPair(minus="reference"), DifferentialPair(subtraction="digital")]
)
def test_reads_from_both_sides_are_those_of_the_effective_conductances(mapping, rng):
    matrix = wired(mapping=mapping)
    x, g = rng.normal(size=(4, 11)), rng.normal(size=(4, 8))
    np.testing.assert_allclose(matrix.forward(x), x @ by_tiles(matrix, False).T, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(matrix.backward(g), g @ by_tiles(matrix, True).T, rtol=1e-9, atol=1e-12)
    assert np.abs(matrix.forward(x) - x @ matrix.weights().T).max() > 0.01


def test_the_reference_column_is_a_line_of_the_same_array(rng):
    matrix = wired(mapping=OffsetColumn())
    x, expected = rng.normal(size=(4, 11)), np.zeros((4, 8))
    lines = {name: value for name, value in WIRES.to_dict().items() if name != "refresh"}
    for tile in matrix.tiles():
        whole = np.concatenate([tile.conductances["plus"], tile.conductances["reference"]], axis=1)
        effective = effective_conductance(whole, **lines)
        expected[:, tile.columns] += x[:, tile.rows] @ (effective[:-1] - effective[-1:]).T
    np.testing.assert_allclose(matrix.forward(x), expected * matrix.scales[0, 0] / DEVICE.siemens_per_state, rtol=1e-9)


def test_vanishing_wires_change_nothing(rng):
    x = rng.normal(size=(4, 11))
    faint = wired(wires=Wires(row_ohms=1e-9, column_ohms=1e-9))
    np.testing.assert_allclose(faint.forward(x), wired(wires=Wires()).forward(x), rtol=1e-7)


def test_curved_devices_behind_wires(rng):
    device = Device(
        name="t",
        response=Programmable(),
        g_min_siemens=1e-6,
        g_max_siemens=1e-4,
        conduction={"kind": "sinh", "scale_volts": 0.1},
    )
    matrix = wired(device=device, read_volts=0.3)
    lines = {name: value for name, value in WIRES.to_dict().items() if name != "refresh"}
    curve = (lambda v: 0.1 * np.sinh(v / 0.1), lambda v: np.cosh(v / 0.1))
    x, g = rng.uniform(-1, 1, (3, 11)), rng.uniform(-1, 1, (3, 8))
    forward, backward = np.zeros((3, 8)), np.zeros((3, 11))
    for tile in matrix.tiles():
        for name, factor in matrix.cells.factors.items():
            held = np.ascontiguousarray(tile.conductances[name])
            forward[:, tile.columns] += factor * nonlinear_currents(held, 0.3 * x[:, tile.rows], curve, **lines)
            backward[:, tile.rows] += factor * nonlinear_currents(held, 0.3 * g[:, tile.columns], curve, **lines, transposed=True)
    unit = matrix.scales[0, 0] / device.siemens_per_state / 0.3
    np.testing.assert_allclose(matrix.forward(x), forward * unit, rtol=1e-9)
    np.testing.assert_allclose(matrix.backward(g), backward * unit, rtol=1e-9)


def test_training_behind_wires_goes_on_to_the_same_bits(rng):
    """With corrections between exact solutions, the state holds what they start from."""
    substrate = Analog(device="idealized", wires=Wires(row_ohms=5.0, column_ohms=5.0, refresh=0.05), rows=6, columns=5)
    w = rng.normal(size=(8, 11))
    matrix, steps = make_matrix(substrate, w, Key(0)), []
    products = [(rng.normal(size=(3, 11)), rng.normal(size=(3, 8))) for _ in range(6)]
    x, g = rng.normal(size=(2, 11)), rng.normal(size=(2, 8))

    def go_on(one, part):
        for pre, post in part:
            one.learn([(pre, post)], 0.01)
            steps.append((one.forward(x), one.backward(g)))
        return steps[-1]

    go_on(matrix, products[:3])
    twin = make_matrix(substrate, np.zeros((8, 11)), Key(5))
    twin.restore(matrix.snapshot())
    copied = matrix.copy()
    one = go_on(matrix, products[3:])
    for other in (twin, copied):
        for a, b in zip(one, go_on(other, products[3:]), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_crossbar_takes_wires(rng):
    w, x = rng.normal(size=(20, 30)), rng.normal(size=30)
    plain = Crossbar(w, device="pcm", rows=16, columns=16, read_noise=0.0, adc_bits=None, dac_bits=None)
    lossy = Crossbar(w, device="pcm", rows=16, columns=16, read_noise=0.0, adc_bits=None, dac_bits=None, wire_ohms=50.0)
    assert np.linalg.norm(lossy @ x) < np.linalg.norm(plain @ x)
    assert (lossy.T @ w[:, 0]).shape == (30,)
