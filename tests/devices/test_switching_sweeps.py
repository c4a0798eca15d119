"""Physical models fitted to sweeps that switch a device: the simulation against its integrals, and known parameters."""

import numpy as np
import pytest

from analogpc.devices.calibration.assembly import calibrate_files
from analogpc.devices.calibration.sweep_features import landmarks, sweeps_of
from analogpc.devices.calibration.sweeps import Sweeps, simulate
from analogpc.devices.calibration.switching import candidates, fit_model
from analogpc.devices.calibration.tables import CalibrationError
from analogpc.devices.nonidealities import Ohmic
from analogpc.devices.physics import VTEAM, Filament
from analogpc.devices.responses import PiecewiseStep

TRUE = VTEAM(k_off=2e-9, k_on=-5e-9, alpha_off=2.0, alpha_on=3.0, v_off=0.5, v_on=-0.6, r_on=5e3, r_off=2e5)


def triangle(up, down, samples):
    """Voltages from 0 up, down and back to 0."""
    return np.concatenate([np.linspace(*ends, samples) for ends in ((0, up), (up, 0), (0, -down), (-down, 0))])


def sweeps(volts, seconds, compliance=(np.inf, np.inf)):
    steps = np.full((1, len(volts)), seconds)
    steps[0, 0] = 0.0
    return Sweeps(volts[None], np.zeros_like(volts)[None], steps, np.ones((1, len(volts)), bool), compliance)


def currents(model, volts, seconds, start, compliance=(np.inf, np.inf)):
    return simulate(model, model.parameters(), np.array([[start]]), sweeps(volts, seconds, compliance))[0, 0]


@pytest.mark.parametrize(("model", "volts", "start"), [
    (TRUE, 1.2, 0.1),
    (TRUE, -1.3, 0.9),
    (Filament(least_field=0.0, noise_velocity=0.0, velocity=1e-3), 1.0, 0.9),
    (Filament(least_field=0.0, noise_velocity=0.0, velocity=1e-3), -1.2, 0.3),
])  # fmt: skip
def test_a_constant_voltage_moves_the_state_as_a_pulse_does(model, volts, start):
    """Against the adaptive Runge-Kutta integration of `PhysicalModel.pulse`, to 3 % of the range of states."""
    low, high = model.limits(1.0)
    state = low + (high - low) * start
    width = 1.0
    # A width at which the state has moved, but not to its limit.
    while abs(float(model.pulse(state, volts, width)) - state) > 0.5 * (high - low):
        width /= 2
    held = np.full(11, volts)
    found = currents(model, held, width / 10, start)[-1]
    expected = model.current(volts, model.pulse(state, volts, width))
    ends = sorted(float(model.state_at(i / volts, volts)) for i in (found, expected))
    assert ends[1] - ends[0] < 0.03 * (high - low)


def test_the_instrument_limits_the_current():
    """The current is never above the limit; the device switches on only as far as the limit lets it."""
    volts = triangle(1.4, 1.4, 40)
    free = currents(TRUE.but(k_on=-5e-7, k_off=2e-8), -volts, 0.02, 0.9)
    held = currents(TRUE.but(k_on=-5e-7, k_off=2e-8), -volts, 0.02, 0.9, compliance=(2e-5, np.inf))
    assert -free.min() > 1e-4
    assert -held.min() == pytest.approx(2e-5, rel=1e-3)


def measured(samples, rng, start=0.05):
    volts = triangle(1.5, 1.4, samples)
    seconds = 5.8 / len(volts)
    amperes = currents(TRUE, volts, seconds, start)
    amperes = amperes * (1 + 0.02 * rng.normal(size=len(volts))) + 2e-4 * amperes.max() * rng.normal(size=len(volts))
    return volts, amperes, seconds * np.arange(len(volts))


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_known_parameters_are_recovered(rng):
    """Five standard errors; the switching on is abrupt, so that one sample of it must not decide."""
    volts, amperes, seconds = measured(16, rng)
    data, said = sweeps_of(volts, amperes, seconds, np.zeros(len(volts), int))
    assert not said
    marks = landmarks(data)
    assert marks.raising == -1
    fit = fit_model(candidates(marks)[0][:1], data)
    assert fit.r_squared > 0.995
    for name, error in fit.errors.items():
        off = np.log(getattr(fit.model, name) / getattr(TRUE, name))
        assert abs(off) < 5 * error + 0.05, name
    assert max(fit.errors[name] for name in ("r_on", "r_off", "v_off")) < 0.2


def test_a_switching_sweep_gives_a_device(rng):
    volts, amperes, seconds = measured(10, rng)
    fit = calibrate_files([{"volts": -volts, "current": -amperes, "seconds": seconds}], name="switch")
    assert isinstance(fit.device.response, PiecewiseStep)
    assert isinstance(fit.device.conduction, Ohmic)
    # The ends of the range are those of the model, 5 kΩ and 200 kΩ.
    assert fit.device.g_max_siemens == pytest.approx(1 / 5e3, rel=0.4)
    assert fit.device.g_min_siemens < 2e-5
    assert any("pulses were not measured" in said and " V, " in said for said in fit.device.provenance.assumptions)
    assert {"vteam r_on", "vteam v_off"} <= {one.name for one in fit.device.provenance.intervals}
    assert type(fit.device).from_toml(fit.device.to_toml()) == fit.device


def test_sweeps_without_switching_in_both_directions_are_refused():
    volts = triangle(1.5, 1.4, 20)
    amperes = currents(TRUE.but(k_on=-1e-15), volts, 0.05, 0.05)
    with pytest.raises(CalibrationError, match="does not switch the conductance up"):
        calibrate_files([{"volts": volts, "current": amperes}])
