"""Ageing of arrays and matrices: drift, leak, temperature and compensation."""

import numpy as np
import pytest

from analogpc.devices.arrays.array import Array
from analogpc.devices.crossbars.builder import make_matrix
from analogpc.devices.device import Device
from analogpc.devices.nonidealities import ConstantExponent, Flicker, PowerLawDrift, RelativeNoise, Retention, Telegraph, Thermal
from analogpc.devices.presets import preset
from analogpc.devices.responses import ConstantStep, Programmable
from analogpc.devices.substrate import Analog
from analogpc.kernels.random.streams import Key

F64 = np.dtype("float64")
DRIFT = PowerLawDrift(t0_seconds=20.0, exponent=ConstantExponent(mean=0.06))


def device(response=None, **fields):
    response = response or Programmable(overshoot=0.5)
    return Device(name="t", response=response, g_min_siemens=0.0, g_max_siemens=37.5e-6, **fields)


def programmed(one, state=0.5, n=20_000, seed=0):
    array = Array(one, (1, n), Key(seed), F64)
    array.program(np.full((1, n), state))
    return array


def test_programming_errors_stay_and_follow_the_model():
    array = programmed(preset("pcm-inference"), 0.4)
    g, sigma = array.device.conductance(array.state) * 1e6, 0.26348 + 1.9650 * 0.4 - 1.1731 * 0.16
    n = g.size
    assert abs(g.mean() - 10) < 5 * sigma / np.sqrt(n)
    assert abs(g.std() / sigma - 1) < 5 / np.sqrt(2 * n)
    # A read at once sees the first-read state: no drift yet, 20 s worth of 1/f noise.
    q, seen = 0.0088 / 0.4**0.65, array.conductance() * 1e6
    relative = (seen - g) / g
    expected = q * np.sqrt(np.log((20 + 250e-9) / 500e-9))
    assert abs(relative.std() / expected - 1) < 0.05


def test_drift_counts_from_the_last_write_of_each_device():
    """A pulse finds the drifted state, and starts the clock of the devices that it reaches."""
    array = programmed(device(ConstantStep(dw_min=0.01, w_min=0.0, w_max=1.5), drift=DRIFT), 0.8, 4)
    start = array.conductance().copy()
    array.elapse(1000.0)
    drifted = start * 51.0**-0.06
    np.testing.assert_allclose(array.conductance(), drifted, rtol=1e-12)
    array.pulse_each(np.array([[1, 0, 0, 0]], np.int32), Key(0), 0)
    np.testing.assert_allclose(array.conductance()[0, 0], drifted[0, 0] + 0.01 * 25e-6, rtol=1e-12)
    np.testing.assert_allclose(array.conductance()[0, 1:], drifted[0, 1:], rtol=1e-12)
    array.elapse(500.0)
    np.testing.assert_allclose(array.conductance()[0, 0], (drifted[0, 0] + 0.25e-6) * 26.0**-0.06, rtol=1e-12)
    np.testing.assert_allclose(array.conductance()[0, 1:], start[0, 1:] * 76.0**-0.06, rtol=1e-12)
    words = np.array([[0, 1, 0, 0]], np.uint32)
    array.pulse(np.ones((1, 1), np.uint32), words, False, Key(0), 0)
    np.testing.assert_allclose(array.conductance()[0, 2:], start[0, 2:] * 76.0**-0.06, rtol=1e-12)


def test_pieces_of_time_add_up():
    whole, parts = programmed(device(drift=DRIFT)), programmed(device(drift=DRIFT))
    whole.elapse(3600.0)
    for _ in range(36):
        parts.elapse(100.0)
    np.testing.assert_allclose(parts.conductance(), whole.conductance(), rtol=1e-12)


def test_heat_speeds_up_retention_loss_only_while_it_lasts():
    retention = Retention(lifetime_seconds=1e5, activation_ev=0.6, reference_kelvin=300.0)
    array = programmed(device(drift=retention), 0.8, 3)
    start = array.conductance().copy()
    factor = retention.acceleration(350.0)
    array.warm(350.0)
    array.elapse(100.0)
    array.warm(300.0)
    np.testing.assert_allclose(array.conductance(), start * np.exp(-100 * factor / 1e5), rtol=1e-12)
    array.elapse(1000.0)
    np.testing.assert_allclose(array.conductance(), start * np.exp(-(100 * factor + 1000) / 1e5), rtol=1e-12)


