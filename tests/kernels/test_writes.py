"""Exact writes against their NumPy statement, bit for bit, on both backends."""

import numpy as np
import pytest

from analogpc.kernels.pulses.writes import move_within


def moves(rng, shape, dtype):
    state, change = rng.normal(size=(2, *shape)).astype(dtype)
    change *= rng.random(shape) < 0.7
    low = np.full(shape, -0.8, dtype) + rng.random(shape).astype(dtype) / 4
    return state, change, low, low + rng.random(shape).astype(dtype) * 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 5), (300, 301), (0, 4)])
def test_it_is_the_sum_cut_to_its_bounds(rng, dtype, shape):
    state, change, low, high = moves(rng, shape, dtype)
    expected = np.clip(state + change, low, high)
    touched = move_within(state, change, low, high)
    np.testing.assert_array_equal(state, expected)
    np.testing.assert_array_equal(touched, change != 0)
    assert touched.dtype == bool


def test_changes_may_be_turned(rng):
    state, change, low, high = moves(rng, (5, 5), "float32")
    expected = np.clip(state + change.T, low, high)
    move_within(state, change.T, low, high)
    np.testing.assert_array_equal(state, expected)


def test_what_is_not_a_number_stays(rng):
    state, change, low, high = moves(rng, (2, 2), "float32")
    state[0, 0], change[1, 1] = np.nan, np.inf
    move_within(state, change, low, high)
    assert np.isnan(state[0, 0])
    assert state[1, 1] == high[1, 1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gpu_does_the_same(device, rng, dtype):
    arrays = moves(rng, (37, 41), dtype)
    there = [device.array(array) for array in arrays]
    touched = move_within(*arrays)
    np.testing.assert_array_equal(move_within(*there).get(), touched)
    np.testing.assert_array_equal(there[0].get(), arrays[0])
