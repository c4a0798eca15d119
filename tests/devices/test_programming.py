"""Programming deviations and levels: populations recover the curves."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analogpc.devices.nonidealities import (
    ConstantSpread,
    ExactProgramming,
    Levels,
    PolynomialSpread,
    ProportionalSpread,
    SaturatingSpread,
    UniformSpread,
    programming,
)
from analogpc.devices.specification import SpecificationError
from analogpc.kernels.random.streams import Key, normals

US = 1e-6
PUBLISHED = {name: value for name, value in vars(programming).items() if name.isupper() and hasattr(value, "deviation")}

positive = st.floats(1e-9, 1e-3)
coefficients = st.lists(st.floats(-100, 100), min_size=1, max_size=6).map(tuple)
models = st.one_of(
    st.builds(ExactProgramming),
    st.builds(ConstantSpread, std_siemens=positive),
    st.builds(ProportionalSpread, relative=st.floats(0, 2)),
    st.builds(UniformSpread, half_width_siemens=positive),
    st.builds(SaturatingSpread, amplitude_siemens=positive, scale_siemens=positive),
    st.builds(
        PolynomialSpread,
        coefficients=coefficients,
        variable=st.sampled_from(["relative", "microsiemens"]),
        reference_siemens=positive,
        rescale=st.booleans(),
    ),
)


@given(
    model=models,
    top=positive,
    relative=st.lists(st.floats(0, 1.5, width=32), max_size=6),
    dtype=st.sampled_from([np.float32, np.float64]),
)
@settings(max_examples=80, deadline=None)
def test_deviations_are_never_negative_and_keep_type_and_shape(model, top, relative, dtype):
    g = (np.array(relative) * top).astype(dtype).reshape(1, -1)
    deviation = model.deviation(g, top)
    assert deviation.dtype == dtype
    assert deviation.shape == g.shape
    assert (deviation >= 0).all()
    written = model.programmed(g, top, np.zeros_like(g))
    assert written.dtype == dtype
    np.testing.assert_allclose(written, g)
    assert type(model).from_toml(model.to_toml()) == model


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", PUBLISHED)
def test_any_shape(name, shape, dtype):
    written = PUBLISHED[name].programmed(np.full(shape, 5e-6, dtype), 25e-6, np.ones(shape, dtype))
    assert written.shape == shape
    assert written.dtype == dtype


@pytest.mark.parametrize("name", PUBLISHED)
def test_populations_recover_the_curve(name):
    """20,000 devices at each of 8 targets; the variance within 5 standard errors (false alarms below 6e-6 each, 3e-4 in all)."""
    model, n = PUBLISHED[name], 20_000
    top = getattr(model, "reference_siemens", 16 * US)
    targets = np.linspace(0.05, 1, 8)[:, None] * top * np.ones((8, n))
    written = model.programmed(targets, top, normals(Key(3).fold(name), 0, targets.shape, np.float64))
    sigma = model.deviation(targets[:, 0], top)
    error = written - targets
    assert (np.abs(error.mean(axis=1)) < 5 * sigma / math.sqrt(n)).all()
    assert (np.abs(error.var(axis=1) / sigma**2 - 1) < 5 * math.sqrt(2 / n)).all()


def test_uniform_spread_is_uniform():
    """Kolmogorov-Smirnov on 20,000 devices, p > 1e-4; fixed seed, so the false-alarm rate was paid once."""
    xi = normals(Key(5), 0, 20_000, np.float32)
    written = UniformSpread(half_width_siemens=2e-6).programmed(np.full(20_000, 1e-5, np.float32), 1e-5, xi)
    assert written.dtype == np.float32
    assert stats.kstest((written.astype(np.float64) - 8e-6) / 4e-6, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("scale", [0.1, 0.5, 3.0])
def test_rescaled_curves_scale_with_the_range_and_absolute_ones_do_not(scale):
    for model in PUBLISHED.values():
        if not isinstance(model, PolynomialSpread):
            continue
        top = model.reference_siemens
        g = np.linspace(0, 1, 11) * top
        if model.rescale:
            expected = scale * model.deviation(g, top)
            np.testing.assert_allclose(model.deviation(scale * g, scale * top), expected, rtol=1e-12)
        else:
            np.testing.assert_array_equal(model.deviation(g, scale * top), model.deviation(g, top))


def test_powers_of_relative_and_of_microsiemens_are_the_same_curve():
    """c_k (g / 20 uS)^k = (c_k / 20^k) (G / uS)^k, rescaled or not."""
    relative = (0.5, 2.0, -1.0)
    absolute = tuple(c / 20.0**k for k, c in enumerate(relative))
    g = np.linspace(0, 30e-6, 13)
    for rescale in (False, True):
        one = PolynomialSpread(coefficients=relative, reference_siemens=20 * US, rescale=rescale)
        other = PolynomialSpread(coefficients=absolute, variable="microsiemens", reference_siemens=20 * US, rescale=rescale)
        np.testing.assert_allclose(one.deviation(g, 30e-6), other.deviation(g, 30e-6), rtol=1e-12)
    # One end of the range: 1.5 uS on a device of 20 uS, 1.5 times as much on one of 30 uS.
    assert one.deviation(g, 30e-6)[-1] == pytest.approx(2.25 * US)


def test_a_curve_is_held_where_nothing_was_measured():
    model = programming.RERAM_WAN_2022_CUBIC
    beyond = model.deviation(np.array([39.26e-6, 50e-6, 400e-6]), 400e-6)
    assert (beyond == beyond[0]).all()


@given(count=st.integers(2, 70), low=st.floats(0, 1e-5), span=st.floats(1e-6, 1e-3), seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_levels_take_the_nearest_state(count, low, span, seed):
    top = low + span
    g = np.random.default_rng(seed).uniform(low - span / 4, top + span / 4, 50)
    states = np.linspace(low, top, count)
    nearest = np.abs(g[:, None] - states).min(axis=1)
    for levels in (Levels(count=count), Levels(positions=tuple(np.linspace(0, 1, count)))):
        found = levels.nearest(g, low, top)
        np.testing.assert_allclose(np.abs(found - g), nearest, atol=1e-9 * span)
        assert len(np.unique(found.round(15))) <= count
        assert Levels.from_toml(levels.to_toml()) == levels


def test_uneven_levels_and_the_continuum():
    g = np.array([-1, 0.9, 1.3, 2.6, 8], np.float32)
    found = Levels(positions=(0, 0.1, 0.5, 1)).nearest(g, 0.0, 4.0)
    np.testing.assert_allclose(found, [0, 0.4, 2, 2, 4], rtol=1e-6)
    assert found.dtype == np.float32
    untouched = Levels().nearest(g, 0.0, 4.0)
    np.testing.assert_array_equal(untouched, g)
    assert untouched is not g


REFUSALS = [
    (lambda: ConstantSpread(std_siemens=-1e-6), "std_siemens = -1e-06 is not allowed"),
    (lambda: ConstantSpread(std_siemens=math.inf), "std_siemens = inf is not allowed"),
    (lambda: ProportionalSpread(relative=math.nan), "relative = nan is not allowed"),
    (lambda: UniformSpread(half_width_siemens=-1.0), "half_width_siemens = -1.0 is not allowed"),
    (lambda: SaturatingSpread(amplitude_siemens=1.0, scale_siemens=0.0), "scale_siemens = 0.0 is not allowed"),
    (lambda: PolynomialSpread(coefficients=(), reference_siemens=1e-6), "coefficients = () is not allowed"),
    (lambda: PolynomialSpread(coefficients=(1.0, math.nan), reference_siemens=1e-6), "coefficients.1 = nan is not allowed"),
    (lambda: PolynomialSpread(coefficients=(1.0,), reference_siemens=0.0), "reference_siemens = 0.0 is not allowed"),
    (lambda: PolynomialSpread(coefficients=(1.0,)), "needs the field 'reference_siemens'"),
    (
        lambda: PolynomialSpread(coefficients=(1.0,), reference_siemens=1e-6, variable="siemens"),
        "variable = 'siemens' is not allowed",
    ),
    (lambda: Levels(count=1), "count = 1 is not allowed"),
    (lambda: Levels(count=4.5), "a whole number of states"),
    (lambda: Levels(count=math.nan), "count = nan is not allowed"),
    (lambda: Levels(positions=(0.5,)), "positions = (0.5,) must be"),
    (lambda: Levels(positions=(0.5, 0.2)), "positions = (0.5, 0.2) must be"),
    (lambda: Levels(positions=(0.0, 1.2)), "positions.1 = 1.2 is not allowed"),
    (lambda: Levels(count=3, positions=(0.0, 1.0)), "count = 3 contradicts the 2 positions"),
]


@pytest.mark.parametrize(("make", "sentence"), REFUSALS)
def test_bad_values_are_refused(make, sentence):
    with pytest.raises(SpecificationError) as refusal:
        make()
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)
