"""Populations of devices: spreads, limits and operations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.devices.arrays.array import Array
from analogpc.devices.device import Device
from analogpc.devices.presets import preset
from analogpc.devices.responses import ConstantStep, SoftBounds
from analogpc.kernels.pulses.trains import trains
from analogpc.kernels.random.streams import Key

F64 = np.dtype("float64")


def device(response, low=1e-6, high=5e-5):
    return Device(name="test", response=response, g_min_siemens=low, g_max_siemens=high)


def within(sample, mean, std):
    """Mean and deviation of a normal population: five standard errors each, false alarms below 1e-6."""
    n = sample.size
    assert abs(sample.mean() - mean) < 5 * std / np.sqrt(n) + 1e-12
    assert abs(sample.std() - std) < 5 * std / np.sqrt(2 * n) + 1e-12


def test_spreads_are_recovered_from_the_population():
    """Spreads small enough that neither the sign rule nor the window cuts the normal distributions noticeably."""
    response = ConstantStep(
        dw_min=0.01, up_down=0.2, w_max=0.9, w_min=-0.7, dw_min_dtod=0.1, up_down_dtod=0.05, w_max_dtod=0.2, w_min_dtod=0.1
    )
    drawn = response.sample(Key(0), (300, 400), F64)
    size = (drawn["up"] + drawn["down"]) / 2 / 0.01
    beta = (drawn["up"] - drawn["down"]) / 2 / 0.01
    within(size, 1, 0.1)
    within(beta, 0.2, 0.05)
    # The window cuts at three deviations: 0.135 % of the devices on the outer side, which lowers the deviation by less than 1 %.
    assert drawn["high"].std() == pytest.approx(0.18, rel=0.01)
    assert drawn["low"].std() == pytest.approx(0.07, rel=0.01)
    assert drawn["high"].mean() == pytest.approx(0.9, rel=0.005)
    assert abs(np.corrcoef(drawn["high"].ravel(), size.ravel())[0, 1]) < 5 / np.sqrt(size.size)


@pytest.mark.parametrize("name", ["idealized", "reram-sb"])
def test_steps_and_bounds_are_consistent(name):
    response = preset(name).response
    drawn = response.sample(Key(1), (500, 500), F64)
    low, high = response.window
    assert (drawn["up"] >= 0).all()
    assert (drawn["down"] >= 0).all()
    assert (drawn["high"] >= 0).all()
    assert (drawn["low"] <= 0).all()
    assert drawn["high"].max() <= high
    assert drawn["low"].min() >= low


def test_a_device_is_drawn_from_its_place_whatever_the_type():
    a = preset("reram-sb").response.sample(Key(2), (8, 9), F64)
    b = preset("reram-sb").response.sample(Key(2), (8, 9), np.dtype("float32"))
    for name, values in a.items():
        np.testing.assert_array_equal(values.astype(np.float32), b[name])


def test_conductance_and_state_are_inverse_and_the_window_is_met():
    d = preset("reram-sb")
    low, high = d.response.window
    g = d.conductance(np.array([low, 0.0, high]))
    assert g[0] == pytest.approx(d.g_min_siemens)
    assert g[2] == pytest.approx(d.g_max_siemens)
    np.testing.assert_allclose(d.state(g), [low, 0, high], atol=1e-12)


def test_currents_follow_ohm_and_kirchhoff(rng):
    array = Array(preset("idealized"), (7, 5), Key(0), F64)
    array.program(rng.uniform(-0.5, 0.5, (7, 5)))
    volts, g = rng.uniform(-0.2, 0.2, (3, 7)), array.conductance()
    expected = [[sum(volts[n, j] * g[j, i] for j in range(7)) for i in range(5)] for n in range(3)]
    np.testing.assert_allclose(array.read(volts), expected, rtol=1e-12)
    np.testing.assert_allclose(array.read_transposed(volts[:, :5]), volts[:, :5] @ g.T, rtol=1e-12)


@given(seed=st.integers(0, 10**6), name=st.sampled_from(["idealized", "reram-sb"]), dtype=st.sampled_from(["float32", "float64"]))
@settings(max_examples=40, deadline=None)
def test_conductances_never_leave_their_limits(seed, name, dtype):
    """Whatever is programmed, shifted or pulsed: states within the bounds of each device, conductances within the window."""
    rng = np.random.default_rng(seed)
    d = preset(name)
    array = Array(d, (6, 8), Key(seed), np.dtype(dtype))
    for step in range(6):
        action = rng.integers(3)
        if action == 0:
            array.program(rng.normal(scale=2, size=(6, 8)).astype(dtype))
        elif action == 1:
            array.shift(rng.normal(scale=1, size=(6, 8)).astype(dtype))
        else:
            lengths = np.full(4, 31)
            rows, _ = trains(rng.normal(size=(4, 6)), np.ones(4), lengths, Key(1), 4 * step)
            columns, _ = trains(rng.normal(size=(4, 8)), np.ones(4), lengths, Key(2), 4 * step)
            array.pulse(rows, columns, False, Key(3), 4 * step)
        assert (array.state >= array.parameters["low"]).all()
        assert (array.state <= array.parameters["high"]).all()
        g = array.conductance()
        ulp = 4 * np.finfo(dtype).eps * d.g_max_siemens
        assert g.min() >= d.g_min_siemens - ulp
        assert g.max() <= d.g_max_siemens + ulp


def test_stuck_devices_are_as_many_as_stated_and_never_move():
    """The count of stuck devices is binomial; a two-sided test at 1e-6."""
    from scipy.stats import binomtest

    array = Array(device(SoftBounds(dw_min=0.01, corrupt_prob=0.05)), (200, 200), Key(5), F64)
    stuck = array.stuck
    assert binomtest(int(stuck.sum()), stuck.size, 0.05).pvalue > 1e-6
    array.program(np.zeros((200, 200)))
    before = array.state[stuck].copy()
    words = np.full((3, 200), 0x7FFFFFFF, np.uint32)
    array.pulse(words, words, False, Key(0), 0)
    array.shift(np.ones((200, 200)))
    np.testing.assert_array_equal(array.state[stuck], before)
    np.testing.assert_array_equal(array.stuck, stuck)
    assert (array.state[~stuck] != 0).all()


def test_write_noise_is_drawn_anew_only_where_a_device_was_written():
    noisy = device(ConstantStep(dw_min=0.001, w_max=5, w_min=-5, write_noise_std=50.0))
    array = Array(noisy, (100, 100), Key(7), F64)
    array.program(np.zeros((100, 100)))
    within(array.apparent - array.state, 0, 0.05)
    before = array.apparent.copy()
    np.testing.assert_array_equal(array.apparent, before)
    row = np.zeros((1, 100), np.uint32)
    row[0, :50] = 1
    array.pulse(row, np.ones((1, 100), np.uint32), False, Key(0), 0)
    np.testing.assert_array_equal(array.apparent[50:], before[50:])
    assert (array.apparent[:50] != before[:50]).all()
    within(array.apparent[:50] - array.state[:50], 0, 0.05)


def test_soft_bounds_drift_to_their_symmetry_point():
    """Alternating pulses bring w to (a - b) / (a / w_max - b / w_min), where the steps a up and b down are equal."""
    up_down, dw = 0.3, 0.01
    array = Array(device(SoftBounds(dw_min=dw, up_down=up_down, w_max=1.0, w_min=-0.6)), (1, 1), Key(0), F64)
    columns = np.tile(np.array([[1], [0x80000001]], np.uint32), (2000, 1))
    array.pulse(np.ones((4000, 1), np.uint32), columns, False, Key(0), 0)
    a, b = dw * (1 + up_down), dw * (1 - up_down)
    expected = (a - b) / (a / 1.0 + b / 0.6)
    assert array.state[0, 0] == pytest.approx(expected, abs=dw)


def test_time_does_not_run_backwards():
    array = Array(preset("ideal"), (2, 2), Key(0), F64)
    with pytest.raises(ValueError, match="seconds = -1"):
        array.elapse(-1)


def test_an_array_continues_from_its_dump_to_the_same_bits(rng):
    array = Array(preset("reram-sb"), (9, 9), Key(3), np.dtype("float32"))
    array.program(np.zeros((9, 9), np.float32))
    twin = Array(preset("reram-sb"), (9, 9), Key(99), np.dtype("float32"))
    twin.restore(array.snapshot())
    words = rng.integers(0, 2**32, (5, 9), dtype=np.uint32)
    for one in (array, twin):
        one.pulse(words, words, False, Key(4), 0)
    np.testing.assert_array_equal(array.state, twin.state)
    np.testing.assert_array_equal(array.apparent, twin.apparent)
