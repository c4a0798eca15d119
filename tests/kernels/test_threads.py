"""Distribution of work over threads: every part once, in sleeping threads, with BLAS in one thread."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from analogpc.kernels import gemm, native
from analogpc.kernels.blas_threads import one_blas_thread
from analogpc.kernels.compiled import compiled
from analogpc.kernels.gemm import blas_function
from analogpc.kernels.products import _PART, batched, inner, matmul, strip_width
from analogpc.kernels.sharing import over_slices, share
from analogpc.kernels.threads import distribute, thread_count
from analogpc.kernels.trampolines import Part, trampoline

ROOT = Path(__file__).parents[2]


@compiled
def _double(x, y, factor):
    for i in range(x.size):
        y[i] = factor * x[i]


@pytest.mark.parametrize(("length", "grain"), [(0, 1), (1, 1), (15, 16), (16, 16), (17, 16), (300, 16), (1000, 1), (1000, 7)])
def test_every_index_is_taken_once_whatever_the_threads(with_threads, length, grain):
    def visits():
        count = np.zeros(length, int)

        def work(first, stop):
            assert first % grain == 0
            count[first:stop] += 1

        distribute(work, length, grain)
        return count

    for count in with_threads(visits):
        assert (count == 1).all()


def test_slices_of_the_largest_array_have_their_least_size(with_threads):
    x, y = np.arange(50_000.0), np.zeros(50_000)

    def doubled():
        y[:] = 0
        over_slices(_double, 1000, (x, y), 2.0)
        return y.copy()

    for found in with_threads(doubled):
        np.testing.assert_array_equal(found, 2 * x)


@compiled
def _weighted(x, table, out, weights, factor, count, half, up):
    for i in range(len(x)):
        for j in range(weights.size):
            value = x[i, j] * weights[j] * factor + table[i] - count
            out[i, j] = value / 2 if half else value
        if up:
            out[i, 0] += 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("half", [True, np.False_])
def test_kernels_get_the_same_arguments_in_any_thread(with_threads, rng, dtype, half):
    """Arrays in rows, in columns and with gaps, and numbers of all kinds."""
    x, out, table = rng.normal(size=(6, 900)).astype(dtype).T, np.zeros((900, 12), dtype)[:, ::2], np.arange(900, dtype=np.uint8)
    weights, rest = np.arange(6, dtype=dtype), (dtype(1.5), -3, half, np.uint64(2**63))

    def weighted():
        out[:] = 0
        over_slices(_weighted, 100, (x, table, out), weights, *rest)
        return out.copy()

    expected = (x * weights * dtype(1.5) + table[:, None] + 3) / (2 if half else 1)
    expected[:, 0] += 1
    one, two = with_threads(weighted)
    assert one.tobytes() == two.tobytes()
    np.testing.assert_allclose(one, expected, rtol=1e-5)
    assert trampoline(_weighted, (x, table, out, weights, *rest), 3) is not None


@compiled
def _shifted(x, pair):
    for i in range(x.size):
        x[i] += pair[0] - pair[1]


def test_kernels_with_other_arguments_are_shared_through_the_interpreter(with_threads):
    def shifted():
        x = np.zeros(1000)
        over_slices(_shifted, 10, (x,), (3.0, 1.0))
        return x

    for x in with_threads(shifted):
        assert (x == 2).all()
    assert trampoline(_shifted, (np.zeros(9), (3.0, 1.0)), 1) is None


def test_another_thread_helps_and_does_not_distribute_further(with_threads):
    def who():
        inside = {}
        distribute(lambda first, stop: (time.sleep(0.02), inside.setdefault(threading.get_ident(), thread_count())), 8)
        return inside

    one, two = with_threads(who)
    assert list(one.values()) == [1]
    assert sorted(two.values()) == [1, 2]


def test_a_caller_waits_for_no_thread_that_has_not_begun(with_threads):
    """A helper that another caller keeps busy is not waited for."""
    go_on, taken = threading.Event(), threading.Event()

    def busy(first, stop):
        if threading.current_thread() is not other:
            taken.set()
            go_on.wait(10)
        else:
            taken.wait(10)

    def both():
        nonlocal other
        if numba.get_num_threads() == 1:
            return None

        def occupy():
            numba.set_num_threads(2)
            distribute(busy, 2)

        other = threading.Thread(target=occupy)
        other.start()
        assert taken.wait(10)
        count = np.zeros(100, int)

        def work(first, stop):
            count[first:stop] += 1

        distribute(work, 100)
        assert not go_on.is_set()
        go_on.set()
        other.join(10)
        return count

    other = None
    _, count = with_threads(both)
    assert (count == 1).all()


@pytest.mark.parametrize("where", ["the caller", "a helper"])
def test_errors_come_through_and_nothing_runs_on(with_threads, where):
    def fails():
        running, main = [], threading.get_ident()

        def work(first, stop):
            running.append(first)
            time.sleep(0.002)
            here = "the caller" if threading.get_ident() == main else "a helper"
            running.pop()
            if here == where or thread_count() == 1:
                raise ZeroDivisionError("no part")

        with pytest.raises(ZeroDivisionError, match="no part"):
            distribute(work, 200)
        assert running == []

    with_threads(fails)


def test_many_callers_share_the_helpers():
    results = []

    def calls():
        x, y = np.arange(5000.0), np.zeros(5000)
        for _ in range(50):
            over_slices(_double, 100, (x, y), 2.0)
            results.append(bool((y == 2 * x).all()))

    callers = [threading.Thread(target=calls) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert results == [True] * 200


def _in_a_child(_):
    x, y = np.arange(5000.0), np.zeros(5000)
    over_slices(_double, 100, (x, y), 2.0)
    return bool((y == 2 * x).all()), matmul(np.ones((300, 300), np.float32), np.ones((300, 300), np.float32))[0, 0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_has_its_own_threads():
    assert _in_a_child(None) == (True, 300.0)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(_in_a_child, (None,)).get(60) == (True, 300.0)


def test_waiting_threads_use_no_processor_time():
    """A process that only sleeps after its work: OpenBLAS's threads alone would use some 30 ms per product."""
    script = """
import time, resource
import numba, numpy as np
from analogpc.kernels.products import matmul
a = np.ones((512, 512), np.float32)
for _ in range(3):
    matmul(a, a)
before = resource.getrusage(resource.RUSAGE_SELF)
time.sleep(0.1)
after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True, timeout=60)
    assert float(done.stdout) < 0.02


def _blas_threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_blas_has_one_thread_inside_and_its_own_number_outside():
    with threadpool_limits(2, "blas"):
        outside = _blas_threads()
        with one_blas_thread:
            assert _blas_threads() == {1}
            matmul(np.ones((2, 2)), np.ones((2, 2)))
            assert _blas_threads() == {1}
        assert _blas_threads() == outside
        matmul(np.ones((2, 2)), np.ones((2, 2)))
        assert _blas_threads() == outside


@pytest.mark.parametrize(
    "shape", [(128, 512, 512), (600, 130, 300), (5000, 27, 40), (3, 2000, 3000), (1, 1, 1), (0, 5, 3), (700, 0, 9)]
)
@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
def test_products_in_strips_have_the_same_bits_for_any_number_of_threads(with_threads, rng, shape, turned):
    m, k, n = shape
    a = rng.normal(size=(k, m) if turned[0] else (m, k)).astype(np.float32)
    b = rng.normal(size=(n, k) if turned[1] else (k, n)).astype(np.float32)
    a, b = a.T if turned[0] else a, b.T if turned[1] else b
    with threadpool_limits(2, "blas"):
        one, two = with_threads(lambda: matmul(a, b))
    assert one.tobytes() == two.tobytes()
    np.testing.assert_allclose(one, a.astype(np.float64) @ b, atol=3e-5 * max(1, k) ** 0.5, rtol=0)


def test_sums_and_batches_have_the_same_bits_for_any_number_of_threads(with_threads, rng):
    x, y = rng.normal(size=(2, 100_000)).astype(np.float32)
    a, b = rng.normal(size=(2, 40, 64, 64)).astype(np.float32)
    with threadpool_limits(2, "blas"):
        (dot_one, one), (dot_two, two) = with_threads(lambda: (inner(x, y), batched(a, b)))
    assert dot_one == dot_two
    assert one.tobytes() == two.tobytes()
    np.testing.assert_allclose(one, a @ b, atol=1e-4)


@pytest.mark.parametrize("shape", [(128, 512, 512), (600, 130, 300), (900, 100, 200)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_strips_are_the_products_of_numpy_whoever_computes_them(with_threads, rng, monkeypatch, shape, dtype):
    """Also where BLAS is unknown, or does not take an array as it is: every second column, in reverse."""
    m, k, n = shape
    a, b = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)

    def expected(right):
        width, out = strip_width(*shape), np.empty((m, n), dtype)
        with one_blas_thread:
            for start in range(0, max(m, n), width):
                part = slice(start, start + width)
                if m >= n:
                    np.matmul(a[part], right, out=out[part])
                else:
                    np.matmul(a, right[:, part], out=out[:, part])
        return out

    assert blas_function(b.dtype)[0], "NumPy's wheels contain OpenBLAS"
    for right in (b, np.asfortranarray(b), np.repeat(b, 2, axis=1)[:, ::-2]):
        for found in with_threads(lambda right=right: matmul(a, right)):
            np.testing.assert_array_equal(found, expected(right))
    monkeypatch.setattr(gemm, "blas_function", lambda dtype: (0, False))
    for found in with_threads(lambda: matmul(a, b)):
        np.testing.assert_array_equal(found, expected(b))


def test_many_callers_share_the_helpers_of_products(rng):
    a, b = rng.normal(size=(2, 256, 512)).astype(np.float32)
    expected, results = matmul(a.T, b), []

    def calls():
        for _ in range(20):
            results.append(matmul(a.T, b).tobytes() == expected.tobytes())

    callers = [threading.Thread(target=calls) for _ in range(4)]
    # BLAS with threads of its own would round differently; threadpoolctl hands their number to a single thread of Python.
    with threadpool_limits(2, user_api="blas"):
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(60)
    assert results == [True] * 80


@compiled
def _count(frame, first, stop):
    """Add 1 to the words of the parts; a part whose word is negative fails."""
    for place in range(first, stop):
        if native._add(frame, place, 1) < 0:
            raise ValueError("a negative word")


def test_every_part_of_compiled_work_is_done_once_and_failures_are_told(with_threads):
    part = Part(_count)

    def counted():
        words = np.zeros(100, np.int64)
        for _ in range(200):
            share(part, words, 100)
        return words

    for words in with_threads(counted):
        assert (words == 200).all()
    words = np.zeros(100, np.int64)
    words[77] = -5
    with pytest.raises(RuntimeError, match="failed in a thread"):
        share(part, words, 100)
    assert words.sum() == 100 - 5


@given(st.integers(1, 10**5), st.integers(1, 4000), st.integers(1, 4000))
def test_strips_follow_from_the_shape(m, k, n):
    """They cover the product, are not too many, and a product that is shared has at least two."""
    width, longest = strip_width(m, k, n), max(m, n)
    strips = -(-longest // width)
    assert strips <= 64
    assert (strips - 1) * width < longest
    if m * k * n < 2 * _PART:
        assert strips == 1