def test_temperature_changes_what_is_read_not_what_is_stored():
    array = programmed(device(thermal=Thermal(activation_ev=0.1)), 0.3, 5)
    cold = array.conductance().copy()
    array.warm(330.0)
    expected = cold * np.exp(-0.1 / 8.617333262e-5 * (1 / 330 - 1 / 300))
    np.testing.assert_allclose(array.conductance(), expected, rtol=1e-12)
    array.warm(300.0)
    np.testing.assert_allclose(array.conductance(), cold, rtol=1e-12)


def test_a_spectrum_of_reads_falls_as_one_over_f():
    """Reads of 400 devices every second for 2048 s, after a long rest: slope of the mean periodogram -1 within 0.1.

    Reads last 0.1 s, so that the fastest modes are near the sampling rate and little is folded into the band below a tenth of it.
    """
    array = programmed(device(flicker=Flicker(amplitude=0.01, read_seconds=0.1, modes_per_decade=2)), 0.5, 400)
    array.elapse(1e6)
    trace = np.empty((2048, 400))
    for step in range(2048):
        array.elapse(1.0)
        trace[step] = array.conductance()[0]
    trace -= trace.mean(axis=0)
    power = (np.abs(np.fft.rfft(trace * np.hanning(2048)[:, None], axis=0)) ** 2).mean(axis=1)
    frequencies = np.fft.rfftfreq(2048, 1.0)
    band = slice(4, 60)
    slope = np.polyfit(np.log(frequencies[band]), np.log(power[band]), 1)[0]
    assert slope == pytest.approx(-1.0, abs=0.1)


def test_slow_noise_goes_on_to_the_same_bits():
    one = device(flicker=Flicker(amplitude=0.01), telegraph=Telegraph(probability=0.3), drift=preset("pcm-inference").drift)
    array = programmed(one, 0.5, 50)
    array.elapse(10.0)
    twin = Array(one, (1, 50), Key(77), F64)
    twin.restore(array.snapshot())
    copied = array.copy()
    for other in (array, twin, copied):
        other.elapse(5.0)
        other.shift(np.full((1, 50), 0.01))
        other.elapse(50.0)
    np.testing.assert_array_equal(array.conductance(), twin.conductance())
    np.testing.assert_array_equal(array.conductance(), copied.conductance())


def test_white_noise_of_devices_is_that_of_the_output(rng):
    """Output variance sum_j (sigma_ij x_j)^2 scale^2, fresh for every vector; 5 standard errors per output, both directions."""
    one = device(read_noise=RelativeNoise(relative=0.1))
    w, n = rng.normal(size=(3, 10)), 20_000
    matrix = make_matrix(Analog.ideal(device=one, read_seconds=4e-7), w, Key(0))
    scale = matrix.scales[0, 0] / one.siemens_per_state
    squares = sum((0.1 / 2 * g * scale) ** 2 for tile in matrix.tiles() for g in tile.conductances.values())
    for read, size, variances in ((matrix.forward, 10, squares), (matrix.backward, 3, squares.T)):
        x = rng.normal(size=size)
        outputs = read(np.repeat(x[None], n, 0))
        expected = x**2 @ variances
        assert (np.abs(outputs.var(axis=0) / expected - 1) < 5 * np.sqrt(2 / n)).all()
        exact = x @ (matrix.weights().T if size == 10 else matrix.weights())
        assert (np.abs(outputs.mean(axis=0) - exact) < 5 * np.sqrt(expected / n)).all()


