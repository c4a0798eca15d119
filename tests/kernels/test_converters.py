"""Converters against a plain statement, exact saturation, and the laws of quantisation noise and read noise."""

import math

import numba as nb
import numpy as np
import pytest
from device_arrays import KINDS, odd_numbers, same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from analogpc.kernels.converters.shared import QUICK, adc, dac, quantisation_step
from analogpc.kernels.gpu.arrays import on_gpu, to_host
from analogpc.kernels.random.streams import Key, normal, philox

DEVICE_SHAPES = [(1, 1), (3, 7), (5, 64), (2, 1030), (300, 101), (0, 4), (3, 0)]
KEY, STEP = Key(2**63 + 5), 2**40 + 3

# The last: more numbers than one thread converts alone, and rows that are no whole number of blocks of random words.
SHAPES = [(1, 1), (3, 7), (QUICK // 100, 101)]


@nb.njit
def plain_normals(n, lines, key, step):
    """Line j of vector i: word j mod 4 of block j div 4 of row i."""
    draws = np.empty((n, lines), np.float32)
    for i in range(n):
        for j in range(lines):
            words = philox(np.uint32(j // 4), np.uint32(i), np.uint32(step), np.uint32(step >> 32), *key)
            draws[i, j] = normal(words[j % 4])
    return draws


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


def some_numbers(shape, dtype):
    """Normal numbers; in large arrays also zeros of both signs, infinities and what is no number."""
    x = 3 * np.random.default_rng(6).normal(size=shape).astype(dtype)
    if x.size > 100:
        x[:5, 0] = np.nan, np.inf, -np.inf, -0.0, 0.0
        x[6] = 0
    return x


def in_its_type(value, bits, bound):
    """`plain_convert`, every operation rounded to the type of ``value``."""
    kind = value.dtype.type
    clipped = np.clip(value, kind(-bound), kind(bound))
    step = kind(quantisation_step(bits, bound))
    return np.rint(clipped / step) * step if step else clipped


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("bits", "bound"), [(7, 1.0), (9, 12.0), (math.inf, 0.7), (math.inf, math.inf)])
def test_the_fused_adc_has_the_bits_of_plain_arithmetic(dtype, shape, bits, bound):
    """NumPy, operation by operation: vectors, strips and threads change nothing, and neither does leaving out the zeros."""
    y, total = some_numbers(shape, dtype), some_numbers(shape, dtype)[::-1].copy()
    scale = np.random.default_rng(7).uniform(0.5, 2, shape[0]).astype(dtype)
    key, step = Key(9), 2**35 + 3
    draws = plain_normals(*shape, key.words, step)
    for noise in (0.0, 0.3):
        noisy = y + dtype(noise) * draws if noise else y
        with np.errstate(invalid="ignore"):
            levels = scale[:, None] * in_its_type(noisy, bits, bound)
            sums, anew = total + levels, dtype(0) + levels
        added, written = total.copy(), np.full_like(total, np.nan)
        clipped = adc(y, added, scale, noise, bits, bound, key, step)
        np.testing.assert_array_equal(adc(y, written, scale, noise, bits, bound, key, step, fresh=True), clipped)
        beyond = dtype(bound) + dtype(0.5) * dtype(quantisation_step(bits, bound))
        np.testing.assert_array_equal(clipped, np.count_nonzero(np.abs(noisy) > beyond, axis=1))
        np.testing.assert_array_equal(added, sums)
        np.testing.assert_array_equal(written, anew)
        np.testing.assert_array_equal(np.signbit(written[written == 0]), np.signbit(anew[anew == 0]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("managed", [False, True])
def test_the_fused_dac_has_the_bits_of_plain_arithmetic(dtype, shape, managed):
    """The largest magnitude leaves out what is no number; a vector of zeros is not scaled."""
    x, bits, bound, reduction = some_numbers(shape, dtype), 7, 1.5, 4.0
    largest = np.fmax.reduce(np.abs(x), axis=1) if managed else np.zeros(len(x), dtype)
    scale = np.where(largest > 0, largest / dtype(bound) * dtype(reduction), dtype(reduction))
    with np.errstate(invalid="ignore"):
        value = x / scale[:, None]
    driven, found, clipped = dac(x, bits, bound, managed, reduction)
    np.testing.assert_array_equal(found, scale)
    np.testing.assert_array_equal(driven, in_its_type(value, bits, bound))
    assert clipped == np.count_nonzero(np.abs(value) > dtype(bound))
    for one, two in zip(dac(np.asfortranarray(x), bits, bound, managed, reduction), (driven, found, clipped), strict=True):
        np.testing.assert_array_equal(one, two)


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
    beyond = bound + quantisation_step(bits, bound) / 2
    np.testing.assert_array_equal(saturated, np.count_nonzero(np.abs(noisy) > beyond, axis=1))


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
    x = rng.normal(size=(520, 511)).astype(np.float32)
    assert x.size > QUICK, "one thread alone is no test"

    def read():
        driven, scale, clipped = dac(x, 7, 1.0, True)
        total = np.zeros_like(x)
        return total, clipped + adc(driven, total, scale, 0.06, 9, 1.0, Key(1), 3).sum()

    (one, clipped_one), (two, clipped_two) = with_threads(read)
    np.testing.assert_array_equal(one, two)
    assert clipped_one == clipped_two > 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bits", [2, 7, 9, 12, 16, math.inf])
@pytest.mark.parametrize("shape", [(3, 7), (QUICK // 100, 101)])
def test_squares_are_counted_as_lines_are_driven(with_threads, dtype, bits, shape):
    """Squares of codes are whole numbers: their sums are exact whatever the type, the strips and the threads."""
    x = np.random.default_rng(3).normal(size=shape).astype(dtype)

    def driven():
        squares = np.full(shape[1], 5.0)
        return *dac(x, bits, 1.0, True, squares=squares), squares

    one, two = with_threads(driven)
    np.testing.assert_array_equal(one[3], two[3])
    plain = dac(x, bits, 1.0, True)
    for found, expected in zip(one[:3], plain, strict=True):
        np.testing.assert_array_equal(found, expected)
    step = quantisation_step(bits, 1.0)
    if step:
        codes = np.rint(plain[0].astype(np.float64) / step)
        np.testing.assert_array_equal(one[3], 5 + np.square(codes).sum(axis=0))
    else:
        np.testing.assert_allclose(one[3], 5 + np.square(plain[0].astype(np.float64)).sum(axis=0), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", DEVICE_SHAPES)
def test_the_dac_on_every_backend(device, rng, kind, shape) -> None:
    x = odd_numbers(rng, shape, kind)
    given_magnitudes = rng.uniform(0, 3, shape[0]).astype(kind)
    given_magnitudes[:1] = 0
    clipped = 0
    for bits, bound in ((7, 1.3), (2, 0.7), (math.inf, 0.9), (math.inf, math.inf)):
        for managed, reduction, magnitudes in (
            (True, 1.0, None), (True, 4.0, None), (False, 1.0, None), (False, 2.0, None), (True, 2.0, given_magnitudes),
        ):  # fmt: skip
            there = None if magnitudes is None else device.array(magnitudes)
            found = dac(device.array(x), bits, bound, managed, reduction, there)
            expected = dac(x, bits, bound, managed, reduction, magnitudes)
            assert same(found[0], expected[0])
            assert same(found[1], expected[1])
            assert on_gpu(found[2])
            assert found[2].dtype == np.int64
            assert int(found[2]) == expected[2]
            clipped += expected[2]
    assert clipped > 0 or x.size < 2


def test_the_largest_magnitude_is_found_wherever_it_is(device, rng) -> None:
    x = rng.uniform(-1, 1, (150, 77)).astype(np.float32)
    for b in range(150):
        x[b, b % 77] = (-1) ** b * (2 + b)
    scale = dac(device.array(x), 8, 1.0, True)[1].get()
    np.testing.assert_array_equal(scale, 2 + np.arange(150, dtype=np.float32))


@pytest.mark.parametrize("kind", KINDS)
def test_strided_vectors_are_converted_as_they_are(device, rng, kind) -> None:
    x = odd_numbers(rng, (40, 30), kind)
    wide = device.array(np.repeat(x, 2, axis=1))
    assert same(dac(wide[:, ::2], 6, 1.0, True)[0], dac(x, 6, 1.0, True)[0])
    one, other, scale = device.array(np.ones_like(x)), np.ones_like(x), np.arange(40).astype(kind)
    assert same(adc(wide[:, ::2], one, device.array(scale), 0.1, 6, 2.0, KEY, STEP), adc(x, other, scale, 0.1, 6, 2.0, KEY, STEP))
    assert same(one, other)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", DEVICE_SHAPES)
@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("fresh", [False, True])
def test_the_adc_on_every_backend(device, rng, kind, shape, noise, fresh) -> None:
    y, start, scale = odd_numbers(rng, shape, kind), rng.normal(size=shape).astype(kind), rng.normal(size=shape[0]).astype(kind)
    variance, clipped = rng.uniform(0, 1, shape[0]).astype(kind), 0
    for bits, bound in ((9, 4.0), (3, 0.5), (math.inf, 2.0), (math.inf, math.inf)):
        total, there = start.copy(), device.array(start)
        expected = adc(y, total, scale, noise, bits, bound, KEY, STEP, fresh)
        found = adc(device.array(y), there, device.array(scale), noise, bits, bound, KEY, STEP, fresh)
        assert same(found, expected)
        assert same(there, total)
        clipped += expected.sum()
        expected = adc(y, total, scale, noise, bits, bound, KEY, STEP, fresh, variance)
        given = device.array(y), there, device.array(scale), noise, bits, bound, KEY, STEP, fresh, device.array(variance)
        assert same(adc(*given), expected)
        assert same(there, total)
    assert clipped > 0 or y.size < 2


def test_a_fresh_total_may_hold_anything(device, rng) -> None:
    y, scale = rng.normal(size=(4, 9)).astype(np.float32), np.ones(4, np.float32)
    there = device.array(np.full((4, 9), np.nan, np.float32))
    adc(device.array(y), there, device.array(scale), 0.1, 8, 4.0, KEY, 0, fresh=True)
    assert np.isfinite(there.get()).all()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(1, 9),
    lines=st.integers(1, 70),
    bits=st.sampled_from([2, 3, 8, 16, math.inf]),
    bound=st.floats(0.01, 30),
    noise=st.sampled_from([0.0, 0.01, 2.0]),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 1000),
)
def test_a_read_is_the_same_whatever_its_shape(device, n, lines, bits, bound, noise, kind, seed) -> None:
    x = (bound * np.random.default_rng(seed).normal(size=(n, lines))).astype(kind)
    totals = []
    for put in (np.array, device.array):
        driven, scale, clipped = dac(put(x), bits, bound, True, 0.5)
        total = np.zeros((n, lines), kind, like=driven)
        saturated = adc(driven, total, scale, noise, bits, bound, Key(seed), seed)
        totals.append((to_host(total), to_host(saturated), int(clipped)))
    assert same(totals[1][0], totals[0][0])
    assert same(totals[1][1], totals[0][1])
    assert totals[0][2] == totals[1][2]
