"""Nonlinearities in one pass against their NumPy expressions, and GELU in float32 against float64."""

import numba as nb
import numpy as np
import pytest
from device_arrays import KINDS, same
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import erf, expit

from analogpc.kernels import activations, sigmoids
from analogpc.kernels.gpu.arrays import to_host

ODD = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 5e-324, -1e-38])
NUMPY = {
    "relu": (
        lambda x: activations.rectify(x, 0.0),
        lambda x, g: activations.rectify_product(x, g, 0.0),
        lambda x: np.maximum(x, 0),
        lambda x: (x > 0).astype(x.dtype),
    ),
    "leaky": (
        lambda x: activations.rectify(x, 0.01),
        lambda x, g: activations.rectify_product(x, g, 0.01),
        lambda x: np.maximum(x, x.dtype.type(0.01) * x),
        lambda x: np.where(x > 0, x.dtype.type(1), x.dtype.type(0.01)),
    ),
    "clip": (
        lambda x: activations.clip(x, -1, 1),
        lambda x, g: activations.clip_product(x, g, -1, 1),
        lambda x: np.clip(x, -1, 1),
        lambda x: ((x >= -1) & (x <= 1)).astype(x.dtype),
    ),
}


@pytest.mark.parametrize("name", NUMPY)
@settings(deadline=None)
@given(
    x=hnp.arrays(
        st.sampled_from([np.dtype("float32"), np.dtype("float64")]),
        hnp.array_shapes(max_dims=3),
        elements=st.floats(width=16, allow_nan=True, allow_infinity=True),
    )
)
def test_values_and_products_are_those_of_numpy(name, x):
    value, product, expected, slope = NUMPY[name]
    for points in (x, ODD.astype(x.dtype)):
        g = np.linspace(-2, 3, points.size, dtype=x.dtype).reshape(points.shape)
        np.testing.assert_array_equal(value(points), expected(points))
        np.testing.assert_array_equal(product(points, g), g * slope(points))
        assert value(points).dtype == product(points, g).dtype == x.dtype


def test_tanh_in_float32_is_as_close_as_stated():
    x = np.concatenate([np.linspace(-12, 12, 100_001), np.geomspace(1e-37, 1, 10_000)]).astype("float32")
    x, exact = x[x != 0], np.tanh(x[x != 0].astype("float64"))
    off = np.abs(activations.tanh(x) / exact - 1)
    assert off.max() < 4e-7
    np.testing.assert_array_equal(activations.tanh(-x), -activations.tanh(x))
    np.testing.assert_array_equal(activations.tanh(np.array([0, np.inf, -np.inf, np.nan], "float32")), [0, 1, -1, np.nan])
    np.testing.assert_array_equal(activations.tanh(x.astype("float64")), np.tanh(x.astype("float64")))


def test_the_logistic_function_in_float32_is_as_close_as_stated():
    x = np.concatenate([np.linspace(-86, 86, 100_001), np.geomspace(1e-37, 1, 10_000)]).astype("float32")
    wide = x.astype("float64")
    assert np.abs(activations.logistic(x) / expit(wide) - 1).max() < 3e-7
    slope = sigmoids.logistic_product(x, np.full_like(x, 2)) / 2
    assert np.abs(slope / (expit(wide) * expit(-wide)) - 1).max() < 5e-7
    np.testing.assert_array_equal(
        activations.logistic(np.array([np.nan, np.inf, -np.inf, 200, -200], "float32")), [np.nan, 1, 0, 1, 0]
    )


