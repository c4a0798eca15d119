"""Kernels with working space, and sequences of calls that are performed together."""

import numba
import numpy as np
import pytest

from analogpc.kernels.compiled import compiled
from analogpc.kernels.sharing import over_ranges, over_slices
from analogpc.kernels.threads import distribute, in_sequence


@compiled
def _scale(x, y, factor):
    for i in range(x.size):
        y[i] = factor * x[i]


@compiled
def _running(first, stop, room, x, y, factor):
    (steps, (last,)) = room
    for i in range(first, stop):
        # A number that the part keeps in its own working space.
        steps[0] += 1
        last[0, 0] = factor * x[i]
        y[i] = last[0, 0] + 0 * steps[0]


@pytest.mark.parametrize(("length", "grain"), [(0, 1), (7, 8), (1000, 1), (1003, 16)])
def test_ranges_have_their_own_working_space(with_threads, length, grain):
    def learn():
        x, y = np.arange(length, dtype=np.float32), np.zeros(length, np.float32)
        over_ranges(
            _running, length, grain, lambda: (np.zeros(1, np.int64), (np.zeros((1, 2), np.float32),)), (x, y, np.float32(3))
        )
        return y

    for y in with_threads(learn):
        np.testing.assert_array_equal(y, 3 * np.arange(length, dtype=np.float32))


@pytest.fixture
def two_threads():
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("this machine offers only one kernel thread")
    before = numba.get_num_threads()
    numba.set_num_threads(2)
    yield
    numba.set_num_threads(before)


def _in_turn(length):
    """Call three kernels of which each needs the result of the one before."""
    x, y, z = np.arange(length, dtype=np.float32), np.zeros(length, np.float32), np.zeros(length, np.float32)
    over_slices(_scale, 100, (x, y), np.float32(2))
    over_ranges(_running, length, 16, lambda: (np.zeros(1, np.int64), (np.zeros((1, 2), np.float32),)), (y, z, np.float32(3)))
    over_slices(_scale, 100, (z, x), np.float32(5))
    return x, z


@pytest.mark.parametrize("length", [3, 70, 50_000])
def test_calls_in_sequence_are_performed_together_at_the_end(two_threads, length):
    with in_sequence():
        x, z = _in_turn(length)
        # Work for one thread is done at once as long as nothing waits.
        assert z.any() == (length < 2 * 16)
    np.testing.assert_array_equal(x, 30 * np.arange(length, dtype=np.float32))


@pytest.mark.parametrize("length", [3, 70, 50_000])
def test_one_thread_does_not_wait(length):
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with in_sequence():
            x, z = _in_turn(length)
            np.testing.assert_array_equal(x, 5 * z)
    finally:
        numba.set_num_threads(before)


def test_python_within_a_sequence_finds_what_was_called_before(two_threads):
    x, y = np.arange(5000.0), np.zeros(5000)
    found = []
    with in_sequence():
        over_slices(_scale, 100, (x, y), 2.0)
        assert not y.any()
        distribute(lambda first, stop: found.append(y.copy()), 1)
        over_slices(_scale, 100, (x, y), 3.0)
    np.testing.assert_array_equal(found[0], 2 * x)
    np.testing.assert_array_equal(y, 3 * x)


def test_an_exception_drops_the_calls_of_a_sequence(two_threads):
    x, y = np.arange(5000.0), np.zeros(5000)

    def interrupted():
        with in_sequence():
            over_slices(_scale, 100, (x, y), 2.0)
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert not y.any()
    over_slices(_scale, 100, (x, y), 2.0)
    np.testing.assert_array_equal(y, 2 * x)
