"""Moments and normalisation of columns against plain NumPy statements."""

import emulated_gpu
import numpy as np
import pytest
from device_arrays import KINDS, drawn, layouts, same
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.kernels.layer_norm import normalise_rows, normalised_rows_transposed
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


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 2), (5, 3), (1300, 7), (3, 200)])
def test_rows_become_normal_as_numpy_says(shape, kind, rng):
    """Beside the formulas in float64, and the transpose beside central differences; few rows and those that threads share."""
    x, g = rng.normal(3, 2, shape).astype(kind), rng.normal(size=shape).astype(kind)
    scale, bias = rng.normal(1, 0.3, shape[1]).astype(kind), rng.normal(size=shape[1]).astype(kind)

    def formula(x):
        off = x - x.mean(axis=1, keepdims=True)
        normal = off / np.sqrt((off * off).mean(axis=1, keepdims=True) + 1e-5)
        return normal * scale + bias, normal

    y, normal, factor = normalise_rows(x, scale, bias, 1e-5)
    wide = x.astype(float)
    # A row of two numbers that are nearly equal loses the digits of their difference.
    tolerance = {"rtol": 0, "atol": 1e-12 if kind == "float64" else 2e-4}
    for found, expected in zip((y, normal), formula(wide), strict=True):
        assert found.dtype == kind
        np.testing.assert_allclose(found, expected, **tolerance)
    assert factor.shape == (shape[0], 1)
    back = normalised_rows_transposed(g, normal, factor, scale)
    along = rng.normal(size=shape)
    step = 1e-6
    slopes = (formula(wide + step * along)[0] - formula(wide - step * along)[0]) / (2 * step)
    expected = (g.astype(float) * slopes).sum(axis=1)
    # What cancels is rounded as large as its parts are.
    size = np.abs(g * scale * factor).max() * shape[1]
    np.testing.assert_allclose(
        (back.astype(float) * along).sum(axis=1), expected, rtol=1e-4, atol=(1e-8 if kind == "float64" else 1e-6) * size
    )


def test_rows_in_float32_are_the_same_bits_on_the_gpu(device, rng):
    x, g = rng.normal(3, 2, (2, 300, 64)).astype(np.float32)
    scale, bias = rng.normal(1, 0.3, (2, 64)).astype(np.float32)
    expected = normalise_rows(x, scale, bias, 1e-5)
    found = normalise_rows(*(device.array(one) for one in (x, scale, bias)), 1e-5)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.get(), other)
    back = normalised_rows_transposed(device.array(g), found[1], found[2], device.array(scale))
    np.testing.assert_array_equal(back.get(), normalised_rows_transposed(g, *expected[1:], scale))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 3), (5, 1), (256, 4), (257, 5), (700, 33), (3, 300)])
def test_columns_on_every_backend(device, rng, kind, shape) -> None:
    x, g = (drawn(rng, shape, kind) for _ in range(2))
    factor, scale, bias = (drawn(rng, shape[1:], kind) for _ in range(3))
    mean, variance = column_moments(x)
    vectors = [device.array(array) for array in (mean.astype(kind), factor, scale, bias)]
    y, normal = normalise_columns(x, mean.astype(kind), factor, scale, bias)
    back = normalisation_transposed(g, normal, factor)
    for there, errors, values in zip(layouts(device, x), layouts(device, g), layouts(device, normal), strict=True):
        moments = column_moments(there)
        assert moments[0].dtype == moments[1].dtype == np.float64
        found = normalise_columns(there, *vectors)
        assert same(found[0], y)
        assert same(found[1], normal)
        returned = normalisation_transposed(errors, values, vectors[1])
        if device is emulated_gpu.module or shape[0] <= 256:
            assert same(moments[0], mean)
            assert same(moments[1], variance)
            assert same(returned, back)
        else:
            # The parts are added up by CuPy, in an order of its own and in float64: the means may round to a neighbour.
            np.testing.assert_allclose(moments[0].get(), mean, rtol=1e-14, atol=1e-14)
            np.testing.assert_allclose(moments[1].get(), variance, rtol=1e-13)
            np.testing.assert_allclose(returned.get(), back, rtol=0, atol=16 * np.finfo(kind).eps * np.abs(back).max())


def test_empty_tables_on_every_backend(device) -> None:
    empty, one = device.zeros((0, 3), np.float32), device.ones(3, np.float32)
    assert normalisation_transposed(empty, empty, one).shape == (0, 3)
    assert [part.shape for part in normalise_columns(empty, one, one, one, one)] == [(0, 3), (0, 3)]
