"""Calibration: data made from known devices give those devices back, within the stated errors."""

import numpy as np
import pytest

from analogpc.devices.arrays.array import Array
from analogpc.devices.calibration.fitting import CalibrationError, calibrate
from analogpc.devices.calibration.measurements import read_pulse_data
from analogpc.devices.device import Device
from analogpc.devices.responses import PiecewiseStep
from analogpc.kernels.random.streams import Key, normals

# Steps up and down in µS as functions of the conductance in µS, 1 to 3.
CURVES = {
    "constant": (lambda g: 0.02 + 0 * g, lambda g: 0.02 + 0 * g),
    "soft bounds": (lambda g: 0.016 * (3.1 - g), lambda g: 0.02 * (g - 0.9)),
    "exponential": (lambda g: 0.05 * (1 - np.exp(1.5 * (g - 3.2))), lambda g: 0.05 * np.exp(1.5 * (g - 3.0)) + 0.004),
    "steep": (lambda g: 0.12 * (3.1 - g), lambda g: 0.15 * (g - 0.9)),
    "piecewise": (
        lambda g: np.interp(g, [1, 2, 3], [0.05, 0.015, 0.01]),
        lambda g: np.interp(g, [1, 1.5, 3], [0.01, 0.03, 0.04]),
    ),
}


