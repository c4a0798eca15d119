"""`Crossbar`: substrates, conductances, ageing, errors by source, files."""

import h5py
import numpy as np
import pytest

import analogpc as apc
from analogpc.devices.nonidealities import Faults


@pytest.fixture
def weights(rng):
    return rng.normal(size=(20, 30))


@pytest.fixture
def x(rng):
    return rng.normal(size=(30, 40))


def off(a, x, exact):
    return np.linalg.norm(a @ x - exact) / np.linalg.norm(exact)


def test_a_whole_substrate_is_taken_and_reading_needs_no_headroom(weights):
    substrate = apc.Analog(device="idealized", rows=16, adc_bits=8)
    a = apc.Crossbar(weights, substrate)
    assert a.matrix.substrate.rows == 16
    assert a.matrix.substrate.mapping.headroom == 1
    assert apc.Crossbar(weights, "idealized", mapping={"headroom": 3.0}).matrix.substrate.mapping.headroom == 3
    g = a.conductances()
    device = a.matrix.substrate.device
    difference = device.state(g["plus"]) - device.state(g["minus"])
    np.testing.assert_allclose(difference.T * (a.weights() / difference.T).mean(), a.weights(), rtol=1e-6)


def test_conductances_come_back_as_they_were_given(rng):
    device = apc.preset("pcm-inference").but(programming={"kind": "exact"}, drift={"kind": "none"}, read_noise={"kind": "none"})
    device = device.but(flicker=apc.preset("idealized").flicker)
    low, high = device.g_min_siemens, device.nominal_siemens[1]
    plus, minus = rng.uniform(low, high, (2, 12, 7))
    clean = {"dac_bits": np.inf, "adc_bits": np.inf, "read_noise": 0.0, "dac": {"bound": np.inf}, "adc": {"bound": np.inf}}
    a = apc.Crossbar.from_siemens(plus, minus, device, **clean)
    found = a.conductances()
    np.testing.assert_allclose(found["plus"], plus, rtol=1e-12)
    np.testing.assert_allclose(found["minus"], minus, rtol=1e-12)
    volts = rng.normal(size=12)
    np.testing.assert_allclose(a @ volts, (plus - minus).T @ volts, rtol=1e-10)
    with pytest.raises(ValueError, match="outside the window"):
        apc.Crossbar.from_siemens(10 * plus, minus, device)


def test_errors_by_source_are_those_of_crossbars_built_without_them(weights, x):
    faulty = apc.preset("pcm-inference").but(faults=Faults(stuck_low=0.05))
    a = apc.Crossbar(weights, faulty, rows=16, columns=16, adc_bits=6, wire_ohms=2.0, seed=3)
    report = a.error_report(x)
    exact = weights @ x
    assert report.total == pytest.approx(
        off(apc.Crossbar(weights, faulty, rows=16, columns=16, adc_bits=6, wire_ohms=2.0, seed=3), x, exact)
    )
    unwired = apc.Crossbar(weights, faulty, rows=16, columns=16, adc_bits=6, seed=3)
    assert report.without["wires"] == pytest.approx(off(unwired, x, exact))
    sound = apc.Crossbar(weights, faulty.but(faults=Faults()), rows=16, columns=16, adc_bits=6, wire_ohms=2.0, seed=3)
    assert report.without["faults"] == pytest.approx(off(sound, x, exact))
    assert report.without["faults"] < report.total
    assert sum(report.shares.values()) == pytest.approx(1)
    assert report.remaining["converters"] < 1e-6
    before = report.total
    a.elapse(30 * 86400)
    assert a.error_report(x).total > before
    assert a.stuck().mean() == pytest.approx(1 - 0.95**2, abs=0.04)  # 600 pairs: 3 standard deviations
    assert "faults" in repr(report)
    transposed = a.T.error_report(weights @ x)
    assert transposed.total == pytest.approx(off_transposed(a, weights, x), rel=0.3)


def off_transposed(a, weights, x):
    y = weights @ x
    return np.linalg.norm(a.T @ y - weights.T @ y) / np.linalg.norm(weights.T @ y)


def test_crossbars_are_exported_and_drawn(weights, tmp_path):
    a = apc.Crossbar(weights, "pcm-inference", rows=16, columns=16, wire_ohms=1.0)
    a.export(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        tile = file["matrices/matrix/tiles/0/conductances/plus"]
        np.testing.assert_array_equal(tile[...], a.conductances()["plus"][:16, :16])
    a.spice(tmp_path / "a.cir", "1/minus")
    assert (tmp_path / "a.cir").read_text().count("Rdev") == np.count_nonzero(a.conductances()["minus"][:16, 16:20])
    with pytest.raises(ValueError, match=r"no array '9/plus'"):
        a.netlist("9/plus")
    with pytest.raises(ValueError, match="time passes forwards"):
        a.elapse(-1)
    assert len(a.plot().axes) >= 2
    assert "pcm-inference" in a._repr_html_()
