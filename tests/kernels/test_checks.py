"""Argument checks: invalid arguments are refused with one sentence, and valid ones pass unchanged."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from analogpc.kernels import checks
from analogpc.kernels.checks import TooLargeError, passing_seconds, real_array, refuse_beyond_memory, whole_number
from analogpc.kernels.random.streams import Key

shapes = arrays.array_shapes(min_dims=1, max_dims=3, max_side=4)


@given(shapes.flatmap(lambda shape: arrays.arrays(np.float64, shape, elements=st.floats(-1e30, 1e30))), st.data())
def test_finite_numbers_of_the_right_shape_pass_as_they_are(array, data):
    free = data.draw(st.sets(st.integers(0, array.ndim - 1)))
    shape = tuple("n" if axis in free else length for axis, length in enumerate(array.shape))
    assert real_array(array, "values", shape) is array
    np.testing.assert_array_equal(real_array(array.tolist(), "values", shape), array)
    assert real_array(array, "values", shape, np.float32).dtype == np.float32


@given(shapes, shapes)
def test_another_shape_is_refused(shape, wanted):
    if shape == wanted:
        return
    with pytest.raises(ValueError, match=re.escape(f"values must have the shape {wanted}, not {shape}")):
        real_array(np.zeros(shape), "values", wanted)


WRONG = [
    (np.ma.array([1.0, 2.0], mask=[0, 1]), "values are a masked array"),
    (np.ma.array([1.0, 2.0]), "values are a masked array"),
    (np.array([1.0, np.nan]), "values must be finite numbers"),
    ([1.0, math.inf], "values must be finite numbers"),
    (np.array([1j]), "values must be real numbers, not complex128"),
    (["1"], "values must be real numbers, not <U1"),
    ([None], "values must be real numbers, not object"),
    (np.array(["2024-01-01"], "datetime64[D]"), "values must be real numbers, not datetime64[D]"),
    ([[1.0], [1.0, 2.0]], "not rows of different lengths"),
    ({1: 2}, "values must be real numbers, not object"),
]


@pytest.mark.parametrize(("value", "sentence"), WRONG)
def test_what_is_no_array_of_finite_real_numbers_is_refused(value, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        real_array(value, "values")


def test_numbers_that_a_type_cannot_hold_are_refused():
    with pytest.raises(ValueError, match="values must be finite numbers in float32"):
        real_array(np.array([1e300]), "values", dtype=np.float32)


def test_arrays_of_a_gpu_stay_there(device):
    there = device.asarray(np.array([1.0, np.nan]))
    assert real_array(there, "values", (2,)) is there
    with pytest.raises(ValueError, match=r"values must have the shape \(3,\)"):
        real_array(there, "values", (3,))


@given(st.integers(0, 2**62), st.sampled_from([int, np.int64, np.uint64]))
def test_whole_numbers_of_any_kind_count(value, kind):
    found = whole_number(kind(value), "steps")
    assert type(found) is int
    assert found == value
    assert Key(kind(value)).fold("a") == Key(value).fold("a")


@pytest.mark.parametrize("value", [True, np.True_, 1.5, 1.0, "1", None, -1, 11, np.array([1, 2])])
def test_what_is_no_whole_number_of_the_range_is_refused(value):
    with pytest.raises(ValueError, match=r"steps = .* is not allowed: it is a whole number from 0 to 10"):
        whole_number(value, "steps", 0, 10)


@pytest.mark.parametrize("seed", [None, 1.0, "1", True, -1, 2**64, np.float32(1)])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(ValueError, match="a seed is a whole number from 0"):
        Key(seed)


@pytest.mark.parametrize("seconds", [-1, -1e-300, math.inf, math.nan, "3", None, True, 1j])
def test_time_passes_forwards(seconds):
    with pytest.raises(ValueError, match="time passes forwards"):
        passing_seconds(seconds)


def test_sizes_beyond_the_memory_are_refused_before_anything_is_made(monkeypatch):
    monkeypatch.setattr(checks, "memory_bytes", lambda: 2.0**30)
    refuse_beyond_memory(2**27, np.float64, "a matrix")
    with pytest.raises(TooLargeError, match="a matrix would take 2 GiB of memory, and this machine has 1 GiB"):
        refuse_beyond_memory(2**28, np.float64, "a matrix")
    assert checks.memory_bytes.__name__ == "<lambda>"


def test_the_memory_of_this_machine_is_known():
    assert 2**26 < checks.memory_bytes() <= math.inf
