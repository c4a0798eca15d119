"""Converters against a plain statement, exact saturation, and the laws of quantisation noise and read noise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analogpc.kernels.converters import adc, dac, quantisation_step
from analogpc.kernels.streams import Key, normal, philox


def plain_convert(value, bits, bound):
    """Clip, then round to the nearest of 2**bits - 1 levels."""
    clipped = np.clip(value, -bound, bound)
    step = quantisation_step(bits, bound)
    return np.rint(clipped / step) * step if step else clipped


@given(
    bits=st.integers(2, 12),
    bound=st.floats(0.1, 20),
    managed=st.booleans(),
    reduction=st.sampled_from([1.0, 2.0, 8.0]),
    n=st.integers(1, 5),
    lines=st.integers(1, 9),
    seed=st.integers(0, 1000),
)
@settings(max_examples=100, deadline=None)
def test_dac_follows_the_plain_statement(bits, bound, managed, reduction, n, lines, seed):
    x = np.random.default_rng(seed).normal(scale=bound, size=(n, lines))
    driven, scale, saturated = dac(x, bits, bound, managed, reduction)
    expected_scale = reduction * (np.abs(x).max(1) / bound if managed else np.ones(n))
    np.testing.assert_allclose(scale, expected_scale, rtol=1e-15)
    np.testing.assert_allclose(driven, plain_convert(x / scale[:, None], bits, bound), rtol=1e-12, atol=1e-12)
    assert saturated == np.count_nonzero(np.abs(x / scale[:, None]) > bound)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bits", [2, 3, 7, 9])
def test_a_converter_has_exactly_its_levels(dtype, bits):
    x = np.linspace(-1.5, 1.5, 40_001, dtype=dtype)[None, :]
    driven, _, saturated = dac(x, bits, 1.0, False)
    levels = np.unique(driven)
    assert driven.dtype == dtype
    assert len(levels) == 2**bits - 1
    assert levels[0] == -1
    assert levels[-1] == 1
    assert saturated == np.count_nonzero(np.abs(x) > 1)


def test_managed_input_uses_the_full_range_and_zeros_stay_zero():
    x = np.array([[1e-9, -4e-9], [0, 0]], np.float32)
    driven, scale, saturated = dac(x, 7, 1.0, True)
    assert driven[0, 1] == -1
    assert (driven[1] == 0).all()
    assert scale[1] == 1
    assert saturated == 0


def test_quantisation_noise_has_the_power_of_a_uniform_error():
    """Step**2 / 12 for inputs spread over many levels; 5 standard errors."""
    x = np.random.default_rng(1).uniform(-0.9, 0.9, (1000, 200))
    error = dac(x, 6, 1.0, False)[0] - x
    power, step = error**2, quantisation_step(6, 1.0)
    assert abs(power.mean() - step**2 / 12) < 5 * power.std() / math.sqrt(power.size)


def test_nan_reaches_the_output():
    x = np.array([[np.nan, 1.0, 2.0]])
    assert np.isnan(dac(x, 7, 1.0, True)[0]).any()
    total = np.zeros((1, 3))
    adc(x, total, np.ones(1), 0.1, 9, 12.0, Key(0), 0)
    assert np.isnan(total[0, 0])


def test_adc_adds_its_noise_before_clipping_and_scales_after(rng):
    y, total, scale = rng.normal(size=(3, 10)) * 8, rng.normal(size=(3, 10)), rng.uniform(1, 2, 3)
    key, step, noise, bits, bound = Key(4), 2**33 + 5, 0.5, 5, 10.0
    before = total.copy()
    saturated = adc(y, total, scale, noise, bits, bound, key, step)
    draws = np.zeros((3, 12), np.float32)
    for i in range(3):
        for block in range(3):
            words = philox(np.uint32(block), np.uint32(i), np.uint32(5), np.uint32(2), *key.words)
            draws[i, 4 * block : 4 * block + 4] = [normal(word) for word in words]
    noisy = y + noise * draws[:, :10].astype(np.float64)
    np.testing.assert_allclose(total, before + scale[:, None] * plain_convert(noisy, bits, bound), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(saturated, np.count_nonzero(np.abs(noisy) > bound, axis=1))


def test_read_noise_is_normal_with_the_given_deviation():
    """Kolmogorov-Smirnov at a false-alarm rate of 1e-5, through a converter of infinite resolution."""
    total = np.zeros((500, 401))
    adc(np.zeros_like(total), total, np.ones(500), 0.06, math.inf, math.inf, Key(8), 0)
    assert stats.kstest(total.reshape(-1) / 0.06, "norm").pvalue > 1e-5


def test_ideal_converters_change_nothing(rng):
    x = rng.normal(size=(4, 6))
    driven, scale, saturated = dac(x, math.inf, math.inf, True)
    total = np.zeros((4, 6))
    assert not adc(driven, total, scale, 0.0, math.inf, math.inf, Key(0), 0).any()
    np.testing.assert_array_equal(total, x)
    assert saturated == 0


def test_threads_change_nothing(with_threads, rng):
    x = rng.normal(size=(64, 300)).astype(np.float32)

    def read():
        driven, scale, clipped = dac(x, 7, 1.0, True)
        total = np.zeros_like(x)
        return total, clipped + adc(driven, total, scale, 0.06, 9, 1.0, Key(1), 3).sum()

    (one, clipped_one), (two, clipped_two) = with_threads(read)
    np.testing.assert_array_equal(one, two)
    assert clipped_one == clipped_two > 0
