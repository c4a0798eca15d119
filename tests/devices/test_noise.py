"""White and 1/f noise: variances and spectra."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.devices.nonidealities import (
    ConstantNoise,
    Flicker,
    NoReadNoise,
    PolynomialNoise,
    RelativeNoise,
    SaturatingNoise,
)
from analogpc.devices.nonidealities.flicker import PCM_NANDAKUMAR_2019
from analogpc.devices.specification import SpecificationError
from analogpc.kernels.random.streams import Key

F32, F64 = np.dtype("float32"), np.dtype("float64")
positive = st.floats(1e-9, 1e-3)
durations = st.floats(1e-10, 1.0)
models = st.one_of(
    st.builds(NoReadNoise, reference_seconds=durations),
    st.builds(RelativeNoise, relative=st.floats(0, 2), reference_seconds=durations),
    st.builds(ConstantNoise, std_siemens=positive, reference_seconds=durations),
    st.builds(SaturatingNoise, amplitude_siemens=positive, scale_siemens=positive, reference_seconds=durations),
    st.builds(
        PolynomialNoise,
        coefficients=st.lists(st.floats(-100, 100), min_size=1, max_size=6).map(tuple),
        variable=st.sampled_from(["relative", "microsiemens"]),
        reference_siemens=positive,
        rescale=st.booleans(),
        reference_seconds=durations,
    ),
)


@given(model=models, top=positive, longer=st.floats(0.01, 100), dtype=st.sampled_from([np.float32, np.float64]))
@settings(max_examples=60, deadline=None)
def test_white_noise_averages_over_the_read(model, top, longer, dtype):
    g = (np.linspace(0, 1.2, 7) * top).astype(dtype).reshape(7, 1)
    base = model.deviation(g, top, model.reference_seconds)
    assert base.dtype == dtype
    assert base.shape == (7, 1)
    assert (base >= 0).all()
    averaged = model.deviation(g, top, longer * model.reference_seconds)
    np.testing.assert_allclose(averaged * math.sqrt(longer), base, rtol=1e-5, atol=1e-30)
    assert type(model).from_toml(model.to_toml()) == model


def test_deviations_of_white_noise():
    g = np.array([0.0, 1e-5, 2e-5])
    np.testing.assert_array_equal(NoReadNoise().deviation(g, 1e-5, 1e-9), 0)
    quarter = RelativeNoise(relative=0.02, reference_seconds=1e-7).deviation(g, 1e-5, 4e-7)
    np.testing.assert_allclose(quarter, [0, 1e-7, 2e-7])
    with pytest.raises(ValueError, match=r"seconds = 0.0 is not allowed"):
        NoReadNoise().deviation(g, 1e-5, 0.0)


# --- 1/f ------------------------------------------------------------------------------------------------------------------------


def published(seconds, read_seconds=250e-9):
    return math.log((seconds + read_seconds) / (2 * read_seconds))


@pytest.mark.parametrize("per_decade", [1, 2, 3, 10])
@pytest.mark.parametrize("read_seconds", [250e-9, 1e-8, 1e-3])
def test_the_modes_add_up_to_the_published_variance(per_decade, read_seconds):
    model = Flicker(amplitude=0.01, modes_per_decade=per_decade, read_seconds=read_seconds)
    for seconds in np.geomspace(4 * read_seconds, 1e7, 150):
        ratio = math.sqrt(model.variance(seconds) / published(seconds, read_seconds))
        assert ratio == pytest.approx(1, abs=0.01 if seconds >= 40 * read_seconds else 0.03)
    assert model.time_constants[-1] >= 1e8
    assert model.modes == 15 or (per_decade, read_seconds) != (1, 250e-9)


def test_a_population_ages_with_the_published_variance():
    """20,000 devices from 1 us to 1e7 s; variance within the accuracy of the modes and 5 standard errors (2e-6 each)."""
    n = 20_000
    modes = PCM_NANDAKUMAR_2019.start((n,), F32)
    assert not modes.any()
    now = 0.0
    for step, seconds in enumerate(10.0 ** np.arange(-6, 8)):
        PCM_NANDAKUMAR_2019.evolve(modes, seconds - now, Key(7), step)
        now = seconds
        factor = PCM_NANDAKUMAR_2019.factor(modes)
        assert factor.dtype == F32
        assert abs(factor.mean()) < 5 * math.sqrt(published(seconds) / n)
        assert factor.var() / published(seconds) == pytest.approx(1, abs=0.05 + 5 * math.sqrt(2 / n))


def test_many_small_steps_are_one_large_step():
    """Variance and autocorrelation after 50 steps of 20 ms and after one of 1 s: equal within 5 standard errors of both."""
    n = 20_000
    fine, coarse = (PCM_NANDAKUMAR_2019.start((n,), F32) for _ in range(2))
    for step in range(50):
        PCM_NANDAKUMAR_2019.evolve(fine, 0.02, Key(8), step)
    PCM_NANDAKUMAR_2019.evolve(coarse, 1.0, Key(9), 0)
    expected = PCM_NANDAKUMAR_2019.amplitudes**2 * -np.expm1(-2 / PCM_NANDAKUMAR_2019.time_constants)
    for modes in (fine, coarse):
        assert (np.abs(modes.var(axis=1) / expected - 1) < 5 * math.sqrt(2 / n)).all()


def test_increments_grow_with_the_logarithm_of_the_lag():
    """In the aged process E[(f(t + s) - f(t))²] = 2 ln s + const, the mark of 1/f noise: slope 2 over 9 decades of s.

    Each of the 10 points has a relative standard error of 1 %, of values up to 50: the slope has one below 0.02.
    """
    model, n = PCM_NANDAKUMAR_2019, 20_000
    lags, differences = 10.0 ** np.arange(-4, 6), []
    for step, lag in enumerate(lags):
        modes = model.start((n,), F64)
        model.evolve(modes, 1e9, Key(10), 2 * step)
        before = model.factor(modes)
        model.evolve(modes, float(lag), Key(10), 2 * step + 1)
        differences.append(((model.factor(modes) - before) ** 2).mean())
    slope = np.polyfit(np.log(lags), differences, 1)[0]
    assert slope == pytest.approx(2, abs=0.1)


def test_the_spectrum_of_the_modes_falls_as_one_over_f():
    """The sum of the modes' Lorentzians, 4 a² τ / (1 + (2 π f τ)²), is 1 / f within 6 % over 8 decades (ripple of 1 per decade)."""
    model = PCM_NANDAKUMAR_2019
    f = np.geomspace(1e-6, 1e2, 400)[:, None]
    a, tau = model.amplitudes, model.time_constants
    density = (4 * a**2 * tau / (1 + (2 * np.pi * f * tau) ** 2)).sum(axis=1)
    assert np.abs(density * f[:, 0] - 1).max() < 0.06
    assert np.polyfit(np.log(f[:, 0]), np.log(density), 1)[0] == pytest.approx(-1, abs=0.005)


