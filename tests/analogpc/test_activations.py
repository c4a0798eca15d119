"""Activation functions against their formulas, number by number, and their derivatives against finite differences."""

import math

import numpy as np
import pytest

from analogpc.blocks import Activation
from analogpc.blocks.activation import _BUILT_IN
from analogpc.kernels.random.streams import Key

FORMULAS = {
    "identity": lambda x: x,
    "relu": lambda x: max(x, 0.0),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "tanh": math.tanh,
    "hard_tanh": lambda x: min(max(x, -1.0), 1.0),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "hard_sigmoid": lambda x: min(max(x, 0.0), 1.0),
    "gelu": lambda x: x / 2 * math.erfc(-x / math.sqrt(2)),
    "gelu_tanh": lambda x: x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x / (1 + math.exp(-x)),
}
# Value at 1 to 4 decimals as PyTorch prints them, and both derivatives at the kinks.
AT_ONE = {"gelu": 0.8413, "gelu_tanh": 0.8412, "silu": 0.7311, "sigmoid": 0.7311, "tanh": 0.7616}
AT_KINKS = {
    "relu": {0.0: 0.0},
    "leaky_relu": {0.0: 0.01},
    "hard_tanh": {-1.0: 1.0, 1.0: 1.0},
    "hard_sigmoid": {0.0: 1.0, 1.0: 1.0},
}
NAMES = tuple(FORMULAS)
every_function = pytest.mark.parametrize("name", NAMES)


def block(name, shape=(1,)):
    return Activation(function=name).build(shape, None, Key(0), np.dtype(np.float64))


def grid():
    """Sample inputs from -6 to 6, at least 0.004 away from every kink."""
    return (np.arange(-600, 600) + 0.5)[:, None] / 100 + 1e-4


def test_every_name_has_a_function():
    # Others may be registered by other tests of this process.
    assert set(_BUILT_IN) == set(FORMULAS)


@every_function
def test_values_follow_the_formula(name):
    y, _ = block(name).forward(grid())
    np.testing.assert_allclose(y[:, 0], [FORMULAS[name](x) for x in grid()[:, 0]], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", AT_ONE)
def test_values_at_one(name):
    assert block(name).forward(np.ones((1, 1)))[0].item() == pytest.approx(AT_ONE[name], abs=5e-5)


@every_function
def test_derivatives_follow_finite_differences(name):
    x, step = grid(), 1e-5
    act = block(name)
    expected = (act.forward(x + step)[0] - act.forward(x - step)[0]) / (2 * step)
    np.testing.assert_allclose(act.vjp(x, np.full_like(x, 3.0)), 3 * expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", AT_KINKS)
def test_derivatives_at_kinks_follow_the_stated_convention(name):
    for place, slope in AT_KINKS[name].items():
        assert block(name).vjp(np.array([[place]]), np.ones((1, 1))).item() == slope


@every_function
def test_float32_stays_float32_and_close(name):
    """The factor 1 + tanh or 1 + erf is rounded to 2**-24 before x up to 6 multiplies it: a few such errors are allowed."""
    x = grid()
    g = np.ones_like(x)
    act = block(name)
    for narrow, wide in (
        (act.forward(x.astype(np.float32))[0], act.forward(x)[0]),
        (act.vjp(x.astype(np.float32), g.astype(np.float32)), act.vjp(x, g)),
    ):
        assert narrow.dtype == np.float32
        np.testing.assert_allclose(narrow, wide, rtol=1e-6, atol=6 * 4 * 2.0**-24)


@every_function
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_inputs_neither_warn_nor_turn_into_nan(name, dtype):
    x = np.array([[-1e4], [-100.0], [100.0], [1e4]], dtype)
    act = block(name)
    assert np.isfinite(act.forward(x)[0]).all()
    slope = act.vjp(x, np.ones_like(x))
    limits = {"identity": (1, 1), "leaky_relu": (0.01, 1), "relu": (0, 1), "gelu": (0, 1), "gelu_tanh": (0, 1), "silu": (0, 1)}
    low, high = limits.get(name, (0, 0))
    np.testing.assert_allclose(slope[:, 0], np.array([low, low, high, high]), atol=1e-12, rtol=1e-6)


@every_function
def test_nan_reaches_the_output(name):
    assert np.isnan(block(name).forward(np.array([[np.nan]]))[0]).all()


@every_function
def test_inputs_are_left_as_they_are(name):
    x = np.linspace(-2, 2, 24).reshape(2, 3, 4)
    before, act = x.copy(), block(name, (3, 4))
    y, tape = act.forward(x)
    assert act.vjp(tape, np.ones_like(y)).shape == y.shape == x.shape
    np.testing.assert_array_equal(x, before)


def test_the_tanh_form_of_gelu_differs_by_its_known_error():
    """The approximation errs by at most about 4.7e-4."""
    x = grid()
    error = np.abs(block("gelu").forward(x)[0] - block("gelu_tanh").forward(x)[0]).max()
    assert 4.0e-4 < error < 5.0e-4
