"""Rows with many pulses: the sampled distribution against exact moments and distribution functions, and against the slow kernel.

Statistical tests use fixed keys; each has a false-alarm rate below 1e-5 over the choice of keys, all of them together below 1e-3.
"""

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pulse_cases import agree, both, same_trains
from scipy import stats

from analogpc.kernels.pulses import dense_rows as pulse_rows
from analogpc.kernels.pulses import moments as pulse_moments
from analogpc.kernels.pulses import sent as sent_trains
from analogpc.kernels.pulses.batches import apply_batch
from analogpc.kernels.pulses.planes import bit_planes, mark_firing, used_slots
from analogpc.kernels.pulses.updates import ADDITIVE, LINEAR, MULTIPLICATIVE, Law
from analogpc.kernels.random.streams import Key
from analogpc.kernels.words import SIGN, SLOTS


@pytest.fixture(autouse=True)
def busy(monkeypatch):
    """Treat all rows as busy, regardless of the number of pulses."""
    monkeypatch.setattr(sent_trains, "_BUSY", -1.0)


def devices(shape, dtype=np.float64, up=0.004, down=0.003, low=-0.8, high=0.9, soft=True):
    values = {"up": up, "down": down, "low": low, "high": high}
    values |= {"shape_up": -1 / high, "shape_down": -1 / low} if soft else {"shape_up": -0.2, "shape_down": 0.1}
    return {name: np.full(shape, value, dtype) for name, value in values.items()}


def random_trains(rng, n, lines, density):
    words = np.zeros((n, lines), np.uint32)
    for slot in range(31):
        words |= (rng.random((n, lines)) < density).astype(np.uint32) << np.uint32(slot)
    words[rng.random((n, lines)) < 0.1] = 0
    return words | (rng.random((n, lines)) < 0.5).astype(np.uint32) << np.uint32(31)


def drawn(hits, start, spread, additive, z):
    """States that the group ``hits`` would draw for normal numbers ``z`` (at most 256), and whether it is safe; bounds are far away."""
    p = devices((z.size,))
    p["low"][:], p["high"][:] = -1e9, 1e9
    work, lanes = np.zeros(pulse_moments.PLACES * pulse_moments.COLUMNS), np.uint64(z.size)
    arrays = [p[name] for name in ("up", "down", "shape_up", "shape_down", "low", "high")]
    spread = np.float64(spread)
    pulse_moments.load(work, lanes, np.uint64(0), np.full(z.size, start), *arrays, spread, additive)
    pulse_moments.begin(work, lanes)
    for row, columns in zip(*same_trains(hits, (1, z.size)), strict=True):
        pulse_moments.advance(work, lanes, np.uint64(0), row[0], columns, False, additive)
    unsafe = np.zeros(z.size, np.uint8)
    safe = pulse_moments.mark_unsafe(work, lanes, spread, additive, unsafe) == 0
    pulse_moments.settle(work, lanes, spread, additive, z)
    return work[: z.size].copy(), safe


def central_moments(hits, start, spread, additive, highest=6):
    """Mean change and central moments of the state after the pulses, exact: moments up to p depend linearly on those before a pulse."""
    gauss = [1, 0, 1, 0, 3, 0, 15]
    p = {name: value[0] for name, value in devices((1,)).items()}
    moments = np.eye(highest + 1)[0]
    for h in hits:
        step, shape = (p["up"], p["shape_up"]) if h > 0 else (-p["down"], p["shape_down"])
        # u' = u + b + a u + noise, a moment of which is a polynomial in u.
        b, a = step * (1 + shape * start), step * shape
        step_matrix = np.zeros((highest + 1, highest + 1))
        for q in range(highest + 1):
            for m in range(q + 1):
                for noisy in range(0, m + 1, 2):
                    weight = comb(q, m) * comb(m, noisy) * spread**noisy * gauss[noisy]
                    # (b + a u)^m, or with additive noise (b + a u)^(m - noisy) step^noisy.
                    power = m - noisy if additive else m
                    for k in range(power + 1):
                        term = comb(power, k) * b ** (power - k) * a**k * (step**noisy if additive else 1)
                        step_matrix[q, q - m + k] += weight * term
        moments = np.linalg.matrix_power(step_matrix, abs(h)) @ moments
    mean = moments[1]
    return mean, [sum(comb(q, k) * moments[k] * (-mean) ** (q - k) for k in range(q + 1)) for q in range(highest + 1)]


