"""Telegraph noise: transition probabilities, dwell times and the spread of the traps."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.devices.nonidealities import Telegraph
from analogpc.devices.specification import SpecificationError
from analogpc.kernels.random.streams import Key

F32, F64 = np.dtype("float32"), np.dtype("float64")


def test_telegraph_noise_is_the_two_state_markov_process():
    """Stationary probability, both transition probabilities, and two half steps against one: 5 standard errors each (< 1e-5 in all)."""
    model, n = Telegraph(probability=1.0, high_seconds=3e-3, low_seconds=1e-3), 40_000
    assert model.duty == 0.75
    slowness = np.ones(n, F32)
    before = model.start(Key(1), 0, (n,))
    assert before.dtype == bool

    def same(rate, probability, count):
        return abs(rate - probability) < 5 * math.sqrt(probability * (1 - probability) / count)

    assert same(before.mean(), 0.75, n)
    seconds = 0.6e-3
    memory = math.exp(-seconds * (1 / 3e-3 + 1 / 1e-3))
    whole, halves = before.copy(), before.copy()
    model.evolve(whole, slowness, seconds, Key(2), 0)
    model.evolve(halves, slowness, seconds / 2, Key(3), 0)
    model.evolve(halves, slowness, seconds / 2, Key(3), 1)
    for after in (whole, halves):
        assert same(after[before].mean(), 0.75 + 0.25 * memory, before.sum())
        assert same(after[~before].mean(), 0.75 - 0.75 * memory, (~before).sum())
        assert same(after.mean(), 0.75, n)
    # Ten times slower devices forget ten times later.
    slow = before.copy()
    model.evolve(slow, 10 * slowness, 10 * seconds, Key(4), 0)
    assert same(slow[before].mean(), 0.75 + 0.25 * memory, before.sum())


def test_mean_times_are_recovered_from_a_trace():
    """Dwell times of 200 devices watched for 200 periods in small steps: each mean within 5 standard errors and the step's bias."""
    model, n = Telegraph(probability=1.0, high_seconds=2.0, low_seconds=0.5), 200
    state = model.start(Key(5), 0, (n,))
    slowness, step_seconds, steps = np.ones(n, F32), 0.02, 5000
    leaving_high = leaving_low = time_high = time_low = 0
    for step in range(steps):
        before = state.copy()
        model.evolve(state, slowness, step_seconds, Key(6), step)
        leaving_high += (before & ~state).sum()
        leaving_low += (~before & state).sum()
        time_high += before.sum() * step_seconds
        time_low += (~before).sum() * step_seconds
    # Within one step a device may go and come back: a share of step / time of the transitions is not seen.
    assert time_high / leaving_high == pytest.approx(2.0, rel=0.03 + 5 / math.sqrt(leaving_high))
    assert time_low / leaving_low == pytest.approx(0.5, rel=0.03 + 5 / math.sqrt(leaving_low))


def test_traps_are_as_frequent_and_as_deep_as_specified():
    n = 40_000
    model = Telegraph(probability=0.3, amplitude=0.1, amplitude_dtod=0.4, times_dtod=1.5)
    drawn = model.sample(Key(8), (200, 200), F32)
    loss, slowness = drawn["loss"], drawn["slowness"]
    assert loss.dtype == slowness.dtype == F32
    trapped = loss > 0
    assert abs(trapped.mean() - 0.3) < 5 * math.sqrt(0.21 / n)
    logarithms = np.log(loss[trapped])
    assert abs(logarithms.mean() - math.log(0.1)) < 5 * 0.4 / math.sqrt(trapped.sum())
    assert abs(logarithms.std() / 0.4 - 1) < 5 / math.sqrt(2 * trapped.sum())
    assert abs(np.log(slowness).std() / 1.5 - 1) < 5 / math.sqrt(2 * n)
    high = np.zeros((200, 200), bool)
    high[:100] = True
    factor = model.factor(high, loss)
    assert factor.dtype == F32
    np.testing.assert_array_equal(factor[:100], 1)
    np.testing.assert_allclose(factor[100:], 1 - loss[100:])
    deepest = Telegraph(probability=1.0, amplitude=0.9, amplitude_dtod=2.0).sample(Key(8), (1000,), F64)["loss"]
    assert deepest.max() == 1


@given(probability=st.floats(0, 1), high=st.floats(1e-10, 1.0), spread=st.floats(0, 3))
@settings(max_examples=30, deadline=None)
def test_any_telegraph_noise_survives_toml(probability, high, spread):
    telegraph = Telegraph(probability=probability, high_seconds=high, times_dtod=spread)
    assert Telegraph.from_toml(telegraph.to_toml()) == telegraph
    assert telegraph.active == (probability > 0)
    assert 0 <= telegraph.duty <= 1


def test_time_passes_forwards():
    high = np.ones(3, bool)
    with pytest.raises(ValueError, match=r"seconds = -1.0 is not allowed"):
        Telegraph().evolve(high, np.ones(3), -1.0, Key(1), 0)
    Telegraph().evolve(high, np.ones(3), 0.0, Key(1), 0)
    assert high.all()


REFUSALS = [
    (lambda: Telegraph(probability=1.1), "probability = 1.1 is not allowed"),
    (lambda: Telegraph(amplitude=1.1), "amplitude = 1.1 is not allowed"),
    (lambda: Telegraph(high_seconds=0.0), "high_seconds = 0.0 is not allowed"),
    (lambda: Telegraph(low_seconds=math.nan), "low_seconds = nan is not allowed"),
]


@pytest.mark.parametrize(("make", "sentence"), REFUSALS)
def test_bad_values_are_refused(make, sentence):
    with pytest.raises(SpecificationError) as refusal:
        make()
    assert sentence in str(refusal.value)
