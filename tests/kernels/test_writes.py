"""Exact writes against their NumPy statement, bit for bit, on both backends."""

import numpy as np
import pytest

from analogpc.kernels.pulses.writes import move_within, rewrite_some
from analogpc.kernels.random.streams import Key, normals


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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("unit", "share"), [(1.0, 1.0), (0.37, -0.5), (3.0, 0.5), (1e38, 0.5)])
def test_shares_of_a_change_are_as_rounded_as_in_two_steps(everywhere, rng, dtype, unit, share):
    state, change, low, high = moves(rng, (7, 300), dtype)
    change *= np.dtype(dtype).type(1e-8)
    part = change / np.dtype(dtype).type(unit) * np.dtype(dtype).type(share)
    expected = np.clip(state + part, low, high)
    there = [everywhere.array(array) for array in (state, change, low, high)]
    touched = move_within(*there, np.dtype(dtype).type(unit), share)
    on_host = (lambda array: array) if everywhere is np else (lambda array: array.get())
    np.testing.assert_array_equal(on_host(there[0]), expected)
    np.testing.assert_array_equal(on_host(touched), part != 0)
    assert touched.any() == (unit < 1e38 or dtype == "float64")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 3), (130, 517)])
def test_rewritten_devices_get_the_noise_of_their_place(rng, dtype, shape):
    written, state = rng.normal(size=(2, *shape)).astype(dtype)
    touched = rng.random(shape) < 0.05
    touched[0, -1] = True
    key, step, deviation = Key(5).fold("write"), 2**32 + 3, np.dtype(dtype).type(0.3)
    noisy = np.clip(normals(key, step, shape, dtype) * deviation + state, *np.array([-0.9, 0.8], dtype))
    expected = np.where(touched, noisy, written)
    rewrite_some(written, state, touched, (-0.9, 0.8), 0.3, key, step)
    np.testing.assert_array_equal(written, expected)
