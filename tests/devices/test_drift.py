"""Drift, relaxation and retention: exponents and spreads recovered from simulated devices."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy import stats

from analogpc.devices.nonidealities import (
    ConstantExponent,
    Drift,
    LogarithmicExponent,
    NoDrift,
    PowerLawDrift,
    Relaxation,
    Retention,
    StateDrift,
    programming,
)
from analogpc.devices.nonidealities.conductance_relaxation import RERAM_WAN_2022, SONOS_AGRAWAL_2022
from analogpc.devices.nonidealities.drift import PCM_NANDAKUMAR_2019
from analogpc.devices.specification import SpecificationError
from analogpc.kernels.random.streams import Key, normals

US = 1e-6
DAY = 86400.0
MODELS = {
    "none": NoDrift(),
    "constant exponent": PowerLawDrift(exponent=ConstantExponent(mean=0.05)),
    "spread exponent": PowerLawDrift(t0_seconds=1.0, exponent=ConstantExponent(mean=0.05, std=0.01)),
    "pcm": PCM_NANDAKUMAR_2019,
    "reram": RERAM_WAN_2022,
    "sonos": SONOS_AGRAWAL_2022,
    "retention": Retention(lifetime_seconds=1e6, lifetime_dtod=0.3, rest_siemens=2e-6, activation_ev=1.1),
    "same lifetimes": Retention(lifetime_seconds=1e6),
}


@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", MODELS)
def test_type_shape_and_the_moment_of_writing(name, dtype, shape):
    """Nothing has changed at time 0; an array of times gives what the single times give."""
    model = MODELS[name]
    g = np.linspace(0.1, 16, int(np.prod(shape))).reshape(shape).astype(dtype) * dtype(US)
    xi = normals(Key(1), 0, shape, dtype) if model.draws else np.empty(0, dtype)
    np.testing.assert_array_equal(model.conductance(g, 0.0, 20 * US, xi), g)
    for seconds in (0.5, 3600.0, 1.7 * DAY, 100 * DAY):
        found = model.conductance(g, seconds, 20 * US, xi)
        assert found.dtype == dtype
        assert found.shape == shape
        assert (found >= 0).all()
        each = model.conductance(g, np.full(shape, seconds, dtype), 20 * US, xi)
        assert each.dtype == dtype
        np.testing.assert_allclose(each, found, rtol=1e-5)
    if shape == (5,):
        ages = np.array([0, 1, DAY, 1.5 * DAY, 9 * DAY])
        mixed = model.conductance(g, ages, 20 * US, xi)
        for index, seconds in enumerate(ages):
            one = model.conductance(g, float(seconds), 20 * US, xi)[index]
            assert mixed[index] == pytest.approx(one, rel=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_specifications_survive_toml_and_the_union(name):
    model = MODELS[name]
    assert type(model).from_toml(model.to_toml()) == model
    assert TypeAdapter(Drift).validate_python(model.to_dict()) == model


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
@pytest.mark.parametrize("name", MODELS)
def test_time_passes_forwards(name, seconds):
    g = np.full(3, 1e-6)
    for value in (seconds, np.array([1.0, 2.0, seconds])):
        with pytest.raises(ValueError, match="is not allowed: give finite nonnegative times since programming"):
            MODELS[name].conductance(g, value, 1e-5, g)


def folded(mean, std):
    """Mean and standard deviation of the magnitude of a normal number."""
    first = std * math.sqrt(2 / math.pi) * math.exp(-(mean**2) / (2 * std**2)) + mean * (1 - 2 * stats.norm.cdf(-mean / std))
    return first, math.sqrt(mean**2 + std**2 - first**2)


@pytest.mark.parametrize("top", [25.0, 100.0])
@pytest.mark.parametrize("relative", [0.01, 0.05, 0.1, 0.2, 0.5, 1.0])
def test_regression_recovers_the_drift_exponents(relative, top):
    """Slope of ln G against ln((t + t0) / t0) over five times from 1 s to a year, for 10,000 devices at each conductance.

    Mean and standard deviation of the slopes within 5 standard errors (6e-7 each, 2e-5 in all); the kurtosis of a folded normal
    number stays below that of a normal one.
    """
    n, times = 10_000, np.array([1.0, 100.0, 1e4, 1e6, 3.15e7])
    g = np.full(n, relative * top * US)
    xi = normals(Key(2), 0, n, np.float64)
    readings = np.stack([PCM_NANDAKUMAR_2019.conductance(g, float(t), top * US, xi) for t in times])
    nu = -np.polyfit(np.log((times + 20) / 20), np.log(readings), 1)[0]
    mean, std = folded(
        min(max(-0.0155 * math.log(relative) + 0.0244, 0.049), 0.1),
        min(max(-0.0125 * math.log(relative) - 0.0059, 0.008), 0.045),
    )
    assert (nu >= -1e-12).all()
    assert abs(nu.mean() - mean) < 5 * std / math.sqrt(n)
    assert abs(nu.std() / std - 1) < 5 / math.sqrt(2 * n)


def test_constant_exponents_are_recovered():
    n = 20_000
    model = PowerLawDrift(t0_seconds=1.0, exponent=ConstantExponent(mean=0.06, std=0.01))
    xi = normals(Key(3), 0, n, np.float32)
    nu = -np.log(model.conductance(np.ones(n, np.float32), 1e6, 1.0, xi)) / math.log(1e6 + 1)
    assert abs(nu.mean() - 0.06) < 5 * 0.01 / math.sqrt(n)
    assert abs(nu.std() / 0.01 - 1) < 5 / math.sqrt(2 * n)
    assert PowerLawDrift(exponent=ConstantExponent(mean=0.06)).draws == 0


@pytest.mark.parametrize("top", [40.0, 8.0])
def test_relaxation_brings_the_programming_deviation_to_the_published_one(top):
    """Programmed with the 1 s deviation, then left alone: the deviation from the target is the published one of each time.

    The model sees the programmed conductance, not the target, which biases the deviation by the curvature of the polynomial: below
    4 % between a quarter and the top of the range. 20,000 devices; 5 standard errors on top (6e-7 each).
    """
    n, spread = 20_000, programming.RERAM_WAN_2022
    for row, relative in enumerate((0.25, 0.5, 0.75)):
        target = np.full(n, relative * top * US)
        written = spread.programmed(target, top * US, normals(Key(4), 2 * row, n, np.float64))
        xi = normals(Key(4), 2 * row + 1, n, np.float64)
        for index, seconds in enumerate((1.0, DAY, 2 * DAY)):
            later = RERAM_WAN_2022.conductance(written, seconds, top * US, xi)
            published = RERAM_WAN_2022.deviation_at(index, target[:1], top * US)[0]
            assert (later - target).std() / published == pytest.approx(1, abs=0.04 + 5 / math.sqrt(2 * n))


def test_relaxation_scales_with_the_range():
    g = np.linspace(0, 40, 9) * US
    xi = normals(Key(5), 0, 9, np.float64)
    once = RERAM_WAN_2022.conductance(g, 5000.0, 40 * US, xi)
    np.testing.assert_allclose(RERAM_WAN_2022.conductance(3 * g, 5000.0, 120 * US, xi), 3 * once, rtol=1e-12)


def test_relaxation_does_not_shrink_a_deviation_that_was_written():
    model = Relaxation(times_seconds=(1.0, 10.0), coefficients=((2.0,), (1.0,)), reference_siemens=1e-5)
    g = np.full(4, 5e-6)
    np.testing.assert_array_equal(model.conductance(g, 100.0, 1e-5, np.ones(4)), g)


def test_sonos_population_follows_shift_and_spread():
    """40,000 cells at 800 nA after 3 days: mean and deviation from the target as published, within 5 standard errors.

    The spread of the shift itself, whose slope is below 0.03 there, is allowed for.
    """
    n, volts = 40_000, 0.1
    target = np.full(n, 800e-9 / volts)
    written = programming.SONOS_AGRAWAL_2022.programmed(target, 16 * US, normals(Key(6), 0, n, np.float64))
    later = SONOS_AGRAWAL_2022.conductance(written, 3 * DAY, 16 * US, normals(Key(6), 1, n, np.float64))
    error = (later - target) * volts * 1e9
    sigma = 31.04318 * (1 - math.exp(-800 / 198.90332))
    shift = SONOS_AGRAWAL_2022.mean_shift(np.array([800.0]), 3.0)[0]
    assert shift == pytest.approx(-9.31, abs=0.005)
    assert abs(error.mean() - shift) < 5 * sigma / math.sqrt(n) + 0.1
    assert error.std() / sigma == pytest.approx(1, abs=0.03 + 5 / math.sqrt(2 * n))


def test_retention_is_exponential_with_spread_lifetimes():
    """The state after a time t gives the lifetime of each device: their logarithms have the given median and spread (5 standard errors)."""
    n = 20_000
    model = Retention(lifetime_seconds=1e6, lifetime_dtod=0.3, rest_siemens=2e-6)
    for start in (1e-6, 9e-6):
        g = np.full(n, start)
        xi = normals(Key(7), 0, n, np.float64)
        for seconds in (1e4, 8e5):
            left = (model.conductance(g, seconds, 1e-5, xi) - 2e-6) / (start - 2e-6)
            logarithms = np.log(-seconds / np.log(left))
            assert abs(logarithms.mean() - math.log(1e6)) < 5 * 0.3 / math.sqrt(n)
            assert abs(logarithms.std() / 0.3 - 1) < 5 / math.sqrt(2 * n)
    # Two spans of time one after the other are their sum.
    once = model.conductance(model.conductance(g, 3e5, 1e-5, xi), 5e5, 1e-5, xi)
    np.testing.assert_allclose(once, model.conductance(g, 8e5, 1e-5, xi), rtol=1e-12)


def test_heat_makes_time_pass_faster():
    """1.1 eV from 300 K to 400 K: exp(1.1 / 8.617333e-5 / 1200) = 41,700 times."""
    model = MODELS["retention"]
    assert model.acceleration(400.0) == pytest.approx(math.exp(1.1 / 8.617333262e-5 / 1200), rel=1e-12)
    assert model.acceleration(300.0) == 1
    assert model.acceleration(250.0) < 1
    assert PCM_NANDAKUMAR_2019.acceleration(400.0) == 1
    with pytest.raises(ValueError, match=r"kelvin = 0.0 is not allowed"):
        model.acceleration(0.0)


@given(
    mean=st.floats(0, 0.2),
    std=st.floats(0, 0.1),
    t0=st.floats(1e-6, 1e3),
    first=st.floats(0, 1e8),
    second=st.floats(0, 1e8),
    xi=st.floats(-5, 5),
)
@settings(max_examples=50, deadline=None)
def test_power_law_only_falls(mean, std, t0, first, second, xi):
    model = PowerLawDrift(t0_seconds=t0, exponent=ConstantExponent(mean=mean, std=std))
    g = np.full(1, 1e-5)
    early, late = (model.conductance(g, t, 1e-5, np.full(1, xi))[0] for t in sorted((first, second)))
    # The exponential function may round either way.
    assert 0 < late <= early * (1 + 1e-12) <= 1e-5 * (1 + 1e-11)
    assert type(model).from_toml(model.to_toml()) == model


LOGARITHMIC = PCM_NANDAKUMAR_2019.exponent
REFUSALS = [
    (lambda: PowerLawDrift(t0_seconds=0.0, exponent=LOGARITHMIC), "t0_seconds = 0.0 is not allowed"),
    (lambda: PowerLawDrift(), "needs the field 'exponent'"),
    (lambda: ConstantExponent(mean=-0.1), "mean = -0.1 is not allowed"),
    (lambda: ConstantExponent(mean=math.nan), "mean = nan is not allowed"),
    (lambda: LOGARITHMIC.but(mean_least=0.2), "mean_least = 0.2 must not exceed mean_most = 0.1"),
    (lambda: LOGARITHMIC.but(std_least=0.2), "std_least = 0.2 must not exceed std_most = 0.045"),
    (lambda: LOGARITHMIC.but(std_slope=math.inf), "std_slope = inf is not allowed"),
    (lambda: RERAM_WAN_2022.but(times_seconds=(1.0, 1.0, 2.0)), "times_seconds = (1.0, 1.0, 2.0) must increase"),
    (lambda: RERAM_WAN_2022.but(times_seconds=(1.0, 2.0)), "coefficients has 3 polynomials, but times_seconds has 2 times"),
    (lambda: RERAM_WAN_2022.but(times_seconds=(0.0, 1.0, 2.0)), "times_seconds.0 = 0.0 is not allowed"),
    (lambda: RERAM_WAN_2022.but(reference_siemens=-1.0), "reference_siemens = -1.0 is not allowed"),
    (lambda: Retention(lifetime_seconds=0.0), "lifetime_seconds = 0.0 is not allowed"),
    (lambda: Retention(lifetime_seconds=1.0, lifetime_dtod=-1.0), "lifetime_dtod = -1.0 is not allowed"),
    (lambda: Retention(lifetime_seconds=1.0, reference_kelvin=0.0), "reference_kelvin = 0.0 is not allowed"),
    (lambda: SONOS_AGRAWAL_2022.but(days=(1.0, 2.0)), "days = (1.0, 2.0) must increase from 0"),
    (lambda: SONOS_AGRAWAL_2022.but(spread_nanoamperes=(1.0,)), "spread_nanoamperes has 1 entries, but 6 days need 6"),
    (lambda: SONOS_AGRAWAL_2022.but(shift_nanoamperes=((1.0,),)), "shift_nanoamperes has 1 entries, but 6 days need 5"),
    (lambda: SONOS_AGRAWAL_2022.but(read_volts=0.0), "read_volts = 0.0 is not allowed"),
]


@pytest.mark.parametrize(("make", "sentence"), REFUSALS)
def test_bad_values_are_refused(make, sentence):
    with pytest.raises(SpecificationError) as refusal:
        make()
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_table_of_the_users_own():
    """A linear fit of two days, to see that nothing about SONOS is built in."""
    model = StateDrift(
        read_volts=0.2,
        largest_nanoamperes=1000.0,
        days=(0.0, 2.0),
        shift_nanoamperes=((1.0, -0.1),),
        spread_nanoamperes=(3.0, 5.0),
        spread_scale_nanoamperes=(1e-3, 1e-3),
    )
    g = np.array([2e-6])  # 400 nA
    found = model.conductance(g, DAY, 1e-5, np.array([1.0]))[0] * 0.2 * 1e9
    assert found == pytest.approx(400 + 0.5 * (1 - 40) + math.sqrt(4.0**2 - 3.0**2), rel=1e-9)
    assert isinstance(LOGARITHMIC, LogarithmicExponent)
