"""Pictures of calibrations are written, and refuse what they cannot draw."""

import numpy as np
import pytest

from analogpc.devices.calibration.fitting import calibrate
from analogpc.devices.device import Device
from analogpc.devices.physics import VTEAM, Programming, to_device
from analogpc.devices.responses import Ideal
from analogpc.kernels.random.streams import Key, normals
from analogpc.report.device_fits import plot_calibration, plot_pulse_curve


def measured(devices):
    """Exponential rise and fall, 60 pulses each, with read noise."""
    pulse = np.tile(np.arange(121), devices)
    down = pulse > 60
    clean = 1 + (1 - np.exp(-np.minimum(pulse, 60) / 30)) * np.exp(-np.maximum(pulse - 60, 0) / 30)
    noise = 0.01 * normals(Key(1), 0, pulse.shape, np.float64)
    device = np.repeat(np.arange(devices), 121)
    return {"pulse": pulse, "conductance_us": clean + noise, "direction": np.where(down, -1, 1), "device": device}


@pytest.mark.parametrize("devices", [1, 3])
def test_a_calibration_is_drawn(tmp_path, devices):
    path = tmp_path / "fit.png"
    plot_calibration(calibrate(measured(devices)), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 20_000


def test_a_pulse_curve_is_drawn(tmp_path):
    pulses = Programming(volts_up=-0.3, seconds_up=2e-11, volts_down=0.3, seconds_down=5e-9, read_volts=0.01, pulses=30)
    plot_pulse_curve(VTEAM(), pulses, to_device(VTEAM(), pulses, "vteam"), tmp_path / "curve.svg")
    assert "</svg>" in (tmp_path / "curve.svg").read_text()
    ideal = Device(name="ideal", response=Ideal(), g_min_siemens=0, g_max_siemens=1e-5)
    with pytest.raises(ValueError, match="is not a pulse response"):
        plot_pulse_curve(VTEAM(), pulses, ideal, tmp_path / "none.png")
