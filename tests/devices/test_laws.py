"""Populations under pulses: mean trajectories of every response, symmetry points, decay, diffusion and reset."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.devices.arrays.array import Array
from analogpc.devices.device import Device
from analogpc.devices.presets import PRESETS
from analogpc.devices.responses import (
    ConstantStep,
    ExponentialStep,
    LinearStep,
    PiecewiseStep,
    PowerStep,
    PulseResponse,
    SoftBounds,
    SoftBoundsReference,
)
from analogpc.devices.specification import SpecificationError
from analogpc.kernels.random.streams import Key

F64 = np.dtype("float64")


def population(response, n, low=0.0, seed=1):
    return Array(Device(name="t", response=response, g_min_siemens=low, g_max_siemens=1e-5), (1, n), Key(seed), F64)


def pulse_all(array, upward, step):
    array.pulse_each(np.full(array.state.shape, 1 if upward else -1, np.int32), Key(2), step)


EXPONENTIAL = ExponentialStep(dw_min=0.002, a=-0.5, b=-0.5, A_up=-1.2, A_down=-0.1, gamma_up=4.0, gamma_down=5.0, up_down=0.1)
NONLINEAR = {
    "exponential": EXPONENTIAL,
    "power": PowerStep(dw_min=0.01, pow_gamma=1.7, pow_up_down=0.2),
    "piecewise": PiecewiseStep(dw_min=0.01, nodes_up=(1.5, 1.0, 0.6, 0.5), nodes_down=(0.3, 0.5, 1.2, 1.4)),
}


def step_of(response, w, up):
    """The formulas of the documentation, for the mean device."""
    d = 1 if up else -1
    size = response.dw_min * (1 + d * response.up_down)
    low, high = response.w_min, response.w_max
    if isinstance(response, ExponentialStep):
        z = 2 * response.a * w / (high - low) + response.b
        amplitude, rate = (response.A_up, response.gamma_up) if up else (response.A_down, response.gamma_down)
        return d * size * np.maximum(0, 1 - amplitude * np.exp(d * rate * z))
    if isinstance(response, PowerStep):
        omega = (high - w) / (high - low)
        gamma = response.pow_gamma * (1 + d * response.pow_up_down)
        return d * size * (omega if up else 1 - omega) ** gamma
    nodes = response.nodes_up if up else response.nodes_down
    return d * size * np.interp(w, np.linspace(low, high, len(nodes)), nodes)


@pytest.mark.parametrize("name", NONLINEAR)
def test_the_mean_device_follows_its_formula(name):
    response = NONLINEAR[name]
    upward = [True] * 150 + [False] * 150
    w, expected = -0.8, []
    for up in upward:
        w = float(np.clip(w + step_of(response, w, up), response.w_min, response.w_max))
        expected.append(w)
    np.testing.assert_allclose(response.trajectory(-0.8, upward), expected, rtol=1e-10)


@pytest.mark.parametrize("name", NONLINEAR)
def test_mean_trajectories_follow_the_integrated_moments(name):
    """10,000 devices, 80 pulses up and 80 down with cycle-to-cycle noise.

    A nonlinear step carries the mean of a population as E[f(w)] = f(m) + f''(m) v / 2 + ..., with the variance v of the states
    integrated alongside; the means agree within 5 standard errors and the third-order rest (below 2e-4 here).
    """
    response, n = NONLINEAR[name].but(dw_min_std=0.3), 10_000
    array = population(response, n)
    array.program(np.full((1, n), -0.5))
    mean, variance, h = -0.5, 0.0, 1e-3
    for number, up in enumerate([True] * 80 + [False] * 80):
        pulse_all(array, up, number)
        here = step_of(response, mean, up)
        # Differences one-sided over a kink of the piecewise table would be no curvature; its mean is linear there on both sides.
        slope = (step_of(response, mean + h, up) - step_of(response, mean - h, up)) / (2 * h)
        curved = (
            0.0 if name == "piecewise" else (step_of(response, mean + h, up) - 2 * here + step_of(response, mean - h, up)) / h**2
        )
        spread = (response.dw_min_std * here) ** 2
        mean += here + curved * variance / 2
        variance = (1 + slope) ** 2 * variance + spread
        error = array.state.std() / np.sqrt(n)
        assert abs(array.state.mean() - mean) < 5 * error + 2e-4
    assert array.state.var() == pytest.approx(variance, rel=0.1)


def test_power_exponents_are_recovered():
    response = PowerStep(dw_min=0.01, pow_gamma=1.5, pow_gamma_dtod=0.1, pow_up_down=0.1, pow_up_down_dtod=0.05)
    drawn, n = response.sample(Key(3), (100, 200), F64), 20_000
    size = (drawn["shape_up"] + drawn["shape_down"]) / 3
    beta = (drawn["shape_up"] - drawn["shape_down"]) / 3
    for values, mean, std in ((size, 1.0, 0.1), (beta, 0.1, 0.05)):
        assert abs(values.mean() - mean) < 5 * std / np.sqrt(n)
        assert abs(values.std() / std - 1) < 5 / np.sqrt(2 * n)


def test_log_normal_steps_are_recovered():
    drawn, n = ConstantStep(dw_min=0.1, dw_min_dtod=0.7, dw_min_dtod_log_normal=True).sample(Key(4), (100, 200), F64), 20_000
    logs = np.log(drawn["up"] / 0.1)
    assert abs(logs.mean()) < 5 * 0.7 / np.sqrt(n)
    assert abs(logs.std() / 0.7 - 1) < 5 / np.sqrt(2 * n)


def symmetry_point(response):
    """Where both mean steps are equal, by bisection."""
    low, high = response.w_min, response.w_max
    for _ in range(60):
        middle = (low + high) / 2
        up, down = (response.trajectory(middle, [direction])[0] - middle for direction in (True, False))
        low, high = (middle, high) if up + down > 0 else (low, middle)
    return (low + high) / 2


@pytest.mark.parametrize("name", ["exponential", "power", "piecewise", "soft-bounds", "linear-step"])
def test_alternating_pulses_end_at_the_symmetry_point(name):
    others = {
        "soft-bounds": SoftBounds(dw_min=0.01, up_down=0.2, w_min=-0.7),
        "linear-step": LinearStep(dw_min=0.01, gamma_up=0.5, gamma_down=0.8, up_down=-0.1),
    }
    response = {**NONLINEAR, **others}[name]
    expected = symmetry_point(response)
    for start in (response.w_min + 0.05, response.w_max - 0.05):
        end = response.trajectory(start, [True, False] * 2500)[-1]
        assert end == pytest.approx(expected, abs=2 * response.dw_min)


def test_subtracting_the_symmetry_point_leaves_a_stable_zero():
    """Read as w - r: alternating pulses bring all devices of a spread population to zero, within a step of their own."""
    response = SoftBoundsReference(
        dw_min=0.01, up_down_dtod=0.2, w_max_dtod=0.2, w_min_dtod=0.2, dw_min_dtod=0.1, subtract_symmetry_point=True
    )
    array = population(response, 500)
    array.program(np.full((1, 500), 0.5))
    for step in range(3000):
        pulse_all(array, step % 2 == 0, step)
    largest = np.maximum(array.parameters["up"], array.parameters["down"])
    assert (np.abs(array.state - array.reference) < 1.5 * largest).all()


def test_soft_bounds_from_pulses_pass_the_measured_points():
    """p_max pulses take the device from the lowest to the highest state; in between lies the exponential."""
    response = SoftBounds.from_pulses(1000, 0.002, -0.8, 0.9)
    states = response.trajectory(-0.8, [True] * 1000)
    span = 1.7 / (1 - np.exp(-2))
    np.testing.assert_allclose(states, span * (1 - np.exp(-0.002 * np.arange(1, 1001))) - 0.8, atol=2e-3)
    assert states[-1] == pytest.approx(0.9, abs=2e-3)
    for fields in ({"pulses": 0, "rate": 0.1}, {"pulses": 10, "rate": -1}, {"pulses": 10, "rate": 0.1, "lowest": 0.1}):
        with pytest.raises(ValueError, match=r"must lie|not allowed|must have opposite signs"):
            SoftBounds.from_pulses(**fields)


def test_one_sided_pulses_only_raise():
    array = population(EXPONENTIAL, 4)
    words = np.array([[1, 1, 0x80000001, 0x80000001]], np.uint32)
    array.pulse(np.ones((1, 1), np.uint32), words, True, Key(0), 0)
    assert (array.state[0, :2] > 0).all()
    assert (array.state[0, 2:] == 0).all()


def test_decay_and_diffusion_are_an_exact_random_walk():
    """n cycles in one go or one by one: mean b + (w - b)(1 - 1/L)^n and variance rho^2 (1 - d^2n) / (1 - d^2), 5 standard errors."""
    response = ConstantStep(dw_min=0.01, lifetime=50.0, diffusion=0.01, reset=0.2, w_max=5, w_min=-5)
    n, cycles = 20_000, 37
    kept = (1 - 1 / 50) ** cycles
    variance = 0.01**2 * (1 - kept**2) / (1 - (1 - 1 / 50) ** 2)
    for parts in ([cycles], [1] * cycles, [10.5, 26.5]):
        array = population(response, n)
        array.program(np.full((1, n), 1.0))
        for part in parts:
            array.leak(part)
        assert abs(array.state.mean() - (0.2 + 0.8 * kept)) < 5 * np.sqrt(variance / n)
        assert abs(array.state.var() / variance - 1) < 5 * np.sqrt(2 / n)


def test_lifetimes_and_resets_differ_from_device_to_device():
    response = ConstantStep(
        dw_min=0.01, lifetime=1e4, lifetime_dtod=0.1, reset=0.1, reset_dtod=0.02, reset_std=0.01, w_max=5, w_min=-5
    )
    n = 20_000
    array = population(response, n)
    array.reset(np.ones((1, n), bool))
    once = array.state.copy()
    array.reset(np.ones((1, n), bool))
    # The mean of both holds the device, their difference the noise of a reset.
    for values, std in (
        ((once + array.state) / 2 - 0.1, np.hypot(0.02, 0.01 / np.sqrt(2))),
        (once - array.state, 0.01 * np.sqrt(2)),
    ):
        assert abs(values.mean()) < 5 * std / np.sqrt(n)
        assert abs(values.std() / std - 1) < 5 / np.sqrt(2 * n)
    lifetimes = 1 / array.parameters["decay"]
    assert abs(lifetimes.mean() / 1e4 - 1) < 5 * 0.1 / np.sqrt(n)
    assert abs(lifetimes.std() / 1e3 - 1) < 5 / np.sqrt(2 * n)


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "ideal"])
@given(seed=st.integers(0, 10**6), dtype=st.sampled_from(["float32", "float64"]))
@settings(max_examples=8, deadline=None)
def test_no_sequence_of_operations_leaves_the_limits_or_heals_a_fault(name, seed, dtype):
    """Programming, pulses, shifts, resets, decay and time, in any order, with faults of all kinds."""
    rng = np.random.default_rng(seed)
    faults = {
        "stuck_low": 0.1,
        "stuck_high": 0.1,
        "stuck_random": 0.1,
        "open_devices": 0.1,
        "dead_rows": 0.1,
        "dead_columns": 0.1,
    }
    device = PRESETS[name].but(faults=faults)
    shape = (6, 8)
    array = Array(device, shape, Key(seed), np.dtype(dtype))
    stuck, frozen = array.stuck.copy(), array.state.copy()
    fixed = array.parameters["low"] == array.parameters["high"]
    ulp = 4 * np.finfo(dtype).eps * device.g_max_siemens
    for step in range(8):
        # The first three are all that devices do which are programmed.
        action = rng.integers(6 if isinstance(device.response, PulseResponse) else 3)
        if action == 0:
            array.program(rng.normal(scale=2, size=shape).astype(dtype))
        elif action == 1:
            array.shift(rng.normal(size=shape).astype(dtype))
        elif action == 2:
            array.elapse(float(rng.exponential(1e6)))
        elif action == 3:
            array.pulse_each(rng.integers(-40, 40, shape).astype(np.int32), Key(seed), step)
        elif action == 4:
            array.reset(rng.random(shape) < 0.5)
        else:
            array.leak(float(rng.exponential(1e5)))
        assert (array.state >= array.parameters["low"]).all()
        assert (array.state <= array.parameters["high"]).all()
        g = array.conductance()
        open_devices = array.parameters["open"]
        assert np.abs(g[open_devices]).max(initial=0) <= ulp
        assert g[~open_devices].min(initial=1) >= (0.0 if device.ages else device.g_min_siemens) - ulp
        assert g.max() <= device.g_max_siemens + ulp
        np.testing.assert_array_equal(array.stuck, stuck)
        np.testing.assert_array_equal(array.state[fixed], frozen[fixed])


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"dw_min": 0.0}, "dw_min"),
        ({"dw_min": 0.1, "up_down": 1.0}, "up_down"),
        ({"dw_min": 0.1, "w_min": 0.5}, "w_min"),
        ({"dw_min": 0.1, "reset": 3.0}, "reset"),
        ({"dw_min": 0.1, "lifetime": 0.5}, "lifetime"),
        ({"dw_min": 0.1, "diffusion": -1.0}, "diffusion"),
        ({"dw_min": float("nan")}, "dw_min"),
        ({"dw_min": 0.1, "cycle_seconds": 0}, "cycle_seconds"),
    ],
)
def test_what_is_not_allowed_is_named(fields, named):
    with pytest.raises(SpecificationError, match=named):
        ConstantStep(**fields)


def test_piecewise_tables_must_match():
    with pytest.raises(SpecificationError, match="nodes_up has 2 factors and nodes_down 3"):
        PiecewiseStep(dw_min=0.1, nodes_up=(1, 1), nodes_down=(1, 1, 1))
    with pytest.raises(SpecificationError, match="nodes_up"):
        PiecewiseStep(dw_min=0.1, nodes_up=(1, -1), nodes_down=(1, 1))


def test_slopes_and_references_of_soft_bounds_are_recovered():
    """Slope spreads move the bounds: slope = step / bound; the reference has the stated mean and spread; 5 standard errors."""
    response = SoftBoundsReference(
        dw_min=0.01,
        w_max=1.0,
        w_min=-0.8,
        w_max_dtod=0.02,
        slope_up_dtod=0.005,
        slope_down_dtod=0.004,
        reference_mean=0.1,
        reference_std=0.05,
    )
    n = 40_000
    plain = response.but(slope_up_dtod=0.0, slope_down_dtod=0.0).sample(Key(6), (200, 200), F64)
    drawn = response.sample(Key(6), (200, 200), F64)
    up = (plain["high"] / drawn["high"]) - 1
    assert up.std() == pytest.approx(0.005, rel=0.03)
    np.testing.assert_allclose(drawn["shape_up"] * drawn["high"], -1)
    # The window cuts the bounds three deviations out, which lowers the deviation by less than 1 %.
    down = (plain["low"] / drawn["low"]) - 1
    assert down.std() == pytest.approx(0.004, rel=0.03)
    assert (drawn["low"] >= response.window[0]).all()
    assert abs(drawn["reference"].mean() - 0.1) < 5 * 0.05 / np.sqrt(n)
    assert abs(drawn["reference"].std() / 0.05 - 1) < 5 / np.sqrt(2 * n)