def measure(up, down, read, cycle, cycles=4, pulses=100, seed=0, scales=((1.0, 1.0),), start=1.6):
    """Readings in µS of devices under ``cycles`` times ``pulses`` up and ``pulses`` down, in plain NumPy."""
    columns = {"pulse": [], "conductance_us": [], "direction": [], "device": []}
    n = 2 * pulses * cycles
    for device, (rise, fall) in enumerate(scales):
        c2c, noise = (normals(Key(seed).fold(name, device), 0, n, np.float64) for name in ("c2c", "read"))
        g = start
        for k in range(n):
            upward = (k // pulses) % 2 == 0
            step = rise * up(g) if upward else -fall * down(g)
            g += step * (1 + cycle * c2c[k])
            columns["pulse"].append(k)
            columns["conductance_us"].append(g + read * noise[k])
            columns["direction"].append("up" if upward else "down")
            columns["device"].append(f"d{device:03d}")
    return columns


@pytest.mark.parametrize(("read", "cycle"), [(0.0, 0.05), (0.02, 0.3), (0.004, 0.5)])
@pytest.mark.parametrize("curve", CURVES)
def test_known_curves_are_recovered_within_their_errors(curve, read, cycle):
    """All 34 nodes within 5 of their standard errors, both noises within 5 of theirs where the data tell them.

    That is a false alarm in 1e-4 per data set for normal errors; smoothing and straight pieces add a bias: 1 % of a step and half
    a percent of the largest are allowed for it.
    """
    up, down = CURVES[curve]
    fit = calibrate(measure(up, down, read, cycle))
    g = fit.node_conductance * 1e6
    for law, step, error in ((up, fit.step_up, fit.step_up_error), (down, -fit.step_down, fit.step_down_error)):
        true = law(g)
        assert (np.abs(step * 1e6 - true) < 5 * error * 1e6 + 0.01 * true + 0.005 * true.max()).all()
    # The errors themselves are small enough to say something.
    assert np.median(fit.step_up_error * 1e6 / up(g)) < 0.2
    for found, error, true in (
        (fit.read_noise * 1e6, fit.read_noise_error, read),
        (fit.cycle_noise, fit.cycle_noise_error, cycle),
    ):
        if true > 0 and error < 0.5:
            assert abs(np.log(found / true)) < 5 * error
    assert fit.r_squared > 0.9
    response = fit.device.response
    assert response.write_noise_std * response.dw_min * fit.device.siemens_per_state == pytest.approx(fit.read_noise)


def test_the_band_is_the_noise_that_adds_up():
    """Constant steps: after n pulses the variance is r² + n σ² s²; fading steps forget a part of it."""
    fit = calibrate(measure(*CURVES["constant"], 0.02, 0.4))
    n = np.arange(100)
    expected = fit.read_noise**2 + n * (fit.cycle_noise * 0.02e-6) ** 2
    assert fit.band[:100] ** 2 == pytest.approx(expected, rel=0.2)
    steep = calibrate(measure(*CURVES["steep"], 0.01, 0.1, cycles=8, pulses=30))
    # Up to the top, a bound at 3.1: the variance of g' = 0.12 (3.1 - g) (1 + 0.1 ξ), step by step.
    g, variance, wanted = 1.6 + 0.12 * 1.5, 0.0, []
    for _ in range(10):
        wanted.append(variance + 0.01**2)
        g, variance = g + 0.12 * (3.1 - g), variance * 0.88**2 + (0.1 * 0.12 * (3.1 - g)) ** 2
    assert (steep.band[:10] * 1e6) ** 2 == pytest.approx(wanted, rel=0.35)


def test_read_noise_does_not_tilt_a_constant_step():
    """Differences of readings over readings slope down by about -r²/Var(G) per unit; the fit must not (5 standard errors)."""
    data = measure(*CURVES["constant"], read=0.1, cycle=0.1, cycles=8)
    y, up = np.array(data["conductance_us"]), np.array(data["direction"])[1:] == "up"
    naive = np.polyfit(y[:-1][up], np.diff(y)[up], 1)[0]
    assert naive < -0.015
    fit = calibrate(data)
    g, steps, errors = fit.node_conductance * 1e6, fit.step_up * 1e6, fit.step_up_error * 1e6
    assert abs(np.polyfit(g, steps, 1, w=1 / errors)[0]) < 0.004
    assert (np.abs(steps - 0.02) < 5 * errors).all()


def test_the_standard_errors_are_honest():
    """The squared errors in units of the stated ones average about 1 over 16 data sets.

    A mean of 16 squared normals lies between 0.2 and 2.6 except with probability 1e-3.
    """
    up = CURVES["soft bounds"][0]
    z = []
    for seed in range(16):
        fit = calibrate(measure(*CURVES["soft bounds"], 0.02, 0.3, cycles=2, pulses=60, seed=seed), nodes=9)
        z.append((fit.step_up[4] * 1e6 - up(fit.node_conductance[4] * 1e6)) / (fit.step_up_error[4] * 1e6))
    assert 0.2 < np.mean(np.square(z)) < 2.6


def test_device_spread_is_recovered():
    """60 devices: sizes spread by 0.2, asymmetries by 0.1; 45 % are five standard errors of a deviation."""
    n = 60
    size, beta = (s * normals(Key(9).fold(name), 0, n, np.float64) for name, s in (("size", 0.2), ("beta", 0.1)))
    scales = np.column_stack([1 + size + beta, 1 + size - beta])
    fit = calibrate(measure(*CURVES["soft bounds"], 0.01, 0.2, cycles=1, pulses=40, scales=scales))
    assert fit.device.response.dw_min_dtod == pytest.approx(0.2, rel=0.45)
    assert fit.device.response.up_down_dtod == pytest.approx(0.1, rel=0.45)
    assert np.corrcoef(fit.device_scales.mean(axis=1), size)[0, 1] > 0.9
    alike = calibrate(measure(*CURVES["soft bounds"], 0.01, 0.2, cycles=1, pulses=40, scales=np.ones((30, 2))))
    assert alike.device.response.dw_min_dtod < 0.03


def test_simulate_calibrate_simulate():
    """The array of a calibrated device, measured and calibrated again, has the same mean curve, noises and spread.

    Longer trains come first, so that the second generation stays within the bounds that the first has found. Noises within five
    standard errors and 5 %; the spread of 12 devices within five standard errors of a deviation from the true one.
    """
    true = PiecewiseStep(
        dw_min=0.03, up_down=0.1, nodes_up=(2.0, 1.4, 1.0, 0.6, 0.1), nodes_down=(0.1, 0.6, 1.0, 1.3, 1.8), dw_min_std=0.3,
        write_noise_std=0.5, dw_min_dtod=0.15,
    )  # fmt: skip
    device = Device(name="true", response=true, g_min_siemens=1e-6, g_max_siemens=5e-6)
    upward, start = [(k // 30) % 2 == 0 for k in range(180)], np.array([2.2e-6])
    curves = [device.conductance(device.response.trajectory(float(device.state(start)[0]), upward))]
    for generation, train in ((1, 50), (2, 30)):
        fit = calibrate(simulated(device, (3, 4), start[0], train, 3, generation))
        device = fit.device
        for found, error, value in (
            (fit.cycle_noise, fit.cycle_noise_error, 0.3),
            (fit.read_noise, fit.read_noise_error, 0.5 * 0.03 * 2e-6),
        ):
            assert abs(np.log(found / value)) < 5 * error + 0.05
        assert abs(device.response.dw_min_dtod - 0.15) < 5 * 0.15 / np.sqrt(22)
        curves.append(device.conductance(device.response.trajectory(float(device.state(start)[0]), upward)))
    for again in curves[1:]:
        assert np.abs(again - curves[0]).max() < 0.15 * np.ptp(curves[0])


def simulated(device, shape, start, train, cycles, seed):
    """Readings of an array whose devices all get the same trains."""
    array, n = Array(device, shape, Key(seed), np.dtype("float64")), shape[0] * shape[1]
    array.program(np.full(shape, device.state(np.array([start]))[0]))
    columns = {"pulse": [], "conductance": [], "direction": [], "device": []}
    for k in range(2 * train * cycles):
        sign = 1 if (k // train) % 2 == 0 else -1
        array.pulse_each(np.full(shape, sign, np.int32), Key(seed).fold("noise"), k)
        columns["pulse"] += [k] * n
        columns["conductance"] += array.conductance().ravel().tolist()
        columns["direction"] += [sign] * n
        columns["device"] += list(range(n))
    return columns


def test_readings_may_skip_pulses():
    up, down = CURVES["soft bounds"]
    data = {name: values[4::5] for name, values in measure(up, down, 0.01, 0.1, cycles=6).items()}
    fit = calibrate(data)
    g = fit.node_conductance[2:-2] * 1e6
    assert fit.step_up[2:-2] * 1e6 == pytest.approx(up(g), rel=0.12)
    assert fit.step_down[2:-2] * 1e6 == pytest.approx(-down(g), rel=0.12)
    assert any("skip pulses" in warning for warning in fit.warnings)


@pytest.mark.parametrize("curve", CURVES)
def test_directions_are_inferred_from_the_trend(curve):
    data = measure(*CURVES[curve], 0.005, 0.1)
    known = read_pulse_data(data)
    inferred = read_pulse_data({name: values for name, values in data.items() if name != "direction"})
    # Of the seven turning points each may be a few pulses off.
    assert (known.direction != inferred.direction).sum() <= 21
    fit = calibrate({name: values for name, values in data.items() if name != "direction"})
    assert any("inferred" in warning for warning in fit.warnings)
    assert fit.r_squared > 0.95


def test_a_csv_file_and_its_columns_are_the_same(tmp_path):
    data = measure(*CURVES["soft bounds"], 0.01, 0.2, cycles=1)
    path = tmp_path / "measured.csv"
    lines = [",".join(map(str, row)) for row in zip(*data.values(), strict=True)]
    path.write_text("# lot 7\nPulse, Conductance_uS ,direction,device\n" + "\n".join(lines) + "\n\n", encoding="utf-8-sig")
    first, second = calibrate(path, name="lot"), calibrate(data, name="lot")
    assert first.device.response == second.device.response
    assert first.device.source == "fitted to 200 readings of 1 device(s) in measured.csv"
    assert Device.from_toml(first.device.to_toml()) == first.device
    # Rows in another order mean the same.
    shuffled = {name: values[::-1] for name, values in data.items()}
    assert calibrate(shuffled).device.response == second.device.response


GOOD = measure(*CURVES["soft bounds"], 0.01, 0.2, cycles=1, pulses=40)


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"pulse": None}, "need a column 'pulse'"),
    ({"conductance_us": None}, "need one column 'conductance'"),
    ({"conductance": GOOD["conductance_us"]}, "need one column 'conductance'"),
    ({"resistance": GOOD["pulse"]}, "no use for a column 'resistance'"),
    ({"pulse": GOOD["pulse"][:-1]}, "differ in length"),
    ({"conductance_us": [*GOOD["conductance_us"][:-1], "nan"]}, "data row 80: 'nan' is not finite"),
    ({"conductance_us": [*GOOD["conductance_us"][:-1], "?"]}, r"data row 80: '\?' is not a number"),
    ({"pulse": [0.5, *GOOD["pulse"][1:]]}, "whole numbers"),
    ({"pulse": [*GOOD["pulse"][:-1], 3]}, "pulse 3 of device 'd000' occurs twice"),
    ({"direction": ["left", *GOOD["direction"][1:]]}, "data row 1: 'left' is not allowed"),
    ({"direction": ["up"] * 80}, "0 readings after pulses down"),
    ({"conductance_us": [2.0] * 80}, "flat"),
    ({"conductance_us": (2 + 0.1 * normals(Key(5), 0, 80, np.float64)).tolist()}, "flat"),
    ({"direction": ["down" if d == "up" else "up" for d in GOOD["direction"]]}, "flat: it does not follow"),
])  # fmt: skip
def test_bad_data_are_refused_in_one_sentence(changes, sentence):
    columns = {name: values for name, values in (GOOD | changes).items() if values is not None}
    with pytest.raises(CalibrationError, match=sentence) as refusal:
        calibrate(columns)
    assert "\n" not in str(refusal.value)