def bits_of(words):
    return np.unpackbits(words.view(np.uint8), bitorder="little")


@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("additive", [False, True])
def test_devices_that_fire_are_processed_alone_as_in_their_row(rng, additive, one_sided):
    """Single pulses, which have their own formulas, and several; moments of random devices agree to 1e-9, counts to the bit."""
    lanes, n = np.uint64(200), 60
    p = {name: rng.uniform(0.5, 1.5, (1, 200)) * values for name, values in devices((1, 200)).items()}
    arrays = [p[name][0] for name in ("up", "down", "shape_up", "shape_down", "low", "high")]
    rows, columns = random_trains(rng, n, 1, 0.1), random_trains(rng, n, 200, 0.1)
    places, start, spread = np.uint64(0), rng.uniform(-0.3, 0.3, 200), np.float64(0.5)
    used = used_slots(columns)
    planes, mask, marks = bit_planes(columns, used), np.zeros(4, np.uint64), np.zeros(12, np.uint64)
    works = [np.zeros(pulse_moments.PLACES * pulse_moments.COLUMNS) for _ in range(2)]
    for work in works:
        pulse_moments.load(work, lanes, places, start, *arrays, spread, additive)
        pulse_moments.begin(work, lanes)
    several = 0
    for b in range(n):
        mark_firing(planes, 0, places, rows[b, 0] & used[b], b, one_sided, mask)
        hits = np.bitwise_count(rows[b] & columns[b] & SLOTS)
        falls = hits * ~(one_sided & ((rows[b] ^ columns[b]) >= SIGN))
        np.testing.assert_array_equal(bits_of(mask)[:200], falls > 0)
        some = pulse_rows.mark_block(planes, 0, places, rows[b, 0] & used[b], b, one_sided, marks)
        np.testing.assert_array_equal(marks[:4], mask)
        assert some == np.count_nonzero(falls)
        np.testing.assert_array_equal(bits_of(marks[4:8])[:200], falls > 1)
        np.testing.assert_array_equal(bits_of(marks[8:])[:200], (falls > 0) & ((rows[b] ^ columns[b]) >= SIGN))
        several += np.count_nonzero(falls > 1)
        pulse_moments.advance(works[0], lanes, places, rows[b, 0], columns[b], one_sided, additive)
        pulse_moments.advance_some(works[1], marks, places, rows[b, 0], columns[b], one_sided, additive)
    assert several > 100
    counts = slice(int(pulse_moments.UPS), int(pulse_moments.DOWNS) + 256)
    np.testing.assert_array_equal(works[1][counts], works[0][counts])
    for got, wanted in zip(works[1].reshape(-1, 256), works[0].reshape(-1, 256), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9 * np.abs(wanted).max())


GROUPS = [[31], [-31], [5] * 3, [-3, 4, 2, -6, 1], [7, -7] * 3, [1] * 24, [-20, 20], [1, -1] * 10, [-2]]


@pytest.mark.parametrize("hits", GROUPS)
@pytest.mark.parametrize("start", [0.0, 0.3, -0.6])
@pytest.mark.parametrize("additive", [False, True])
def test_moments_are_exact_to_the_order_that_is_stated(hits, start, additive):
    """Means and variances to 1e-7, third to sixth moment to D^3, in units of the deviation; D^2 as in `pulse_moments`."""
    spread, p = 0.6, {name: value[0] for name, value in devices((1,)).items()}
    points, weights = np.polynomial.hermite_e.hermegauss(30)
    states, _ = drawn(hits, start, spread, additive, points)
    weights /= weights.sum()
    mean, moments = central_moments(hits, start, spread, additive)
    deviation = np.sqrt(moments[2])
    average = weights @ states
    assert abs(average - start - mean) < 2e-8 * deviation
    ups, downs = (sum(abs(h) for h in hits if (h > 0) == way) for way in (True, False))
    d2 = spread**2 * (ups * (p["up"] * p["shape_up"]) ** 2 + downs * (p["down"] * p["shape_down"]) ** 2)
    for q, allowed in ((2, 1e-3), (3, 3.0), (4, 3.0), (5, 50.0), (6, 50.0)):
        difference = (weights @ (states - average) ** q - moments[q]) / deviation**q
        assert abs(difference) < (1e-7 if additive else allowed * d2**1.5 + 1e-7)


