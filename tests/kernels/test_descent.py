"""Momentum steps against their NumPy expressions, bit for bit."""

import numpy as np
import pytest

from analogpc.kernels.descent import AdamFactors, adam_step, momentum_step, plain_step
from analogpc.kernels.gpu.arrays import to_host


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 200_001), (0, 3)])
def test_two_steps_are_those_of_numpy(everywhere, rng, dtype, nesterov, shape):
    x, first, second = rng.normal(size=(3, *shape)).astype(dtype)
    kind, velocity, expected = np.dtype(dtype).type, everywhere.zeros(shape, dtype), np.zeros(shape, dtype)
    for gradient in (first, second):
        moved = momentum_step(everywhere.array(x), everywhere.array(gradient), velocity, 0.3, 0.7, nesterov)
        expected = kind(0.7) * expected + gradient
        along = gradient + kind(0.7) * expected if nesterov else expected
        np.testing.assert_array_equal(to_host(velocity), expected)
        assert moved.dtype == x.dtype
        moved = to_host(moved)
        np.testing.assert_array_equal(moved, x - kind(0.3) * along)
        x = moved


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 200_001), (0, 3)])
def test_a_plain_step_is_that_of_numpy(everywhere, rng, dtype, shape):
    x, gradient = rng.normal(size=(2, *shape)).astype(dtype)
    found = to_host(plain_step(everywhere.array(x), everywhere.array(gradient), 0.3))
    np.testing.assert_array_equal(found, x - np.dtype(dtype).type(0.3) * gradient)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("shape", [(3, 5), (1, 200_001), (0, 3)])
def test_a_step_of_adam_is_that_of_numpy(rng, dtype, decay, shape):
    gradient, weights, mean = rng.normal(size=(3, *shape)).astype(dtype)
    square, kind = np.square(mean), np.dtype(dtype).type
    m = mean + kind(0.1) * (gradient - mean)
    s = square + kind(0.001) * (gradient * gradient - square)
    change = kind(1.7) * m / (np.sqrt(kind(2.5) * s) + kind(1e-8))
    expected = kind(0.3) * (change - kind(decay) * weights if decay else change)
    found = adam_step(mean, square, gradient, weights, 0.3, (1.7, 2.5), AdamFactors(0.1, 0.001, 1e-8, decay))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(mean, m)
    np.testing.assert_array_equal(square, s)
    assert found.dtype == gradient.dtype
