"""Mean trajectories of populations against their closed forms, and the spread of their parameters."""

import numpy as np
import pytest

from analogpc.devices.arrays.array import Array
from analogpc.devices.device import Device
from analogpc.devices.presets import PRESETS
from analogpc.devices.responses import ConstantStep, LinearStep, SoftBounds, SoftBoundsReference
from analogpc.devices.responses.linear import LinearResponse
from analogpc.kernels.random.streams import Key

F64 = np.dtype("float64")
UP, DOWN = np.array([[1]], np.uint32), np.array([[0x80000001]], np.uint32)


def array(response, n):
    return Array(Device(name="t", response=response, g_min_siemens=0, g_max_siemens=1e-5), (1, n), Key(1), F64)


def trajectory(response, pulses, n=10_000):
    """Mean states of n devices that get the same pulses one after the other, and the standard errors of those means."""
    population = array(response, n)
    means, errors = [], []
    for step, word in enumerate(pulses):
        population.pulse(word, np.full((1, n), 1, np.uint32), False, Key(2), step)
        means.append(population.state.mean())
        errors.append(population.state.std() / np.sqrt(n))
    return np.array(means), np.array(errors)


def closed_form(step, slope, n, start=0.0):
    """w_n of w += step (1 + slope w): a geometric approach to -1/slope."""
    if slope == 0:
        return start + step * n
    return (start + 1 / slope) * (1 + step * slope) ** n - 1 / slope


LINEAR = {
    "constant step": (ConstantStep(dw_min=0.01, up_down=0.2, dw_min_std=0.5, w_max=5, w_min=-5), 0.0, 0.0),
    "linear step": (
        LinearStep(dw_min=0.01, up_down=-0.1, gamma_up=0.4, gamma_down=0.7, w_max=0.8, w_min=-1.0, dw_min_std=0.5),
        -0.5,
        0.7,
    ),
    "soft bounds, reference": (
        SoftBoundsReference(dw_min=0.01, w_max=0.8, w_min=-0.5, dw_min_std=0.5, subtract_symmetry_point=True),
        -1.25,
        2.0,
    ),
    "soft bounds": (SoftBounds(dw_min=0.01, w_max=0.8, w_min=-0.5, dw_min_std=0.5), -1.25, 2.0),
}


@pytest.mark.parametrize("mult_noise", [True, False])
@pytest.mark.parametrize("name", LINEAR)
def test_mean_trajectories_follow_the_closed_form(name, mult_noise):
    """10,000 devices, 60 pulses up and 60 down; every mean within 5 standard errors (false alarms below 1e-4 in all).

    With noise that multiplies, or adds far from the bounds, the mean of a linear response is the response of the mean.
    """
    response, slope_up, slope_down = LINEAR[name]
    response = response.but(mult_noise=mult_noise, dw_min_std=0.5 if mult_noise else 0.2)
    means, errors = trajectory(response, [UP] * 60 + [DOWN] * 60)
    n = np.arange(1, 61)
    up = response.dw_min * (1 + response.up_down)
    down = response.dw_min * (1 - response.up_down)
    rise = closed_form(up, slope_up, n)
    fall = closed_form(-down, slope_down, n, start=rise[-1])
    expected = np.concatenate([rise, fall])
    assert (np.abs(means - expected) <= 5 * errors + 1e-12).all()


def test_slopes_are_recovered_from_the_population():
    response = LinearStep(
        dw_min=0.01, gamma_up=0.4, gamma_down=0.6, gamma_up_dtod=0.05, gamma_down_dtod=0.08, w_max=1.2, w_min=-0.9
    )
    drawn = response.sample(Key(3), (100, 200), F64)
    n = 20_000
    for slopes, gamma, spread, bound in ((drawn["shape_up"], 0.4, 0.05, 1.2), (drawn["shape_down"], 0.6, 0.08, -0.9)):
        values = -slopes * bound
        assert abs(values.mean() - gamma) < 5 * spread / np.sqrt(n)
        assert abs(values.std() / spread - 1) < 5 / np.sqrt(2 * n)


@pytest.mark.parametrize("name", [name for name, device in PRESETS.items() if isinstance(device.response, LinearResponse)])
def test_no_mean_step_changes_its_sign_within_the_bounds(name):
    response = PRESETS[name].response
    drawn = response.sample(Key(4), (200, 300), F64)
    assert (1 + drawn["shape_up"] * drawn["high"] >= -1e-12).all()
    assert (1 + drawn["shape_down"] * drawn["low"] >= -1e-12).all()


@pytest.mark.parametrize("up_down", [-0.2, 0.0, 0.3])
def test_symmetry_point_is_where_both_steps_are_equal(up_down):
    """w* = (a - b) / (a / w_max - b / w_min) for soft bounds, reached from either side by alternating pulses."""
    response = SoftBounds(dw_min=0.004, up_down=up_down, w_max=1.0, w_min=-0.7)
    a, b = 0.004 * (1 + up_down), 0.004 * (1 - up_down)
    expected = (a - b) / (a / 1.0 + b / 0.7)
    for start in (-0.6, 0.9):
        population = array(response, 1)
        population.program(np.full((1, 1), start))
        words = np.tile(np.concatenate([UP, DOWN]), (3000, 1))
        population.pulse(words, np.ones((6000, 1), np.uint32), False, Key(0), 0)
        assert population.state[0, 0] == pytest.approx(expected, abs=0.005)
