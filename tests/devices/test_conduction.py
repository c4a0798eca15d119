"""Current-voltage curves and temperature: matrix form against element form, slopes against differences."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from analogpc.devices.nonidealities import Conduction, Cubic, MiloRRAM, Ohmic, Sinh, Thermal
from analogpc.devices.specification import SpecificationError
from analogpc.kernels.random.streams import Key, normals

CURVES = {"ohmic": Ohmic(), "sinh": Sinh(scale_volts=0.3), "cubic": Cubic(), "milo": MiloRRAM()}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CURVES)
def test_bit_line_currents_are_sums_of_matrix_products(name, dtype, rng):
    curve = CURVES[name]
    g = rng.uniform(0, 250e-6, (6, 4)).astype(dtype)
    v = rng.uniform(-0.5, 0.5, (5, 6)).astype(dtype)
    lines = sum(function(v) @ matrix for matrix, function in curve.terms(g))
    assert lines.dtype == dtype
    for matrix, function in curve.terms(g):
        assert matrix.dtype == function(v).dtype == dtype
        assert matrix.shape == g.shape
    devices = curve.current(g[None], v[:, :, None])
    assert devices.dtype == dtype
    np.testing.assert_allclose(lines, devices.sum(axis=1), rtol=1e-4 if dtype == np.float32 else 1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CURVES)
def test_slopes_are_derivatives(name, rng):
    curve = CURVES[name]
    g, v, h = rng.uniform(0, 250e-6, 200), rng.uniform(-0.5, 0.5, 200), 1e-4
    difference = (curve.current(g, v + h) - curve.current(g, v - h)) / (2 * h)
    np.testing.assert_allclose(curve.slope(g, v), difference, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(curve.slope(g, np.zeros(200)), g, rtol=1e-12)
    assert (curve.current(g, np.zeros(200)) == 0).all()
    assert curve.linear == (name == "ohmic")


@pytest.mark.parametrize("name", CURVES)
def test_scalars_and_any_shape(name):
    for shape in ((), (3,), (2, 3, 4)):
        g, v = np.full(shape, 8e-5, np.float32), np.full(shape, 0.2, np.float32)
        for found in (CURVES[name].current(g, v), CURVES[name].slope(g, v)):
            assert found.dtype == np.float32
            assert found.shape == shape


def test_curves_at_the_voltages_that_they_are_for():
    """Odd and superlinear (sinh); with current in the direction of the voltage and growing with it (all, where they hold)."""
    v = np.linspace(-0.5, 0.5, 101)
    for curve in (Ohmic(), Sinh(scale_volts=0.2), Cubic(), MiloRRAM()):
        for g in (1e-9, 1e-6, 50e-6, 62.5e-6, 110e-6, 225e-6, 400e-6):
            assert (np.diff(curve.current(np.full(101, g), v)) > 0).all()
    sinh = Sinh(scale_volts=0.2).current(np.full(101, 1e-5), v)
    np.testing.assert_allclose(sinh, -sinh[::-1], rtol=1e-12)
    assert (np.abs(sinh) >= np.abs(1e-5 * v)).all()
    np.testing.assert_allclose(Sinh(scale_volts=1e6).current(np.full(101, 1e-5), v), 1e-5 * v, rtol=1e-9)


def test_milo_outside_of_its_range():
    """No conductance, no current; below 50 uS the same shape of curve, and nothing jumps at the ends of the range."""
    curve, v = MiloRRAM(), np.full(1, 0.4)
    assert curve.current(np.zeros(1), v)[0] == 0
    full = curve.current(np.full(1, 50e-6), v)[0]
    assert curve.current(np.full(1, 5e-6), v)[0] == pytest.approx(full / 10, rel=1e-12)
    for end in (50e-6, 225e-6):
        below, above = (curve.current(np.full(1, end * (1 + d)), v)[0] for d in (-1e-9, 1e-9))
        assert below == pytest.approx(above, rel=1e-8)


@given(activation=st.floats(-1, 1), spread=st.floats(0, 0.5), kelvin=st.floats(200, 500), xi=st.floats(-4, 4))
@settings(max_examples=50, deadline=None)
def test_temperature(activation, spread, kelvin, xi):
    thermal = Thermal(activation_ev=activation, activation_ev_dtod=spread, reference_kelvin=320.0)
    numbers = np.full((2, 2), xi, np.float32)
    factor = thermal.factor(kelvin, numbers)
    assert factor.dtype == np.float32
    energy = activation + spread * np.float32(xi)
    expected = math.exp(-energy / 8.617333262e-5 * (1 / kelvin - 1 / 320.0))
    np.testing.assert_allclose(factor, expected, rtol=1e-4)
    np.testing.assert_array_equal(thermal.factor(320.0, numbers), 1)
    assert Thermal.from_toml(thermal.to_toml()) == thermal
    assert thermal.active == (activation != 0 or spread > 0)
    assert thermal.draws == (spread > 0)


def test_activation_energies_are_recovered_from_two_temperatures():
    """20,000 devices at 300 K and 360 K; mean and spread of the energies within 5 standard errors."""
    n = 20_000
    thermal = Thermal(activation_ev=0.05, activation_ev_dtod=0.01)
    factor = thermal.factor(360.0, normals(Key(1), 0, n, np.float64))
    energies = -8.617333262e-5 * np.log(factor) / (1 / 360.0 - 1 / 300.0)
    assert abs(energies.mean() - 0.05) < 5 * 0.01 / math.sqrt(n)
    assert abs(energies.std() / 0.01 - 1) < 5 / math.sqrt(2 * n)
    for kelvin in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match=r"kelvin = .* is not allowed"):
            thermal.factor(kelvin, np.zeros(1))


@pytest.mark.parametrize("name", CURVES)
def test_specifications_survive_toml_and_the_union(name):
    curve = CURVES[name]
    assert type(curve).from_toml(curve.to_toml()) == curve
    assert TypeAdapter(Conduction).validate_python(curve.to_dict()) == curve


REFUSALS = [
    (lambda: Sinh(scale_volts=0.0), "scale_volts = 0.0 is not allowed"),
    (lambda: Sinh(scale_volts=math.inf), "scale_volts = inf is not allowed"),
    (lambda: Cubic(per_square_volt=-0.1), "per_square_volt = -0.1 is not allowed"),
    (lambda: Thermal(activation_ev=math.nan), "activation_ev = nan is not allowed"),
    (lambda: Thermal(activation_ev_dtod=-1.0), "activation_ev_dtod = -1.0 is not allowed"),
    (lambda: Thermal(reference_kelvin=0.0), "reference_kelvin = 0.0 is not allowed"),
]


@pytest.mark.parametrize(("make", "sentence"), REFUSALS)
def test_bad_values_are_refused(make, sentence):
    with pytest.raises(SpecificationError) as refusal:
        make()
    assert sentence in str(refusal.value)
