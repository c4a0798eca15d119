"""Reused memory: no overlaps, no leaks, and the peak bounds the idle memory."""

import gc
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.kernels.memory import LARGE, LINE, POOL, Pool, empty, on_line, zeros

HERE = np.empty(0)


def address(array):
    return array.ctypes.data


def test_memory_of_a_dead_array_goes_to_the_next_that_fits():
    pool = Pool()
    one = pool.empty((LARGE,), np.dtype(np.uint8))
    place = address(one)
    del one
    assert (pool.used, pool.idle) == (0, LARGE)
    other = pool.empty((LARGE // 8, 2), np.dtype(np.float32))
    assert address(other) == place
    assert (pool.used, pool.idle) == (LARGE, 0)


@pytest.mark.parametrize(("size", "fits"), [(LARGE - LARGE // 3, True), (LARGE // 2, False), (LARGE + 1, False)])
def test_memory_fits_if_at_most_a_third_of_it_is_wasted(size, fits):
    pool = Pool()
    first = pool.empty((LARGE,), np.dtype(np.uint8))
    del first
    array = pool.empty((size,), np.dtype(np.uint8))
    assert pool.used == (LARGE if fits else size)
    assert array.nbytes == size


def test_a_view_keeps_the_memory():
    pool = Pool()
    view = pool.empty((4, LARGE), np.dtype(np.float32))[1:, ::2].reshape(-1).T
    view[...] = 7
    held = pool.empty((4, LARGE), np.dtype(np.float32))
    part = held[2:3, 5:]
    del held
    gc.collect()
    assert pool.used == 2 * 16 * LARGE
    part[...] = 3
    fresh = pool.empty((4, LARGE), np.dtype(np.float32))
    fresh[...] = 1
    assert (part == 3).all()
    assert (view == 7).all()


def test_only_large_arrays_come_from_the_pool():
    assert empty((LARGE // 4 - 1,), np.float32, HERE).flags.owndata
    assert not empty((LARGE // 4,), np.float32, HERE).flags.owndata
    assert (zeros((LARGE,), np.float64, HERE) == 0).all()
    assert empty((), np.float32, HERE).shape == ()
    array = empty((3, LARGE), np.complex64, HERE)
    assert (array.shape, array.dtype, array.flags.c_contiguous, array.flags.writeable) == ((3, LARGE), np.complex64, True, True)


def test_idle_memory_is_bounded_by_the_peak_of_what_was_used():
    pool = Pool()
    for size in range(1, 30):
        array = pool.empty((size * LARGE,), np.dtype(np.uint8))
        del array
        assert pool.used == 0
        assert 4 * pool.idle <= 5 * size * LARGE
    pool.clear()
    assert pool.idle == 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 5)), max_size=40))
def test_living_arrays_never_share_memory(steps):
    pool, living = Pool(), []
    for number, (size, victim) in enumerate(steps):
        array = pool.empty((size * LARGE // 8,), np.dtype(np.float64))
        array[...] = number
        living.append((number, array))
        if victim < len(living):
            del living[victim]
        del array
    for number, array in living:
        assert (array == number).all()
    wanted = sum(array.nbytes for _, array in living)
    assert wanted <= pool.used <= 1.5 * wanted


def test_arrays_may_die_in_any_thread():
    pool, errors = Pool(), []

    def work(mark):
        try:
            for _ in range(200):
                array = pool.empty((LARGE // 8,), np.dtype(np.float64))
                array[:: LARGE // 64] = mark
                assert (array[:: LARGE // 64] == mark).all()
                del array
        except AssertionError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert pool.used == 0


def test_on_the_gpu_its_own_pool_serves(device):
    array = empty((2, LARGE), np.float32, device.empty(0))
    assert isinstance(array, device.ndarray)


def test_a_relaxation_asks_the_system_for_nothing_after_its_first_batch():
    """Later batches find all their large arrays among those that the first one left."""
    import analogpc as apc
    from analogpc.rules import named_rule

    network = apc.mlp([64, 1024, 1024, 10], activation="leaky_relu")
    rng = np.random.default_rng(0)
    x, target = rng.random((256, 64)).astype(np.float32), np.eye(10, dtype=np.float32)[rng.integers(0, 10, 256)]
    held = []
    for _ in range(3):
        named_rule("pc").train_step(network, x, target, lambda products, gain: [None for _ in products])
        held.append(POOL.used + POOL.idle)
    assert held[0] > 0
    assert held == [held[0]] * 3


@pytest.mark.parametrize("shape", [(3,), (5, 7), (1000, 33)])
@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
def test_arrays_that_begin_with_a_cache_line(shape, dtype):
    array = on_line(shape, dtype)
    assert array.shape == shape
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    assert array.ctypes.data % LINE == 0
    array[:] = 1