@pytest.mark.parametrize(("pulses", "d2"), [(2, 2e-4), (8, 2e-4), (31, 2e-4), (24, 5e-5)])
def test_distribution_function_is_off_by_less_than_the_resolution_of_a_draw(pulses, d2):
    """Pulses of one direction multiply 1 + shape w by independent normal numbers: its exact distribution by Gil-Pelaez inversion."""
    p = {name: value[0] for name, value in devices((1,)).items()}
    x = p["up"] * p["shape_up"]
    spread = np.sqrt(d2 / pulses) / abs(x)
    r = spread * x / (1 + x)
    z = np.linspace(-5, 5, 101)
    states, safe = drawn([pulses], 0.3, spread * 0.9999, False, z)
    assert safe
    states, _ = drawn([pulses], 0.3, spread, False, z)
    # The logarithm of the product, in units of its deviation.
    log = np.log((1 + p["shape_up"] * states) / (1 + p["shape_up"] * 0.3)) - pulses * np.log1p(x)
    unit = abs(r) * np.sqrt(pulses)
    points, weights = np.polynomial.hermite_e.hermegauss(80)
    weights /= weights.sum()
    t = (np.arange(4000) + 0.5) * (9 / 4000)
    factor = np.exp(1j * t[:, None] / unit * np.log1p(r * points)) @ weights
    wave = factor**pulses * np.exp(-1j * t * (log / unit)[:, None])
    exact = 0.5 - np.sum(wave.imag / t, axis=1) * (9 / 4000) / np.pi
    # A larger state means a smaller distance from the bound.
    assert np.max(np.abs(1 - exact - stats.norm.cdf(z))) < 3e-7