def test_bad_files_and_bad_nodes_are_refused(tmp_path):
    with pytest.raises(CalibrationError, match="cannot be read as CSV"):
        calibrate(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("\n")
    with pytest.raises(CalibrationError, match="is empty"):
        calibrate(tmp_path / "empty.csv")
    (tmp_path / "ragged.csv").write_text("pulse,conductance\n1,2\n1\n")
    with pytest.raises(CalibrationError, match="data row 2 has 1 cells and the header 2"):
        calibrate(tmp_path / "ragged.csv")
    with pytest.raises(CalibrationError, match="nodes = 4 is not allowed"):
        calibrate(GOOD, nodes=4)


def test_devices_at_a_hard_bound_are_pointed_out():
    """Constant steps that end at a bound press against it; soft bounds and trains that stop in time do not."""
    steps = np.concatenate([np.full(200, 0.008), np.full(200, -0.008)])
    direction = np.sign(steps)
    noise = np.random.default_rng(3).normal(scale=0.0005, size=400)

    def curve(bound, soft):
        w, states = -0.5, []
        for step in steps:
            w = float(np.clip(w + step * ((1 - np.sign(step) * w / bound) if soft else 1), -bound, bound))
            states.append(w)
        siemens = (np.array(states) + 2 + noise) * 1e-6
        return calibrate({"pulse": np.arange(400), "conductance": siemens, "direction": direction})

    told = [
        any("hard bound" in warning for warning in curve(*case).warnings) for case in ((0.6, False), (5.0, False), (1.0, True))
    ]
    assert told == [True, False, False]
