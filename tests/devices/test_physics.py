"""Physical memristor models against closed forms, an independent integrator and the properties that every memristor has."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy.integrate import solve_ivp

from analogpc.devices.physics import VTEAM, Filament, LinearIonDrift, Physics, Programming, pulse_curve, step_table, to_device
from analogpc.devices.specification import SpecificationError
from analogpc.kernels.random.streams import Key

QUIET = Filament(noise_velocity=0)
MODELS = [VTEAM(), VTEAM(window="joglekar", window_p=2, resistance="exponential"), LinearIonDrift(), QUIET]
WINDOWS = ["joglekar", "biolek", "prodromakis"]
VTEAM_PULSES = Programming(volts_up=-0.3, seconds_up=2e-11, volts_down=0.3, seconds_down=5e-9, read_volts=0.01, pulses=60)
FILAMENT_PULSES = Programming(volts_up=1.2, seconds_up=5e-9, volts_down=-1.25, seconds_down=2e-9, read_volts=0.1, pulses=40)


@pytest.mark.parametrize("model", [*MODELS, Filament()], ids=lambda m: m.kind)
def test_a_model_survives_toml(model):
    assert type(model).from_toml(model.to_toml()) == model
    assert TypeAdapter(Physics).validate_python(model.to_dict()) == model


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.kind)
def test_state_and_conductance_are_inverse_and_no_current_flows_without_voltage(model):
    states = np.linspace(*model.limits(0.0), 50)
    assert (model.current(0.0, states) == 0).all()
    back = model.state_at(model.conductance(states, 0.1), 0.1)
    assert np.abs(back - states).max() < 1e-12 * np.ptp(states)


def loop(model, volts, seconds, start):
    """Currents under a sine of voltage, in 400 short rectangular pulses per period, second period."""
    state, currents = np.array(start), []
    drive = volts * np.sin(2 * np.pi * np.arange(800) / 400)
    drive[::200] = 0
    for v in drive:
        currents.append(float(model.current(v, state)))
        state = model.pulse(state, v, seconds / 400, tolerance=1e-6)
    return drive[400:], np.array(currents[400:])


@pytest.mark.parametrize(("model", "volts", "seconds", "start"), [
    (VTEAM(window="biolek"), 0.3, 1e-7, 1e-9), (LinearIonDrift(), 1.0, 0.5, 0.3), (QUIET, 1.6, 1e-6, 1e-9),
])  # fmt: skip
def test_hysteresis_is_pinched_at_zero_and_vanishes_at_high_frequency(model, volts, seconds, start):
    areas = []
    for period in (seconds, seconds / 1e5):
        v, i = loop(model, volts, period, start)
        assert i[0] == 0
        assert (v * i >= 0).all()
        # Both lobes, each a closed curve between passes through zero.
        lobes = [abs(np.trapezoid(i[half], v[half])) for half in (slice(0, 201), slice(200, 400))]
        areas.append(min(lobes) / (np.ptp(v) * np.ptp(i)))
    assert areas[0] > 0.003
    assert areas[1] < 0.05 * areas[0]


@given(st.floats(-0.2, 0.02), st.floats(0, 3e-9), st.floats(0, 1e3))
def test_vteam_does_not_move_between_its_thresholds(volts, state, seconds):
    assert VTEAM().pulse(state, volts, seconds) == state


@given(st.floats(-1.04, 1.04), st.floats(0.2e-9, 1.7e-9))
def test_the_filament_rests_below_the_least_field_even_with_noise(volts, gap):
    assert Filament().pulse(gap, volts, 1.0, key=Key(0)) == gap


@settings(deadline=None, max_examples=60)
@given(st.floats(-0.5, 0.5), st.floats(0, 3e-9), st.floats(1e-13, 1e-3), st.sampled_from([0.5, 1.0, 3.0]))
def test_vteam_without_window_moves_at_constant_speed_up_to_its_limits(volts, state, seconds, alpha):
    model = VTEAM(alpha_off=alpha, alpha_on=alpha)
    speed = 5e-4 * (volts / 0.02 - 1) ** alpha if volts > 0.02 else -10.0 * (volts / -0.2 - 1) ** alpha if volts < -0.2 else 0.0
    expected = min(max(state + speed * seconds, 0.0), 3e-9)
    assert model.pulse(state, volts, seconds) == pytest.approx(expected, rel=1e-12, abs=3e-22)


@settings(deadline=None, max_examples=60)
@given(st.floats(-3, 3), st.floats(0, 1), st.floats(0, 1.0))
def test_ion_drift_without_window_has_a_closed_form(volts, state, seconds):
    """r_off x - (r_off - r_on) x² / 2 grows by µ r_on v t / D², so x is the root of a quadratic, up to the limits."""
    m = LinearIonDrift()
    flux = m.r_off * state - (m.r_off - m.r_on) * state**2 / 2 + m.mobility * m.r_on / m.thickness**2 * volts * seconds
    discriminant = m.r_off**2 - 2 * (m.r_off - m.r_on) * flux
    root = 2 * flux / (m.r_off + np.sqrt(discriminant)) if discriminant > m.r_on**2 else 1.0
    assert m.pulse(state, volts, seconds) == pytest.approx(np.clip(root, 0, 1), abs=1e-7)


@pytest.mark.parametrize("seconds", [1e-10, 3e-9, 1e-7])
def test_joglekar_with_p_one_is_logistic(seconds):
    """f = 4x(1 - x): ln(x / (1 - x)) grows linearly; the longest pulse runs into the last 1e-12 of the range."""
    model = VTEAM(window="joglekar", window_p=1)
    start = np.array([1e-6, 0.01, 0.5, 0.99])
    rise = 5e-4 * 14 / 3e-9 * 4 * seconds
    left = (1 - start) / (1 - start + start * np.exp(rise))
    reached = model.pulse(start * 3e-9, 0.3, seconds) / 3e-9
    assert 1 - reached == pytest.approx(np.maximum(left, 1e-12), rel=1e-4, abs=1e-13)
    assert (model.pulse(np.array([0.0, 3e-9]), 0.3, seconds) == [0.0, 3e-9]).all()


@pytest.mark.parametrize(("model", "volts", "seconds", "start"), [
    *[(VTEAM(window=w, window_p=p), v, t, 1e-9)
      for w in WINDOWS for p in (1.0, 3.0) for v, t in ((0.3, 6e-9), (-0.5, 1e-12), (0.1, 2e-8))],
    *[(LinearIonDrift(window=w, window_p=2.0), v, 0.4, 0.4) for w in WINDOWS for v in (1.0, -1.0)],
    (QUIET, 1.5, 3e-7, 1.6e-9), (QUIET, 1.8, 1e-9, 0.9e-9), (QUIET, -1.3, 1e-6, 0.3e-9), (QUIET, -1.8, 1e-9, 0.21e-9),
])  # fmt: skip
def test_pulses_agree_with_an_independent_stiff_integrator(model, volts, seconds, start):
    low, high = (float(limit) for limit in model.limits(volts))
    span = high - low

    def scaled(_, y):
        return model.rate(volts, np.clip(low + span * y, low, high)) / span * seconds

    ends = [lambda _, y: y[0] - 1, lambda _, y: y[0]]
    for event in ends:
        event.terminal = True
    solved = solve_ivp(scaled, (0, 1), [(start - low) / span], "Radau", rtol=1e-10, atol=1e-13, events=ends)
    expected = low + span * solved.y[0, -1]
    assert abs(expected - start) > 0.001 * span
    assert float(model.pulse(start, volts, seconds)) == pytest.approx(expected, abs=2e-7 * span)


def test_filament_rate_by_hand():
    """The published equation with the published numbers, at g = 1 nm, 1.5 V."""
    k, q = 1.380649e-23, 1.602176634e-19
    current = 1e-3 * np.exp(-4.0) * np.sinh(6.0)
    kelvins = 298 + 2.1e3 * 1.5 * current
    expected = -10 * np.exp(-0.6 * q / (k * kelvins)) * np.sinh((16 - 0.8) * 0.25e-9 * q * 1.5 / (12e-9 * k * kelvins))
    assert float(QUIET.current(1.5, 1e-9)) == pytest.approx(current, rel=1e-14)
    assert float(QUIET.rate(1.5, 1e-9)) == pytest.approx(expected, rel=1e-12)


def test_filament_stops_exactly_at_its_limits_and_where_the_field_fades():
    gaps = np.linspace(0.2e-9, 1.7e-9, 7)
    assert (QUIET.pulse(gaps, 2.0, 1.0) == 0.2e-9).all()
    assert (QUIET.pulse(gaps, -2.0, 1.0) == 1.7e-9).all()
    # γ |v| / L = least field: g = ((16 - 1.4e9 * 12e-9 / 1.2) / 0.8)^(1/3) nm; a gap beyond it rests.
    rest = np.cbrt((16 - 14) / 0.8) * 1e-9
    assert QUIET.pulse(gaps, -1.2, 1e3) == pytest.approx(np.maximum(gaps, rest), rel=1e-12)


def test_the_devices_of_an_array_do_not_influence_each_other():
    states, volts = np.linspace(0.3e-9, 1.6e-9, 9), np.tile([1.5, -1.4, 0.3], 3)
    together = QUIET.pulse(states, volts, 2e-9)
    alone = [float(QUIET.pulse(s, v, 2e-9)) for s, v in zip(states, volts, strict=True)]
    assert together == pytest.approx(alone, rel=1e-12)


@pytest.mark.parametrize("seconds", [10e-9, 40e-9])
@pytest.mark.parametrize("pieces", [1, 16])
def test_the_noise_of_the_filament_grows_with_the_root_of_time(seconds, pieces):
    """Without drift and heat the gap spreads by σ sqrt(1 ns · t); 5 standard errors of 20,000 devices (false alarms below 1e-5)."""
    model = Filament(velocity=1e-30, thermal_resistance=0, pieces=pieces)
    n, strength = 20_000, 0.02 / (1 + np.exp((450 - 298) / 500))
    change = model.pulse(np.full(n, 0.9e-9), 1.5, seconds, key=Key(3)) - 0.9e-9
    expected = strength * np.sqrt(1e-9 * seconds)
    assert abs(change.std() / expected - 1) < 5 / np.sqrt(2 * n)
    assert abs(change.mean()) < 5 * expected / np.sqrt(n)


def test_noise_is_keyed():
    states = np.full(100, 1.4e-9)
    cases = ((Key(1), 0), (Key(1), 0), (Key(2), 0), (Key(1), 1))
    draws = [Filament().pulse(states, 1.4, 2e-9, key=key, step=step) for key, step in cases]
    assert (draws[0] == draws[1]).all()
    assert (draws[0] != draws[2]).mean() > 0.9
    assert (draws[0] != draws[3]).mean() > 0.9
    assert (draws[0] >= 0.2e-9).all()


def test_a_population_has_the_spreads_that_it_was_given():
    """2,000 devices; 5 standard errors (false alarms below 1e-5); a pulse treats each device as its own model would."""
    n = 2000
    devices = VTEAM().population(Key(1), n, {"k_off": 0.2, "r_on": 0.1})
    for values, mean, spread in ((devices.k_off, 5e-4, 0.2), (devices.r_on, 50.0, 0.1)):
        logs = np.log(values / mean)
        assert abs(logs.mean()) < 5 * spread / np.sqrt(n)
        assert abs(logs.std() / spread - 1) < 5 / np.sqrt(2 * n)
    moved = VTEAM().pulse(np.full(n, 1e-9), 0.1, 1e-7, devices)
    assert moved == pytest.approx(np.minimum(1e-9 + devices.k_off * 4 * 1e-7, 3e-9), rel=1e-12)
    with pytest.raises(ValueError, match="spreads: VTEAM has no number 'window'"):
        VTEAM().population(Key(1), 3, {"window": 0.1})
    with pytest.raises(ValueError, match="k_on = -1 is not allowed"):
        VTEAM().population(Key(1), 3, {"k_on": -1})
    with pytest.raises(SpecificationError, match="r_off"):
        VTEAM().population(Key(1), 100, {"r_on": 3.0})


@pytest.mark.parametrize(("model", "pulses"), [
    (VTEAM(), VTEAM_PULSES), (VTEAM(resistance="exponential"), VTEAM_PULSES), (QUIET, FILAMENT_PULSES),
    (LinearIonDrift(window="biolek"),
     Programming(volts_up=1, seconds_up=5e-3, volts_down=-1, seconds_down=5e-3, read_volts=0.1, pulses=50)),
], ids=["vteam", "exponential", "filament", "ion drift"])  # fmt: skip
def test_the_array_follows_the_physical_pulse_curve_within_the_stated_error(model, pulses):
    curve = pulse_curve(model, pulses)[:, 0]
    device = to_device(model, pulses, "physical", tolerance=0.005)
    states = device.response.trajectory(float(device.state(curve[:1])[0]), [n < pulses.pulses for n in range(2 * pulses.pulses)])
    found = device.conductance(states)
    assert np.abs(found - curve[1:]).max() <= 0.0051 * np.ptp(curve)
    assert np.ptp(found) > 0.9 * np.ptp(curve)


def test_step_table_is_the_difference_of_the_curve():
    curve = pulse_curve(VTEAM(), VTEAM_PULSES)[:, 0]
    up, down = step_table(VTEAM(), VTEAM_PULSES, curve[:-1])
    n = VTEAM_PULSES.pulses
    assert up[:n] == pytest.approx(np.diff(curve)[:n], rel=1e-5, abs=1e-12)
    assert down[n:] == pytest.approx(np.diff(curve)[n:], rel=1e-5, abs=1e-12)


def test_cycle_noise_comes_from_the_stochastic_model():
    """Doubling the noise doubles the estimate; the sure model has none."""
    small, large = (to_device(Filament(noise_velocity=v), FILAMENT_PULSES, "f", samples=200) for v in (0.0005, 0.001))
    assert small.response.dw_min_std > 0.001
    assert large.response.dw_min_std == pytest.approx(2 * small.response.dw_min_std, rel=0.05)
    assert to_device(QUIET, FILAMENT_PULSES, "f").response.dw_min_std == 0


def test_spread_of_the_current_scale_spreads_steps_and_bounds():
    """Without heat, i0 scales every conductance: steps and bounds spread by its own deviation; 5 errors of 200 devices."""
    model, spread, n = Filament(thermal_resistance=0, noise_velocity=0), 0.05, 200
    pulses = FILAMENT_PULSES.but(volts_up=1.4, seconds_up=3e-8, seconds_down=5e-7, pulses=15)
    response = to_device(model, pulses, "f", {"i0": spread}, Key(4), population=n, tolerance=0.02).response
    curve = pulse_curve(model, pulses)[:, 0]
    half = (curve.max() - curve.min()) / 2
    allowed = spread * 5 / np.sqrt(2 * n)
    assert abs(response.dw_min_dtod - spread) < allowed * 1.1
    assert response.up_down_dtod == pytest.approx(abs(response.up_down) * response.dw_min_dtod, rel=0.01)
    assert abs(response.w_max_dtod * half / curve.max() - spread) < allowed * 1.1
    assert abs(response.w_min_dtod * half / curve.min() - spread) < allowed * 1.1


def test_refusals_are_one_sentence():
    with pytest.raises(ValueError, match="move the conductance the wrong way"):
        pulse_curve(VTEAM(), VTEAM_PULSES.but(volts_up=0.3, volts_down=-0.3))
    with pytest.raises(ValueError, match="move the conductance nowhere"):
        pulse_curve(VTEAM(), VTEAM_PULSES.but(volts_up=-0.1, volts_down=0.01))
    with pytest.raises(SpecificationError, match="opposite signs"):
        VTEAM_PULSES.but(volts_up=0.3)
    with pytest.raises(SpecificationError, match="r_off = 10 must lie above r_on = 50"):
        VTEAM(r_off=10)
    with pytest.raises(SpecificationError, match="k_on"):
        VTEAM(k_on=1)
    with pytest.raises(SpecificationError, match="the field reverses"):
        Filament(beta=4)
    with pytest.raises(ValueError, match=r"not finite at 1e\+06 V"):
        Filament().pulse(1e-9, 1e6, 1e-9)
    with pytest.raises(ValueError, match="finite states"):
        VTEAM().pulse(np.nan, 0.3, 1e-9)
    with pytest.raises(ValueError, match="width of at least 0"):
        VTEAM().pulse(1e-9, 0.3, -1.0)
    with pytest.raises(ValueError, match=r"tolerance = 1e-12 is not reached"):
        to_device(VTEAM(), VTEAM_PULSES, "v", tolerance=1e-12)