CASES = [
    # (hits of the products, start, spread, step, whether a bound can be touched): one and many groups, one way and both, at a bound
    ([2], 0.0, 0.3, 0.004, False),
    ([-7], 0.1, 0.7, 0.002, False),
    ([31, -31, 17, 5, -2] * 4, 0.0, 0.5, 0.002, False),
    ([3, -2, 1, 0, -4] * 30, 0.2, 0.3, 0.002, False),
    ([3] * 40, 0.4, 3.75, 0.004, True),
    ([-2, 3] * 20, -0.35, 3.0, 0.004, True),
    ([31] * 3, 0.49, 0.3, 0.02, True),
    ([-5, 4] * 25, -0.4, 0.4, 0.01, True),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("noise", [ADDITIVE, MULTIPLICATIVE])
@pytest.mark.parametrize(("hits", "start", "spread", "step", "touching"), CASES)
def test_states_are_distributed_as_pulse_by_pulse(hits, start, spread, step, touching, noise, dtype):
    shape, low, high = (25, 400), -0.4, 0.5
    p = devices(shape, dtype, up=step, down=step, low=low, high=high)
    slow, fast = both(np.full(shape, start, dtype), *same_trains(hits, shape), p, Law(LINEAR, (), spread, noise))
    assert slow[2] == fast[2] == np.abs(hits).sum() * slow[0].size
    if not touching:
        assert np.mean(slow[0] == fast[0]) < 0.1
    agree(slow[0], fast[0], (dtype(low), dtype(high)))


@given(
    seed=st.integers(0, 10**6),
    n=st.sampled_from([1, 3, 40, 300]),
    columns=st.sampled_from([1, 7, 64, 255, 257, 600]),
    density=st.sampled_from([0.05, 0.4, 1.0]),
    spread=st.sampled_from([0.0, 0.3, 4.0]),
    noise=st.sampled_from([ADDITIVE, MULTIPLICATIVE]),
    soft=st.booleans(),
    one_sided=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
)
@settings(max_examples=60, deadline=None)
def test_pulses_fall_where_they_fall_in_the_slow_kernel(seed, n, columns, density, spread, noise, soft, one_sided, dtype):
    """With devices of all kinds in one row; states stay within bounds, and are the slow ones to rounding where there is no noise."""
    rng, shape = np.random.default_rng(seed), (3, columns)
    p = devices(shape, dtype, soft=False)
    p["up"], p["down"] = ((10 ** rng.uniform(-4, -1, shape)).astype(dtype) for _ in range(2))
    p["low"], p["high"] = (-rng.uniform(0.01, 1, shape)).astype(dtype), rng.uniform(0.01, 1, shape).astype(dtype)
    stuck = rng.random(shape) < 0.1
    p["low"][stuck] = p["high"][stuck]
    if soft:
        p["shape_up"], p["shape_down"] = -1 / p["high"], -1 / p["low"]
    state = np.clip(rng.normal(0, 0.2, shape).astype(dtype), p["low"], p["high"])
    rows, columns = random_trains(rng, n, 3, density), random_trains(rng, n, columns, density)
    slow, fast = both(state, rows, columns, p, Law(LINEAR, (), spread, noise), one_sided, step=2**32 - 2)
    np.testing.assert_array_equal(slow[1], fast[1])
    assert slow[2] == fast[2]
    assert (fast[0] >= p["low"]).all()
    assert (fast[0] <= p["high"]).all()
    still = stuck | (fast[1] == 0)
    np.testing.assert_array_equal(fast[0][still], state[still])
    if spread == 0:
        np.testing.assert_allclose(slow[0], fast[0], rtol=0, atol=2e-5 if dtype == np.float32 else 1e-9)


@pytest.mark.parametrize("noise", [ADDITIVE, MULTIPLICATIVE])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_devices_that_could_touch_a_bound_move_pulse_by_pulse(noise, dtype, rng):
    """With the very draws of the slow kernel; those beside them, whose bounds are far, do not."""
    shape, near = (4, 300), np.arange(300) % 20 == 3
    p = devices(shape, dtype, low=-5.0, high=5.0)
    for name, value in (("low", -0.05), ("high", 0.06), ("shape_up", -1 / 0.06), ("shape_down", 1 / 0.05)):
        p[name][:, near] = value
    state = np.where(near, rng.uniform(-0.05, 0.06, shape), rng.uniform(-1, 1, shape)).astype(dtype)
    rows, columns = random_trains(rng, 50, 4, 0.4), random_trains(rng, 50, 300, 0.4)
    slow, fast = both(state, rows, columns, p, Law(LINEAR, (), 2.0, noise))
    np.testing.assert_array_equal(slow[0][:, near], fast[0][:, near])
    assert (slow[0] != fast[0])[:, ~near].mean() > 0.95


@pytest.mark.parametrize("additive", [False, True])
@pytest.mark.parametrize("hits", [[1], [24], [-24], [12, -12], [-4, 9, -8, 3]])
def test_a_group_is_safe_where_no_path_comes_near_a_bound(hits, additive):
    """All along the way the mean stays at least seven deviations from the nearest bounds that count as safe, and less than thirty."""
    spread, order = 0.5, [np.sign(h) for h in hits for _ in range(abs(h))]
    arrays = [array[0] for array in devices((1, 256)).values()]
    p = dict(zip(devices((1, 1)), arrays, strict=True))
    nearest = []
    for name in ("low", "high"):
        bounds = {"low": np.full(256, -9.0), "high": np.full(256, 9.0), name: p[name] * np.linspace(0.001, 1, 256)}
        given = [(p | bounds)[key] for key in ("up", "down", "shape_up", "shape_down", "low", "high")]
        work, lanes = np.zeros(pulse_moments.PLACES * pulse_moments.COLUMNS), np.uint64(256)
        pulse_moments.load(work, lanes, np.uint64(0), np.zeros(256), *given, np.float64(spread), additive)
        pulse_moments.begin(work, lanes)
        for row, columns in zip(*same_trains(hits, (1, 256)), strict=True):
            pulse_moments.advance(work, lanes, np.uint64(0), row[0], columns, False, additive)
        unsafe = np.zeros(256, np.uint8)
        pulse_moments.mark_unsafe(work, lanes, np.float64(spread), additive, unsafe)
        assert 0 < unsafe.sum() < 256
        nearest.append(bounds[name][unsafe == 0][0])
    room = []
    for k in range(1, len(order) + 1):
        mean, moments = central_moments(order[:k], 0.0, spread, additive)
        room.append([(mean - nearest[0]) / np.sqrt(moments[2]), (nearest[1] - mean) / np.sqrt(moments[2])])
    assert 7 < np.min(room) < 30


def test_noise_is_independent_between_devices_groups_rows_and_paths(monkeypatch):
    """Neighbours, blocks of columns, rows and groups, and single pulses of the other path; 4.9 standard errors each."""
    shape, p = (150, 600), devices((150, 600), up=1e-5, down=1e-5, low=-9.0, high=9.0)

    def noise(hits, step):
        state = np.zeros(shape)
        law = Law(LINEAR, (), 1.0, ADDITIVE)
        apply_batch(state, *same_trains(hits, shape), p, law, False, Key(8), step, np.zeros(shape, np.int32))
        return (state - state.mean()) / state.std()

    x, later = noise([20, 11], 0), noise([20, 11], 2)
    longer = noise([31, 31, 31, 31, 31, 31], 0)
    monkeypatch.setattr(sent_trains, "_BUSY", np.inf)
    single = noise([1], 0)
    pairs = [
        (x[:, :-1], x[:, 1:]),
        (x[:, :-4], x[:, 4:]),
        (x[:, :256], x[:, 256:512]),
        (x[:-1], x[1:]),
        (x, later),
        (x, single),
        (x.ravel()[::4][: x.size // 4], single.ravel()[: x.size // 4]),
    ]
    for a, b in pairs:
        assert abs(np.mean(a * b)) < 4.9 / np.sqrt(a.size)
    # The first of two equal groups has the draw of x.
    assert abs(np.mean(x * longer) - np.sqrt(0.5)) < 4.9 / np.sqrt(x.size)


@pytest.mark.parametrize("noise", [ADDITIVE, MULTIPLICATIVE])
def test_threads_change_nothing(with_threads, rng, noise):
    rows, columns = random_trains(rng, 30, 130, 0.3), random_trains(rng, 30, 300, 0.3)
    p = devices((130, 300), np.float32, low=-0.2, high=0.15)

    def learn():
        state, received = np.zeros((130, 300), np.float32), np.zeros((130, 300), np.int32)
        return state, received, apply_batch(state, rows, columns, p, Law(LINEAR, (), 0.5, noise), False, Key(3), 7, received)

    one, two = with_threads(learn)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_only_rows_with_many_pulses_are_busy(monkeypatch, rng):
    """Rows of one and the same batch: dense, sparse, silent, of constant step."""
    monkeypatch.undo()
    shape = (4, 200)
    p = devices(shape, low=-5.0, high=5.0)
    p["shape_up"][3] = p["shape_down"][3] = 0
    rows = random_trains(rng, 20, 4, 0.3)
    rows[:, 1] &= np.where(np.arange(20) % 10 == 0, SLOTS, SIGN)
    rows[:, 1] &= SIGN | np.uint32(7)
    rows[:, 2] &= SIGN
    columns = random_trains(rng, 20, 200, 0.05)
    slow, fast = both(rng.uniform(-1, 1, shape), rows, columns, p, Law(LINEAR, (), 0.3, MULTIPLICATIVE))
    same = (slow[0] == fast[0]).mean(axis=1)
    assert same[0] < 0.2
    assert same[1] == same[2] == 1
    assert same[3] < 0.2
    assert slow[2] == fast[2]
