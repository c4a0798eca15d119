"""The numbers of devices are those that follow from their laws in closed form."""

import math

import numpy as np
import pytest

from analogpc.devices.arrays.array import Array
from analogpc.devices.device import Device
from analogpc.devices.device_numbers import device_numbers, slow_deviation
from analogpc.devices.nonidealities import ConstantExponent, ConstantSpread, Levels, PowerLawDrift, Retention
from analogpc.devices.presets import PRESETS
from analogpc.devices.responses import ConstantStep, Programmable, SoftBounds
from analogpc.kernels.random.streams import Key
from analogpc.report.device_table import cells, duration


def made(response=None, **fields):
    window = {"g_min_siemens": 0.0, "g_max_siemens": 10e-6}
    return Device(name="made", response=response or Programmable(), **{**window, **fields})


def test_numbers_of_a_constant_step():
    reported = device_numbers(made(ConstantStep(dw_min=0.01, dw_min_std=0.3, write_noise_std=4)))
    assert reported.states == pytest.approx(200)
    assert reported.pulses == 180
    assert reported.asymmetry == pytest.approx(0, abs=1e-12)
    assert reported.symmetric
    assert reported.symmetry_state is None
    assert reported.step_ctoc == pytest.approx(0.3)
    assert reported.write_noise == pytest.approx(0.02)
    uneven = device_numbers(made(ConstantStep(dw_min=0.01, up_down=0.2)))
    assert (uneven.asymmetry, uneven.asymmetry_mean) == pytest.approx((0.2, 0.2))
    assert (uneven.symmetric, uneven.symmetry_state) == (False, None)


@pytest.mark.parametrize("up_down", [-0.3, 0.0, 0.45])
def test_numbers_of_soft_bounds(up_down):
    response = SoftBounds(dw_min=0.004, up_down=up_down, w_max=1.2, w_min=-0.7, dw_min_std=2, mult_noise=False)
    device = made(response)
    reported = device_numbers(device)
    up, down = 0.004 * (1 + up_down), 0.004 * (1 - up_down)
    # Gokmen and Haensch, Front. Neurosci. 14:103 (2020).
    point = (up - down) / (up / 1.2 + down / 0.7)
    assert reported.symmetry_state == pytest.approx(point, abs=1e-9)
    assert reported.symmetry_siemens == pytest.approx(float(device.conductance(np.array(point))))
    assert reported.asymmetry == pytest.approx(up_down)
    assert reported.states == pytest.approx(1.9 / 0.004)
    assert reported.pulses == math.ceil(math.log(0.1) / math.log1p(-up / 1.2))
    assert reported.step_ctoc == pytest.approx(2)


def test_numbers_of_a_one_sided_device():
    reported = device_numbers(PRESETS["pcm"])
    # A_up = -27.235 at w = 0: the first step is dw (1 + 27.235).
    step = 0.01 * (1 + 27.235)
    assert reported.states == pytest.approx(2 / step)
    assert reported.asymmetry is None
    assert reported.step_ctoc == pytest.approx(0.6 * (1 + 0.042 / step))
    # Steps are equal where 27.235 exp(-2.5 w) = 2.235 exp(2.5 w).
    assert reported.symmetry_state == pytest.approx(math.log(27.235 / 2.235) / 5, abs=1e-9)


def test_a_device_that_stops_early_is_followed_to_where_it_leads():
    # Exponential steps upwards that vanish at w = 0: (1 - exp(2 w)) with its zero there.
    stopping = {
        "kind": "exponential-step",
        "dw_min": 0.01,
        "a": 1,
        "b": 0,
        "A_up": 1,
        "gamma_up": 2,
        "A_down": 0,
        "gamma_down": 1,
    }
    reported = device_numbers(made(stopping))
    response = made(stopping).response
    states = response.trajectory(-1.0, [True] * reported.pulses)
    assert states[-2] < -1 + 0.9 * 1 <= states[-1] + 2e-3


def test_levels_are_two_sigma_apart():
    spread = ConstantSpread(std_siemens=0.5e-6)
    assert device_numbers(made(programming=spread)).states == pytest.approx(10)
    assert device_numbers(made(programming=spread)).write_noise == pytest.approx(0.05)
    assert device_numbers(made(programming=spread, levels=Levels(count=4))).states == 4
    assert device_numbers(made(levels=Levels(positions=(0, 0.3, 1)))).states == 3
    assert device_numbers(made()).states == math.inf


def test_drift_per_decade_and_lifetime():
    law = PowerLawDrift(t0_seconds=20, exponent=ConstantExponent(mean=0.05))
    reported = device_numbers(made(drift=law))
    # The mean conductance is half of the range.
    expected = ((36000 / 20 + 1) ** -0.05 - (3600 / 20 + 1) ** -0.05) / 2
    assert reported.drift_mean == pytest.approx(expected)
    assert reported.drift_std == pytest.approx(0, abs=1e-12)
    assert reported.lifetime_seconds == math.inf
    assert device_numbers(made(drift=Retention(lifetime_seconds=1e5))).lifetime_seconds == 1e5
    leaking = ConstantStep(dw_min=0.01, lifetime=1e6, cycle_seconds=1e-3)
    assert device_numbers(made(leaking)).lifetime_seconds == pytest.approx(1000)
    spread = PowerLawDrift(t0_seconds=20, exponent=ConstantExponent(mean=0.05, std=0.01))
    # To first order in the exponent's deviation, d/dν of the above times 0.01; root mean square of g is sqrt(1/3) of the range.
    late, early = math.log(1801), math.log(181)
    slope = early * math.exp(-0.05 * early) - late * math.exp(-0.05 * late)
    assert device_numbers(made(drift=spread)).drift_std == pytest.approx(abs(slope) * 0.01 * math.sqrt(1 / 3), rel=0.03)


def test_slow_noise_is_what_devices_show_after_an_hour():
    device = PRESETS["pcm-inference"].but(programming={"kind": "exact"}, drift={"kind": "none"})
    array = Array(device, (1, 4000), Key(5), np.dtype(np.float64))
    array.program(np.full((1, 4000), 0.5))
    array.elapse(3600)
    found = array.conductance().std()
    expected = slow_deviation(device, np.array([12.5e-6]))[0]
    # Five standard errors of a standard deviation.
    assert found == pytest.approx(expected, rel=5 / math.sqrt(2 * 4000))


def test_short_texts():
    assert [duration(seconds) for seconds in (0.5, 90, 7200, 86400, 3.15e8)] == [
        "0.5 s",
        "1.5 min",
        "2 h",
        "1 days",
        "9.99 years",
    ]
    reported = cells(device_numbers(PRESETS["reram-es"]))
    assert reported["asymmetry"] == "−15 / 33 %"
    assert reported["symmetry point"] == "18.27 µS (w = −0.217)"
    assert cells(device_numbers(PRESETS["sonos"]))["µS"] == "1.8e-6–23.4"
