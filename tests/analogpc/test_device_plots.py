"""Figures of devices agree with the models.

Statistical bounds are five standard errors: a false alarm once in 1.7 million comparisons.
"""

import struct

import numpy as np
import pytest
from scipy.special import ndtri

from analogpc.devices.device import Device
from analogpc.devices.nonidealities import Retention, Sinh, Telegraph
from analogpc.devices.presets import PRESETS
from analogpc.devices.responses import ConstantStep, Programmable, SoftBounds
from analogpc.report import devices as pictures
from analogpc.report.devices import DRAWN, LARGEST_TRAIN, POPULATION, TARGETS, draw_device, plot_device

PANELS = {
    "ideal": 1,
    "idealized": 3,
    "reram-sb": 3,
    "capacitor": 4,
    "pcm": 3,
    "pcm-inference": 3,
    "pcm-joshi": 2,
    "rram-milo": 3,
    "sonos": 3,
}


def panels(figure):
    return [axes for axes in figure.axes if axes.axison]


def panel(figure, title):
    (found,) = [axes for axes in figure.axes if title in axes.get_title()]
    return found


def data(axes):
    return [np.asarray(line.get_ydata(), float) for line in axes.lines]


@pytest.fixture(scope="module")
def figures():
    """Figures that are drawn once and shared, because no test changes them."""
    return {name: draw_device(PRESETS[name]) for name in PANELS}


@pytest.mark.parametrize(("name", "count"), PANELS.items())
def test_every_panel_that_applies_is_there_with_finite_data(figures, name, count):
    shown = panels(figures[name])
    assert len(shown) == count
    for axes in shown:
        assert axes.get_title()
        assert axes.get_xlabel().endswith((")", "number", "writing"))
        for values in data(axes):
            assert np.isfinite(values).all()


def test_the_mean_device_follows_soft_bounds_in_closed_form(figures):
    device = PRESETS["reram-sb"]
    response = device.response
    axes = panel(figures["reram-sb"], "pulses up")
    pulses, mean = axes.lines[-1].get_xdata(), data(axes)[-1]
    train = int(pulses[-1]) // 2
    top, bottom = response.w_max, response.w_min
    up = top - (top - bottom) * (1 - response.dw_min / top) ** np.minimum(pulses, train)
    expected = bottom + (up - bottom) * (1 + response.dw_min / bottom) ** np.maximum(pulses - train, 0)
    np.testing.assert_allclose(mean, device.conductance(expected) * 1e6, rtol=1e-9)
    # Nine tenths of the way up, and not one pulse more.
    way = (top - bottom) * 0.9
    assert up[pulses == train][0] - bottom >= way
    assert top - (top - bottom) * (1 - response.dw_min / top) ** (train - 1) - bottom < way


@pytest.mark.parametrize("name", ["capacitor", "pcm"])
def test_the_mean_device_follows_the_trajectory(figures, name):
    device = PRESETS[name]
    axes = panel(figures[name], "pulses up")
    pulses, mean = np.asarray(axes.lines[-1].get_xdata()), data(axes)[-1]
    train = int(pulses[-1]) // 2
    states = device.response.trajectory(device.response.w_min, [True] * train + [False] * train)
    states = np.concatenate([[device.response.w_min], states])
    np.testing.assert_allclose(mean, device.conductance(states[pulses]) * 1e6, rtol=1e-9)


def test_sampled_devices_are_drawn_as_they_read(figures):
    device = PRESETS["capacitor"]
    curves = np.array(data(panel(figures["capacitor"], "pulses up"))[:-1])
    mean = data(panel(figures["capacitor"], "pulses up"))[-1]
    assert len(curves) == DRAWN
    assert curves.min() >= device.g_min_siemens * 1e6 - 1e-4
    assert curves.max() <= device.g_max_siemens * 1e6 + 1e-4
    # Halfway up no bound is met: steps differ by dw_min_dtod and the asymmetry from device to device, starts by w_min_dtod.
    half = len(mean) // 4
    gain = curves[:, half] - curves[:, 0]
    expected = mean[half] - mean[0]
    spread = expected * np.hypot(device.response.dw_min_dtod, device.response.up_down_dtod)
    assert abs(gain.mean() - expected) < 5 * spread / np.sqrt(DRAWN)
    assert gain.std(ddof=1) == pytest.approx(spread, rel=5 / np.sqrt(2 * DRAWN))