def test_simulated_traces_have_a_spectrum_of_slope_minus_one():
    """Periodograms of 128 traces of 8192 samples, between 4 cycles per trace and 1/50 of the sampling rate: 160 lines.

    Averaged over traces a line has a relative standard error of 1/sqrt(128); the regression error of the slope follows from that
    (Hann's window correlates neighbours: a factor of 2 covers it). Ripple of one mode per decade may add 0.05.
    """
    # The fastest mode is as slow as the sampling, so that nothing is folded down into the band.
    model = Flicker(amplitude=0.01, read_seconds=0.06, longest_seconds=3e4)
    assert model.time_constants[0] == pytest.approx(1, abs=0.1)
    traces, samples = 128, 8192
    modes = model.start((traces,), F64)
    model.evolve(modes, 1e8, Key(11), 0)
    recorded = np.empty((samples, traces))
    for step in range(samples):
        model.evolve(modes, 1.0, Key(11), step + 1)
        recorded[step] = model.factor(modes)
    recorded -= recorded.mean(axis=0)
    window = np.hanning(samples)[:, None]
    power = 2 * (np.abs(np.fft.rfft(recorded * window, axis=0)) ** 2).mean(axis=1) / (window**2).sum()
    lines = np.arange(4, samples // 50)
    f = lines / samples
    x = np.log(f)
    # Weights that spread the lines evenly over the decades.
    weights = 1 / lines
    centred = x - np.average(x, weights=weights)
    slope = (weights * centred * np.log(power[lines])).sum() / (weights * centred**2).sum()
    error = 2 * math.sqrt(((weights * centred) ** 2).sum() / traces) / (weights * centred**2).sum()
    assert error < 0.03
    assert abs(slope + 1) < 0.05 + 5 * error
    # And the level is 1 / f, within the ripple and 5 standard errors.
    level_error = 2 * math.sqrt((weights**2).sum() / traces) / weights.sum()
    assert np.average(power[lines] * f, weights=weights) == pytest.approx(1, abs=0.05 + 5 * level_error)


def test_the_noise_belongs_to_the_device_and_the_step():
    model = Flicker(amplitude=0.01)
    first, again, other = (model.start((4, 5), F32) for _ in range(3))
    model.evolve(first, 1.0, Key(1), 3)
    model.evolve(again, 1.0, Key(1), 3)
    model.evolve(other, 1.0, Key(1), 4)
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()
    kept = first.copy()
    model.evolve(first, 0.0, Key(1), 5)
    np.testing.assert_array_equal(first, kept)
    assert len(np.unique(first)) == first.size
    with pytest.raises(ValueError, match=r"seconds = -1.0 is not allowed"):
        model.evolve(first, -1.0, Key(1), 6)


def test_what_a_read_finds_is_never_negative_and_scales():
    model, n = PCM_NANDAKUMAR_2019, 20_000
    modes = model.start((n,), F32)
    model.evolve(modes, 1e7, Key(12), 0)
    written = np.full(n, 1e-7, F32)
    found = model.conductance(written / 2, written, 25e-6, modes)
    assert found.dtype == F32
    assert (found >= 0).all()
    assert (found == 0).any()
    # The same devices, ten times as conductive in a range ten times as wide.
    np.testing.assert_allclose(model.conductance(5 * written, 10 * written, 250e-6, modes), 10 * found, rtol=1e-5)
    # Far from zero: standard deviation Q sqrt(variance) of the present conductance.
    written = np.full(n, 25e-6, F32)
    found = model.conductance(written / 2, written, 25e-6, modes) / 12.5e-6 - 1
    assert found.std() == pytest.approx(0.0088 * math.sqrt(published(1e7)), rel=0.01 + 5 / math.sqrt(2 * n))


REFUSALS = [
    (lambda: RelativeNoise(relative=-0.1), "relative = -0.1 is not allowed"),
    (lambda: ConstantNoise(std_siemens=math.nan), "std_siemens = nan is not allowed"),
    (lambda: NoReadNoise(reference_seconds=0.0), "reference_seconds = 0.0 is not allowed"),
    (lambda: PolynomialNoise(coefficients=(math.inf,), reference_siemens=1e-6), "coefficients.0 = inf is not allowed"),
    (lambda: Flicker(amplitude=-1.0), "amplitude = -1.0 is not allowed"),
    (lambda: Flicker(read_seconds=0.0), "read_seconds = 0.0 is not allowed"),
    (lambda: Flicker(longest_seconds=math.inf), "longest_seconds = inf is not allowed"),
    (lambda: Flicker(modes_per_decade=0), "modes_per_decade = 0 is not allowed"),
    (lambda: Flicker(longest_seconds=1e-9), "longest_seconds = 1e-09 must not be shorter than read_seconds = 2.5e-07"),
]


@pytest.mark.parametrize(("make", "sentence"), REFUSALS)
def test_bad_values_are_refused(make, sentence):
    with pytest.raises(SpecificationError) as refusal:
        make()
    assert sentence in str(refusal.value)


@given(flicker=st.builds(Flicker, amplitude=st.floats(0, 1), power=st.floats(0, 2), modes_per_decade=st.integers(1, 10)))
@settings(max_examples=30, deadline=None)
def test_any_flicker_noise_survives_toml(flicker):
    assert Flicker.from_toml(flicker.to_toml()) == flicker
    q = flicker.deviation_scale(np.linspace(0, 2e-5, 9), 1e-5)
    assert (q >= 0).all()
    assert (q <= flicker.largest).all()
    assert flicker.active == (flicker.amplitude > 0)
