"""The fast pulsed update against the slow one: to the bit where it claims so, else by two-sample tests and closed forms.

Statistical tests use fixed keys; each has a false-alarm rate below 1e-5 over the choice of keys, all of them together below 1e-3.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analogpc.kernels.pulses import batches as pulse_batches
from analogpc.kernels.pulses.batches import SentColumns, SentRows, apply_batch
from analogpc.kernels.pulses.planes import bit_planes, count_coincidences, used_slots
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
    apply_pulses,
)
from analogpc.kernels.random.streams import LARGEST_NORMAL, Key

SLOTS, SIGN = np.uint32(0x7FFFFFFF), np.uint32(0x80000000)
RARE = 1e-5


@pytest.fixture
def sparse(monkeypatch):
    """No row counts as busy, however dense the trains of a test are."""
    monkeypatch.setattr(pulse_batches, "_BUSY", np.inf)


def devices(shape, dtype=np.float64, up=0.01, down=0.01, shape_up=0.0, shape_down=0.0, low=-1e9, high=1e9):
    values = {"up": up, "down": down, "shape_up": shape_up, "shape_down": shape_down, "low": low, "high": high}
    return {name: np.full(shape, value, dtype) for name, value in values.items()}


def linear(spread=0.0, noise=MULTIPLICATIVE):
    return Law(LINEAR, (), spread, noise)


def random_trains(rng, n, lines, density):
    """Trains whose slots fire with a probability, of either sign; now and then none or all of them do."""
    words = np.zeros((n, lines), np.uint32)
    for slot in range(31):
        words |= (rng.random((n, lines)) < density).astype(np.uint32) << np.uint32(slot)
    words[rng.random((n, lines)) < 0.1] = 0
    words[rng.random((n, lines)) < 0.05] = SLOTS
    return words | (rng.random((n, lines)) < 0.5).astype(np.uint32) << np.uint32(31)


def both(state, rows, columns, p, law, one_sided=False, step=0):
    """States, touched devices and pulses of the slow and of the fast kernel."""
    results = []
    for apply in (apply_pulses, apply_batch):
        new, received = state.copy(), np.zeros(state.shape, np.int32)
        pulses = apply(new, rows, columns, p, law, one_sided, Key(5), step, received)
        results.append((new, received, pulses))
    return results


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


def same_trains(hits, shape):
    """Trains that give every device the same pulses: ``hits`` in each product, negative ones downwards."""
    words = np.array([(1 << abs(h)) - 1 | (0x80000000 if h < 0 else 0) for h in hits], np.uint32)
    return np.full((len(hits), shape[0]), SLOTS), np.repeat(words[:, None], shape[1], axis=1)


def agree(slow, fast, bounds):
    """Kolmogorov-Smirnov on the states, and equal numbers of devices at the bounds."""
    assert stats.ks_2samp(slow.ravel(), fast.ravel(), method="asymp").pvalue > RARE
    for bound in bounds:
        table = np.array([[np.sum(x == bound), np.sum(x != bound)] for x in (slow, fast)])
        if (table.sum(axis=0) > 10).all():
            assert stats.chi2_contingency(table).pvalue > RARE


MIXED = [5, -3, 0, 31, -31, 2, -1, 0, -20, 25] * 4
CONSTANT = [
    # (hits of the products, start, bound, spread): far from all bounds, one way, near one, at one, wide noise, most in one product
    ([1], 0.0, 1e3, 0.3),
    (MIXED, 0.0, 1e3, 0.3),
    (MIXED, 0.0, 1e3, 5.0),
    ([4] * 50, 0.0, 1e3, 0.5),
    ([-31] * 10, 0.0, 0.8, 0.3),
    (MIXED, 0.7, 0.8, 0.3),
    (MIXED, -0.8, 0.8, 1.0),
    ([31, -31], 0.5, 0.8, 3.0),
    ([2, -1, 1, -2] * 30, 0.75, 0.8, 0.6),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("hits", "start", "bound", "spread"), CONSTANT)
def test_constant_steps_are_distributed_as_pulse_by_pulse(hits, start, bound, spread, dtype):
    shape, up, down = (50, 200), 0.01, 0.013
    p, state = devices(shape, dtype, up=up, down=down, low=-bound, high=bound), np.full(shape, start, dtype)
    rows, columns = same_trains(hits, shape)
    slow, fast = both(state, rows, columns, p, linear(spread, ADDITIVE if spread == 0.3 else MULTIPLICATIVE))
    agree(slow[0], fast[0], (-bound, bound))
    assert slow[2] == fast[2] == np.abs(hits).sum() * state.size
    if bound > 1:
        n_up, n_down = (sum(abs(h) for h in hits if (h > 0) == way) for way in (True, False))
        mean, variance = up * n_up - down * n_down, spread**2 * (up**2 * n_up + down**2 * n_down)
        assert abs(fast[0].mean(dtype=np.float64) - start - mean) < 5 * np.sqrt(variance / state.size)
        assert abs(fast[0].var(dtype=np.float64) / variance - 1) < 5 * np.sqrt(2 / state.size)


SOFT = [
    # (hits, start, spread, step, whether a bound can be touched)
    ([2], 0.0, 1.0, 0.004, False),
    ([-7], 0.1, 1.0, 0.004, False),
    ([31], -0.2, 0.5, 0.004, False),
    ([31, -31, 17, 5, -2], 0.0, 0.5, 0.002, False),
    ([-31, 31], 0.0, 0.0, 0.004, False),
    ([3] * 40, 0.4, 3.75, 0.004, True),
    ([-2, 3] * 20, -0.35, 3.0, 0.004, True),
    ([31] * 3, 0.49, 0.3, 0.02, True),
]


@pytest.mark.usefixtures("sparse")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("hits", "start", "spread", "step", "touching"), SOFT)
def test_soft_bounds_are_distributed_as_pulse_by_pulse(hits, start, spread, step, touching, dtype):
    shape, low, high = (50, 200), -0.4, 0.5
    p = devices(shape, dtype, up=step, down=step, shape_up=-1 / high, shape_down=-1 / low, low=low, high=high)
    state = np.full(shape, start, dtype)
    slow, fast = both(state, *same_trains(hits, shape), p, linear(spread, ADDITIVE))
    assert slow[2] == fast[2]
    if spread == 0:
        np.testing.assert_array_equal(slow[0], fast[0])
        return
    agree(slow[0], fast[0], (dtype(low), dtype(high)))
    if not touching:
        mean, variance = start, 0.0
        for h in hits:
            bound, signed = (high, step) if h > 0 else (low, -step)
            kept = 1 - signed / bound
            mean = bound + (mean - bound) * kept ** abs(h)
            variance = variance * kept ** (2 * abs(h)) + (step * spread) ** 2 * (1 - kept ** (2 * abs(h))) / (1 - kept**2)
        assert abs(fast[0].mean(dtype=np.float64) - mean) < 5 * np.sqrt(variance / state.size)
        assert abs(fast[0].var(dtype=np.float64) / variance - 1) < 5 * np.sqrt(2 / state.size)


GRID = [(0.0, 0.7), (0.5, 0.5), (-0.5, 0.25), (-0.3, -0.6), (1.7, 0.3), (2.0, -3.0)]


@pytest.mark.parametrize(("pre", "post"), GRID)
@pytest.mark.parametrize("additive", [False, True])
def test_mean_and_variance_of_an_update_are_the_closed_form(pre, post, additive):
    """Var = dw^2 (BL p (1 - p) + spread^2 BL p) for each of three products; devices of the diagonal, which share no trains."""
    lines, length, dw, spread, products = 700, 31, 0.001, 0.5, 3
    changes = []
    for repeat in range(6):
        key, gain, lengths = Key(repeat).fold(str((pre, post))), np.ones(products), np.full(products, length)
        rows, columns = (
            trains(np.full((products, lines), value), gain, lengths, key.fold(name), 0)[0]
            for name, value in (("pre", pre), ("post", post))
        )
        state = np.zeros((lines, lines))
        p = devices(state.shape, up=dw, down=dw, shape_up=1e-9 if additive else 0.0)
        apply_batch(
            state, rows, columns, p, linear(spread, ADDITIVE if additive else MULTIPLICATIVE), False, key, 0, state.astype(bool)
        )
        changes.append(state.diagonal())
    change = np.concatenate(changes)
    probability = min(1, abs(pre)) * min(1, abs(post))
    mean = products * np.sign(pre * post) * dw * length * probability
    variance = products * dw**2 * length * probability * (1 - probability + spread**2)
    assert abs(change.mean() - mean) <= 5 * np.sqrt(variance / len(change)) + 1e-15
    fourth = ((change - mean) ** 4).mean()
    assert abs(((change - mean) ** 2).mean() - variance) <= 5 * np.sqrt(max(fourth - variance**2, 0) / len(change)) + 1e-15


@pytest.mark.usefixtures("sparse")
def test_noise_is_independent_between_devices_and_batches():
    """Neighbours in a row, in a column and in time, and one draw for many products against single pulses; 4.9 standard errors each."""
    shape = (300, 301)
    p = devices(shape)

    def noise(hits, step, shape_up=0.0):
        state = np.zeros(shape)
        apply_batch(
            state, *same_trains(hits, shape), p | {"shape_up": np.full(shape, shape_up)}, linear(1.0), False, Key(8), step,
            np.zeros(shape, np.int32),
        )  # fmt: skip
        return (state - 0.01 * sum(hits)) / (0.01 * np.sqrt(sum(hits)))

    x, later, single = noise([1, 2], 0), noise([1, 2], 2), noise([1], 0, 1e-12)
    blocks = single.ravel()[: x.size // 4]
    pairs = [
        (x[:, :-1], x[:, 1:]),
        (x[:, :-4], x[:, 4:]),
        (x[:-1], x[1:]),
        (x, later),
        (x, single),
        (x.ravel()[::4][: len(blocks)], blocks),
    ]
    for a, b in pairs:
        assert abs(np.mean(a * b)) < 4.9 / np.sqrt(a.size)
    assert abs(x.var() - 1) < 5 * np.sqrt(2 / x.size)


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


@pytest.mark.parametrize("shape_up", [0.0, -1 / 0.3])
@pytest.mark.parametrize("one_sided", [False, True])
def test_turned_trains_are_those_of_inverted_signs(shape_up, one_sided, rng):
    """Also with trains that two grids share, near the bounds, and without counts of the pulses of single devices."""
    shape = 30, 70
    p = devices(shape, np.float32, shape_up=shape_up, low=-0.2, high=0.2)
    state = rng.uniform(-0.2, 0.2, shape).astype(np.float32)
    rows, columns = (random_trains(rng, 40, lines, 0.03) for lines in shape)
    sent, found = (SentRows(rows), SentColumns(columns)), np.empty((2, shape[0]))
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
