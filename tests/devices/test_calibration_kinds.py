"""Measurements other than pulses: recovery of known parameters, file formats, and devices from several files."""

from pathlib import Path

import numpy as np
import pytest

from analogpc.devices.calibration.assembly import RefusedDeviceError, calibrate_files
from analogpc.devices.calibration.headers import column_of
from analogpc.devices.calibration.measurements import pulse_data
from analogpc.devices.calibration.sampling import sample_devices
from analogpc.devices.calibration.tables import CalibrationError
from analogpc.devices.calibration.understanding import Reading, understand
from analogpc.devices.device import Device
from analogpc.devices.nonidealities import ConstantExponent, PolynomialSpread, PowerLawDrift, Relaxation, Retention, Sinh
from analogpc.devices.presets import preset

DATA = Path(__file__).parents[1] / "data" / "devices"


def drifting(rng, devices=30):
    times = np.tile(np.geomspace(1, 1e5, 12), devices)
    start, device = rng.uniform(2, 20, devices).repeat(12), np.arange(devices).repeat(12)
    return times, start, device


def test_drift_gives_exponent_and_spread(rng):
    """The mean within five standard errors, the spread within twice its 90 % interval."""
    times, start, device = drifting(rng)
    nu = rng.normal(0.05, 0.01, 30).repeat(12)
    g = start * times**-nu * (1 + 0.005 * rng.normal(size=360))
    fit = calibrate_files([{"seconds": times, "conductance_us": g, "device": device}])
    drift = fit.device.drift
    assert isinstance(drift, PowerLawDrift)
    assert isinstance(drift.exponent, ConstantExponent)
    assert drift.exponent.mean == pytest.approx(0.05, abs=5 * 0.01 / np.sqrt(30))
    assert drift.exponent.std == pytest.approx(0.01, rel=0.6)
    assert fit.device.response.kind == "programmable"
    assert any("pulses were not measured" in one for one in fit.device.provenance.assumptions)
    with pytest.raises(CalibrationError, match="no pulses can be recognised"):
        calibrate_files([{"seconds": times, "conductance_us": g, "device": device}], reading=Reading(kind="pulses"))


def test_loss_and_relaxation_are_told_from_drift(rng):
    times, start, device = drifting(rng)
    lost = 2 + start * np.exp(-times / 3e4) + 0.01 * rng.normal(size=360)
    drift = calibrate_files([{"seconds": times, "conductance_us": lost, "device": device}]).device.drift
    assert isinstance(drift, Retention)
    assert drift.lifetime_seconds == pytest.approx(3e4, rel=0.02)
    spread = start + rng.normal(size=30).repeat(12) * 0.1 * np.log10(times)
    drift = calibrate_files([{"seconds": times, "conductance_us": spread, "device": device}]).device.drift
    assert isinstance(drift, Relaxation)
    with pytest.raises(RefusedDeviceError, match="grow with time"):
        calibrate_files([{"seconds": times, "conductance_us": start * times**0.05, "device": device}])


def test_pairs_before_and_after_a_bake(rng):
    """A loss with a lifetime of 10 h, within five standard errors; a mean that stays, with a spread; and neither without a time."""
    before = rng.uniform(2, 20, 200)
    after = before * np.exp(-0.2 + 0.05 * rng.normal(size=200))
    pairs = {"before [uS]": before, "after [uS]": after, "bake time [h]": np.full(200, 2.0)}
    drift = calibrate_files([pairs]).device.drift
    assert isinstance(drift, Retention)
    assert 7200 / drift.lifetime_seconds == pytest.approx(0.2, abs=5 * 0.05 / np.sqrt(200))
    stay = calibrate_files([pairs | {"after [uS]": before + 0.3 * rng.normal(size=200)}]).device.drift
    assert isinstance(stay, Relaxation)
    assert stay.coefficients[-1][0] == pytest.approx(0.3, rel=0.25)
    with pytest.raises(RefusedDeviceError, match="conductances grow by"):
        calibrate_files([pairs | {"after [uS]": before * 1.2}])
    with pytest.raises(CalibrationError, match="need the time between them"):
        calibrate_files([{"before [uS]": before, "after [uS]": after}])


def test_reads_are_split_into_white_slow_and_two_levels(rng):
    n, devices, g = 400, 8, []
    for k in range(devices):
        level, e, trap = k + 2.0, 0.0, 0
        for _ in range(n):
            e = 0.97 * e + np.sqrt(1 - 0.97**2) * 0.02 * level * rng.normal()
            trap = 1 - trap if k % 2 and rng.random() < 0.05 else trap
            g.append(level * (1 - 0.2 * trap) + e + 0.01 * level * rng.normal())
    columns = {"read": np.tile(np.arange(n), devices), "conductance_us": g, "device": np.arange(devices).repeat(n)}
    device = calibrate_files([columns]).device
    assert device.read_noise.relative == pytest.approx(0.01, rel=0.15)
    assert device.telegraph.probability == pytest.approx(0.5)
    assert device.telegraph.amplitude == pytest.approx(0.2, rel=0.15)
    assert device.flicker.amplitude > 0


