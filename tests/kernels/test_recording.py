"""Recorded calls give the same results for other arrays and random numbers; calls that cannot be recorded are refused."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest

from analogpc.kernels.activations import rectify
from analogpc.kernels.calls import NotRecordableError, recorded, recorded_calls
from analogpc.kernels.memory import filled, zeros
from analogpc.kernels.products import added, difference, duplicate, matmul, negative, raise_by, scaled
from analogpc.kernels.recording import Recording
from analogpc.kernels.threads import shared_work


def work_on(x, weights, bias):
    y = matmul(x, weights)
    raise_by(y, duplicate(bias))
    z = rectify(y, 0.1)
    z = added(scaled(z, 0.3), filled(z.shape, 1, z.dtype, z))
    return negative(difference(z, zeros(z.shape, z.dtype, z)))


def operands(rng, dtype=np.float32):
    return (
        rng.normal(size=(20, 30)).astype(dtype),
        rng.normal(size=(30, 10)).astype(dtype),
        rng.normal(size=(1, 10)).astype(dtype),
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_launch_gives_the_bits_of_the_work_for_other_arrays(rng, with_threads, dtype):
    x, *first = operands(rng, dtype)

    def launches():
        recording = Recording(lambda: work_on(x, *first), first, [x])
        results = []
        for _ in range(3):
            new, *others = operands(np.random.default_rng(len(results)), dtype)
            x[...] = new
            results.append(recording.launch(others).copy())
            np.testing.assert_array_equal(results[-1], work_on(x, *others))
        return np.stack(results)

    one, *rest = with_threads(launches)
    assert len({result.tobytes() for result in one}) == 3
    for other in rest:
        np.testing.assert_array_equal(one, other)


def test_what_more_threads_would_share_is_timed_with_one(rng):
    x, weights, bias = (np.ones(shape, np.float32) for shape in ((400, 300), (300, 200), (1, 200)))
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        recording = Recording(lambda: work_on(x, weights, bias), [weights, bias], [x])
        with shared_work(time.perf_counter) as stopwatch:
            found = recording.launch([weights, bias])
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(found, work_on(x, weights, bias))
    assert min(stopwatch.seconds) > 1
    assert sum(stopwatch.seconds.values()) > 0


def test_arrays_that_overlap_fit_only_if_they_overlap_alike():
    """A reference to an address in two arrays may mean either."""
    whole = np.ones((20, 40), np.float32)
    first, last = whole[:15], whole[5:]
    recording = Recording(lambda: added(first, last), [first, last])
    other = np.full((20, 40), 2, np.float32)
    assert recording.fits([other[:15], other[5:]])
    np.testing.assert_array_equal(recording.launch([other[:15], other[5:]]), np.full((15, 40), 4))
    assert not recording.fits([other[:15], whole[5:]])


def test_arrays_of_another_form_do_not_fit(rng):
    x, weights, bias = operands(rng)
    recording = Recording(lambda: work_on(x, weights, bias), [weights, bias], [x])
    assert recording.fits([weights.copy(), bias])
    assert not recording.fits([weights.T.copy().T, bias])
    assert not recording.fits([weights[:, :9], bias[:, :9]])
    assert not recording.fits([weights])


@pytest.mark.parametrize(
    "work",
    [
        pytest.param(lambda x, w: matmul(np.tanh(x), w), id="an array of NumPy's"),
        pytest.param(lambda x, w: difference(x.T, x.T), id="a sum in another order"),
        pytest.param(lambda x, w: matmul(x[:1], w), id="a product of a vector"),
        pytest.param(lambda x, w: matmul(x, w + 0), id="a copy of a weight"),
        pytest.param(lambda x, w: np.tanh(x), id="NumPy alone"),
    ],
)
def test_other_work_is_refused(rng, work):
    x, weights, _ = operands(rng)
    with pytest.raises(NotRecordableError):
        Recording(lambda: work(x, weights), [weights], [x])
    assert recorded() is None


def test_threads_record_their_own_calls(rng):
    """Two recordings at the same time, while a third thread calls the same functions."""
    given = [operands(np.random.default_rng(seed)) for seed in range(3)]
    together = threading.Barrier(3)

    def recording(x, *others):
        def work():
            together.wait(10)
            return work_on(x, *others)

        return Recording(work, others, [x])

    def plain(x, *others):
        together.wait(10)
        return work_on(x, *others)

    with ThreadPoolExecutor(3) as pool:
        *recordings, found = [pool.submit(do, *arrays) for do, arrays in zip((recording, recording, plain), given, strict=True)]
        for future, (x, *others) in zip(recordings, given, strict=False):
            np.testing.assert_array_equal(future.result(10).launch(others), work_on(x, *others))
        np.testing.assert_array_equal(found.result(10), work_on(*given[2]))


def test_a_recording_contains_no_other(rng):
    with recorded_calls(), pytest.raises(RuntimeError, match="already"), recorded_calls():
        pass
    assert recorded() is None
