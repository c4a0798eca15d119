"""The fast pulsed update against the slow one, bit by bit where it claims equal bits.

Where it draws different noise of the same distribution, `test_fast_pulse_statistics` compares the distributions.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pulse_cases import both, devices, linear, random_trains, same_trains

from analogpc.kernels.pulses import sent as sent_trains
from analogpc.kernels.pulses.batches import apply_batch
from analogpc.kernels.pulses.planes import bit_planes, by_line, count_coincidences, used_slots
from analogpc.kernels.pulses.sent import SentColumns, SentRows
from analogpc.kernels.pulses.trains import largest_magnitudes
from analogpc.kernels.pulses.updates import (
    ADDITIVE,
    COMPOSITE,
    EXPONENTIAL,
    LINEAR,
    MULTIPLICATIVE,
    PIECEWISE,
    POWER,
    Law,
    apply_pulses,
)
from analogpc.kernels.random.streams import LARGEST_NORMAL, Key
from analogpc.kernels.words import SIGN, SLOTS


@pytest.fixture
def sparse(monkeypatch):
    """No row counts as busy, however dense the trains of a test are."""
    monkeypatch.setattr(sent_trains, "_BUSY", np.inf)


@given(
    seed=st.integers(0, 10**6),
    n=st.sampled_from([1, 2, 7, 33, 256]),
    rows=st.integers(1, 5),
    columns=st.sampled_from([1, 31, 32, 33, 64, 65, 200, 512, 513, 1030]),
    density=st.sampled_from([0.02, 0.5, 1.0]),
)
@settings(max_examples=40, deadline=None)
def test_coincidences_are_counted_by_sums_of_planes(seed, n, rows, columns, density):
    """Planes of slots in which no column fires are never read, nor counts of rows without a slot left."""
    rng = np.random.default_rng(seed)
    row_words, column_words = random_trains(rng, n, rows, density), random_trains(rng, n, columns, density)
    column_words[rng.random(n) < 0.3] &= ~np.uint32(0x0F0F0F0F)
    used = used_slots(column_words)
    np.testing.assert_array_equal(used, np.bitwise_or.reduce(column_words, axis=1) | SIGN)
    own = np.ascontiguousarray((row_words & used[:, None]).T)
    counts, marks, pulses = count_coincidences(own, bit_planes(column_words, used), columns)
    hits = np.bitwise_count(row_words[:, :, None] & column_words[:, None, :] & SLOTS).astype(np.int64)
    downward = (row_words[:, :, None] ^ column_words[:, None, :]) >> 31 == 1
    expected = np.stack([(hits * (downward == direction)).sum(axis=0) for direction in (0, 1)], axis=1)
    some = (own & SLOTS).any(axis=1)
    np.testing.assert_array_equal(counts[some], expected[some])
    np.testing.assert_array_equal(pulses, expected.sum(axis=2))
    firing = np.unpackbits(marks.view(np.uint8), axis=1, bitorder="little")[:, :columns]
    np.testing.assert_array_equal(firing, expected.any(axis=1))
    assert not expected[~some].any()


EXACT = {
    "soft bounds": (linear(0.4), {"shape_up": -1 / 0.3, "shape_down": 1 / 0.2}),
    "soft bounds without noise": (linear(), {"shape_up": -1 / 0.3, "shape_down": 1 / 0.2}),
    "additive without noise": (linear(0.0, ADDITIVE), {"shape_up": -1 / 0.3, "shape_down": 1 / 0.2}),
    "exponential": (Law(EXPONENTIAL, (-0.5, -0.5, -1.18, 5.0, -0.08, 4.0), 2.0, MULTIPLICATIVE), {}),
    "power": (Law(POWER, (), 0.3, ADDITIVE), {"shape_up": 1.7, "shape_down": 0.6}),
    "piecewise": (Law(PIECEWISE, (1.0, 0.4, 0.1, 0.0, 0.2, 0.3, 1.5, 2.0), 0.5, MULTIPLICATIVE), {}),
    "composite": (Law(LINEAR, (), 0.5, COMPOSITE, 0.03, 0.1), {}),
}


@pytest.mark.usefixtures("sparse")
@pytest.mark.parametrize(("name", "dtype"), [(name, np.float32) for name in EXACT] + [("soft bounds", np.float64)])
def test_where_no_shortcut_is_taken_the_bits_are_those_of_the_slow_kernel(name, dtype, rng):
    """Also with bounds that are hit, devices that cannot move, more columns than a block of planes has, and one direction only."""
    law, shapes = EXACT[name]
    for shape, n, density in (((5, 9), 12, 0.3), ((18, 530), 3, 0.1), ((2, 40), 6, 0.9)):
        p = devices(shape, dtype, up=0.02, down=0.015, low=-0.2, high=0.3, **shapes)
        p["up"] *= rng.uniform(0.5, 2, shape).astype(dtype)
        p["low"][0, ::3] = p["high"][0, ::3] = 0.1
        state = np.clip(rng.uniform(-0.3, 0.4, shape).astype(dtype), p["low"], p["high"])
        rows, columns = random_trains(rng, n, shape[0], density), random_trains(rng, n, shape[1], density)
        for one_sided in (False, True):
            slow, fast = both(state, rows, columns, p, law, one_sided, step=2**32 - 2)
            for a, b in zip(slow, fast, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("sparse")
@pytest.mark.parametrize("name", ["soft bounds", "composite"])
def test_products_without_coincidences_change_nothing(name, rng):
    """They are left out of long batches if they are many, as in convolutions; noise depends on the numbers of the others."""
    law, shapes = EXACT[name]
    shape, n = (5, 40), 900
    p = devices(shape, np.float32, up=0.02, down=0.015, low=-0.2, high=0.3, **shapes)
    state = np.clip(rng.uniform(-0.3, 0.4, shape).astype(np.float32), p["low"], p["high"])
    rows, columns = random_trains(rng, n, shape[0], 0.02), random_trains(rng, n, shape[1], 0.02)
    for words in (rows, columns):
        words[rng.random(n) < 0.6] &= ~SLOTS
    slow, fast = both(state, rows, columns, p, law, step=2**32 - 2)
    for a, b in zip(slow, fast, strict=True):
        np.testing.assert_array_equal(a, b)
    columns &= ~SLOTS
    assert both(state, rows, columns, p, law)[1][2] == 0


@pytest.mark.usefixtures("sparse")
def test_single_additive_pulses_are_those_of_the_slow_kernel(rng):
    p = devices((6, 70), np.float32, shape_up=-1 / 0.3, shape_down=1 / 0.2, low=-0.2, high=0.3)
    state = rng.uniform(-0.2, 0.3, (6, 70)).astype(np.float32)
    rows, columns = (random_trains(rng, 20, lines, 0.5) & np.uint32(0x80000001) for lines in (6, 70))
    slow, fast = both(state, rows, columns, p, linear(2.0, ADDITIVE))
    np.testing.assert_array_equal(slow[0], fast[0])
    assert slow[2] == fast[2] > 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("one_sided", [False, True])
def test_constant_steps_without_noise_are_exact(dtype, one_sided, rng):
    """With steps and states that are multiples of 2**-12 no sum is rounded: bounds that are hit must be hit in the right order."""
    unit, shape = 2.0**-12, (20, 77)
    p = devices(shape, dtype, low=-1.0, high=1.0)
    for name, lowest, highest in (("up", 1, 9), ("down", 1, 9), ("low", -300, -1), ("high", 1, 300)):
        p[name] = (rng.integers(lowest, highest, shape) * unit).astype(dtype)
    p["low"][3, 4:9] = p["high"][3, 4:9] = 0
    state = np.clip((rng.integers(-300, 300, shape) * unit).astype(dtype), p["low"], p["high"])
    rows, columns = random_trains(rng, 300, 20, 0.15), random_trains(rng, 300, 77, 0.15)
    slow, fast = both(state, rows, columns, p, linear(), one_sided)
    hit = (slow[0] == p["low"]) | (slow[0] == p["high"])
    assert 0.05 < hit.mean() < 0.95
    for a, b in zip(slow, fast, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("sparse")
def test_rows_that_depend_on_the_state_stay_exact_beside_constant_ones(rng):
    p = devices((40, 30), shape_up=-1 / 0.3, low=-0.2, high=0.3)
    constant = np.arange(40) % 3 == 0
    p["shape_up"][constant] = 0
    state = rng.uniform(-0.1, 0.1, (40, 30))
    rows, columns = random_trains(rng, 9, 40, 0.2), random_trains(rng, 9, 30, 0.2)
    slow, fast = both(state, rows, columns, p, linear(0.3))
    np.testing.assert_array_equal(slow[0][~constant], fast[0][~constant])
    assert not np.array_equal(slow[0][constant], fast[0][constant])
    assert slow[2] == fast[2]


@given(
    seed=st.integers(0, 10**6),
    noise=st.sampled_from([ADDITIVE, MULTIPLICATIVE]),
    soft=st.booleans(),
    spread=st.sampled_from([0.0, 0.3, 3.0]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
@settings(max_examples=60, deadline=None)
def test_bounds_are_never_exceeded_by_a_single_bit(seed, noise, soft, spread, dtype):
    rng = np.random.default_rng(seed)
    shape = (5, 6)
    p = devices(shape, dtype, up=10 ** rng.uniform(-3, -0.5), down=10 ** rng.uniform(-3, -0.5))
    p["low"], p["high"] = (-rng.uniform(0.01, 1, shape)).astype(dtype), rng.uniform(0.01, 1, shape).astype(dtype)
    if soft:
        p["shape_up"], p["shape_down"] = -1 / p["high"], -1 / p["low"]
    state = np.zeros(shape, dtype)
    for step in range(0, 12, 4):
        rows, columns = random_trains(rng, 4, 5, 0.3), random_trains(rng, 4, 6, 0.3)
        apply_batch(state, rows, columns, p, linear(spread, noise), False, Key(seed), step, np.zeros(shape, np.int32))
        assert (state >= p["low"]).all()
        assert (state <= p["high"]).all()


@pytest.mark.parametrize("shape_up", [0.0, -20.0])
@pytest.mark.parametrize("noise", [ADDITIVE, MULTIPLICATIVE])
def test_threads_change_nothing(with_threads, rng, shape_up, noise):
    rows, columns = random_trains(rng, 30, 70, 0.1), random_trains(rng, 30, 90, 0.1)
    p = devices((70, 90), np.float32, shape_up=shape_up, low=-0.05, high=0.05)

    def learn():
        state, received = np.zeros((70, 90), np.float32), np.zeros((70, 90), np.int32)
        return state, received, apply_batch(state, rows, columns, p, linear(0.5, noise), False, Key(3), 7, received)

    one, two = with_threads(learn)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("sparse")
@pytest.mark.parametrize("noise", [ADDITIVE, MULTIPLICATIVE])
def test_devices_that_depend_on_the_state_do_not_see_how_a_batch_is_cut(rng, noise):
    rows, columns = random_trains(rng, 12, 9, 0.2), random_trains(rng, 12, 40, 0.2)
    p = devices((9, 40), np.float32, shape_up=-4.0, shape_down=4.0, low=-0.25, high=0.25)

    def learn(cuts):
        state = np.zeros((9, 40), np.float32)
        for start, stop in zip((0, *cuts), (*cuts, 12), strict=True):
            received = np.zeros(state.shape, np.int32)
            apply_batch(state, rows[start:stop], columns[start:stop], p, linear(0.5, noise), False, Key(3), start, received)
        return state

    np.testing.assert_array_equal(learn(()), learn((5, 7)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("counted", [False, True])
def test_rows_of_few_pulses_are_moved_alike(rng, dtype, one_sided, counted):
    """The same devices in a wide grid, whose rows have few pulses for their width, and in a narrow one, which moves all together."""
    height, narrow, wide = 9, 8, 256
    rows, columns = random_trains(rng, 2, height, 0.05), random_trains(rng, 2, narrow, 0.1)
    # Only the first half of the rows: the others stay without pulses.
    rows[:, height // 2 :] &= SIGN
    p = {name: np.zeros((height, wide), dtype) for name in devices((1, 1))}
    p["up"], p["down"], p["low"], p["high"] = (v * (1 + rng.random((height, wide))).astype(dtype) for v in (0.01, 0.02, -9, 9))
    state, beside = rng.normal(size=(height, wide)).astype(dtype), np.zeros((2, wide), np.uint32)
    beside[:, :narrow] = columns
    results = []
    for width, sent in ((narrow, columns), (wide, beside)):
        own = {name: np.ascontiguousarray(values[:, :width]) for name, values in p.items()}
        new, found = state[:, :width].copy(), np.zeros(height)
        received = np.zeros(new.shape, np.int32) if counted else None
        pulses = apply_batch(new, rows, sent, own, linear(0.3), one_sided, Key(5), 3, received, found)
        results.append((new[:, :narrow], pulses, found, None if received is None else received[:, :narrow]))
        np.testing.assert_array_equal(new[:, narrow:], state[:, narrow:width])
    (all_states, all_pulses, all_found, all_received), (few_states, few_pulses, few_found, few_received) = results
    assert all_pulses == few_pulses > 0
    assert not np.array_equal(few_states, state[:, :narrow])
    np.testing.assert_array_equal(few_states, all_states)
    np.testing.assert_allclose(few_found, all_found, rtol=1e-5)
    if counted:
        np.testing.assert_array_equal(few_received, all_received)
        assert few_received.sum() == few_pulses


def test_a_long_batch_is_cut_into_parts_with_steps_of_their_own():
    shape = (3, 10)
    rows, columns = same_trains([2] * 600, shape)
    p, whole, parts = devices(shape), np.zeros(shape), np.zeros(shape)
    apply_batch(whole, rows, columns, p, linear(0.5), False, Key(1), 40, np.zeros(shape, np.int32))
    for start, stop in ((0, 256), (256, 512), (512, 600)):
        apply_batch(
            parts, rows[start:stop], columns[start:stop], p, linear(0.5), False, Key(1), 40 + start, np.zeros(shape, np.int32)
        )
    np.testing.assert_array_equal(whole, parts)


def test_no_products_do_nothing():
    shape = (3, 5)
    state, received = np.full(shape, 0.25), np.zeros(shape, np.int32)
    empty = np.zeros((0, 3), np.uint32), np.zeros((0, 5), np.uint32)
    assert apply_batch(state, *empty, devices(shape), linear(0.3), False, Key(0), 0, received) == 0
    assert (state == 0.25).all()
    assert not received.any()


def test_the_shortcut_is_taken_only_where_no_pulse_can_reach_a_bound():
    """A device one grain further from its bound than the worst case moves by one draw, one grain nearer pulse by pulse."""
    spread, dw, hits = 0.5, 0.01, 8
    reach = hits * dw * (1 + spread * LARGEST_NORMAL)
    shape = (1, 4)
    p = devices(shape, low=-10.0, high=1.0)
    state = np.array([[0.0, 1 - reach - 1e-9, 1 - reach + 1e-9, 1 - reach + 1e-9]])
    slow, fast = both(state, *same_trains([hits], shape), p, linear(spread))
    np.testing.assert_array_equal(slow[0] == fast[0], [[False, False, True, True]])


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (7, 33), (256, 70)])
def test_trains_line_by_line(with_threads, rng, shape):
    words, kept = random_trains(rng, *shape, 0.4), rng.integers(0, 2**31, shape[0], dtype=np.uint32) | SIGN

    def sorted_out():
        return by_line(words, kept)

    for lines, pulses, slots in with_threads(sorted_out):
        np.testing.assert_array_equal(lines, (words & kept[:, None]).T)
        np.testing.assert_array_equal(pulses, np.bitwise_count(words & SLOTS).sum(axis=0))
        np.testing.assert_array_equal(slots, np.bitwise_count(words & kept[:, None] & SLOTS).sum(axis=0))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@given(data=st.data())
def test_largest_magnitudes(kind, data):
    """Every kind of number, subnormal and infinite ones, and NaN, which spreads."""
    shape = data.draw(st.tuples(st.integers(0, 5), st.integers(1, 40)))
    values = data.draw(arrays(kind, shape, elements=st.floats(width=8 * np.dtype(kind).itemsize)))
    np.testing.assert_array_equal(largest_magnitudes(values), np.abs(values).max(axis=1))
    np.testing.assert_array_equal(largest_magnitudes(values[:, ::2]), np.abs(values[:, ::2]).max(axis=1))


@pytest.mark.parametrize("shape_up", [0.0, -1 / 0.3])
@pytest.mark.parametrize("one_sided", [False, True])
def test_turned_trains_are_those_of_inverted_signs(shape_up, one_sided, rng):
    """Also with trains that two grids share, near the bounds, and without counts of the pulses of single devices."""
    shape = 30, 70
    p = devices(shape, np.float32, shape_up=shape_up, low=-0.2, high=0.2)
    state = rng.uniform(-0.2, 0.2, shape).astype(np.float32)
    rows, columns = (random_trains(rng, 40, lines, 0.03) for lines in shape)
    sending = SentRows(rows, SentColumns(columns))
    sent, found = (sending, sending.columns), np.empty((2, shape[0]))
    results = []
    for words, sending, turned, received in (
        (rows, sent, False, None),
        (rows ^ SIGN, sent, True, None),
        (rows, (rows, columns), False, np.zeros(shape, np.int32)),
        (rows ^ SIGN, (rows ^ SIGN, columns), False, np.zeros(shape, np.int32)),
    ):
        new, counted = state.copy(), np.zeros(shape, np.int32)
        own = found[0] if received is None else found[1]
        pulses = apply_batch(new, *sending, p, linear(0.3), one_sided, Key(3), 7, received, own, turned)
        apply_pulses(state.copy(), words, columns, p, linear(), one_sided, Key(3), 7, counted)
        assert pulses == counted.sum() > 0
        np.testing.assert_allclose(own, (counted * state.astype(np.float64)).sum(axis=1), rtol=1e-4, atol=1e-6)
        if received is not None:
            np.testing.assert_array_equal(received, counted)
        results.append(new)
    np.testing.assert_array_equal(results[:2], results[2:])