def test_programming_and_conduction(rng):
    g = np.linspace(2, 20, 8).repeat(50)
    fit = calibrate_files([{"target_us": g, "result_us": g + (0.2 + 0.03 * g) * rng.normal(size=400)}])
    assert isinstance(fit.device.programming, PolynomialSpread)
    found = fit.device.programming.deviation(np.array([2e-6, 10e-6, 20e-6]), 20e-6)
    assert found == pytest.approx([0.26e-6, 0.5e-6, 0.8e-6], rel=0.25)
    volts, level = np.tile(np.linspace(-0.5, 0.5, 41), 3), np.array([5e-6, 1e-5, 2e-5]).repeat(41)
    current = level * 0.3 * np.sinh(volts / 0.3) * (1 + 0.01 * rng.normal(size=123))
    fit = calibrate_files([{"volts": volts, "current": current, "device": np.arange(3).repeat(41)}])
    assert isinstance(fit.device.conduction, Sinh)
    assert fit.device.conduction.scale_volts == pytest.approx(0.3, rel=0.05)


def test_several_files_make_one_device_that_can_be_drawn_from(rng, tmp_path):
    pulse = np.arange(300)
    rise = 5 + 4 * (1 - np.exp(-np.minimum(pulse, 150) / 60)) * np.exp(-np.maximum(pulse - 150, 0) / 60)
    rows = [f"{k};{v:.5f}".replace(".", ",") for k, v in zip(pulse, rise + 0.05 * rng.normal(size=300), strict=True)]
    (tmp_path / "pulses.csv").write_text("Pulse number;G [uS]\n" + "\n".join(rows) + "\n", encoding="utf-8-sig")
    times, start, owner = drifting(rng, 6)
    rows = [f"{t:.6g}\t{1 / (g * t**-0.04 * 1e-3):.8g}\t{d}" for t, g, d in zip(times, start, owner, strict=True)]
    (tmp_path / "drift.txt").write_text("time (s)\tR (kOhm)\tcell\n" + "\n".join(rows) + "\n")
    fit = calibrate_files([tmp_path / "pulses.csv", tmp_path / "drift.txt"], name="mine")
    assert [one.kind for one in fit.understood] == ["pulses", "drift"]
    device = fit.device
    assert device.drift.exponent.mean == pytest.approx(0.04, rel=0.01)
    assert Device.from_toml(device.to_toml()) == device
    assert [one.file for one in device.provenance.sources] == ["pulses.csv", "drift.txt"]
    assert all(len(one.sha256) == 64 for one in device.provenance.sources)
    (tmp_path / "mine.toml").write_text(device.to_toml(), encoding="utf-8")
    drawn = sample_devices(tmp_path / "mine.toml", 40, seed=3)
    assert drawn[:2] == sample_devices(device, 2, seed=3)
    noise = [one.read_noise.std_siemens for one in drawn]
    low, high = next((one.low, one.high) for one in device.provenance.intervals if one.name == "white read noise")
    # Of 40 draws 36 on average lie within; fewer than 28 in one of 1,000 tests.
    assert sum(low <= one <= high for one in noise) >= 28
    assert len({one.response.dw_min for one in drawn}) == 40
    with pytest.raises(CalibrationError, match="holds no intervals"):
        sample_devices(preset("reram-sb"), 2)


def test_endurance_gives_faults_and_lives(rng):
    """2,000 devices watched for 1e7 cycles: logarithms of life and shape within five standard errors of a maximum-likelihood fit."""
    cycles = np.concatenate([[0.0], np.geomspace(1e3, 1e7, 15)])
    born, n = 0.01, 2000
    life = 3e6 * rng.weibull(0.8, n)
    life[: int(born * n)] = 0
    stuck = np.array([(life <= c).mean() for c in cycles])
    watched = {"cycles": cycles, "stuck_low": stuck, "stuck_high": 0.002 + 0 * cycles}
    programmed = {"target_us": [2.0, 9.0] * 20, "result_us": rng.normal(5, 1, 40)}
    device = calibrate_files([watched, programmed]).device
    assert device.faults.stuck_low == pytest.approx(born)
    assert device.faults.stuck_high == pytest.approx(0.002)
    # A cycle is two pulses.
    assert np.log(device.endurance.stuck_low_pulses / 6e6) == pytest.approx(0, abs=5 * 1.05 / (0.8 * np.sqrt(n)) * 2)
    assert device.endurance.stuck_low_shape == pytest.approx(0.8, abs=0.1)
    assert not np.isfinite(device.endurance.stuck_high_pulses)
    assert any("a cycle is one pulse up and one down" in one for one in device.provenance.assumptions)
    with pytest.raises(CalibrationError, match="lie between 0 and 1"):
        calibrate_files([{"cycles": [1, 2], "stuck_low": [-0.1, 0.2]}])


