"""Pulse trains and pulsed updates against closed forms, at stated false-alarm rates, and against plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analogpc.kernels.pulses import MAX_LENGTH, pulse_linear, trains
from analogpc.kernels.streams import Key

SLOTS = np.uint32(0x7FFFFFFF)


def devices(shape, dtype=np.float64, up=0.01, down=0.01, slope_up=0.0, slope_down=0.0, low=-1e9, high=1e9):
    values = {"up": up, "down": down, "slope_up": slope_up, "slope_down": slope_down, "low": low, "high": high}
    return {name: np.full(shape, value, dtype) for name, value in values.items()}


def plain_update(state, rows, columns, p):
    """Pulse by pulse, device by device, without cycle-to-cycle noise."""
    state = state.copy()
    for row_words, column_words in zip(rows, columns, strict=True):
        for j, row in enumerate(row_words):
            for i, column in enumerate(column_words):
                up = (int(row) ^ int(column)) >> 31 == 0
                for _ in range(bin(int(row & column & SLOTS)).count("1")):
                    step = p["up"][j, i] * (1 + p["slope_up"][j, i] * state[j, i])
                    if not up:
                        step = -p["down"][j, i] * (1 + p["slope_down"][j, i] * state[j, i])
                    state[j, i] = min(max(state[j, i] + step, p["low"][j, i]), p["high"][j, i])
    return state


@given(
    seed=st.integers(0, 10**6), n=st.integers(1, 6), rows=st.integers(1, 7), columns=st.integers(1, 7), length=st.integers(0, 31)
)
@settings(max_examples=100, deadline=None)
def test_noiseless_updates_follow_the_plain_loops(seed, n, rows, columns, length):
    rng = np.random.default_rng(seed)
    key, lengths = Key(seed), np.full(n, length)
    words = [
        trains(rng.normal(size=(n, m)), np.full(n, 0.4), lengths, key.fold(m, name), 0)[0]
        for m, name in ((rows, "r"), (columns, "c"))
    ]
    p = devices((rows, columns), low=-0.2, high=0.3)
    p["up"] *= rng.uniform(0.5, 2, (rows, columns))
    p["slope_up"], p["slope_down"] = -1 / p["high"], -1 / p["low"]
    state = rng.uniform(-0.2, 0.3, (rows, columns))
    expected = plain_update(state, *words, p)
    touched = np.zeros(state.shape, bool)
    before = state.copy()
    pulses = pulse_linear(state, *words, p, 0.0, False, key, 0, touched)
    np.testing.assert_allclose(state, expected, rtol=1e-13, atol=1e-15)
    hits = sum(np.bitwise_count(r[:, None] & c[None, :] & SLOTS) for r, c in zip(*words, strict=True))
    assert pulses == hits.sum()
    np.testing.assert_array_equal(touched, hits > 0)
    np.testing.assert_array_equal(state[~touched], before[~touched])


GRID = [
    # (pre, post, gain on both lines, slots): zeros, both signs, one slot, saturated probabilities
    (0.0, 0.7, 1.0, 31),
    (0.5, 0.5, 1.0, 31),
    (-0.5, 0.25, 1.0, 31),
    (0.9, -0.1, 1.0, 1),
    (-0.3, -0.6, 1.3, 7),
    (1.0, 0.4, 1.0, 16),
    (1.7, 0.3, 1.0, 10),
    (2.0, -3.0, 1.0, 5),
]


@pytest.mark.parametrize(("pre", "post", "gain", "length"), GRID)
@pytest.mark.parametrize(("spread", "dw"), [(0.0, 0.01), (0.3, 0.01), (5.0, 0.0002)])
def test_mean_and_variance_of_a_change_are_the_closed_form(pre, post, gain, length, spread, dw):
    """Var = dw^2 (BL p (1 - p) + spread^2 BL p), p the product of the clipped line probabilities.

    Only crosspoints on the diagonal are used: those of one line share its train. Each comparison allows 5 standard errors, a
    false-alarm rate below 1e-6.
    """
    lines, repeats = 600, 8
    changes = []
    for repeat in range(repeats):
        key = Key(repeat).fold(str((pre, post, length, spread)))
        words = [
            trains(np.full((1, lines), value), np.array([gain]), np.array([length]), key.fold(name), 0)
            for name, value in (("pre", pre), ("post", post))
        ]
        state = np.zeros((lines, lines))
        pulse_linear(
            state,
            words[0][0],
            words[1][0],
            devices(state.shape, up=dw, down=dw),
            spread,
            False,
            key,
            0,
            np.zeros(state.shape, bool),
        )
        changes.append(state.diagonal())
        assert words[0][1] == lines * (gain * abs(pre) > 1)
    change = np.concatenate(changes)
    p = min(1, gain * abs(pre)) * min(1, gain * abs(post))
    mean = np.sign(pre * post) * dw * length * p
    variance = dw**2 * (length * p * (1 - p) + spread**2 * length * p)
    n = len(change)
    assert abs(change.mean() - mean) <= 5 * np.sqrt(variance / n) + 1e-15
    fourth = ((change - mean) ** 4).mean()
    assert abs(((change - mean) ** 2).mean() - variance) <= 5 * np.sqrt(max(fourth - variance**2, 0) / n) + 1e-15


def test_crosspoints_of_a_line_share_its_train():
    """Cov(hits of two crosspoints in a row) = BL p_c^2 p_r (1 - p_r): the correlation that hardware has; 5 standard errors."""
    n, length, p_row, p_column = 20_000, 31, 0.4, 0.7
    lengths = np.full(n, length)
    rows = trains(np.full((n, 1), p_row), np.ones(n), lengths, Key(1), 0)[0]
    columns = trains(np.full((n, 2), p_column), np.ones(n), lengths, Key(2), 0)[0]
    hits = np.bitwise_count(rows & columns & SLOTS).astype(float)
    centred = hits - length * p_row * p_column
    products = centred[:, 0] * centred[:, 1]
    expected = length * p_column**2 * p_row * (1 - p_row)
    assert abs(products.mean() - expected) < 5 * products.std() / np.sqrt(n)


def test_certain_pulses_climb_soft_bounds_exponentially():
    """w_n = w_max (1 - (1 - dw/w_max)^n), exact for n pulses in a row."""
    state, high, dw = np.zeros((1, 1)), 0.8, 0.05
    p = devices((1, 1), up=dw, slope_up=-1 / high, high=high)
    for n in range(1, 40):
        word = np.array([[1]], np.uint32)
        pulse_linear(state, word, word, p, 0.0, False, Key(0), n, np.zeros((1, 1), bool))
        assert state[0, 0] == pytest.approx(high * (1 - (1 - dw / high) ** n), rel=1e-12)


@pytest.mark.parametrize("additive", [False, True])
def test_cycle_noise_scales_as_stated(additive):
    """At w = w_max / 2 a multiplicative step is half as noisy as an additive one; 5 standard errors."""
    n, dw, high, spread = 40_000, 1e-3, 1.0, 2.0
    state = np.full((1, n), 0.5)
    p = devices((1, n), up=dw, slope_up=-1 / high)
    pulse_linear(
        state, np.ones((1, 1), np.uint32), np.ones((1, n), np.uint32), p, spread, additive, Key(9), 0, np.zeros((1, n), bool)
    )
    step = state[0] - 0.5
    deviation = dw * spread * (1 if additive else 0.5)
    assert abs(step.mean() - dw / 2) < 5 * deviation / np.sqrt(n)
    assert abs(step.std() / deviation - 1) < 5 / np.sqrt(2 * n)


@given(seed=st.integers(0, 10**6), additive=st.booleans(), dtype=st.sampled_from([np.float32, np.float64]))
@settings(max_examples=50, deadline=None)
def test_bounds_are_never_exceeded_by_a_single_bit(seed, additive, dtype):
    rng = np.random.default_rng(seed)
    shape = (5, 6)
    p = devices(shape, dtype, up=0.3, down=0.2)
    p["low"], p["high"] = (-rng.uniform(0, 1, shape)).astype(dtype), rng.uniform(0, 1, shape).astype(dtype)
    state = np.zeros(shape, dtype)
    for step in range(10):
        rows = rng.integers(0, 2**32, (3, 5), dtype=np.uint32)
        columns = rng.integers(0, 2**32, (3, 6), dtype=np.uint32)
        pulse_linear(state, rows, columns, p, 3.0, additive, Key(seed), 3 * step, np.zeros(shape, bool))
        assert (state >= p["low"]).all()
        assert (state <= p["high"]).all()


def test_threads_and_batches_change_nothing(with_threads, rng):
    pre, post = rng.normal(size=(12, 40)).astype(np.float32), rng.normal(size=(12, 30)).astype(np.float32)

    def learn(cuts):
        state = np.zeros((40, 30), np.float32)
        p = devices(state.shape, np.float32, high=0.05, low=-0.05)
        for start, stop in zip((0, *cuts), (*cuts, 12), strict=True):
            gain, length = np.full(stop - start, 0.3), np.full(stop - start, MAX_LENGTH)
            rows = trains(pre[start:stop], gain, length, Key(1), start)[0]
            columns = trains(post[start:stop], gain, length, Key(2), start)[0]
            pulse_linear(state, rows, columns, p, 0.5, True, Key(3), start, np.zeros(state.shape, bool))
        return state

    one, two = with_threads(lambda: learn(()))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, learn((5, 7)))