@pytest.mark.parametrize("step", [1e-6, 1e-3, 0.1, 1.0, 5.0])
def test_shifts_of_tanh_and_the_logistic_function_are_relative_to_the_step(rng, step):
    x, d = rng.normal(size=(2, 20_000)).astype("float32")
    d *= np.float32(step)
    wide, there = x.astype("float64"), x.astype("float64") + d
    size = -np.expm1(-np.abs(d.astype("float64")))
    change = np.sign(d) * expit(np.maximum(wide, there)) * expit(-np.minimum(wide, there)) * size
    assert np.abs(sigmoids.logistic_shift(x, d) / change - 1).max() < 1e-6
    change = np.tanh(d.astype("float64")) * (1 - np.tanh(wide) * np.tanh(there))
    assert (np.abs(sigmoids.tanh_shift(x, d) - change) <= 5e-7 * np.abs(change) + 1e-7 * np.abs(d)).all()
    for shift in (sigmoids.tanh_shift, sigmoids.logistic_shift):
        one, odd = np.ones(3, "float32"), np.array([np.nan, np.inf, -np.inf], "float32")
        assert np.isnan(shift(one, odd)).tolist() == [True, False, False]
        assert np.isnan(shift(odd, one))[0]


def test_gelu_in_float32_is_as_close_as_stated():
    x = np.linspace(-12, 12, 1_000_001).astype("float32")
    wide = x.astype("float64")
    cdf, density = 0.5 * (1 + erf(wide / np.sqrt(2))), np.exp(-0.5 * wide**2) / np.sqrt(2 * np.pi)
    off = np.abs(activations.gelu(x) - wide * cdf) / np.maximum(1, np.abs(wide))
    assert off.max() < 3e-7
    slope = activations.gelu_product(x, np.ones_like(x))
    assert np.abs(slope - (cdf + wide * density)).max() < 4e-7
    assert activations.gelu(np.array([np.inf, 0, -1e30], "float32")).tolist() == [np.inf, 0, 0]
    assert np.isnan(activations.gelu(np.array([np.nan], "float32"))).all()
    assert np.isnan(activations.gelu_product(np.array([np.nan], "float32"), np.ones(1, "float32"))).all()


def test_many_values_and_threads_change_nothing(rng):
    """Above and below the size from which on other threads help, and with one thread."""
    x, g = rng.normal(size=(2, 300_001)).astype("float32")
    for value, product in [(v, p) for v, p, *_ in NUMPY.values()] + [(activations.gelu, activations.gelu_product)]:
        together = value(x), product(x, g)
        pieces = [slice(0, 50_000), slice(50_000, 115_001), slice(115_001, None)]
        np.testing.assert_array_equal(together[0], np.concatenate([value(x[p]) for p in pieces]))
        np.testing.assert_array_equal(together[1], np.concatenate([product(x[p], g[p]) for p in pieces]))
        before = nb.get_num_threads()
        nb.set_num_threads(1)
        try:
            np.testing.assert_array_equal(value(x), together[0])
        finally:
            nb.set_num_threads(before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NUMPY)
def test_every_backend_has_the_bits_of_numpy(everywhere, rng, name, kind) -> None:
    value, product, expected, slope = NUMPY[name]
    x = np.concatenate([ODD, np.linspace(-8, 8, 2001)]).astype(kind)
    g = rng.normal(size=x.shape).astype(kind)
    np.testing.assert_array_equal(to_host(value(everywhere.array(x))), expected(x))
    np.testing.assert_array_equal(to_host(product(everywhere.array(x), everywhere.array(g))), g * slope(x))


def test_smooth_functions_have_the_same_bits_on_every_gpu(device, rng) -> None:
    x = np.concatenate([ODD, [5.6, -5.6, 6.0, -6.0, 1e-30], np.linspace(-8, 8, 2001)]).astype(np.float32)
    g = rng.normal(size=x.shape).astype(np.float32)
    for found, expected in (
        (activations.tanh(device.array(x)), activations.tanh(x)),
        (activations.gelu(device.array(x)), activations.gelu(x)),
        (activations.gelu_product(device.array(x), device.array(g)), activations.gelu_product(x, g)),
        (activations.logistic(device.array(x)), activations.logistic(x)),
        *(
            (function(device.array(x), device.array(g)), function(x, g))
            for function in (sigmoids.logistic_product, sigmoids.logistic_shift, sigmoids.tanh_shift)
        ),
    ):
        assert same(found, expected)
