"""Pulse trains and pulsed updates against closed forms, at stated false-alarm rates, and against plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pulse_cases import devices, linear

from analogpc.kernels.pulses.trains import trains
from analogpc.kernels.pulses.updates import (
    ADDITIVE,
    COMPOSITE,
    EXPONENTIAL,
    LINEAR,
    MULTIPLICATIVE,
    PIECEWISE,
    POWER,
    Law,
    apply_counts,
    apply_pulses,
)
from analogpc.kernels.random.streams import Key
from analogpc.kernels.words import MAX_LENGTH, SLOTS

LAWS = {
    "linear": linear(),
    "exponential": Law(EXPONENTIAL, (-0.5, -0.5, -1.18, 5.0, -0.08, 4.0), 0.0, MULTIPLICATIVE),
    "exponential that vanishes": Law(EXPONENTIAL, (1.0, 0.1, 0.9, 3.0, 1.2, 2.0), 0.0, MULTIPLICATIVE),
    "power": Law(POWER, (), 0.0, MULTIPLICATIVE),
    "piecewise": Law(PIECEWISE, (1.0, 0.4, 0.1, 0.0, 0.2, 0.3, 1.5, 2.0), 0.0, MULTIPLICATIVE),
}


def factor(law, w, up, shape, low, high):
    """The mean step relative to the device's step, written out."""
    if law.law == LINEAR:
        return 1 + shape * w
    if law.law == POWER:
        return ((high - w if up else w - low) / (high - low)) ** shape
    if law.law == EXPONENTIAL:
        a, b, a_up, rate_up, a_down, rate_down = law.constants
        z = 2 * a * w / (high - low) + b
        return max(0.0, 1 - a_up * np.exp(rate_up * z) if up else 1 - a_down * np.exp(-rate_down * z))
    nodes = law.constants[: len(law.constants) // 2] if up else law.constants[len(law.constants) // 2 :]
    return np.interp(w, np.linspace(low, high, len(nodes)), nodes)


def plain_update(state, rows, columns, p, law, one_sided):
    """Pulse by pulse, device by device, without cycle-to-cycle noise."""
    state = state.copy()
    for row_words, column_words in zip(rows, columns, strict=True):
        for j, row in enumerate(row_words):
            for i, column in enumerate(column_words):
                up = (int(row) ^ int(column)) >> 31 == 0
                if one_sided and not up:
                    continue
                shape, step = (p["shape_up"], p["up"][j, i]) if up else (p["shape_down"], -p["down"][j, i])
                low, high = p["low"][j, i], p["high"][j, i]
                for _ in range(bin(int(row & column & SLOTS)).count("1")):
                    state[j, i] += step * factor(law, state[j, i], up, shape[j, i], low, high)
                    state[j, i] = min(max(state[j, i], low), high)
    return state


@pytest.mark.parametrize("name", LAWS)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 6),
    rows=st.integers(1, 7),
    columns=st.integers(1, 7),
    length=st.integers(0, 31),
    one_sided=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_noiseless_updates_follow_the_plain_loops(name, seed, n, rows, columns, length, one_sided):
    law, rng = LAWS[name], np.random.default_rng(seed)
    key, lengths = Key(seed), np.full(n, length)
    words = [
        trains(rng.normal(size=(n, m)), np.full(n, 0.4), lengths, key.fold(m, name), 0)[0]
        for m, name in ((rows, "r"), (columns, "c"))
    ]
    p = devices((rows, columns), low=-0.2, high=0.3)
    p["up"] *= rng.uniform(0.5, 2, (rows, columns))
    p["shape_up"], p["shape_down"] = -1 / p["high"], -1 / p["low"]
    if law.law == POWER:
        p["shape_up"], p["shape_down"] = rng.uniform(0.3, 3, (2, rows, columns))
    state = rng.uniform(-0.2, 0.3, (rows, columns))
    expected = plain_update(state, *words, p, law, one_sided)
    received = np.zeros(state.shape, np.int32)
    before = state.copy()
    pulses = apply_pulses(state, *words, p, law, one_sided, key, 0, received)
    np.testing.assert_allclose(state, expected, rtol=1e-12, atol=1e-14)
    downward = [(r[:, None] ^ c[None, :]) >> 31 for r, c in zip(*words, strict=True)]
    hits = sum(
        np.bitwise_count(r[:, None] & c[None, :] & SLOTS) * (1 - down * one_sided)
        for r, c, down in zip(*words, downward, strict=True)
    )
    assert pulses == hits.sum()
    np.testing.assert_array_equal(received, hits)
    np.testing.assert_array_equal(state[received == 0], before[received == 0])