def test_the_seed_says_which_devices():
    def curves(seed):
        return np.array(data(panel(draw_device(PRESETS["reram-array-om"], seed), "pulses up")))

    first = curves(1)
    np.testing.assert_array_equal(first, curves(1))
    other = curves(2)
    np.testing.assert_array_equal(first[-1], other[-1])
    assert (first[:-1] != other[:-1]).all(axis=1).all()


def test_a_long_train_is_capped():
    device = Device(name="fine", response=ConstantStep(dw_min=1e-5), g_min_siemens=1e-6, g_max_siemens=2e-6)
    axes = panel(draw_device(device), "pulses up")
    assert axes.get_title().startswith(f"{LARGEST_TRAIN:,} pulses up")
    assert data(axes)[-1].max() == pytest.approx(1 + 0.5 * LARGEST_TRAIN * 1e-5, rel=1e-6)


def test_steps_of_soft_bounds_cross_at_the_symmetry_point(figures):
    up, down = panel(figures["reram-sb"], "Steps").lines
    siemens, response = np.asarray(up.get_xdata()), PRESETS["reram-sb"].response
    states = np.linspace(response.w_min, response.w_max, len(siemens))
    per_state = PRESETS["reram-sb"].siemens_per_state * 1e9
    np.testing.assert_allclose(up.get_ydata(), response.dw_min * (1 - states / response.w_max) * per_state, atol=1e-9)
    np.testing.assert_allclose(down.get_ydata(), response.dw_min * (1 - states / response.w_min) * per_state, atol=1e-9)


def test_histograms_hold_all_devices_at_their_targets(figures):
    device = PRESETS["rram-milo"]
    axes = panel(figures["rram-milo"], "targets (dotted)")
    targets = [line.get_xdata()[0] for line in axes.lines]
    np.testing.assert_allclose(targets, np.linspace(50, 225, TARGETS))
    assert len(axes.patches) == TARGETS
    for polygon, target in zip(axes.patches, targets, strict=True):
        x, y = polygon.get_xy()[:-1].T
        area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        width = np.diff(np.unique(x)).min()
        assert area == pytest.approx(POPULATION * width, rel=1e-6)
        # The centre of mass of the bars, each known to half a bin.
        centre = abs(np.sum((x + np.roll(x, 1)) * (x * np.roll(y, 1) - np.roll(x, 1) * y))) / 6 / area
        deviation = device.programming.deviation(np.array(target * 1e-6), 225e-6) * 1e6
        assert abs(centre - target) < 5 * deviation / np.sqrt(POPULATION) + width / 2
    for name in ("ideal", "capacitor"):
        assert len(panel(figures[name], "targets (dotted)").patches) == TARGETS


def test_noise_lines_are_the_models_and_circles_the_devices(figures):
    device = PRESETS["rram-milo"]
    model, circles = panel(figures["rram-milo"], "Noise").lines
    g = np.asarray(model.get_xdata()) * 1e-6
    np.testing.assert_allclose(model.get_ydata(), device.programming.deviation(g, 225e-6) * 1e6, rtol=1e-12)
    expected = np.interp(circles.get_xdata(), model.get_xdata(), model.get_ydata())
    np.testing.assert_allclose(circles.get_ydata(), expected, rtol=5 / np.sqrt(2 * POPULATION))
    sonos = PRESETS["sonos"]
    line = panel(figures["sonos"], "Noise").lines[-1]
    g = np.asarray(line.get_xdata()) * 1e-6
    expected = sonos.read_noise.reference_deviation(g, sonos.nominal_siemens[1]) * 1e6
    np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-12)