@pytest.mark.parametrize("compensated", [False, True])
def test_global_drift_compensation_restores_the_mean(compensated, rng):
    """With one exponent for all devices the loss is a factor, and compensation takes it back to rounding."""
    matrix = make_matrix(
        Analog.ideal(device=device(drift=DRIFT), drift_compensation=compensated), rng.normal(size=(6, 8)), Key(0)
    )
    x, before = rng.normal(size=(4, 8)), None
    before = matrix.forward(x)
    for seconds in (100.0, 1e4, 1e6):
        matrix.elapse(seconds)
    factor = 1.0 if compensated else ((100 + 1e4 + 1e6 + 20) / 20) ** -0.06
    np.testing.assert_allclose(matrix.forward(x), factor * before, rtol=1e-9)
    np.testing.assert_allclose(matrix.weights() @ x.T, factor * before.T, rtol=1e-9)


def test_compensation_helps_devices_with_exponents_of_their_own(rng):
    w, x = rng.normal(size=(40, 60)), rng.normal(size=(50, 60))
    errors = {}
    for compensated in (False, True):
        matrix = make_matrix(Analog.ideal(device="pcm-inference", drift_compensation=compensated), w, Key(0))
        matrix.elapse(30 * 86400.0)
        errors[compensated] = np.linalg.norm(matrix.forward(x) - x @ w.T) / np.linalg.norm(x @ w.T)
    assert errors[True] < 0.6 * errors[False]


def test_leaking_devices_leak_once_in_every_update_cycle():
    leaky = Device(
        name="t", response=ConstantStep(dw_min=1e-3, lifetime=100.0, cycle_seconds=0.5), g_min_siemens=0, g_max_siemens=1e-5
    )
    w = np.array([[0.5, -0.25]])
    matrix = make_matrix(Analog.ideal(device=leaky), w, Key(0))
    for _ in range(10):
        matrix.learn([(np.zeros((1, 2)), np.zeros((1, 1)))], 1.0)
    np.testing.assert_allclose(matrix.weights(), w * 0.99**10, rtol=1e-12)
    matrix.elapse(5.0)
    np.testing.assert_allclose(matrix.weights(), w * 0.99**20, rtol=1e-12)


def test_finite_levels_are_the_nearest():
    one = device(Programmable(), levels={"count": 5})
    array = Array(one, (1, 9), Key(0), F64)
    array.program(np.linspace(0, 1, 9)[None])
    np.testing.assert_allclose(np.unique(array.state), [0, 0.25, 0.5, 0.75, 1.0], atol=1e-12)


def test_ideal_devices_have_no_physics():
    with pytest.raises(ValueError, match="drift needs a device with limits"):
        preset("ideal").but(drift=DRIFT)


def test_after_compensation_logical_changes_are_still_what_was_asked_for(rng):
    """The gain belongs to the weights: increments, pulses and programming know it."""
    w = rng.normal(size=(6, 8))
    matrix = make_matrix(Analog.ideal(device=device(drift=DRIFT), drift_compensation=True), w, Key(0))
    matrix.elapse(1e5)
    assert matrix.gain > 1.5
    before, change = matrix.weights(), -0.05 * w
    matrix.increment(change)
    np.testing.assert_allclose(matrix.weights(), before + change, rtol=1e-9)
    matrix.program(w)
    assert matrix.gain == 1
    np.testing.assert_allclose(matrix.weights(), w, rtol=1e-9)
    pulsed = device(ConstantStep(dw_min=1e-4, w_min=-1.0, w_max=1.0), drift=DRIFT)
    matrix = make_matrix(Analog.ideal(device=pulsed, drift_compensation=True), w, Key(0))
    matrix.elapse(1e5)
    before, pre, post = matrix.weights(), np.ones((400, 8)), np.ones((400, 6))
    rate = 0.5 * matrix.granularity
    matrix.learn([(pre, post)], rate)
    moved = matrix.weights() - before
    assert abs(moved.mean() / (400 * rate) - 1) < 0.05


def test_exact_changes_start_from_what_has_drifted():
    """A unipolar pair shares its weight anew at every exact write: what it starts from are the drifted states."""
    matrix = make_matrix(Analog.ideal(device=device(drift=DRIFT), scheme={"kind": "ideal"}), np.array([[0.5, -0.3]]), Key(0))
    matrix.elapse(1e6)
    before = matrix.weights()
    matrix.increment(np.array([[0.1, 0.1]]))
    np.testing.assert_allclose(matrix.weights(), before + 0.1, rtol=1e-9)