@pytest.mark.parametrize("name", LAWS)
def test_counted_pulses_are_the_same_pulses(name, rng):
    """A count of n is a train of n slots, to the bit, noise included."""
    law = Law(LAWS[name].law, LAWS[name].constants, 0.5, MULTIPLICATIVE)
    p = devices((5, 6), low=-0.2, high=0.3, shape_up=0.7, shape_down=0.4)
    state = rng.uniform(-0.2, 0.3, (5, 6))
    twin, counts = state.copy(), np.zeros((5, 6), np.int32)
    counts[2, :] = [7, -3, 0, 31, -31, 1]
    rows = np.zeros((1, 5), np.uint32)
    rows[0, 2] = SLOTS
    columns = np.array([[(1 << abs(int(c))) - 1 | (0x80000000 if c < 0 else 0) for c in counts[2]]], np.uint32)
    assert apply_counts(state, counts, p, law, Key(4), 9) == np.abs(counts).sum()
    apply_pulses(twin, rows, columns, p, law, False, Key(4), 9, np.zeros(state.shape, np.int32))
    np.testing.assert_array_equal(state, twin)


def test_composite_noise_has_its_three_parts():
    """std = spread (|change| + added + sloped |w|); mean and deviation of 40,000 devices within 5 standard errors."""
    n, w = 40_000, -0.6
    p = devices((1, n), up=0.02)
    state = np.full((1, n), w)
    law = Law(EXPONENTIAL, (0.0, 0.0, -1.0, 1.0, 0.0, 0.0), 0.5, COMPOSITE, 0.03, 0.1)
    apply_pulses(
        state, np.ones((1, 1), np.uint32), np.ones((1, n), np.uint32), p, law, False, Key(1), 0, np.zeros((1, n), np.int32)
    )
    change, std = state[0] - w, 0.5 * (0.04 + 0.03 + 0.1 * 0.6)
    assert abs(change.mean() - 0.04) < 5 * std / np.sqrt(n)
    assert abs(change.std() / std - 1) < 5 / np.sqrt(2 * n)


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
        p, received = devices(state.shape, up=dw, down=dw), np.zeros(state.shape, np.int32)
        apply_pulses(state, words[0][0], words[1][0], p, linear(spread), False, key, 0, received)
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
    p = devices((1, 1), up=dw, shape_up=-1 / high, high=high)
    for n in range(1, 40):
        word = np.array([[1]], np.uint32)
        apply_pulses(state, word, word, p, linear(), False, Key(0), n, np.zeros((1, 1), np.int32))
        assert state[0, 0] == pytest.approx(high * (1 - (1 - dw / high) ** n), rel=1e-12)


@pytest.mark.parametrize("additive", [False, True])
def test_cycle_noise_scales_as_stated(additive):
    """At w = w_max / 2 a multiplicative step is half as noisy as an additive one; 5 standard errors."""
    n, dw, high, spread = 40_000, 1e-3, 1.0, 2.0
    state = np.full((1, n), 0.5)
    p = devices((1, n), up=dw, shape_up=-1 / high)
    law = linear(spread, ADDITIVE if additive else MULTIPLICATIVE)
    received = np.zeros((1, n), np.int32)
    apply_pulses(state, np.ones((1, 1), np.uint32), np.ones((1, n), np.uint32), p, law, False, Key(9), 0, received)
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
        law = linear(3.0, ADDITIVE if additive else MULTIPLICATIVE)
        apply_pulses(state, rows, columns, p, law, False, Key(seed), 3 * step, np.zeros(shape, np.int32))
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
            apply_pulses(state, rows, columns, p, linear(0.5, ADDITIVE), False, Key(3), start, np.zeros(state.shape, np.int32))
        return state

    one, two = with_threads(lambda: learn(()))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, learn((5, 7)))