def test_the_mean_of_phase_change_memory_drifts_as_published(figures):
    device, count = PRESETS["pcm-inference"], pictures._AGEING_POPULATION
    axes = panel(figures["pcm-inference"], "after writing")
    top = axes.lines[-1]
    times, mean = np.asarray(top.get_xdata()), np.asarray(top.get_ydata(), float)
    xi = ndtri((np.arange(2001) + 0.5) / 2001)
    target = np.full_like(xi, 25e-6)
    for time, value in zip(times[::10], mean[::10], strict=True):
        fate = device.drift.conductance(target, time, 25e-6, xi) * 1e6
        spread = np.hypot(fate.std(), fate.mean() * np.hypot(0.0423, 0.0088 * np.sqrt(device.flicker.variance(time + 20))))
        # The exponent depends a little on the programmed conductance, which moves the mean of the powers by less than 0.1 uS.
        assert abs(value - fate.mean()) < 5 * spread / np.sqrt(count) + 0.1
    assert mean[-1] < 0.6 * mean[0]


def test_ageing_without_noise_is_the_closed_form():
    device = Device(
        name="leaky",
        response=Programmable(),
        g_min_siemens=0,
        g_max_siemens=10e-6,
        drift=Retention(lifetime_seconds=86400, rest_siemens=2e-6),
    )
    axes = panel(draw_device(device), "after writing")
    assert axes.get_xscale() == "log"
    assert len(axes.lines) == 5 * (DRAWN + 1)
    times = np.asarray(axes.lines[0].get_xdata())
    assert times[0] == pytest.approx(1)
    assert times[-1] == pytest.approx(365 * 86400)
    for line, target in zip(axes.lines[-5:], np.linspace(0, 10, 5), strict=True):
        np.testing.assert_allclose(line.get_ydata(), 2 + (target - 2) * np.exp(-times / 86400), atol=1e-4)


def test_leaking_devices_end_at_rest(figures):
    for values in data(panel(figures["capacitor"], "after writing")):
        assert values[-1] == pytest.approx(20.5, abs=1e-3)


def test_currents_follow_the_curve():
    device = Device(
        name="curved", response=Programmable(), g_min_siemens=0, g_max_siemens=10e-6, conduction=Sinh(scale_volts=0.2)
    )
    axes = panel(draw_device(device), "Current")
    curve, ohm = axes.lines[-2:]
    volts = np.asarray(curve.get_xdata())
    np.testing.assert_allclose(curve.get_ydata(), 10 * 0.2 * np.sinh(volts / 0.2), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ohm.get_ydata(), 10 * volts, rtol=1e-12, atol=1e-12)


def test_telegraph_noise_alone_is_drawn():
    trapped = Device(
        name="trapped",
        response=SoftBounds(dw_min=0.01),
        g_min_siemens=1e-6,
        g_max_siemens=10e-6,
        telegraph=Telegraph(probability=0.5),
    )
    figure = draw_device(trapped)
    assert panels(figure)[-1].get_title() == "5 targets after writing"
    # Half of the devices lose 5 % half of the time: a variance of 1/4 in one half of them.
    (line,) = panel(figure, "Noise").lines
    np.testing.assert_allclose(line.get_ydata(), 0.05 * np.sqrt(1 / 8) * np.asarray(line.get_xdata()), rtol=1e-12)


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_picture_is_written(tmp_path, ending):
    path = tmp_path / f"device.{ending}"
    plot_device(PRESETS["pcm-joshi"], path, seed=3)
    whole = path.read_bytes()
    if ending == "png":
        assert struct.unpack(">I", whole[16:20]) == (1000,)
    else:
        assert b"</svg>" in whole
