"""Momentum steps against their NumPy expressions, bit for bit."""

import numpy as np
import pytest

from analogpc.kernels.descent import momentum_step, plain_step


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 200_001), (0, 3)])
def test_two_steps_are_those_of_numpy(rng, dtype, nesterov, shape):
    x, first, second = rng.normal(size=(3, *shape)).astype(dtype)
    kind, velocity, expected = np.dtype(dtype).type, np.zeros(shape, dtype), np.zeros(shape, dtype)
    for gradient in (first, second):
        moved = momentum_step(x, gradient, velocity, 0.3, 0.7, nesterov)
        expected = kind(0.7) * expected + gradient
        along = gradient + kind(0.7) * expected if nesterov else expected
        np.testing.assert_array_equal(velocity, expected)
        np.testing.assert_array_equal(moved, x - kind(0.3) * along)
        assert moved.dtype == x.dtype
        x = moved


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 200_001), (0, 3)])
def test_a_plain_step_is_that_of_numpy(rng, dtype, shape):
    x, gradient = rng.normal(size=(2, *shape)).astype(dtype)
    np.testing.assert_array_equal(plain_step(x, gradient, 0.3), x - np.dtype(dtype).type(0.3) * gradient)
