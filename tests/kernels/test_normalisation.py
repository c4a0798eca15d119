"""Moments and normalisation of columns against plain NumPy statements."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.kernels.normalisation import column_moments, normalisation_transposed, normalise_columns

tables = st.tuples(st.sampled_from([1, 2, 5, 255, 256, 257, 700]), st.integers(1, 9))


@given(shape=tables, offset=st.sampled_from([0.0, 1e4]), seed=st.integers(0, 1000))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_the_kernels_follow_their_plain_statements(shape, offset, seed):
    draw = np.random.default_rng(seed)
    x, g = draw.normal(offset, size=shape), draw.normal(size=shape)
    mean, variance = column_moments(x)
    np.testing.assert_allclose(mean, x.mean(0), rtol=1e-13)
    np.testing.assert_allclose(variance, x.var(0), rtol=1e-9, atol=1e-24)
    factor, scale, bias = draw.normal(size=(3, shape[1]))
    y, normal = normalise_columns(x, mean, factor, scale, bias)
    np.testing.assert_allclose(normal, (x - mean) * factor, rtol=1e-13)
    np.testing.assert_allclose(y, (x - mean) * factor * scale + bias, rtol=1e-10, atol=1e-12)
    back = normalisation_transposed(g, normal, factor)
    np.testing.assert_allclose(back, factor * (g - g.mean(0) - normal * (g * normal).mean(0)), rtol=1e-9, atol=1e-12)


def test_large_offsets_cost_no_digits(rng):
    """The difference of the mean square and the squared mean would be wrong in its first digit."""
    x = 1e8 + rng.normal(size=(1000, 3))
    np.testing.assert_allclose(column_moments(x)[1], x.var(0), rtol=1e-7)


def test_types_are_kept_and_sums_are_in_float64(rng):
    x = rng.normal(3, size=(20000, 4)).astype(np.float32)
    mean, variance = column_moments(x)
    assert mean.dtype == variance.dtype == np.float64
    np.testing.assert_allclose(variance, x.var(0, dtype=np.float64), rtol=1e-12)
    one = np.ones(4, np.float32)
    y, normal = normalise_columns(x, mean.astype(np.float32), one, one, one)
    assert y.dtype == normal.dtype == normalisation_transposed(x, normal, one).dtype == np.float32


def test_views_and_empty_tables(rng):
    x = rng.normal(size=(6, 8))[::-1, ::2]
    np.testing.assert_allclose(column_moments(x)[1], x.var(0), rtol=1e-12)
    one = np.ones(4)
    y, normal = normalise_columns(x, one, 2 * one, one, one)
    np.testing.assert_allclose(y, 2 * (x - 1) + 1, rtol=1e-12)
    np.testing.assert_array_equal(normalisation_transposed(x, normal, one), normalisation_transposed(x.copy(), normal, one))
    assert normalisation_transposed(x[:0], normal[:0], one).shape == (0, 4)


@pytest.mark.parametrize("place", [0, 300])
def test_nan_is_never_hidden(place, rng):
    x = rng.normal(size=(400, 2))
    x[place, 1] = np.nan
    mean, variance = column_moments(x)
    assert np.isnan(mean).tolist() == np.isnan(variance).tolist() == [False, True]


def test_threads_change_nothing(with_threads, rng):
    x, g = rng.normal(size=(2, 3001, 7)).astype(np.float32)
    one = np.ones(7, np.float32)

    def all_of_it():
        mean, variance = column_moments(x)
        y, normal = normalise_columns(x, mean.astype(np.float32), one, one, one)
        return mean, variance, y, normalisation_transposed(g, normal, one)

    for one_thread, two in zip(*with_threads(all_of_it), strict=True):
        assert one_thread.tobytes() == two.tobytes()