@pytest.mark.parametrize(
    ("header", "role", "factor"),
    [
        ("Conductance [uS]", "conductance", 1e-6),
        ("R(kΩ)", "resistance", 1e3),
        ("Ids (nA)", "current", 1e-9),
        ("time [ms]", "seconds", 1e-3),
        ("conductance_us", "conductance", 1e-6),
        ("G (a.u.)", "normalised", 1.0),
        ("rmp1", "", 1.0),
    ],
)
def test_headers(header, role, factor):
    found = column_of(header)
    assert (found.role, found.factor) == (role, factor)


def test_layouts_and_doubts(tmp_path):
    found = understand(DATA / "ibm-reram-gong2018.csv")
    assert found.kind == "pulses"
    assert any("normalised" in note for note in found.notes)
    data = pulse_data([found])
    assert [data.direction[data.series == s].mean() for s in (0, 1)] == [1, -1]
    wide = "LTP,LTD\n" + "".join(f"{1e-6 * (1 + k / 10):.4g},{1e-6 * (3 - k / 10):.4g}\n" for k in range(20))
    (tmp_path / "wide.csv").write_text(wide)
    data = pulse_data([understand(tmp_path / "wide.csv")])
    assert (len(data.pulse), data.directions_inferred) == (40, False)
    amperes = wide.replace("LTP", "set [A]").replace("LTD", "reset [A]")
    (tmp_path / "amperes.csv").write_text(amperes)
    with pytest.raises(CalibrationError, match="voltage at which they were read"):
        understand(tmp_path / "amperes.csv")
    assert understand(tmp_path / "amperes.csv", Reading(read_volts=0.1)).columns["conductance"].max() == pytest.approx(3e-5)
    big = understand({"pulse": [0, 1, 2], "conductance": [1.0, 1.1, 1.2]})
    assert "--unit uS would make it 1.1 µS" in big.questions[0]
    for bad, sentence in (([-1e-6, -2e-6, -3e-6], "negative"), ([1e-6 + 1j, 2e-6, 3e-6], "complex")):
        with pytest.raises(CalibrationError, match=sentence):
            understand({"pulse": [0, 1, 2], "conductance": np.array(bad)})


PULSES = [(k, 2 + 0.05 * min(k, 79 - k), "up" if k < 40 else "down") for k in range(80)]


def written(header, row):
    return header + "\n" + "\n".join(row(*one) for one in PULSES) + "\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (written("pulse,conductance [V],direction", "{},{},{}".format), "'V' is no unit of it; allowed are S, mS, uS or nS"),
        (written("pulse,conductance [kg],direction", "{},{},{}".format), "'kg' is no unit of it"),
        (written("pulse,direction", lambda k, g, way: f"{k},{way}"), "no column of readings is recognised"),
        ("pulse,conductance_us,direction\n0,2.0,up\n", "0 readings after pulses up"),
        (written("pulse,conductance_us,direction", lambda k, g, way: f"{k},{-g},{way}"), "conductances are negative"),
        (
            written("pulse,conductance_us,direction", lambda k, g, way: f"{k},{g if k - 7 else ''},{way}"),
            "data row 8: '' is not a",
        ),
        (
            written("pulse,conductance_us,direction", lambda k, g, way: f"{k},{g},{way}" if k % 2 else f"{k};{g};{way}"),
            "data row 1 has 1 cells and the header 3",
        ),
        (
            written("pulse;conductance_ns;direction", lambda k, g, way: f"{k};{1000 * g:,.2f};{way}"),
            "'2,000.00' is not a number",
        ),
        (
            written("pulse,conductance_us,direction", lambda k, g, way: f"{k},{str(g + 0.01).replace('.', ',')},{way}"),
            "decimal commas need another separator",
        ),
    ],
)
def test_files_that_are_no_measurement_are_refused_in_one_sentence(text, sentence, tmp_path):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(CalibrationError, match=sentence) as refusal:
        calibrate_files([tmp_path / "bad.csv"])
    assert "\n" not in str(refusal.value)


def test_a_gigabyte_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "huge.csv").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(CalibrationError, match="1,074 MB, and 200 MB are allowed"):
        understand(tmp_path / "huge.csv")
